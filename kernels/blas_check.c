#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas_internal.h"
#include "kernels/ref/ref.h"
#include "src/base/memory.h"
#include "src/base/rng.h"

/* Odd, and beyond the unrolling and blocking of every kernel in these libraries' small paths. */
enum { CHECK_M = 61, CHECK_N = 83, CHECK_K = 147, CHECK_ORDER = 101 };

struct check {
    const vlmp_blas *blas;
    vlmp_error *err;
    float *a, *b, *c, *expected, *terms; /* square, side CHECK_K at least */
    double *matrix, *factor;             /* CHECK_ORDER² */
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

/* A symmetric, strictly diagonally dominant matrix: its condition number is below 4, so that
 * inverse and factor are right to a few n·ε, and 100·n·ε tells a wrong kernel from rounding. */
static void fill_definite(struct check *check)
{
    vlmp_rng rng = {5};
    for (int i = 0; i < CHECK_ORDER; i++) {
        for (int j = 0; j <= i; j++) {
            double value = i == j ? 2 : (vlmp_rng_uniform(&rng) * 2 - 1) / CHECK_ORDER;
            check->matrix[i * CHECK_ORDER + j] = check->matrix[j * CHECK_ORDER + i] = value;
        }
    }
}

/* max |p·q − target|, where p is a full matrix or (lower) a triangle times its transpose. */
static double product_error(const double *p, const double *q, bool triangle, const double *target)
{
    double worst = 0;
    for (int i = 0; i < CHECK_ORDER; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            int end = triangle ? j + 1 : CHECK_ORDER;
            for (int k = 0; k < end; k++)
                sum += p[i * CHECK_ORDER + k] *
                       (triangle ? q[j * CHECK_ORDER + k] : q[k * CHECK_ORDER + j]);
            double expected = target != NULL ? target[i * CHECK_ORDER + j] : i == j;
            worst = fmax(worst, fabs(sum - expected));
            if (isnan(sum)) return INFINITY;
        }
    }
    return worst;
}

static void mirror(double *matrix)
{
    for (int i = 0; i < CHECK_ORDER; i++)
        for (int j = 0; j < i; j++)
            matrix[j * CHECK_ORDER + i] = matrix[i * CHECK_ORDER + j];
}

static int check_double(struct check *check)
{
    const int n = CHECK_ORDER;
    const double tolerance = 100 * n * 0x1p-53;
    fill_definite(check);
    memcpy(check->factor, check->matrix, sizeof(double) * (size_t)(n * n));
    if (vlmp_dpotrf(check->blas, true, n, check->factor, n) != 0 ||
        product_error(check->factor, check->factor, true, check->matrix) > tolerance)
        return report(check, "dpotrf");
    double *inverse = check->factor + n * n;
    memset(inverse, 0, sizeof(double) * (size_t)(n * n));
    for (int i = 0; i < n; i++) /* the upper triangle is left as it was: clear it */
        memcpy(inverse + i * n, check->factor + i * n, sizeof(double) * (size_t)(i + 1));
    for (int i = 0; i < n; i++)
        memset(check->factor + i * n + i + 1, 0, sizeof(double) * (size_t)(n - i - 1));
    if (vlmp_dtrtri(check->blas, true, n, inverse, n) != 0 ||
        product_error(check->factor, inverse, false, NULL) > tolerance)
        return report(check, "dtrtri");
    if (vlmp_dpotri(check->blas, true, n, check->factor, n) != 0) return report(check, "dpotri");
    mirror(check->factor);
    if (product_error(check->matrix, check->factor, false, NULL) > tolerance)
        return report(check, "dpotri");
    return VLMP_OK;
}

static void widen(double *to, const float *from)
{
    for (int i = 0; i < CHECK_ORDER; i++)
        for (int j = 0; j < CHECK_ORDER; j++)
            to[i * CHECK_ORDER + j] = j <= i ? from[i * CHECK_ORDER + j] : 0;
}

static int check_single(struct check *check)
{
    const int n = CHECK_ORDER;
    const double tolerance = 100 * n * 0x1p-24;
    double *wide = check->factor;
    fill_definite(check);
    for (int i = 0; i < n * n; i++)
        check->a[i] = (float)check->matrix[i];
    if (vlmp_spotrf(check->blas, true, n, check->a, n) != 0) return report(check, "spotrf");
    widen(wide, check->a);
    if (product_error(wide, wide, true, check->matrix) > tolerance) return report(check, "spotrf");
    memcpy(check->b, check->a, sizeof(float) * (size_t)(n * n));
    if (vlmp_strtri(check->blas, true, n, check->b, n) != 0) return report(check, "strtri");
    widen(wide + n * n, check->b);
    if (product_error(wide, wide + n * n, false, NULL) > tolerance) return report(check, "strtri");
    if (vlmp_spotri(check->blas, true, n, check->a, n) != 0) return report(check, "spotri");
    widen(wide, check->a);
    mirror(wide);
    if (product_error(check->matrix, wide, false, NULL) > tolerance) return report(check, "spotri");
    return VLMP_OK;
}

static int run_checks(struct check *check)
{
    for (int variant = 0; variant < 4; variant++)
        VLMP_TRY(check_product(check, variant & 1, variant >> 1));
    VLMP_TRY(check_syrk(check));
    VLMP_TRY(check_double(check));
    return check_single(check);
}

int vlmp_blas_check(const vlmp_blas *blas, vlmp_error *err)
{
    const size_t side = (size_t)CHECK_K * CHECK_K;
    float *floats = vlmp_calloc(5 * side, sizeof *floats);
    double *doubles = vlmp_calloc((size_t)3 * CHECK_ORDER * CHECK_ORDER, sizeof *doubles);
    int status;
    if (floats == NULL || doubles == NULL) {
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
            .matrix = doubles,
            .factor = doubles + (size_t)CHECK_ORDER * CHECK_ORDER,
        };
        status = run_checks(&check);
    }
    free(floats);
    free(doubles);
    return status;
}
