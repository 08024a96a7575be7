/* quant: GPTQ against the published algorithm in plain double, gains under H, determinism, singular
 * and dead inputs, target correction. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/half.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/method/gptq.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/rtn.h"
#include "tests/unit/schemes.h"

struct problem {
    int n, k;
    float *w;    /* [n][k] */
    float *gram; /* [k][k] */
};

static double normal(vlmp_rng *rng)
{
    double sum = 0.0;
    for (int i = 0; i < 12; i++)
        sum += vlmp_rng_uniform(rng);
    return sum - 6.0;
}

/* Correlated inputs: x = strengths ∘ (few factors mixed + noise), strengths exp(spread·normal). */
static struct problem make_problem(int n, int k, int tokens, double spread, double noise,
                                   uint64_t seed)
{
    vlmp_rng rng = {seed};
    struct problem p = {n, k, vlmp_alloc((size_t)n * (size_t)k, sizeof(float)),
                        vlmp_calloc((size_t)k * (size_t)k, sizeof(float))};
    double *mix = vlmp_alloc((size_t)k * 8, sizeof *mix);
    double *strength = vlmp_alloc((size_t)k, sizeof *strength);
    double *x = vlmp_alloc((size_t)k, sizeof *x);
    assert_true(p.w != NULL && p.gram != NULL && mix != NULL && strength != NULL && x != NULL);
    for (int i = 0; i < n * k; i++)
        p.w[i] = (float)(0.05 * normal(&rng));
    for (int i = 0; i < k * 8; i++)
        mix[i] = normal(&rng);
    for (int i = 0; i < k; i++)
        strength[i] = exp(spread * normal(&rng));
    for (int t = 0; t < tokens; t++) {
        double factor[8];
        for (int f = 0; f < 8; f++)
            factor[f] = normal(&rng);
        for (int i = 0; i < k; i++) {
            x[i] = noise * normal(&rng);
            for (int f = 0; f < 8; f++)
                x[i] += mix[i * 8 + f] * factor[f];
            x[i] *= strength[i];
        }
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++)
                p.gram[i * k + j] += (float)(x[i] * x[j]);
    }
    free(mix);
    free(strength);
    free(x);
    return p;
}

static void free_problem(struct problem *p)
{
    free(p->w);
    free(p->gram);
}

static vlmp_ctx *context(vlmp_backend backend, int threads, vlmp_pool **pool)
{
    vlmp_error err = {0};
    vlmp_ctx *ctx = NULL;
    assert_int_equal(vlmp_pool_create(pool, threads, &err), VLMP_OK);
    if (vlmp_ctx_create(&ctx, backend, NULL, *pool, &err) != VLMP_OK) fail_msg("%s", err.message);
    assert_int_equal(vlmp_ctx_reserve(ctx, 512, 512, &err), VLMP_OK);
    return ctx;
}

/* tr(E·gram·Eᵀ) + ridge·|E|², plainly. */
static double error_of(const struct problem *p, const vlmp_quantized *q, const float *target,
                       double ridge)
{
    double sum = 0.0;
    float *e = vlmp_alloc((size_t)p->n * (size_t)p->k, sizeof *e);
    assert_non_null(e);
    vlmp_dequantize(q, 0, q->n, e);
    for (int i = 0; i < p->n * p->k; i++)
        e[i] = target[i] - e[i];
    for (int r = 0; r < p->n; r++)
        for (int i = 0; i < p->k; i++) {
            double dot = ridge * (double)e[r * p->k + i];
            for (int j = 0; j < p->k; j++)
                dot += (double)p->gram[i * p->k + j] * (double)e[r * p->k + j];
            sum += dot * (double)e[r * p->k + i];
        }
    free(e);
    return sum;
}

static vlmp_quantized run(vlmp_ctx *ctx, const struct problem *p, const vlmp_scheme *scheme,
                          const vlmp_gptq_options *options, double damping,
                          vlmp_gptq_report *report)
{
    vlmp_error err = {0};
    vlmp_quantized q;
    vlmp_hessian h;
    assert_int_equal(vlmp_quantized_alloc(&q, p->n, p->k, scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_hessian_create(&h, ctx, p->gram, p->k, q.group, damping, &err), VLMP_OK);
    if (vlmp_gptq(&q, ctx, &h, p->gram, p->w, options, "x", report, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    vlmp_hessian_free(&h);
    return q;
}

/* The published algorithm: columns in h's order, the inverse's Cholesky factor, each error divided
 * by its diagonal and spread at once over all later columns; scales by min-max at group entry. All
 * in double. order[0] is processed first. */
static void published(const struct problem *p, const int *order, int group, bool symmetric,
                      double damping, uint8_t *codes)
{
    enum { MAX = 160 };
    static double a[MAX][2 * MAX], u[MAX][MAX], w[MAX];
    int k = p->k;
    double mean = 0.0;
    for (int i = 0; i < k; i++)
        mean += (double)p->gram[i * k + i] / k;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            a[i][j] = (double)p->gram[order[i] * k + order[j]] + (i == j ? damping * mean : 0.0);
            a[i][k + j] = i == j;
        }
    for (int c = 0; c < k; c++) { /* Gauss-Jordan: symmetric positive, so no pivoting */
        double d = a[c][c];
        for (int j = 0; j < 2 * k; j++)
            a[c][j] /= d;
        for (int i = 0; i < k; i++) {
            double f = a[i][c];
            if (i == c || f == 0.0) continue;
            for (int j = 0; j < 2 * k; j++)
                a[i][j] -= f * a[c][j];
        }
    }
    for (int i = 0; i < k; i++) /* inverse = uᵀ·u, u upper */
        for (int j = i; j < k; j++) {
            double sum = a[i][k + j];
            for (int l = 0; l < i; l++)
                sum -= u[l][i] * u[l][j];
            u[i][j] = i == j ? sqrt(sum) : sum / u[i][i];
        }
    for (int r = 0; r < p->n; r++) {
        double scale = 1.0, zero = 8.0;
        for (int i = 0; i < k; i++)
            w[i] = (double)p->w[r * k + order[i]];
        for (int i = 0; i < k; i++) {
            if (i % group == 0) {
                double low = 0, high = 0;
                for (int j = i; j < i + group; j++) {
                    low = fmin(low, w[j]);
                    high = fmax(high, w[j]);
                }
                scale = symmetric ? fmax(-low, high) / 7.5 : (high - low) / 15;
                if (group < k) scale = (double)vlmp_f16_to_f32(vlmp_f32_to_f16((float)scale));
                zero = symmetric ? 8.0 : nearbyint(7.5 - 0.5 * (low + high) / scale);
                zero = fmin(fmax(zero, 0.0), 15.0);
            }
            double code = fmin(fmax(nearbyint(w[i] / scale) + zero, 0.0), 15.0);
            codes[r * k + order[i]] = (uint8_t)code;
            double e = (w[i] - (code - zero) * scale) / u[i][i];
            for (int j = i; j < k; j++)
                w[j] -= e * u[i][j];
        }
    }
}

/* Single and double precision part company where a weight lies within rounding of a border. Inputs
 * are mildly correlated here (condition below 10³), so weights carry errors of some 10⁻⁵ of a step,
 * and a scale's rounding to F16 flips for one group in a thousand: of 160 columns a row meets a
 * border with a chance of about a percent, and its later codes may then differ. A tenth of the rows
 * leaves room; a wrong factor, order or scale makes nearly all differ. */
static void equals_the_published_algorithm(void **state)
{
    (void)state;
    static const vlmp_scheme schemes[] = {SCHEME(4, 32, true, false), SCHEME(4, 32, false, false),
                                          SCHEME(4, 0, true, false), SCHEME(4, 0, false, false)};
    vlmp_pool *pool;
    vlmp_ctx *ctx = context(VLMP_BACKEND_REF, 2, &pool);
    struct problem p = make_problem(48, 160, 2000, 0.3, 2.0, 11);
    const vlmp_gptq_options plain = {.sweeps = 0};
    for (size_t s = 0; s < sizeof schemes / sizeof *schemes; s++) {
        vlmp_error err = {0};
        vlmp_gptq_report report;
        vlmp_quantized q = run(ctx, &p, &schemes[s], &plain, 0.01, &report);
        vlmp_hessian h;
        assert_int_equal(vlmp_hessian_create(&h, ctx, p.gram, p.k, q.group, 0.01, &err), VLMP_OK);
        int order[160], different = 0;
        for (int i = 0; i < p.k; i++)
            order[i] = h.order[p.k - 1 - i];
        uint8_t *codes = vlmp_alloc((size_t)p.n, (size_t)p.k);
        assert_non_null(codes);
        published(&p, order, q.group, q.scheme.zeros == VLMP_ZEROS_NONE, 0.01, codes);
        for (int r = 0; r < p.n; r++)
            different += memcmp(codes + r * p.k, q.codes + r * p.k, (size_t)p.k) != 0;
        assert_in_range(different, 0, p.n / 10);
        double exact = error_of(&p, &q, p.w, (double)h.ridge);
        assert_true(fabs(report.propagated - exact) < 1e-3 * exact);
        free(codes);
        vlmp_hessian_free(&h);
        vlmp_quantized_free(&q);
    }
    free_problem(&p);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

/* Packing and unpacking loses nothing: scales are on their type's grid, one a block where they are
 * shared. */
static void check_scales_are_stored(const vlmp_quantized *q)
{
    vlmp_error err = {0};
    vlmp_quantized back;
    vlmp_packed_shape shape;
    assert_true(vlmp_packed_shape_of(&shape, q->n, q->k, &q->scheme));
    uint8_t *bytes = vlmp_alloc(shape.bytes, 1);
    assert_non_null(bytes);
    uint8_t *high = bytes + shape.parts[VLMP_PACKED_CODES].bytes;
    uint8_t *scales = high + shape.parts[VLMP_PACKED_HIGH].bytes;
    uint8_t *zeros = scales + shape.parts[VLMP_PACKED_SCALES].bytes;
    vlmp_pack(q, bytes, high == scales ? NULL : high, scales, zeros);
    assert_int_equal(vlmp_quantized_alloc(&back, q->n, q->k, &q->scheme, &err), VLMP_OK);
    assert_int_equal(
        vlmp_unpack(&back, bytes, high == scales ? NULL : high, scales, zeros, "x", &err), VLMP_OK);
    size_t groups = (size_t)q->n * (size_t)q->groups;
    assert_memory_equal(back.codes, q->codes, (size_t)q->n * (size_t)q->k);
    assert_memory_equal(back.scales, q->scales, groups * sizeof *q->scales);
    assert_memory_equal(back.zeros, q->zeros, groups);
    vlmp_quantized_free(&back);
    free(bytes);
}

static void beats_rounding_and_the_polish_gains(void **state)
{
    (void)state;
    vlmp_scheme schemes[] = {
        SCHEME(4, 32, true, false),
        SCHEME(4, 64, false, false),
        SCHEME(4, 128, true, false),
        SCHEME(4, 0, true, false),
        SCHEME(4, 0, false, false),
        SCHEME(8, 0, true, false),
        SCHEME(3, 32, true, false),
        SCHEME(3, 64, false, false),
        vlmp_scheme_make(VLMP_CODES_FP8, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE, false),
        vlmp_scheme_make(VLMP_CODES_FP8, VLMP_BLOCK_OUTPUTS, VLMP_ZEROS_NONE, false),
        vlmp_scheme_make(VLMP_CODES_MXFP4, 32, VLMP_ZEROS_NONE, false),
        vlmp_scheme_make(VLMP_CODES_NVFP4, 16, VLMP_ZEROS_NONE, false)};
    schemes[11].global_scale = 0x1p-12f; /* weights reach 0.25 */
    vlmp_pool *pool;
    vlmp_ctx *ctx = context(VLMP_BACKEND_REF, 2, &pool);
    struct problem p = make_problem(40, 256, 600, 1.0, 0.5, 5);
    for (size_t s = 0; s < sizeof schemes / sizeof *schemes; s++) {
        vlmp_error err = {0};
        vlmp_gptq_report report;
        vlmp_gptq_options options = vlmp_gptq_defaults();
        options.sweeps = 0;
        vlmp_quantized plain = run(ctx, &p, &schemes[s], &options, 0.01, &report);
        options = vlmp_gptq_defaults();
        options.sweeps = 5; /* later sweeps work on slopes that few changes brought up to date */
        options.converged = -1.0;
        vlmp_quantized polished = run(ctx, &p, &schemes[s], &options, 0.01, &report), nearest;
        assert_int_equal(vlmp_quantized_alloc(&nearest, p.n, p.k, &schemes[s], &err), VLMP_OK);
        assert_int_equal(vlmp_rtn(&nearest, p.w, pool, "x", &err), VLMP_OK);
        double ridge = 0.0;
        for (int i = 0; i < p.k; i++)
            ridge += options.ridge * (double)p.gram[i * p.k + i] / p.k;
        double a = error_of(&p, &nearest, p.w, ridge), b = error_of(&p, &plain, p.w, ridge);
        double c = error_of(&p, &polished, p.w, ridge);
        assert_true(b < a && c < b);
        assert_int_equal(report.sweeps, 5);
        /* the gain that the polish keeps account of in F32 is the true one */
        assert_true(fabs(b - c - report.gain) < 1e-3 * b);
        check_scales_are_stored(&polished);
        vlmp_quantized_free(&plain);
        vlmp_quantized_free(&polished);
        vlmp_quantized_free(&nearest);
    }
    free_problem(&p);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

static void same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    static const vlmp_scheme schemes[] = {SCHEME(4, 64, false, false), SCHEME(4, 0, true, false)};
    struct problem p = make_problem(75, 320, 500, 1.0, 0.5, 9);
    for (size_t s = 0; s < sizeof schemes / sizeof *schemes; s++) {
        vlmp_quantized q[3];
        for (int threads = 1; threads <= 3; threads++) {
            vlmp_pool *pool;
            vlmp_ctx *ctx = context(VLMP_BACKEND_CPU, threads, &pool);
            vlmp_gptq_options options = vlmp_gptq_defaults();
            vlmp_gptq_report report;
            q[threads - 1] = run(ctx, &p, &schemes[s], &options, 0.01, &report);
            vlmp_ctx_free(ctx);
            vlmp_pool_free(pool);
        }
        for (int i = 1; i < 3; i++) {
            size_t scales = (size_t)q[0].n * (size_t)q[0].groups;
            assert_memory_equal(q[0].codes, q[i].codes, (size_t)p.n * (size_t)p.k);
            assert_memory_equal(q[0].scales, q[i].scales, scales * sizeof(float));
            assert_memory_equal(q[0].zeros, q[i].zeros, scales);
        }
        for (int i = 0; i < 3; i++)
            vlmp_quantized_free(&q[i]);
    }
    free_problem(&p);
}

/* Fewer tokens than inputs, inputs that never fired, weights of zero, a Gram matrix that is not
 * one. */
static void degenerate_inputs(void **state)
{
    (void)state;
    const vlmp_scheme scheme = SCHEME(4, 32, true, false);
    vlmp_pool *pool;
    vlmp_ctx *ctx = context(VLMP_BACKEND_REF, 2, &pool);
    struct problem p = make_problem(20, 128, 10, 1.0, 0.5, 3); /* rank 10 */
    int k = p.k;
    for (int i = 32; i < 64; i++) /* a whole group is dead */
        for (int j = 0; j < k; j++)
            p.gram[i * k + j] = p.gram[j * k + i] = 0.0f;
    for (int i = 0; i < k; i++)
        p.w[5 * k + i] = 0.0f;
    vlmp_gptq_options options = vlmp_gptq_defaults();
    vlmp_gptq_report report;
    vlmp_quantized q = run(ctx, &p, &scheme, &options, 0.01, &report), nearest;
    assert_false(report.fallback);
    vlmp_error err = {0};
    assert_int_equal(vlmp_quantized_alloc(&nearest, p.n, p.k, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&nearest, p.w, pool, "x", &err), VLMP_OK);
    float got[128];
    for (int r = 0; r < p.n; r++) {
        vlmp_dequantize(&q, r, 1, got);
        float step = q.scales[r * q.groups + 1];
        for (int i = 32; i < 64; i++) { /* rounded to nearest on the group's own grid */
            float level = nearbyintf(p.w[r * k + i] / step);
            assert_true(got[i] == fminf(fmaxf(level, -8.0f), 7.0f) * step);
        }
        for (int i = 0; r == 5 && i < k; i++)
            assert_true(got[i] == 0.0f);
    }
    assert_true(error_of(&p, &q, p.w, 0.0) < error_of(&p, &nearest, p.w, 0.0));
    vlmp_quantized_free(&q);
    for (int i = 0; i < k; i++) /* far from positive definite: −1 beside 1 on the diagonal */
        for (int j = 0; j < k; j++)
            p.gram[i * k + j] = i == j ? 1.0f : -1.0f;
    q = run(ctx, &p, &scheme, &options, 0.01, &report);
    assert_true(report.fallback);
    assert_memory_equal(q.codes, nearest.codes, (size_t)(p.n * p.k));
    vlmp_quantized_free(&q);
    for (int i = 0; i < k; i++) /* eigenvalues 1 ± 1.02: needs a damping above 0.02 */
        for (int j = 0; j < k; j++)
            p.gram[i * k + j] = i == j ? 1.0f : i / 2 == j / 2 ? 1.02f : 0.0f;
    q = run(ctx, &p, &scheme, &options, 0.01, &report);
    assert_false(report.fallback);
    assert_true(report.damping == 0.04);
    vlmp_quantized_free(&q);
    memset(p.gram, 0, (size_t)(k * k) * sizeof *p.gram);
    q = run(ctx, &p, &scheme, &options, 0.01, &report);
    assert_false(report.fallback);
    vlmp_quantized_free(&q);
    vlmp_quantized_free(&nearest);
    free_problem(&p);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

/* cross = D·(H + ridge) must move the target by exactly D. F32 solves lose cond·2⁻²⁴ ≈ 10⁻³ of the
 * weights' size, 0.05. On held-back tokens that want half of D, half the step is the best one; on
 * tokens that want the opposite, none. */
static void check_correction(int n, int k)
{
    vlmp_pool *pool;
    vlmp_ctx *ctx = context(VLMP_BACKEND_REF, 2, &pool);
    struct problem p = make_problem(n, k, 900, 1.0, 0.5, 21);
    vlmp_error err = {0};
    vlmp_hessian h;
    assert_int_equal(vlmp_hessian_create(&h, ctx, p.gram, p.k, 32, 0.01, &err), VLMP_OK);
    size_t count = (size_t)p.n * (size_t)p.k;
    float *cross = vlmp_alloc(count, sizeof *cross), *w = vlmp_calloc(count, sizeof *w);
    float *wanted = vlmp_alloc(count, sizeof *wanted);
    assert_true(cross != NULL && w != NULL && wanted != NULL);
    for (int r = 0; r < p.n; r++)
        for (int j = 0; j < p.k; j++) {
            double sum = 0.0;
            for (int i = 0; i < p.k; i++)
                sum += (double)p.w[r * p.k + i] * (double)p.gram[i * p.k + j];
            wanted[r * p.k + j] = (float)(0.5 * sum);
            cross[r * p.k + j] = (float)(sum + (double)h.ridge * (double)p.w[r * p.k + j]);
        }
    double used;
    assert_int_equal(vlmp_hessian_correct(&h, ctx, cross, NULL, 0.5, w, p.n, &used, &err), VLMP_OK);
    assert_true(used == 0.5);
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(w[i] - 0.5f * p.w[i]) < 1e-3f * 0.05f);
    memset(w, 0, count * sizeof *w);
    float *rows = vlmp_alloc(count, sizeof *rows);
    assert_non_null(rows);
    vlmp_held_back held = {p.gram, rows};
    int sampled = vlmp_sample_rows(rows, VLMP_HELD_ROWS, wanted, p.n, p.k);
    assert_int_equal(vlmp_hessian_correct(&h, ctx, cross, &held, 1.0, w, p.n, &used, &err),
                     VLMP_OK);
    assert_true(fabs(used - 0.5) < 1e-3);
    assert_int_equal(vlmp_hessian_correct(&h, ctx, cross, &held, 0.2, w, p.n, &used, &err),
                     VLMP_OK);
    assert_true(used == 0.2);
    for (int i = 0; i < sampled * p.k; i++)
        rows[i] = -rows[i];
    memset(w, 0, count * sizeof *w);
    assert_int_equal(vlmp_hessian_correct(&h, ctx, cross, &held, 1.0, w, p.n, &used, &err),
                     VLMP_OK);
    assert_true(used == 0.0);
    for (size_t i = 0; i < count; i++)
        assert_true(w[i] == 0.0f);
    free(cross);
    free(w);
    free(wanted);
    free(rows);
    vlmp_hessian_free(&h);
    free_problem(&p);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

static void correction_solves_and_is_validated(void **state)
{
    (void)state;
    check_correction(19, 288);
    check_correction(VLMP_HELD_ROWS + 77, 32); /* more rows than validate it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_published_algorithm),
        cmocka_unit_test(beats_rounding_and_the_polish_gains),
        cmocka_unit_test(same_bits_for_any_number_of_threads),
        cmocka_unit_test(degenerate_inputs),
        cmocka_unit_test(correction_solves_and_is_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
