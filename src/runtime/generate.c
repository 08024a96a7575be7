#include "src/runtime/generate.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/clock.h"
#include "src/base/memory.h"
#include "src/runtime/runtime_internal.h"

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

/* An answer on its way. */
struct answer {
    vlmp_stream *stream;
    int index;
    int max_new;
    int32_t token; /* the last one */
    int item;      /* of the step at work; −1: it waits */
    vlmp_rng rng;
    double start, first; /* seconds; first 0: no token yet */
    vlmp_generation_stats stats;
};

struct generator {
    vlmp_runtime *runtime;
    const vlmp_generation *options;
    const vlmp_answers *answers;
    int count, next;              /* of all answers; the next to begin */
    const vlmp_sequence *waiting; /* its prompt, when there was no room for it */
    int max_new;                  /* of it */
    struct answer *active;        /* [streams] */
    int active_count;
    vlmp_step_item *items; /* [streams] */
    float *logits;         /* [streams][vocabulary] where tokens are drawn; else NULL */
};

static int finish(struct generator *g, struct answer *a, vlmp_error *err)
{
    if (a->first > 0) a->stats.decode_seconds = vlmp_seconds() - a->first;
    vlmp_stream_close(a->stream);
    a->stream = NULL;
    return g->answers->done(g->answers->arg, a->index, &a->stats, err);
}

/* Opens the next answer. *opened: false when it has to wait for another to end. */
static int begin(struct generator *g, bool *opened, vlmp_error *err)
{
    struct answer *a = &g->active[g->active_count];
    *a = (struct answer){.index = g->next, .rng = {g->options->seed}};
    if (g->waiting == NULL)
        VLMP_TRY(g->answers->prompt(g->answers->arg, a->index, &g->waiting, &g->max_new, err));
    a->max_new = g->max_new;
    a->stats.prompt_tokens = g->waiting->length;
    a->start = vlmp_seconds();
    VLMP_TRY(
        vlmp_stream_open(g->runtime, g->waiting, g->waiting->length, a->max_new, &a->stream, err));
    *opened = a->stream != NULL;
    if (!*opened) return VLMP_OK;
    g->next++;
    g->waiting = NULL;
    if (a->max_new <= 0) return finish(g, a, err);
    g->active_count++;
    return VLMP_OK;
}

/* The token that the last step has predicted. *ended: the answer has. */
static int take_token(struct generator *g, struct answer *a, const vlmp_step_item *item,
                      bool *ended, vlmp_error *err)
{
    const vlmp_generation *options = g->options;
    bool stop = false;
    if (a->first == 0) {
        a->first = vlmp_seconds();
        a->stats.first_seconds = a->first - a->start;
    } else {
        a->stats.steps++;
    }
    a->token = item->logits == NULL
                   ? item->best
                   : vlmp_sample_token(item->logits, g->runtime->model->config.text.vocab,
                                       options->temperature, &a->rng);
    *ended = options->stop != NULL && vlmp_stop_tokens_has(options->stop, a->token);
    if (*ended) return VLMP_OK;
    a->stats.new_tokens++;
    VLMP_TRY(g->answers->token(g->answers->arg, a->index, a->token, &stop, err));
    *ended = stop || a->stats.new_tokens == a->max_new;
    return VLMP_OK;
}

/* All active answers one step further; prompts one at a time, so that those that are answered wait
 * for one alone. */
static int advance(struct generator *g, vlmp_error *err)
{
    size_t vocab = (size_t)g->runtime->model->config.text.vocab;
    int count = 0;
    bool prefilling = false;
    for (int i = 0; i < g->active_count; i++) {
        struct answer *a = &g->active[i];
        bool prompt = vlmp_stream_left(a->stream) > 0;
        a->item = -1;
        if (prompt && prefilling) continue;
        prefilling |= prompt;
        a->item = count++;
        g->items[a->item] = (vlmp_step_item){
            .stream = a->stream,
            .token = a->token,
            .logits = g->logits != NULL ? g->logits + (size_t)a->item * vocab : NULL};
    }
    return vlmp_runtime_step(g->runtime, g->items, count, err);
}

static int take_tokens(struct generator *g, vlmp_error *err)
{
    int kept = 0;
    for (int i = 0; i < g->active_count; i++) {
        struct answer *a = &g->active[i];
        bool ended = false;
        if (a->item >= 0 && vlmp_stream_left(a->stream) == 0)
            VLMP_TRY(take_token(g, a, &g->items[a->item], &ended, err));
        if (ended) VLMP_TRY(finish(g, a, err));
        if (ended) continue;
        struct answer moved = *a;
        a->stream = NULL; /* each stream has one owner, whatever fails next */
        g->active[kept++] = moved;
    }
    g->active_count = kept;
    return VLMP_OK;
}

static int run(struct generator *g, vlmp_error *err)
{
    while (g->next < g->count || g->active_count > 0) {
        bool opened = true;
        while (opened && g->next < g->count && g->active_count < g->runtime->limit)
            VLMP_TRY(begin(g, &opened, err));
        if (g->active_count == 0) continue;
        VLMP_TRY(advance(g, err));
        VLMP_TRY(take_tokens(g, err));
    }
    return VLMP_OK;
}

int vlmp_generate(vlmp_runtime *runtime, int count, const vlmp_generation *options,
                  const vlmp_answers *answers, vlmp_error *err)
{
    size_t streams = (size_t)runtime->streams;
    bool draws = options->temperature > 0;
    runtime->limit = options->together > 0 && options->together < runtime->streams
                         ? options->together
                         : runtime->streams;
    struct generator g = {.runtime = runtime,
                          .options = options,
                          .answers = answers,
                          .count = count,
                          .active = vlmp_calloc(streams, sizeof *g.active),
                          .items = vlmp_alloc(streams, sizeof *g.items)};
    if (draws)
        g.logits = vlmp_alloc(streams, (size_t)runtime->model->config.text.vocab * sizeof(float));
    int status = g.active != NULL && g.items != NULL && (!draws || g.logits != NULL)
                     ? run(&g, err)
                     : vlmp_fail_memory(err, "answers");
    for (int i = 0; g.active != NULL && i < runtime->streams; i++)
        vlmp_stream_close(g.active[i].stream);
    free(g.active);
    free(g.items);
    free(g.logits);
    return status;
}
