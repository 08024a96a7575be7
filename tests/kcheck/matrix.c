/* Gram matrices and general products. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "tests/kcheck/kcheck.h"

struct gram {
    const float *x;
    int rows, k;
};

static void run_gram(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct gram *g = arg;
    ctx->ops->gram(ctx, kc_f32(out), kc_act(g->x), g->rows, g->k);
}

/* Of old + Σ a[row][i]·b[row][j], rows of `width`: the products and the old value in any order err
 * by (rows + 2) units of Σ|terms|; on tensor cores, which cut bits off where others round, by three
 * times that. At a level of BF16 each product errs before. */
static double moment_bound(const kc *k, float old, const float *a, const float *b, int rows,
                           size_t width)
{
    double terms = fabs((double)old), rounded = 0;
    for (size_t at = 0; at < (size_t)rows * width; at += width) {
        double x = fabs((double)a[at]), y = fabs((double)b[at]);
        terms += x * y;
        if (k->bf16) rounded += KC_BF16 * x * y + KC_BF16_TINY * (x + y + 2);
    }
    double units = (k->half ? 3 : 1) * (rows + 2);
    return units * KC_UNIT * (terms + rounded) + rounded + 0x1p-140;
}

/* Above the diagonal the old value stays. */
static void check_gram(kc *k, int rows, int width, kc_kind kind)
{
    char name[64];
    snprintf(name, sizeof name, "gram rows %d k %d %s", rows, width, kc_kind_name(kind));
    kc_begin(k, name);
    size_t count = (size_t)width * (size_t)width;
    struct gram g = {kc_floats(k, (size_t)rows * (size_t)width, kind), rows, width};
    float *initial = kc_floats(k, count, KC_NORMAL);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    for (size_t i = 0; i < count; i++)
        out[i] = initial[i];
    run_gram(k->reference, out, &g);
    for (size_t i = 0; i < count; i++) {
        size_t row = i / (size_t)width, column = i % (size_t)width;
        expected[i] = out[i];
        if (column > row) continue;
        bound[i] = moment_bound(k, initial[i], g.x + row, g.x + column, rows, (size_t)width);
    }
    kc_check(k, &(kc_case){name, run_gram, &g, count, initial, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

void kc_check_gram(kc *k)
{
    check_gram(k, 0, 5, KC_NORMAL);
    check_gram(k, 1, 1, KC_NORMAL);
    check_gram(k, 13, 31, KC_OUTLIERS);
    check_gram(k, 100, 129, KC_UNIFORM);
    check_gram(k, 37, 300, KC_NORMAL);
    check_gram(k, 1100, 67, KC_NORMAL);
    check_gram(k, 23, 160, KC_TINY);
    check_gram(k, 261, 64, KC_OUTLIERS);
    check_gram(k, 45, 264, KC_UNIFORM);
}

struct cross {
    const float *a, *b;
    int rows, k;
};

static void run_cross(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct cross *c = arg;
    ctx->ops->cross(ctx, kc_f32(out), kc_act(c->a), kc_act(c->b), c->rows, c->k);
}

/* As gram, of two matrices. */
static void check_cross(kc *k, int rows, int width)
{
    char name[64];
    snprintf(name, sizeof name, "cross rows %d k %d", rows, width);
    kc_begin(k, name);
    size_t count = (size_t)width * (size_t)width, values = (size_t)rows * (size_t)width;
    struct cross c = {.rows = rows, .k = width};
    c.a = kc_floats(k, values, KC_OUTLIERS);
    c.b = kc_floats(k, values, KC_NORMAL);
    float *initial = kc_floats(k, count, KC_NORMAL);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    for (size_t i = 0; i < count; i++)
        out[i] = initial[i];
    run_cross(k->reference, out, &c);
    for (size_t i = 0; i < count; i++) {
        expected[i] = out[i];
        bound[i] = moment_bound(k, initial[i], c.a + i / (size_t)width, c.b + i % (size_t)width,
                                rows, (size_t)width);
    }
    kc_check(k, &(kc_case){name, run_cross, &c, count, initial, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

void kc_check_cross(kc *k)
{
    check_cross(k, 0, 3);
    check_cross(k, 1, 1);
    check_cross(k, 37, 31);
    check_cross(k, 130, 300);
    check_cross(k, 259, 65);
    check_cross(k, 33, 136);
}

struct gemm {
    const float *a, *b;
    bool trans_a, trans_b;
    int m, n, k, lda, ldb, ldc;
    float alpha, beta;
};

static void run_gemm(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct gemm *g = arg;
    ctx->ops->gemm(ctx, g->trans_a, g->trans_b, g->m, g->n, g->k, g->alpha, g->a, g->lda, g->b,
                   g->ldb, g->beta, out, g->ldc);
}

/* k products, alpha and beta·c: (k + 4) units of Σ|terms|. Between the rows of c, its padding
 * stays. */
static void check_gemm(kc *k, int m, int n, int depth, bool trans_a, bool trans_b, float beta)
{
    enum { PADDING = 3 };
    char name[96];
    snprintf(name, sizeof name, "gemm m %d n %d k %d%s%s beta %g", m, n, depth,
             trans_a ? " Aᵀ" : "", trans_b ? " Bᵀ" : "", (double)beta);
    kc_begin(k, name);
    struct gemm g = {.trans_a = trans_a,
                     .trans_b = trans_b,
                     .m = m,
                     .n = n,
                     .k = depth,
                     .lda = (trans_a ? m : depth) + PADDING,
                     .ldb = (trans_b ? depth : n) + PADDING,
                     .ldc = n + PADDING,
                     .alpha = -0.75f,
                     .beta = beta};
    size_t a_count = (size_t)g.lda * (size_t)(trans_a ? depth : m);
    size_t b_count = (size_t)g.ldb * (size_t)(trans_b ? n : depth);
    size_t count = (size_t)g.ldc * (size_t)m;
    g.a = kc_floats(k, a_count, KC_NORMAL);
    g.b = kc_floats(k, b_count, KC_OUTLIERS);
    float *initial = kc_floats(k, count, KC_NORMAL);
    if (beta == 0)
        for (size_t i = 0; i < count; i++)
            initial[i] = NAN; /* overwritten, not multiplied */
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    for (size_t i = 0; i < count; i++)
        out[i] = initial[i];
    run_gemm(k->reference, out, &g);
    for (size_t i = 0; i < count; i++) {
        size_t row = i / (size_t)g.ldc;
        size_t column = i % (size_t)g.ldc;
        expected[i] = out[i];
        if (column >= (size_t)n) continue;
        double terms = beta == 0 ? 0 : fabs((double)beta * initial[i]);
        for (size_t p = 0; p < (size_t)depth; p++)
            terms += fabs((double)g.alpha *
                          g.a[trans_a ? p * (size_t)g.lda + row : row * (size_t)g.lda + p] *
                          g.b[trans_b ? column * (size_t)g.ldb + p : p * (size_t)g.ldb + column]);
        bound[i] = (depth + 4) * KC_UNIT * terms + 0x1p-140;
    }
    kc_check(k, &(kc_case){name, run_gemm, &g, count, initial, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

void kc_check_gemm(kc *k)
{
    for (int variant = 0; variant < 4; variant++) {
        bool trans_a = variant % 2 != 0;
        bool trans_b = variant / 2 != 0;
        check_gemm(k, 1, 1, 1, trans_a, trans_b, 0);
        check_gemm(k, 3, 17, 5, trans_a, trans_b, 1);
        check_gemm(k, 300, 31, 67, trans_a, trans_b, 0);
        check_gemm(k, 31, 280, 33, trans_a, trans_b, -0.5f);
    }
}
