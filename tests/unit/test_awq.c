/* quant: AWQ's scale search, shared channels, rounding without propagation, and the guard. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/method/awq.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/missed.h"
#include "src/quant/method/rtn.h"
#include "tests/unit/schemes.h"

enum { K = 128, N = 48, TOKENS = 300 };

static const vlmp_scheme scheme = SCHEME(4, 64, true, false);

struct fixture {
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    float w[N * K], gram[K * K], mean_abs[K];
};

static double normal(vlmp_rng *rng)
{
    double sum = 0.0;
    for (int i = 0; i < 12; i++)
        sum += vlmp_rng_uniform(rng);
    return sum - 6.0;
}

/* Inputs of equal strength but for every 16th channel, `outlier` times as strong. */
static void fill(struct fixture *f, double outlier)
{
    vlmp_rng rng = {17};
    float x[K];
    memset(f->gram, 0, sizeof f->gram);
    memset(f->mean_abs, 0, sizeof f->mean_abs);
    for (int i = 0; i < N * K; i++)
        f->w[i] = (float)(0.05 * normal(&rng));
    for (int t = 0; t < TOKENS; t++) {
        for (int i = 0; i < K; i++)
            x[i] = (float)(normal(&rng) * (i % 16 == 3 ? outlier : 1.0));
        for (int i = 0; i < K; i++) {
            f->mean_abs[i] += fabsf(x[i]) / TOKENS;
            for (int j = 0; j < K; j++)
                f->gram[i * K + j] += x[i] * x[j];
        }
    }
}

static int setup(void **state)
{
    vlmp_error err = {0};
    struct fixture *f = vlmp_calloc(1, sizeof *f);
    if (f == NULL || vlmp_pool_create(&f->pool, 2, &err) != VLMP_OK ||
        vlmp_ctx_create(&f->ctx, VLMP_BACKEND_REF, NULL, f->pool, &err) != VLMP_OK)
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vlmp_ctx_free(f->ctx);
    vlmp_pool_free(f->pool);
    free(f);
    return 0;
}

static double loss_of(const struct fixture *f, const vlmp_quantized *q, const float *scales)
{
    double sum = 0.0;
    float got[K];
    double e[K];
    for (int r = 0; r < N; r++) {
        vlmp_dequantize(q, r, 1, got);
        for (int i = 0; i < K; i++)
            e[i] = (double)f->w[r * K + i] - (double)got[i] / (scales ? (double)scales[i] : 1.0);
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                sum += e[i] * e[j] * (double)f->gram[i * K + j];
    }
    return sum;
}

static vlmp_quantized quantize_scaled(struct fixture *f, const float *scales)
{
    vlmp_error err = {0};
    vlmp_quantized q;
    static float w[N * K], gram[K * K];
    memcpy(w, f->w, sizeof w);
    memcpy(gram, f->gram, sizeof gram);
    vlmp_awq_scale_columns(w, N, K, scales);
    assert_int_equal(vlmp_awq_scale_gram(f->ctx, gram, K, scales, &err), VLMP_OK);
    vlmp_awq_options options = vlmp_awq_defaults();
    assert_int_equal(vlmp_quantized_alloc(&q, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_awq_quantize(&q, f->ctx, gram, w, &options, "x", &err), VLMP_OK);
    return q;
}

static void finds_outliers_and_lowers_the_loss(void **state)
{
    struct fixture *f = *state;
    fill(f, 30.0);
    vlmp_error err = {0};
    float scales[K];
    const vlmp_awq_linear linears[2] = {{f->w, 16}, {f->w + 16 * K, N - 16}};
    const vlmp_awq_site site = {K, f->gram, f->mean_abs, linears, 2, NULL, 0};
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report;
    assert_int_equal(vlmp_awq_search(scales, f->ctx, &site, &scheme, &options, &report, &err),
                     VLMP_OK);
    assert_true(!report.identity && report.error < report.identity_error);
    for (int i = 0; i < K; i++)
        if (i % 16 != 3) assert_true(scales[i] < scales[3]);
    vlmp_quantized q = quantize_scaled(f, scales), nearest;
    assert_int_equal(vlmp_quantized_alloc(&nearest, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&nearest, f->w, f->pool, "x", &err), VLMP_OK);
    double method = loss_of(f, &q, scales), plain = loss_of(f, &nearest, NULL);
    assert_true(method < 0.5 * plain);
    vlmp_guard_result result;
    const vlmp_guard_linear guarded = {.name = "x", .w = f->w, .q = &q};
    const vlmp_guard_tokens tokens = {.gram = f->gram};
    assert_int_equal(vlmp_guard(&result, f->ctx, &guarded, 1, &tokens, scales, &err), VLMP_OK);
    assert_false(result.keep_rtn);
    assert_true(fabs(result.method_error - method) < 1e-3 * method);
    assert_true(fabs(result.rtn_error - plain) < 1e-3 * plain);
    double energy, exact = 0.0;
    assert_int_equal(vlmp_guard_energy(&energy, f->ctx, f->w, N, K, f->gram, &err), VLMP_OK);
    for (int r = 0; r < N; r++)
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                exact +=
                    (double)f->w[r * K + i] * (double)f->w[r * K + j] * (double)f->gram[i * K + j];
    assert_true(fabs(energy - exact) < 1e-3 * exact);
    vlmp_quantized_free(&q);
    vlmp_quantized_free(&nearest);
}

/* A search whose every scaled candidate loses leaves the identity: all channels alike. */
static void identity_is_in_the_grid(void **state)
{
    struct fixture *f = *state;
    fill(f, 1.0);
    for (int i = 0; i < K; i++)
        f->mean_abs[i] = i % 2 == 0 ? 1e-3f : 1e3f; /* misleading statistics */
    vlmp_error err = {0};
    float scales[K];
    const vlmp_awq_linear linear = {f->w, N};
    const vlmp_awq_site site = {K, f->gram, f->mean_abs, &linear, 1, NULL, 0};
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report;
    options.steps = 1; /* exponent 1, and exponent 0 with the weight term */
    assert_int_equal(vlmp_awq_search(scales, f->ctx, &site, &scheme, &options, &report, &err),
                     VLMP_OK);
    assert_true(report.error <= report.identity_error);
    if (report.identity)
        for (int i = 0; i < K; i++)
            assert_true(scales[i] == 1.0f);
    assert_false(report.exponent == 1.0);
}

static void shared_channels_get_one_scale(void **state)
{
    struct fixture *f = *state;
    fill(f, 30.0);
    /* 4 query heads of 32 over 2 value heads: channel c reads value channel c/64·32 + c%32 */
    int shared[K];
    for (int c = 0; c < K; c++)
        shared[c] = c / 64 * 32 + c % 32;
    vlmp_error err = {0};
    float scales[K];
    const vlmp_awq_linear linear = {f->w, N};
    const vlmp_awq_site site = {K, f->gram, f->mean_abs, &linear, 1, shared, 64};
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report;
    assert_int_equal(vlmp_awq_search(scales, f->ctx, &site, &scheme, &options, &report, &err),
                     VLMP_OK);
    assert_true(report.error < report.identity_error);
    bool varied = false;
    for (int c = 0; c < K; c++) {
        assert_true(scales[c] == scales[(c ^ 32)]);
        varied |= scales[c] != scales[0];
    }
    assert_true(varied);
}

/* A channel that never fired keeps weights that are worth something. */
static void dead_channels_are_not_scaled_away(void **state)
{
    struct fixture *f = *state;
    fill(f, 30.0);
    for (int i = 0; i < K; i++)
        f->gram[7 * K + i] = f->gram[i * K + 7] = 0.0f;
    f->mean_abs[7] = 0.0f;
    vlmp_error err = {0};
    float scales[K], largest = 0.0f;
    const vlmp_awq_linear linear = {f->w, N};
    const vlmp_awq_site site = {K, f->gram, f->mean_abs, &linear, 1, NULL, 0};
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report;
    assert_int_equal(vlmp_awq_search(scales, f->ctx, &site, &scheme, &options, &report, &err),
                     VLMP_OK);
    for (int i = 0; i < K; i++)
        if (i != 7 && i % 16 != 3) largest = fmaxf(largest, scales[i]);
    assert_true(report.exponent > 0.0 && scales[7] >= 0.5f * largest);
}

/* Each code is the nearest to its weight on its group's final grid up to what the refit moved. */
static void codes_are_nearest(void **state)
{
    struct fixture *f = *state;
    fill(f, 5.0);
    float ones[K];
    for (int i = 0; i < K; i++)
        ones[i] = 1.0f;
    vlmp_error err = {0};
    vlmp_awq_options options = vlmp_awq_defaults();
    options.refits = 0;
    vlmp_quantized q;
    assert_int_equal(vlmp_quantized_alloc(&q, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_awq_quantize(&q, f->ctx, f->gram, f->w, &options, "x", &err), VLMP_OK);
    for (int r = 0; r < N; r++)
        for (int i = 0; i < K; i++) {
            float step = q.scales[r * q.groups + i / q.group], level = f->w[r * K + i] / step;
            float got = (float)(q.codes[r * K + i] - 8);
            float nearest = fminf(fmaxf(level, -8.0f), 7.0f);
            assert_true(fabsf(got - nearest) <= 0.5f + 1e-5f);
        }
    double before = loss_of(f, &q, NULL);
    vlmp_quantized refitted = quantize_scaled(f, ones);
    assert_memory_equal(refitted.codes, q.codes, sizeof f->w / sizeof *f->w);
    assert_true(loss_of(f, &refitted, NULL) < before);
    vlmp_quantized_free(&q);
    vlmp_quantized_free(&refitted);
}

/* A method that is worse than rounding is refused. */
static void guard_judges(void **state)
{
    struct fixture *f = *state;
    fill(f, 1.0);
    vlmp_error err = {0};
    vlmp_quantized q;
    vlmp_guard_result result;
    const vlmp_guard_tokens tokens = {.gram = f->gram};
    assert_int_equal(vlmp_quantized_alloc(&q, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&q, f->w, f->pool, "x", &err), VLMP_OK);
    const vlmp_guard_linear linear = {.name = "x", .w = f->w, .q = &q};
    assert_int_equal(vlmp_guard(&result, f->ctx, &linear, 1, &tokens, NULL, &err), VLMP_OK);
    assert_false(result.keep_rtn); /* equal is not worse */
    assert_true(result.method_error == result.rtn_error);
    for (int i = 0; i < N * K; i += 5)
        q.codes[i] = q.codes[i] < 8 ? q.codes[i] + 2 : q.codes[i] - 2;
    assert_int_equal(vlmp_guard(&result, f->ctx, &linear, 1, &tokens, NULL, &err), VLMP_OK);
    assert_true(result.keep_rtn);
    vlmp_quantized_free(&q);
}

/* Inputs x and the original model's x₀ (x weakened on every third channel), their moments, and
 * Σ |W·x₀ − ŵ·x|² of two roundings from the tokens themselves. */
struct shifted {
    float gram[K * K], cross[K * K], difference[TOKENS * K];
    double error[2];
    int tokens;
};

static void add_token(struct shifted *s, const struct fixture *f, const float *x, const float *x0,
                      float *const rounded[2])
{
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            s->gram[i * K + j] += x[i] * x[j];
            s->cross[i * K + j] += (x0[i] - x[i]) * x[j];
        }
    for (int i = 0; i < K; i++)
        s->difference[s->tokens * K + i] = x0[i] - x[i];
    s->tokens++;
    for (int r = 0; r < N; r++)
        for (int which = 0; which < 2; which++) {
            double y = 0.0;
            for (int i = 0; i < K; i++)
                y += (double)f->w[r * K + i] * (double)x0[i] -
                     (double)rounded[which][r * K + i] * (double)x[i];
            s->error[which] += y * y;
        }
}

/* Half the tokens as samples that are seen, half as held out, under another linear before it. */
static double missed_of(const struct fixture *f, struct shifted *s)
{
    vlmp_error err = {0};
    vlmp_missed missed;
    double sums[2][2];
    float zero[3 * K] = {0};
    int half = s->tokens / 2;
    assert_int_equal(vlmp_missed_create(&missed, f->ctx, 2, K, s->tokens - half, &err), 0);
    vlmp_missed_linear(&missed, zero, 3);
    vlmp_missed_linear(&missed, f->w, N);
    assert_int_equal(vlmp_missed_begin(&missed, &err), 0);
    vlmp_missed_add(&missed, false, (vlmp_act){s->difference}, half);
    vlmp_missed_add(&missed, true, (vlmp_act){s->difference + half * K}, s->tokens - half);
    assert_int_equal(vlmp_missed_take(&missed, sums, &err), 0);
    assert_true(sums[0][0] == 0 && sums[0][1] == 0 && sums[1][0] > 0 && sums[1][1] > 0);
    vlmp_missed_free(&missed);
    return sums[1][0] + sums[1][1];
}

/* What makes up for the inputs is better where the original outputs are the aim, and worse where
 * W·x is: the guard says so, with the errors that the tokens have. */
static void guard_judges_original_outputs(void **state)
{
    struct fixture *f = *state;
    fill(f, 1.0);
    vlmp_error err = {0};
    struct shifted *s = vlmp_calloc(1, sizeof *s);
    float *w = vlmp_alloc(N * K, sizeof *w), *rounded[2];
    vlmp_quantized q[2];
    assert_true(s != NULL && w != NULL);
    for (int which = 0; which < 2; which++) { /* plain rounding; that of weights made stronger */
        rounded[which] = vlmp_alloc(N * K, sizeof **rounded);
        assert_non_null(rounded[which]);
        for (int i = 0; i < N * K; i++)
            w[i] = f->w[i] * (which == 1 && i % K % 3 == 0 ? 1.25f : 1.0f);
        assert_int_equal(vlmp_quantized_alloc(&q[which], N, K, &scheme, &err), VLMP_OK);
        assert_int_equal(vlmp_rtn(&q[which], w, f->pool, "x", &err), VLMP_OK);
        vlmp_dequantize(&q[which], 0, N, rounded[which]);
    }
    vlmp_rng rng = {5};
    for (int t = 0; t < TOKENS; t++) {
        float x[K], x0[K];
        for (int i = 0; i < K; i++) {
            x0[i] = (float)normal(&rng);
            x[i] = x0[i] * (i % 3 == 0 ? 0.8f : 1.0f);
        }
        add_token(s, f, x, x0, rounded);
    }
    vlmp_guard_linear linear = {.name = "x", .w = f->w, .q = &q[1]};
    vlmp_guard_tokens tokens = {s->gram, s->cross};
    linear.missed = missed_of(f, s);
    vlmp_guard_result result;
    assert_int_equal(vlmp_guard(&result, f->ctx, &linear, 1, &tokens, NULL, &err), VLMP_OK);
    assert_false(result.keep_rtn);
    assert_true(fabs(result.method_error - s->error[1]) < 1e-3 * s->error[1]);
    assert_true(fabs(result.rtn_error - s->error[0]) < 1e-3 * s->error[0]);
    tokens.cross = NULL;
    linear.missed = 0;
    assert_int_equal(vlmp_guard(&result, f->ctx, &linear, 1, &tokens, NULL, &err), VLMP_OK);
    assert_true(result.keep_rtn);
    for (int which = 0; which < 2; which++) {
        vlmp_quantized_free(&q[which]);
        free(rounded[which]);
    }
    free(w);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_outliers_and_lowers_the_loss),
        cmocka_unit_test(identity_is_in_the_grid),
        cmocka_unit_test(shared_channels_get_one_scale),
        cmocka_unit_test(dead_channels_are_not_scaled_away),
        cmocka_unit_test(codes_are_nearest),
        cmocka_unit_test(guard_judges),
        cmocka_unit_test(guard_judges_original_outputs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
