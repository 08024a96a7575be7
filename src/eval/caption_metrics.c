#include "src/eval/caption_metrics.h"

#include <stdlib.h>

#include "src/eval/bleu.h"
#include "src/eval/cider.h"

typedef struct {
    const vlmp_bleu_counts *bleu; /* [samples] */
    const double *cider;          /* [samples] */
    size_t samples;
} caption_scores;

static void caption_statistics(void *arg, const uint32_t *counts, double *out)
{
    const caption_scores *s = arg;
    vlmp_bleu_counts all = {0};
    double cider = 0;
    for (size_t i = 0; i < s->samples; i++) {
        if (counts[i] == 0) continue;
        vlmp_bleu_add(&all, &s->bleu[i], counts[i]);
        cider += counts[i] * s->cider[i];
    }
    vlmp_bleu_score(out, &all);
    out[VLMP_NGRAM] = cider / (double)s->samples;
}

/* What a pass over all captions fills. */
typedef struct {
    const vlmp_eval_input *input;
    vlmp_caption_words vocabulary;
    vlmp_cider cider;
    vlmp_bleu_counts *bleu; /* [input->count] */
    double *scores;         /* [input->count] */
    size_t without;         /* index + 1 of the first sample without an answer; 0: none */
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
            vlmp_bleu_count(&c->bleu[i], &caption);
            c->scores[i] = vlmp_cider_score(&c->cider, &caption);
        }
        vlmp_caption_free(&caption);
    }
    return status;
}

static int score(vlmp_eval_result *result, const captions *c, vlmp_error *err)
{
    const vlmp_eval_input *input = c->input;
    size_t n = input->count;
    vlmp_bleu_counts all = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        vlmp_bleu_add(&all, &c->bleu[i], 1);
        sum += c->scores[i];
        result->per_sample[i].captioned = true;
        result->per_sample[i].bleu = c->bleu[i];
        result->per_sample[i].cider = c->scores[i];
    }
    vlmp_interval intervals[VLMP_NGRAM + 1];
    vlmp_bootstrap bootstrap = {input->seed, n, VLMP_RESAMPLES};
    caption_scores scores = {c->bleu, c->scores, n};
    VLMP_TRY(vlmp_bootstrap_run(&bootstrap, caption_statistics, &scores, VLMP_NGRAM + 1, intervals,
                                err));
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
    captions c = {.input = input,
                  .bleu = vlmp_calloc(input->count, sizeof *c.bleu),
                  .scores = vlmp_calloc(input->count, sizeof *c.scores)};
    int status = c.bleu != NULL && c.scores != NULL ? pass(&c, false, err)
                                                    : vlmp_fail_memory(err, "caption metrics");
    if (status == VLMP_OK && c.without > 0)
        status = vlmp_result_note(result, err, "sample %zu has no answer: bleu and cider are null",
                                  c.without);
    else if (status == VLMP_OK)
        status = pass(&c, true, err);
    if (status == VLMP_OK && c.without == 0) status = score(result, &c, err);
    free(c.bleu);
    free(c.scores);
    vlmp_cider_free(&c.cider);
    vlmp_caption_words_free(&c.vocabulary);
    return status;
}
