/* AWQ: scales on input channels, folded into what precedes the site, that move the grid's
 * resolution to the channels that matter; then rounding with searched (clipped) group scales. Codes
 * are always the nearest ones: no error is passed between columns (that is gptq.h).
 *
 * All losses are tr(D·H·Dᵀ), D = W − Q(W·s)/s, H = Σ x·xᵀ of the site. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/method/search.h"
#include "src/quant/scheme/quantized.h"

/* One of the linears that read the site; all of a site share k and the scheme. */
typedef struct {
    const float *w; /* [n][k] */
    int n;
} vlmp_awq_linear;

/* Everything that shares one vector of scales. */
typedef struct {
    int k;
    const float *gram;     /* [k][k], in the context's memory */
    const float *mean_abs; /* [k] mean |x| */
    const vlmp_awq_linear *linears;
    int count;
    const int *shared; /* [k]: index of the value that channel c uses; NULL: its own. Channels of
                          grouped-query attention that read one value channel have one index, so
                          that the scale can be folded into the value projection */
    int shared_count;  /* indices are 0 … shared_count−1; ignored when shared is NULL */
} vlmp_awq_site;

typedef struct {
    vlmp_search search; /* of the group scales, in the loss and in the result */
    int steps; /* exponents tried: 1/steps … 1 without, 0 … 1 − 1/steps with the weight term */
    int rows;  /* of each linear, evenly spaced, that the loss is taken on */
    int refits; /* sweeps of the closed-form refit of group scales in the result */
} vlmp_awq_options;

typedef struct {
    double identity_error; /* loss without scaling, on the rows taken */
    double error;          /* of the scales chosen */
    bool identity;         /* nothing beat scales of 1 */
    double exponent;       /* of those chosen, from 0 (the weight term alone) to 1 */
    bool weight_term;
} vlmp_awq_report;

vlmp_awq_options vlmp_awq_defaults(void);

/* scales [k] > 0: mean|x|^r, with or without the weight term, divided by √(max·min), whichever has
 * the least loss; 1 everywhere when nothing beats that. */
int vlmp_awq_search(float *scales, vlmp_ctx *ctx, const vlmp_awq_site *site,
                    const vlmp_scheme *scheme, const vlmp_awq_options *options,
                    vlmp_awq_report *report, vlmp_error *err);

/* Quantizes w [q->n][q->k] (already scaled) by rounding, group scales searched under the diagonal
 * of gram and refitted under all of it. gram is of the scaled inputs, in the context's memory. */
int vlmp_awq_quantize(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *w,
                      const vlmp_awq_options *options, const char *name, vlmp_error *err);

/* What folding does: the site's weights times s per column, its inputs (and what produces them)
 * divided by s. */
void vlmp_awq_scale_columns(float *w, int n, int k, const float *scales);
int vlmp_awq_scale_gram(vlmp_ctx *ctx, float *gram, int k, const float *scales, vlmp_error *err);
