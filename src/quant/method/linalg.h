/* Dense linear algebra for the quantizers, in blocks over ctx->ops->gemm. */
#pragma once

#include <stdbool.h>

#include "kernels/ops.h"

/* The upper triangle of a [k][k] from the lower. */
void vlmp_mirror(vlmp_ctx *ctx, float *a, int k);

/* a = M·diag(pivot)·Mᵀ with M unit lower triangular. a [k][k], its lower triangle is read and
 * replaced by M's (the diagonal and the upper triangle are left undefined). scratch holds
 * vlmp_ldl_scratch(k) floats. *ok is false when a pivot falls below least or is not finite: the
 * matrix is not positive definite in F32, and a is spoiled. */
void vlmp_ldl(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *scratch, bool *ok);
size_t vlmp_ldl_scratch(int k);

/* x·(M·diag(pivot)·Mᵀ) = t in place: x [n][k] holds t on entry. */
void vlmp_ldl_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n);

/* Σ rows e·gram·eᵀ + 2·Σ cross∘e for e [n][k], gram [k][k] symmetric, cross [n][k] or NULL: with e
 * = W − ŵ and cross = Σ (y − W·x)·xᵀ the change of Σ |y − ŵ·x|² against W. Accumulates in double.
 * Out of memory is VLMP_ERR_SYSTEM. */
int vlmp_weighted_error(vlmp_ctx *ctx, const float *e, int n, int k, const float *gram,
                        const float *cross, double *out, vlmp_error *err);
