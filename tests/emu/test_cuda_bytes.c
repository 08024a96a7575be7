/* Norms and activations that leave their rows as int8 to the product behind them (rows.cu): the
 * same bits as where the product quantizes them itself, a launch less, and never what is stale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "kernels/cuda/open.h"
#include "kernels/ops.h"
#include "src/base/rng.h"
#include "tests/emu/emu.h"

/* WIDE: more rows than the scratch of the tests holds of K; K is no multiple of a block's threads,
 * of what a lane takes, or of a stride. */
enum { K = 136, N = 24, ROWS = 5, WIDE = 70, VALUES = WIDE * K };

static vlmp_pool *pool;

struct bytes {
    vlmp_ctx *ctx;
    const vlmp_ops *ops;
    vlmp_linear w;        /* n N, k K, int8 activations */
    vlmp_linear inner[2]; /* n K, k K, of floats: what makes rows for an activation */
    vlmp_f32 x, scale, bias, y;
    vlmp_act h, m, up, other;
};

static float weights[K * K], x[VALUES], scale[K], bias[K];

static void need(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail_msg("%s", err->message);
}

static vlmp_f32 floats(struct bytes *b, const float *values, size_t count)
{
    vlmp_error err = {0};
    vlmp_f32 at;
    need(vlmp_ctx_alloc(b->ctx, &at, count, sizeof(float), "a test", &err), &err);
    vlmp_ctx_write(b->ctx, at.at, values, count * sizeof(float));
    return at;
}

static vlmp_act halves(struct bytes *b)
{
    vlmp_error err = {0};
    vlmp_act at;
    need(vlmp_ctx_alloc(b->ctx, &at, VALUES, b->ops->act_bytes, "a test", &err), &err);
    return at;
}

/* Rows of all sizes; then one of zeros, one that F16 does not hold, one that is no number. */
static void fill(vlmp_rng *rng)
{
    for (int i = 0; i < VALUES; i++)
        x[i] = (float)((2 * vlmp_rng_uniform(rng) - 1) * pow(2, i / K % 7 - 3));
    memset(x + K, 0, K * sizeof *x);
    x[2 * K + 7] = 3e38f;
    x[3 * K + 131] = NAN;
    for (int i = 0; i < K; i++) {
        scale[i] = (float)(0.5 + vlmp_rng_uniform(rng));
        bias[i] = (float)(vlmp_rng_uniform(rng) - 0.5);
    }
    for (int i = 0; i < K * K; i++)
        weights[i] = (float)(vlmp_rng_uniform(rng) - 0.5) / 8;
}

static void begin(struct bytes *b)
{
    static uint8_t codes[N * K];
    static float scales[N];
    vlmp_error err = {0};
    vlmp_rng rng = {5};
    fill(&rng);
    for (int i = 0; i < N * K; i++)
        codes[i] = (uint8_t)(255 * vlmp_rng_uniform(&rng));
    for (int i = 0; i < N; i++)
        scales[i] = (float)(0.001 + 0.01 * vlmp_rng_uniform(&rng));
    need(vlmp_cuda_plugin.create(&b->ctx, pool, 0, &err), &err);
    b->ops = b->ctx->ops;
    b->w = (vlmp_linear){.n = N, .k = K, .codes = codes, .scales = scales};
    b->w.scheme = vlmp_scheme_make(VLMP_CODES_U8, 0, VLMP_ZEROS_NONE, true);
    b->w.scheme.scales = VLMP_F32;
    need(b->ops->prepare(b->ctx, &b->w, &err), &err);
    for (int i = 0; i < 2; i++) {
        b->inner[i] = (vlmp_linear){.n = K, .k = K, .weight = weights, .dtype = VLMP_F32};
        need(b->ops->prepare(b->ctx, &b->inner[i], &err), &err);
    }
    b->x = floats(b, x, VALUES);
    b->scale = floats(b, scale, K);
    b->bias = floats(b, bias, K);
    b->y = floats(b, x, WIDE * N);
    b->h = halves(b), b->m = halves(b), b->up = halves(b), b->other = halves(b);
}

static void end(struct bytes *b)
{
    void *const memory[] = {b->x.at, b->scale.at, b->bias.at, b->y.at,
                            b->h.at, b->m.at,     b->up.at,   b->other.at};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        vlmp_ctx_free_memory(b->ctx, memory[i]);
    b->ops->release(b->ctx, b->w.own);
    for (int i = 0; i < 2; i++)
        b->ops->release(b->ctx, b->inner[i].own);
    vlmp_ctx_free(b->ctx);
}

/* What leaves its rows in h, or in m. */
enum maker { RMS_NORM, LAYER_NORM, ACTIVATE, GATED, MAKERS };

static vlmp_act make(struct bytes *b, enum maker maker, int rows)
{
    const vlmp_rows all = {rows, rows < ROWS};
    const vlmp_act outputs[] = {b->m, b->up};
    const vlmp_linear *const inner[] = {&b->inner[0], &b->inner[1]};
    if (maker == LAYER_NORM)
        b->ops->layer_norm(b->ctx, b->h, b->x, rows, K, b->scale, b->bias, 1e-5f);
    else
        b->ops->rms_norm(b->ctx, b->h, b->x, rows, K, b->scale, 1e-5f);
    if (maker < ACTIVATE) return b->h;
    b->ops->linear_shared(b->ctx, outputs, b->h, all, inner, maker == GATED ? 2 : 1);
    if (maker == GATED)
        b->ops->gated(b->ctx, b->m, b->up, (size_t)rows * K, VLMP_SILU);
    else
        b->ops->activate(b->ctx, b->m, (size_t)rows * K, VLMP_GELU_TANH);
    return b->m;
}

/* The rows, then their product, in out [rows][N]; apart: something else is asked for between them.
 * Launches of the product. */
static uint64_t run(struct bytes *b, enum maker maker, int rows, bool apart, float *out)
{
    vlmp_error err = {0};
    const float none = 0;
    const vlmp_act in = make(b, maker, rows);
    if (apart) vlmp_ctx_write(b->ctx, b->other.at, &none, sizeof none);
    need(b->ops->sync(b->ctx, &err), &err);
    const uint64_t before = vlmp_emu_read_counts().launches;
    b->ops->linear_f32(b->ctx, b->y, in, (vlmp_rows){rows, rows < ROWS}, &b->w, false);
    need(vlmp_ctx_read(b->ctx, out, b->y.at, (size_t)rows * N * sizeof *out, &err), &err);
    return vlmp_emu_read_counts().launches - before;
}

static void bits_of_the_product_and_a_launch_less(void **state)
{
    (void)state;
    struct bytes b;
    static float fused[WIDE * N], apart[WIDE * N];
    static const int counts[] = {1, ROWS, 16, WIDE};
    begin(&b);
    for (int maker = 0; maker < MAKERS; maker++)
        for (int i = 0; i < 4; i++) {
            const size_t bytes = (size_t)counts[i] * N * sizeof *fused;
            /* as much as the scratch holds at a time: rows beyond are quantized by the product */
            const uint64_t passes = counts[i] == WIDE ? 2 : 1;
            const uint64_t launches = run(&b, (enum maker)maker, counts[i], false, fused);
            assert_int_equal(launches, passes == 1 ? 1 : 2 * passes);
            assert_int_equal(run(&b, (enum maker)maker, counts[i], true, apart), 2 * passes);
            assert_memory_equal(fused, apart, bytes);
            assert_true(fused[0] != 0 && isfinite(fused[0]));
        }
    end(&b);
}

/* A norm's codes are of no use to a product of other rows, of fewer, or of the same place with
 * other contents. */
static void what_is_stale_is_not_taken(void **state)
{
    (void)state;
    struct bytes b;
    vlmp_error err = {0};
    static float first[WIDE * N], second[WIDE * N], ones[ROWS * K];
    const vlmp_rows all = {ROWS, false}, one = {1, false};
    begin(&b);
    for (int i = 0; i < ROWS * K; i++)
        ones[i] = 1;
    b.ops->write_act(b.ctx, b.other, ones, ROWS * K);
    b.ops->linear_f32(b.ctx, b.y, b.other, all, &b.w, false);
    need(vlmp_ctx_read(b.ctx, first, b.y.at, ROWS * N * sizeof *first, &err), &err);
    for (int i = 0; i < 2; i++) { /* another place; the same, written anew */
        (void)make(&b, RMS_NORM, ROWS);
        if (i == 1) b.ops->write_act(b.ctx, b.h, ones, ROWS * K);
        b.ops->linear_f32(b.ctx, b.y, i == 0 ? b.other : b.h, all, &b.w, false);
        need(vlmp_ctx_read(b.ctx, second, b.y.at, ROWS * N * sizeof *first, &err), &err);
        assert_memory_equal(first, second, ROWS * N * sizeof *first);
    }
    (void)run(&b, RMS_NORM, ROWS, true, first);
    (void)make(&b, RMS_NORM, ROWS); /* scales lie behind the codes of as many rows */
    b.ops->linear_f32(b.ctx, b.y, b.h, one, &b.w, false);
    need(vlmp_ctx_read(b.ctx, second, b.y.at, N * sizeof *first, &err), &err);
    assert_memory_equal(first, second, N * sizeof *first);
    end(&b);
}

/* A graph holds the product with its quantization where the norm is not in it: the scratch may have
 * other codes when it comes. */
static void graphs_are_whole(void **state)
{
    (void)state;
    struct bytes b;
    vlmp_error err = {0};
    vlmp_step *step;
    vlmp_replay *replay = NULL;
    static float wanted[ROWS * N], out[ROWS * N];
    const vlmp_segment segment = {.rows = ROWS};
    begin(&b);
    (void)run(&b, LAYER_NORM, ROWS, true, wanted);
    need(b.ops->step_create(b.ctx, &step, &(vlmp_step_size){ROWS, 1, 1}, &err), &err);
    b.ops->step_set(b.ctx, step,
                    &(vlmp_step_rows){.rows = ROWS, .segment_count = 1, .segments = &segment});
    for (int i = 0; i < 4; i++) { /* done, recorded, replayed, replayed */
        (void)make(&b, i == 3 ? LAYER_NORM : RMS_NORM, ROWS);
        if (i == 3) b.ops->linear_f32(b.ctx, b.y, b.other, (vlmp_rows){ROWS, false}, &b.w, false);
        if (!b.ops->replay(b.ctx, &replay, step)) {
            b.ops->linear_f32(b.ctx, b.y, b.h, (vlmp_rows){ROWS, false}, &b.w, false);
            b.ops->replay_end(b.ctx, replay);
        }
        need(vlmp_ctx_read(b.ctx, out, b.y.at, sizeof out, &err), &err);
        if (i < 3)
            assert_memory_not_equal(out, wanted, sizeof out);
        else
            assert_memory_equal(out, wanted, sizeof out);
    }
    b.ops->replay_free(b.ctx, replay);
    b.ops->step_free(b.ctx, step);
    end(&b);
}

static int open_pool(void **state)
{
    (void)state;
    vlmp_error err = {0};
    return vlmp_pool_create(&pool, 1, &err);
}

static int close_pool(void **state)
{
    (void)state;
    vlmp_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_of_the_product_and_a_launch_less),
                                       cmocka_unit_test(what_is_stale_is_not_taken),
                                       cmocka_unit_test(graphs_are_whole)};
    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
