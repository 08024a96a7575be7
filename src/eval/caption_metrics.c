#include "src/eval/caption_metrics.h"

#include "src/eval/bleu.h"
#include "src/eval/cider.h"

void vlmp_caption_statistics(const vlmp_sample_result *samples, size_t n, const uint32_t *counts,
                             double out[VLMP_NGRAM + 1])
{
    vlmp_bleu_counts all = {0};
    double cider = 0;
    for (size_t i = 0; i < n; i++) {
        if (counts[i] == 0) continue;
        vlmp_bleu_add(&all, &samples[i].bleu, counts[i]);
        cider += counts[i] * samples[i].cider;
    }
    vlmp_bleu_score(out, &all);
    out[VLMP_NGRAM] = cider / (double)n;
}

static void statistics_of(void *arg, const uint32_t *counts, double *out)
{
    const vlmp_eval_result *result = arg;
    vlmp_caption_statistics(result->per_sample, (size_t)result->samples, counts, out);
}

/* What a pass over all captions fills. */
typedef struct {
    const vlmp_eval_input *input;
    vlmp_caption_words vocabulary;
    vlmp_cider cider;
    vlmp_sample_result *samples; /* [input->count] */
    size_t without;              /* index + 1 of the first sample without an answer; 0: none */
} captions;

/* Captions are built one at a time, twice: CIDEr's frequencies come before its scores. */
static int pass(captions *c, bool second, vlmp_error *err)
{
    const vlmp_eval_input *input = c->input;
    int status = VLMP_OK;
    for (size_t i = 0; i < input->count && status == VLMP_OK && c->without == 0; i++) {
        char *const *answers;
        size_t count;
        VLMP_TRY(input->references(input->references_arg, i, &answers, &count, err));
        if (count == 0) c->without = i + 1;
        if (count == 0) continue;
        vlmp_caption caption;
        status =
            vlmp_caption_build(&caption, &c->vocabulary, input->hypotheses[i], answers, count, err);
        if (status == VLMP_OK && !second) status = vlmp_cider_add(&c->cider, &caption, err);
        if (status == VLMP_OK && second) {
            vlmp_bleu_count(&c->samples[i].bleu, &caption);
            c->samples[i].cider = vlmp_cider_score(&c->cider, &caption);
            c->samples[i].captioned = true;
        }
        vlmp_caption_free(&caption);
    }
    return status;
}

static int score(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err)
{
    size_t n = input->count;
    vlmp_bleu_counts all = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        vlmp_bleu_add(&all, &result->per_sample[i].bleu, 1);
        sum += result->per_sample[i].cider;
    }
    vlmp_interval intervals[VLMP_NGRAM + 1];
    vlmp_bootstrap bootstrap = {input->seed, n, VLMP_RESAMPLES};
    VLMP_TRY(vlmp_bootstrap_run(&bootstrap, statistics_of, result, VLMP_NGRAM + 1, intervals, err));
    if (input->metrics & VLMP_METRIC_BLEU) {
        vlmp_bleu_score(result->bleu, &all);
        for (int i = 0; i < VLMP_NGRAM; i++)
            result->bleu_ci95[i] = intervals[i];
    }
    if (input->metrics & VLMP_METRIC_CIDER) {
        result->cider = sum / (double)n;
        result->cider_ci95 = intervals[VLMP_NGRAM];
    }
    return VLMP_OK;
}

int vlmp_caption_metrics(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err)
{
    if (input->hypotheses == NULL || input->count == 0)
        return vlmp_result_note(result, err, "no answers were generated: bleu and cider are null");
    captions c = {.input = input, .samples = result->per_sample};
    int status = pass(&c, false, err);
    if (status == VLMP_OK && c.without > 0)
        status = vlmp_result_note(result, err, "sample %zu has no answer: bleu and cider are null",
                                  c.without);
    else if (status == VLMP_OK)
        status = pass(&c, true, err);
    if (status == VLMP_OK && c.without == 0) status = score(result, input, err);
    vlmp_cider_free(&c.cider);
    vlmp_caption_words_free(&c.vocabulary);
    return status;
}
