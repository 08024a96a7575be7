/* The second moment H = Σ x·xᵀ of a site's inputs, ordered and factored for error propagation.
 * One serves all linears of the site with the same group. */
#pragma once

#include <stdbool.h>

#include "kernels/ops.h"

typedef struct {
    vlmp_ctx *ctx; /* whose memory order, factor and pivot lie in */
    int k;
    int group;     /* columns of one group stay together */
    int *order;    /* [k] input at each position; positions are processed from last to first, the
                      strongest inputs first, group by group (no cost at run time) */
    float *factor; /* [k][k] by position: H + ridge·I = M·diag(pivot)·Mᵀ, M unit lower */
    float *pivot;  /* [k] */
    float ridge;
    double damping; /* ridge over the mean of H's diagonal */
    int attempts;   /* dampings tried; 1 when the first one factored */
    bool failed;    /* no damping up to 1 factored: factor is the identity, which is rounding to
                       nearest without propagation; the caller reports a fallback */
} vlmp_hessian;

/* gram [k][k] symmetric, in the context's memory; group as in vlmp_quantized (k: per channel).
 * damping > 0 is doubled until the matrix factors. A site that saw only zeros gets the identity and
 * is not a failure. */
int vlmp_hessian_create(vlmp_hessian *h, vlmp_ctx *ctx, const float *gram, int k, int group,
                        double damping, vlmp_error *err);
void vlmp_hessian_free(vlmp_hessian *h); /* leaves it empty; harmless when empty */

/* The same sums over tokens that were held back: what validates a correction. In the context's
 * memory, as all matrices below. So many rows of it are enough: a step that misses the best one by
 * a tenth loses a hundredth of what it gains. */
#define VLMP_HELD_ROWS 1024

typedef struct {
    const float *gram;  /* [k][k] Σ x·xᵀ */
    const float *cross; /* [rows][k] Σ (y − W·x)·xᵀ, of vlmp_sample_rows of VLMP_HELD_ROWS */
} vlmp_held_back;

/* w [n][k] += alpha·cross·(H + ridge)⁻¹: moves the target to where the site's inputs, which differ
 * from the original ones, best reproduce the wanted outputs y. cross [n][k] = Σ (y − W·x)·xᵀ over
 * the same tokens as H. With held (else NULL) alpha is the step that is best on the held-back
 * tokens, at least 0 and at most the alpha given. *used is the step taken: 0 leaves w as it is. */
int vlmp_hessian_correct(const vlmp_hessian *h, vlmp_ctx *ctx, const float *cross,
                         const vlmp_held_back *held, double alpha, float *w, int n, double *used,
                         vlmp_error *err);
