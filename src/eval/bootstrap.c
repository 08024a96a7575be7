#include "src/eval/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/base/rng.h"

int vlmp_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double vlmp_interpolate(double a, double b, double t)
{
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

double vlmp_quantile(const double *sorted, size_t n, double q)
{
    if (n == 0) return NAN;
    double rank = (double)(n - 1) * q;
    size_t low = (size_t)rank;
    if (low + 1 >= n) return sorted[n - 1];
    return vlmp_interpolate(sorted[low], sorted[low + 1], rank - (double)low);
}

static vlmp_interval interval_of(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return (vlmp_interval){NAN, NAN};
    qsort(values, n, sizeof *values, vlmp_compare_doubles);
    return (vlmp_interval){vlmp_quantile(values, n, 0.025), vlmp_quantile(values, n, 0.975)};
}

static void draw(uint32_t *counts, size_t samples, vlmp_rng *rng)
{
    memset(counts, 0, samples * sizeof *counts);
    for (size_t i = 0; i < samples; i++)
        counts[vlmp_rng_below(rng, samples)]++;
}

int vlmp_bootstrap_run(const vlmp_bootstrap *bootstrap, vlmp_statistic *statistic, void *arg,
                       size_t outputs, vlmp_interval *out, vlmp_error *err)
{
    size_t resamples = (size_t)bootstrap->resamples;
    /* values[output][resample], then one row of outputs */
    double *values = vlmp_alloc(outputs * resamples + outputs, sizeof *values);
    uint32_t *counts = vlmp_alloc(bootstrap->samples, sizeof *counts);
    if (values == NULL || counts == NULL) {
        free(values);
        free(counts);
        return vlmp_fail_memory(err, "bootstrap");
    }
    double *row = values + outputs * resamples;
    vlmp_rng rng = {bootstrap->seed};
    for (size_t r = 0; r < resamples; r++) {
        if (bootstrap->samples > 0) draw(counts, bootstrap->samples, &rng);
        statistic(arg, counts, row);
        for (size_t k = 0; k < outputs; k++)
            values[k * resamples + r] = row[k];
    }
    for (size_t k = 0; k < outputs; k++)
        out[k] = interval_of(values + k * resamples, resamples);
    free(values);
    free(counts);
    return VLMP_OK;
}
