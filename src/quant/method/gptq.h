/* GPTQ: rounding column by column, each error passed on to the inputs not yet rounded so that the
 * output changes least under H = Σ x·xᵀ; then a polish of codes, scales and zeros under H itself.
 *
 * What differs from the published algorithm: the group's scale and zero are searched under the
 * error that propagation will make of each column (the pivots of H's factor), on weights that carry
 * all compensation so far, and rounded to their stored type before any code is chosen; inputs that
 * never fired are rounded, not zeroed; after all codes are known, scales and zeros are refitted and
 * codes improved by coordinate descent until nothing gains. */
#pragma once

#include "src/quant/method/hessian.h"
#include "src/quant/method/search.h"
#include "src/quant/scheme/quantized.h"

typedef struct {
    vlmp_search search;
    int sweeps;       /* of the polish; 0: none */
    double ridge;     /* of the polish, over the mean of H's diagonal */
    double converged; /* stop when a sweep gains at most this fraction of what the first gained */
} vlmp_gptq_options;

typedef struct {
    double damping;    /* of the factor */
    bool fallback;     /* H did not factor: rounded to nearest */
    double propagated; /* weighted error (with the factor's ridge) after propagation */
    double gain;       /* decrease of the weighted error (with the polish's ridge) by the polish */
    int sweeps;        /* of the polish */
} vlmp_gptq_report;

/* The options that vlm-quantize uses. */
vlmp_gptq_options vlmp_gptq_defaults(void);
double vlmp_gptq_damping(void);

/* Quantizes target [q->n][q->k] into q (allocated). h's group is q's. gram [k][k] is what h was
 * made from; it and target lie in the context's memory. A group other than per channel is at most
 * 128. Scales beyond their type are VLMP_ERR_INPUT with name. When h failed, q is round to nearest
 * of target and report says so. */
int vlmp_gptq(vlmp_quantized *q, vlmp_ctx *ctx, const vlmp_hessian *h, const float *gram,
              const float *target, const vlmp_gptq_options *options, const char *name,
              vlmp_gptq_report *report, vlmp_error *err);
