/* Paired bootstrap: whole samples are drawn with replacement; every metric and every file sees the
 * same draws because they depend on seed and sample count alone. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

#define VLMP_RESAMPLES 2000

typedef struct {
    double lo, hi; /* 2.5 and 97.5 percentile; NAN: not computable */
} vlmp_interval;

typedef struct {
    uint64_t seed;
    size_t samples;
    int resamples; /* VLMP_RESAMPLES */
} vlmp_bootstrap;

/* Writes the statistics of one resample to out. counts[samples]: how often each sample was drawn.
 */
typedef void vlmp_statistic(void *arg, const uint32_t *counts, double *out);

/* Intervals of `outputs` statistics. A statistic that is not finite in any resample gets NAN. */
int vlmp_bootstrap_run(const vlmp_bootstrap *bootstrap, vlmp_statistic *statistic, void *arg,
                       size_t outputs, vlmp_interval *out, vlmp_error *err);

/* Quantile q in [0, 1] of an ascending array by linear interpolation between the two neighbours of
 * rank (n − 1)·q; NAN when n is 0. */
double vlmp_quantile(const double *sorted, size_t n, double q);

/* a + (b − a)·t, exact at both ends. */
double vlmp_interpolate(double a, double b, double t);

/* For qsort of doubles, ascending; no NaN. */
int vlmp_compare_doubles(const void *a, const void *b);
