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

static int score(vlmp_eval_result *result, const vlmp_captions *captions,
                 const vlmp_eval_input *input, vlmp_bleu_counts *bleu, double *cider,
                 vlmp_error *err)
{
    size_t n = captions->count;
    VLMP_TRY(vlmp_cider_scores(cider, captions, err));
    vlmp_bleu_counts all = {0};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        vlmp_bleu_count(&bleu[i], &captions->samples[i]);
        vlmp_bleu_add(&all, &bleu[i], 1);
        sum += cider[i];
    }
    vlmp_interval intervals[VLMP_NGRAM + 1];
    vlmp_bootstrap bootstrap = {input->seed, n, VLMP_RESAMPLES};
    caption_scores scores = {bleu, cider, n};
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
    for (size_t i = 0; i < input->count; i++)
        if (input->samples[i].answer_count == 0)
            return vlmp_result_note(result, err,
                                    "sample %zu (line %d) has no answer: bleu and cider are null",
                                    i + 1, input->samples[i].line);
    vlmp_captions captions;
    int status =
        vlmp_captions_build(&captions, input->hypotheses, input->samples, input->count, err);
    vlmp_bleu_counts *bleu = vlmp_alloc(input->count, sizeof *bleu);
    double *cider = vlmp_alloc(input->count, sizeof *cider);
    if (status == VLMP_OK && (bleu == NULL || cider == NULL))
        status = vlmp_fail_memory(err, "caption metrics");
    if (status == VLMP_OK) status = score(result, &captions, input, bleu, cider, err);
    free(bleu);
    free(cider);
    vlmp_captions_free(&captions);
    return status;
}
