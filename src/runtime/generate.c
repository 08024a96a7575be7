#include <math.h>
#include <stdlib.h>

#include "src/base/clock.h"
#include "src/base/memory.h"
#include "src/runtime/session.h"

int32_t vlmp_sample_token(const float *logits, int vocab, double temperature, vlmp_rng *rng)
{
    int32_t best = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    if (temperature <= 0) return best;
    double total = 0;
    for (int i = 0; i < vocab; i++)
        total += exp(((double)logits[i] - (double)logits[best]) / temperature);
    double draw = vlmp_rng_uniform(rng) * total;
    for (int32_t i = 0; i < vocab; i++) {
        draw -= exp(((double)logits[i] - (double)logits[best]) / temperature);
        if (draw < 0) return i;
    }
    return best; /* rounding left a sliver */
}

int vlmp_generate(vlmp_session *session, const vlmp_model *model, const vlmp_sequence *sequence,
                  int prompt_length, const vlmp_generation *options, vlmp_token_fn *on_token,
                  void *arg, vlmp_generation_stats *stats, vlmp_error *err)
{
    int vocab = model->config.text.vocab;
    *stats = (vlmp_generation_stats){.prompt_tokens = prompt_length};
    float *logits = vlmp_alloc((size_t)vocab, sizeof *logits);
    if (logits == NULL) return vlmp_fail_memory(err, "logits");
    vlmp_rng rng = {options->seed};
    double start = vlmp_seconds(), first = 0;
    int status = vlmp_session_prefill(session, sequence, prompt_length, options->max_new_tokens,
                                      logits, err);
    while (status == VLMP_OK && stats->new_tokens < options->max_new_tokens) {
        int32_t token = vlmp_sample_token(logits, vocab, options->temperature, &rng);
        if (first == 0) {
            first = vlmp_seconds();
            stats->first_seconds = first - start;
        }
        if (options->stop != NULL && vlmp_stop_tokens_has(options->stop, token)) break;
        stats->new_tokens++;
        bool stop = stats->new_tokens == options->max_new_tokens;
        status = on_token(arg, token, &stop, err);
        if (status != VLMP_OK || stop) break;
        status = vlmp_session_step(session, token, logits, err);
        stats->steps++;
    }
    if (first > 0) stats->decode_seconds = vlmp_seconds() - first;
    free(logits);
    return status;
}
