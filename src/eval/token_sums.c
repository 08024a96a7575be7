#include "src/eval/token_sums.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/eval/bootstrap.h"

static int descending(const void *a, const void *b)
{
    double x = ((const vlmp_owned_value *)a)->value, y = ((const vlmp_owned_value *)b)->value;
    return (x < y) - (x > y);
}

void vlmp_token_sums_free(vlmp_token_sums *s)
{
    free(s->tokens);
    free(s->sorted_kl);
    free(s->once);
    *s = (vlmp_token_sums){0};
}

int vlmp_token_sums_build(vlmp_token_sums *out, const vlmp_sample_result *samples, size_t n,
                          vlmp_error *err)
{
    *out = (vlmp_token_sums){.samples = n};
    bool compared = n > 0 && samples[0].kl != NULL;
    for (size_t i = 0; i < n; i++)
        out->token_count += samples[i].tokens;
    out->tokens = vlmp_calloc(5 * n, sizeof *out->tokens);
    if (compared) out->sorted_kl = vlmp_alloc(out->token_count, sizeof *out->sorted_kl);
    out->once = vlmp_alloc(n, sizeof *out->once);
    if (out->tokens == NULL || out->once == NULL || (compared && out->sorted_kl == NULL))
        return vlmp_fail_memory(err, "metrics");
    out->nll = out->tokens + n;
    out->reference_nll = out->nll + n;
    out->kl = out->reference_nll + n;
    out->same = out->kl + n;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const vlmp_sample_result *sample = &samples[i];
        out->once[i] = 1;
        out->tokens[i] = (double)sample->tokens;
        out->nll[i] = sample->nll;
        out->reference_nll[i] = sample->reference_nll;
        out->same[i] = (double)sample->same;
        for (size_t t = 0; compared && t < sample->tokens; t++) {
            out->kl[i] += sample->kl[t];
            out->sorted_kl[at++] = (vlmp_owned_value){sample->kl[t], (uint32_t)i};
        }
    }
    if (compared) qsort(out->sorted_kl, at, sizeof *out->sorted_kl, descending);
    return VLMP_OK;
}

double vlmp_weighted_sum(const double *values, const uint32_t *counts, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += counts[i] * values[i];
    return sum;
}

/* Only the tail above the quantile is walked. */
double vlmp_token_kl_quantile(const vlmp_token_sums *s, const uint32_t *counts, double q)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->samples; i++)
        total += counts[i] * (uint64_t)s->tokens[i];
    if (total == 0) return NAN;
    double rank = (double)(total - 1) * q;
    uint64_t low = (uint64_t)rank;
    uint64_t from_top = total - 1 - low; /* descending rank of the lower neighbour */
    uint64_t seen = 0;
    double above = NAN; /* value at descending rank from_top − 1 */
    for (size_t t = 0; t < s->token_count; t++) {
        uint64_t times = counts[s->sorted_kl[t].sample];
        if (from_top > 0 && seen < from_top && seen + times >= from_top)
            above = s->sorted_kl[t].value;
        seen += times;
        if (seen > from_top) {
            double below = s->sorted_kl[t].value;
            return from_top == 0 ? below : vlmp_interpolate(below, above, rank - (double)low);
        }
    }
    return NAN;
}

void vlmp_token_statistics(const vlmp_token_sums *s, const uint32_t *counts,
                           double out[VLMP_STAT_COUNT])
{
    double tokens = vlmp_weighted_sum(s->tokens, counts, s->samples);
    double nll = vlmp_weighted_sum(s->nll, counts, s->samples);
    out[VLMP_STAT_PPL] = exp(nll / tokens);
    for (int i = VLMP_STAT_PPL + 1; i < VLMP_STAT_COUNT; i++)
        out[i] = NAN;
    if (s->sorted_kl == NULL) return;
    out[VLMP_STAT_RATIO] =
        exp((nll - vlmp_weighted_sum(s->reference_nll, counts, s->samples)) / tokens);
    out[VLMP_STAT_KL] = vlmp_weighted_sum(s->kl, counts, s->samples) / tokens;
    out[VLMP_STAT_SCORE] = sqrt(out[VLMP_STAT_KL] * vlmp_token_kl_quantile(s, counts, 0.99));
    out[VLMP_STAT_TOP1] = vlmp_weighted_sum(s->same, counts, s->samples) / tokens;
}
