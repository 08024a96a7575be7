/* Never worse than round to nearest: a method's result and plain rounding of the original weights,
 * compared on tokens that the method did not see. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/scheme/quantized.h"

/* A linear of the scale group. */
typedef struct {
    const char *name;
    const float *w;          /* [n][k] original weights */
    const vlmp_quantized *q; /* the method's, of w·scales */
    double missed;           /* vlmp_missed_take's where the wanted outputs are W·x₀; else 0 */
    int sample_of;           /* rows of the linear that w and q are a sample of; 0: they are all */
} vlmp_guard_linear;

/* The tokens to judge on, by moments of their inputs x before scales are folded, in the context's
 * memory: all other arrays here are the host's. */
typedef struct {
    const float *gram; /* [k][k] Σ x·xᵀ */
    const float *cross; /* the wanted outputs are W·x₀: [k][k] Σ (x₀ − x)·xᵀ; NULL: x₀ = x */
} vlmp_guard_tokens;

typedef struct {
    double method_error; /* Σ |W·x₀ − ŵ·x|² of the group, estimated from VLMP_GUARD_ROWS rows of
                            each linear */
    double rtn_error;
    bool keep_rtn; /* rounding to nearest is strictly better */
} vlmp_guard_result;

/* scales [k] of AWQ or NULL. All linears share k. */
int vlmp_guard(vlmp_guard_result *result, vlmp_ctx *ctx, const vlmp_guard_linear *linears,
               int count, const vlmp_guard_tokens *tokens, const float *scales, vlmp_error *err);

/* Rows of a linear that an error is taken on: evenly spaced, then scaled up to all rows. Methods
 * differ from rounding by a factor; so many rows estimate it to a few percent. */
#define VLMP_GUARD_ROWS 128

/* out [returned][k]: at most so many rows of w [n][k], evenly spaced; room for `most`. */
int vlmp_sample_rows(float *out, int most, const float *w, int n, int k);

/* out [returned][k]: the rows that errors are taken on; room for VLMP_GUARD_ROWS. */
int vlmp_guard_sample(float *out, const float *w, int n, int k);

/* The error of one result, as above; for choosing between variants of a method. */
int vlmp_guard_error(double *error, vlmp_ctx *ctx, const vlmp_guard_linear *linear,
                     const vlmp_guard_tokens *tokens, const float *scales, vlmp_error *err);

/* Σ |w·x|² of w [n][k], estimated from as many rows: what errors are relative to. */
int vlmp_guard_energy(double *energy, vlmp_ctx *ctx, const float *w, int n, int k,
                      const float *gram, vlmp_error *err);
