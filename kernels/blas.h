/* OpenBLAS, opened at run time, single-threaded: callers split work into
 * fixed tiles under vlmp_parallel_for. Every function here may be called by several threads at
 * once on different outputs. */
#pragma once

#include <stdbool.h>

#include "src/base/error.h"

typedef struct vlmp_blas vlmp_blas;

/* Opens libopenblas with the kernels that suit this processor (OPENBLAS_CORETYPE, which stands when
 * the user has set it), one thread, takes the work memory of as many callers at once (128 MB of
 * address space each), and checks a few products. Wrong results, a missing
 * library, too little memory are VLMP_ERR_SYSTEM. Sets OPENBLAS_NUM_THREADS and, when unset,
 * OPENBLAS_CORETYPE in the environment, so call it before other threads read that. The library
 * stays loaded; free with vlmp_blas_close (NULL is allowed). */
int vlmp_blas_open(vlmp_blas **blas, int callers, vlmp_error *err);
void vlmp_blas_close(vlmp_blas *blas);

/* "OpenBLAS 0.3.21 Cooperlake": version and core, part of the identity of results. */
const char *vlmp_blas_describe(const vlmp_blas *blas);

/* c[m][n] = alpha·op(a)·op(b) + beta·c, row-major; a is [m][k] ([k][m] when transposed), b is
 * [k][n] ([n][k] when transposed). c must not hold NaN when beta is not 0. */
void vlmp_sgemm(const vlmp_blas *blas, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* Lower triangle of c[n][n] = xᵀ·x + beta·c, x[k][n], row-major. */
void vlmp_ssyrk(const vlmp_blas *blas, int n, int k, const float *x, int ldx, float beta, float *c,
                int ldc);
