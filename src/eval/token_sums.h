/* Sums over samples and the statistics of token scores for any weighting of the samples. */
#pragma once

#include <stdint.h>

#include "src/base/error.h"
#include "src/eval/sample_result.h"

typedef struct {
    double value;
    uint32_t sample;
} vlmp_owned_value;

/* Sums per sample, and all tokens' KL in descending order with the sample they belong to. */
typedef struct {
    size_t samples;
    double *tokens, *nll, *reference_nll, *kl, *same; /* [samples] */
    vlmp_owned_value *sorted_kl;                      /* [token_count]; NULL: no reference */
    size_t token_count;
    uint32_t *once; /* [samples] ones: the data as they are */
} vlmp_token_sums;

/* Free with vlmp_token_sums_free, also after a failure. */
int vlmp_token_sums_build(vlmp_token_sums *out, const vlmp_sample_result *samples, size_t count,
                          vlmp_error *err);
void vlmp_token_sums_free(vlmp_token_sums *sums);

enum {
    VLMP_STAT_PPL,
    VLMP_STAT_RATIO,
    VLMP_STAT_KL,
    VLMP_STAT_SCORE,
    VLMP_STAT_TOP1,
    VLMP_STAT_COUNT
};

/* When sample i counts counts[i] times; without a reference all but the perplexity are NAN. */
void vlmp_token_statistics(const vlmp_token_sums *sums, const uint32_t *counts,
                           double out[VLMP_STAT_COUNT]);

/* Quantile q of the tokens' KL. */
double vlmp_token_kl_quantile(const vlmp_token_sums *sums, const uint32_t *counts, double q);

double vlmp_weighted_sum(const double *values, const uint32_t *counts, size_t n);
