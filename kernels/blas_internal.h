/* What the opened library exports, in its own calling conventions. */
#pragma once

#include "kernels/blas.h"

/* CBLAS's enumerations. */
enum { BLAS_ROW_MAJOR = 101, BLAS_NO_TRANS = 111, BLAS_TRANS = 112, BLAS_LOWER = 122 };

struct vlmp_blas {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*ssyrk)(int order, int uplo, int trans, int n, int k, float alpha, const float *a,
                  int lda, float beta, float *c, int ldc);
    void (*set_num_threads)(int threads);
    char *(*get_corename)(void);
    char *(*get_config)(void);
    void *(*memory_alloc)(int position); /* of work memory, NULL in builds that hide them */
    void (*memory_free)(void *memory);
    char library[64];
    char describe[128];
};

/* Compares products with plain loops; a difference beyond rounding is an error
 * that names the library. Takes a few milliseconds. */
int vlmp_blas_check(const vlmp_blas *blas, vlmp_error *err);
