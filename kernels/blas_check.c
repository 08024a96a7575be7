#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas_internal.h"
#include "kernels/ref/ref.h"
#include "src/base/memory.h"
#include "src/base/rng.h"

/* Odd, and beyond the unrolling and blocking of every kernel in these libraries' small paths. */
enum { CHECK_M = 61, CHECK_N = 83, CHECK_K = 147 };

struct check {
    const vlmp_blas *blas;
    vlmp_error *err;
    float *a, *b, *c, *expected, *terms; /* square, side CHECK_K at least */
};

static int report(const struct check *check, const char *what)
{
    return vlmp_fail(check->err, VLMP_ERR_SYSTEM,
                     "%s (%s): %s is wrong on this processor; set OPENBLAS_CORETYPE to other "
                     "kernels, or install another OpenBLAS",
                     check->blas->library, check->blas->describe, what);
}

static void fill(float *values, size_t count, uint64_t seed)
{
    vlmp_rng rng = {seed};
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(vlmp_rng_uniform(&rng) * 2 - 1);
}

/* Adding k products in any order, in F32, errs by at most (k+1)·2⁻²⁴·Σ|terms| (to first order);
 * Σ|terms| comes from the product of the absolute values. */
static bool close_enough(const struct check *check, int count, int k)
{
    for (int i = 0; i < count; i++) {
        double bound = (k + 2) * 0x1p-24 * check->terms[i] + 0x1p-126;
        if (!(fabs((double)check->c[i] - check->expected[i]) <= bound)) return false;
    }
    return true;
}

static void absolute(float *to, const float *from, int count)
{
    for (int i = 0; i < count; i++)
        to[i] = fabsf(from[i]);
}

static int check_product(struct check *check, bool trans_a, bool trans_b)
{
    int lda = trans_a ? CHECK_M : CHECK_K;
    int ldb = trans_b ? CHECK_K : CHECK_N;
    fill(check->a, CHECK_M * CHECK_K, 1);
    fill(check->b, CHECK_K * CHECK_N, 2);
    fill(check->c, CHECK_M * CHECK_N, 3);
    absolute(check->terms, check->c, CHECK_M * CHECK_N);
    memcpy(check->expected, check->c, sizeof(float) * CHECK_M * CHECK_N);
    vlmp_ref_gemm(NULL, trans_a, trans_b, CHECK_M, CHECK_N, CHECK_K, -1, check->a, lda, check->b,
                  ldb, 1, check->expected, CHECK_N);
    vlmp_sgemm(check->blas, trans_a, trans_b, CHECK_M, CHECK_N, CHECK_K, -1, check->a, lda,
               check->b, ldb, 1, check->c, CHECK_N);
    absolute(check->a, check->a, CHECK_M * CHECK_K);
    absolute(check->b, check->b, CHECK_K * CHECK_N);
    vlmp_ref_gemm(NULL, trans_a, trans_b, CHECK_M, CHECK_N, CHECK_K, 1, check->a, lda, check->b,
                  ldb, 1, check->terms, CHECK_N);
    if (!close_enough(check, CHECK_M * CHECK_N, CHECK_K + 1)) return report(check, "sgemm");
    return VLMP_OK;
}

static int check_syrk(struct check *check)
{
    fill(check->a, CHECK_K * CHECK_N, 4);
    for (int i = 0; i < CHECK_N * CHECK_N; i++)
        check->expected[i] = check->terms[i] = check->c[i] = 0;
    vlmp_ssyrk(check->blas, CHECK_N, CHECK_K, check->a, CHECK_N, 0, check->c, CHECK_N);
    vlmp_ref_gram(NULL, (vlmp_f32){check->expected}, (vlmp_act){check->a}, CHECK_K, CHECK_N);
    absolute(check->b, check->a, CHECK_K * CHECK_N);
    vlmp_ref_gram(NULL, (vlmp_f32){check->terms}, (vlmp_act){check->b}, CHECK_K, CHECK_N);
    for (int i = 0; i < CHECK_N; i++)
        if (!close_enough(&(struct check){.c = check->c + i * CHECK_N,
                                          .expected = check->expected + i * CHECK_N,
                                          .terms = check->terms + i * CHECK_N},
                          i + 1, CHECK_K))
            return report(check, "ssyrk");
    return VLMP_OK;
}

static int run_checks(struct check *check)
{
    for (int variant = 0; variant < 4; variant++)
        VLMP_TRY(check_product(check, variant & 1, variant >> 1));
    return check_syrk(check);
}

int vlmp_blas_check(const vlmp_blas *blas, vlmp_error *err)
{
    const size_t side = (size_t)CHECK_K * CHECK_K;
    float *floats = vlmp_calloc(5 * side, sizeof *floats);
    int status;
    if (floats == NULL) {
        status = vlmp_fail_memory(err, "the check of BLAS");
    } else {
        struct check check = {
            .blas = blas,
            .err = err,
            .a = floats,
            .b = floats + side,
            .c = floats + 2 * side,
            .expected = floats + 3 * side,
            .terms = floats + 4 * side,
        };
        status = run_checks(&check);
    }
    free(floats);
    return status;
}
