#include "src/eval/against.h"

#include <math.h>

#include "src/eval/caption_metrics.h"

struct pair {
    const vlmp_sample_result *file, *original; /* [samples], all captioned */
    size_t samples;
};

enum { BLEU_4 = VLMP_NGRAM - 1, CIDER = VLMP_NGRAM, STATISTICS = VLMP_NGRAM + 1 };

static void differences(void *arg, const uint32_t *counts, double *out)
{
    const struct pair *p = arg;
    double original[STATISTICS];
    vlmp_caption_statistics(p->original, p->samples, counts, original);
    vlmp_caption_statistics(p->file, p->samples, counts, out);
    for (int i = 0; i < STATISTICS; i++)
        out[i] -= original[i];
}

static bool captioned(const vlmp_eval_result *r)
{
    for (int64_t i = 0; i < r->samples; i++)
        if (!r->per_sample[i].captioned) return false;
    return r->samples > 0;
}

static int compare(vlmp_eval_result *r, const vlmp_eval_result *original, uint64_t seed,
                   vlmp_error *err)
{
    struct pair p = {r->per_sample, original->per_sample, (size_t)r->samples};
    vlmp_bootstrap bootstrap = {seed, p.samples, VLMP_RESAMPLES};
    vlmp_interval intervals[STATISTICS];
    VLMP_TRY(vlmp_bootstrap_run(&bootstrap, differences, &p, STATISTICS, intervals, err));
    if (!isnan(r->bleu[BLEU_4]) && !isnan(original->bleu[BLEU_4]))
        r->bleu_difference =
            (vlmp_difference){r->bleu[BLEU_4] - original->bleu[BLEU_4], intervals[BLEU_4]};
    if (!isnan(r->cider) && !isnan(original->cider))
        r->cider_difference = (vlmp_difference){r->cider - original->cider, intervals[CIDER]};
    return VLMP_OK;
}

int vlmp_against_original(vlmp_eval_result *results, size_t count, uint64_t seed, vlmp_error *err)
{
    const vlmp_eval_result *original = NULL;
    for (size_t i = count; i-- > 0;)
        if (results[i].original) original = &results[i];
    if (original == NULL || !captioned(original)) return VLMP_OK;
    for (size_t i = 0; i < count; i++)
        if (!results[i].original && results[i].samples == original->samples &&
            captioned(&results[i]))
            VLMP_TRY(compare(&results[i], original, seed, err));
    return VLMP_OK;
}
