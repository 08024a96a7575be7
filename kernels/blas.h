/* OpenBLAS, opened at run time (it contains LAPACK), single-threaded: callers split work into
 * fixed tiles under vlmp_parallel_for. Every function here may be called by several threads at
 * once on different outputs. */
#pragma once

#include <stdbool.h>

#include "src/base/error.h"

typedef struct vlmp_blas vlmp_blas;

/* Opens libopenblas with the kernels that suit this processor (OPENBLAS_CORETYPE, which stands when
 * the user has set it), one thread, takes the work memory of as many callers at once (128 MB of
 * address space each), and checks a few products and factorisations. Wrong results, a missing
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

/* LAPACK on a row-major matrix a[n][n]; `lower` names the row-major triangle that is read and
 * overwritten. Returns LAPACK's info: 0, or the order of the minor that is not positive definite
 * (potrf), or the index of the zero diagonal element (potri, trtri).
 *   potrf: a = L·Lᵀ (lower) or Uᵀ·U (upper)      potri: a⁻¹ from potrf's factor
 *   trtri: inverse of the triangle */
int vlmp_dpotrf(const vlmp_blas *blas, bool lower, int n, double *a, int lda);
int vlmp_dpotri(const vlmp_blas *blas, bool lower, int n, double *a, int lda);
int vlmp_dtrtri(const vlmp_blas *blas, bool lower, int n, double *a, int lda);
int vlmp_spotrf(const vlmp_blas *blas, bool lower, int n, float *a, int lda);
int vlmp_spotri(const vlmp_blas *blas, bool lower, int n, float *a, int lda);
int vlmp_strtri(const vlmp_blas *blas, bool lower, int n, float *a, int lda);
