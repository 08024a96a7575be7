/* What is said when a device is not there, lacks something or is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cuda_runtime.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/open.h"
#include "kernels/ops.h"
#include "src/quant/method/missed.h"
#include "tests/emu/emu.h"

static vlmp_pool *pool;
static const vlmp_emu_device whole = {
    .present = 1, .multiprocessors = 4, .major = 8, .memory = (size_t)64 << 20};

/* Host memory that runs out (-Wl,--wrap): once a device is being opened, the n-th call gives NULL.
 */
static int wanted_failure, calls_left;

void *__real_vlmp_calloc(size_t count, size_t size);
void *__wrap_vlmp_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_realloc(void *at, size_t size);

static bool runs_out(void)
{
    return calls_left > 0 && --calls_left == 0;
}

void *__wrap_vlmp_calloc(size_t count, size_t size)
{
    return runs_out() ? NULL : __real_vlmp_calloc(count, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return runs_out() ? NULL : __real_realloc(at, size);
}

static int open_device(vlmp_ctx **ctx, int device, vlmp_error *err)
{
    calls_left = wanted_failure;
    return vlmp_cuda_plugin.create(ctx, pool, device, err);
}

static void refuses(int device, const char *const *words)
{
    vlmp_error err = {0};
    vlmp_ctx *ctx;
    assert_int_equal(open_device(&ctx, device, &err), VLMP_ERR_SYSTEM);
    assert_null(ctx);
    for (; *words != NULL; words++)
        if (strstr(err.message, *words) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, *words);
    vlmp_emu_fail_after(0, 0);
    (void)cudaGetLastError();
}

static void a_device_that_cannot_be_used(void **state)
{
    (void)state;
    vlmp_emu_device none = whole, small = whole;
    none.present = 0;
    vlmp_emu_set_device(&none);
    refuses(0, (const char *const[]){"no CUDA device", "--device cpu", NULL});
    vlmp_emu_fail_after(1, cudaErrorInsufficientDriver);
    refuses(0, (const char *const[]){"no NVIDIA driver", "for CUDA 13.0", "--device cpu", NULL});
    vlmp_emu_set_device(&whole);
    refuses(2, (const char *const[]){"no cuda:2", "0 to 0", NULL});
    vlmp_emu_fail_after(1, cudaErrorInsufficientDriver);
    refuses(0, (const char *const[]){"driver is too old", "13.0", "newer driver", NULL});
    vlmp_emu_fail_after(4, cudaErrorNoKernelImageForDevice);
    refuses(0, (const char *const[]){"architecture 8.0", "8.0 and newer", NULL});
    vlmp_emu_fail_after(4, cudaErrorUnsupportedPtxVersion);
    refuses(0, (const char *const[]){"driver is too old", "newer driver", NULL});
    vlmp_emu_fail_after(2, cudaErrorInvalidDevice);
    refuses(0, (const char *const[]){"cuda:0 cannot be opened: taking it: ",
                                     "cudaErrorInvalidDevice", "--device cpu", NULL});
    vlmp_emu_fail_after(7, cudaErrorMemoryAllocation);
    refuses(0, (const char *const[]){"cuda:0 cannot be opened: 4 MiB of the host's memory", NULL});
    small.memory = 4096;
    vlmp_emu_set_device(&small);
    refuses(0, (const char *const[]){"scratch needs 1 MiB, 0 of 0 MiB are free", NULL});
    vlmp_emu_set_device(&whole);
}

/* An allocation that is too large says both numbers, and hurts nothing else. */
static void too_little_memory(void **state)
{
    (void)state;
    vlmp_error err = {0}, fine = {0};
    vlmp_ctx *ctx;
    vlmp_f32 large, small;
    float in = 7, out = 0;
    assert_int_equal(open_device(&ctx, 0, &fine), VLMP_OK);
    assert_int_equal(vlmp_ctx_alloc(ctx, &large, 100, 1 << 20, "a test", &err), VLMP_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "a test needs 100 MiB, 63 of 64 MiB are free"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_ctx_reserve(ctx, 1 << 15, 1 << 12, &err), VLMP_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "kernel scratch needs 129 MiB, 63 of 64 MiB are free"));
    assert_int_equal(vlmp_ctx_reserve(ctx, 1 << 10, 1 << 12, &fine), VLMP_OK);
    assert_int_equal(vlmp_ctx_alloc(ctx, &small, 1, sizeof in, "a test", &fine), VLMP_OK);
    vlmp_ctx_write(ctx, small.at, &in, sizeof in);
    assert_int_equal(vlmp_ctx_read(ctx, &out, small.at, sizeof out, &fine), VLMP_OK);
    assert_true(out == in);
    size_t scratch = ((size_t)1 << 10) * ((1 << 12) + sizeof(float));
    vlmp_ctx_peak_reset(ctx);
    assert_int_equal(vlmp_ctx_peak(ctx), scratch + sizeof in);
    vlmp_ctx_free_memory(ctx, small.at);
    assert_int_equal(vlmp_ctx_peak(ctx), scratch + sizeof in);
    vlmp_emu_counts ranges = vlmp_emu_read_counts();
    ctx->ops->range(ctx, "what a profiler shows");
    assert_int_equal(vlmp_emu_read_counts().ranges, ranges.ranges + 1);
    assert_int_equal(vlmp_emu_read_counts().open_ranges, ranges.open_ranges + 1);
    ctx->ops->range(ctx, NULL);
    assert_int_equal(vlmp_emu_read_counts().open_ranges, ranges.open_ranges);
    vlmp_ctx_peak_reset(ctx);
    assert_int_equal(vlmp_ctx_peak(ctx), scratch);
    vlmp_ctx_free(ctx);
}

/* Attention of one new row of each of two sequences, behind `stored` ones, over and over: what is
 * replayed gives the bits of what is not, for every number of rows. */
enum { HEAD = 8, PAGES = 16, PAGE = 64, STEPS = 40, SEQUENCES = 2 };

struct sequences {
    vlmp_ctx *ctx;
    vlmp_step *step;
    vlmp_kv *kv;
    vlmp_act rows, out;
    vlmp_replay *replay;
};

static void step_further(struct sequences *s, int stored, bool replays)
{
    const vlmp_ops *ops = s->ctx->ops;
    int32_t pages[SEQUENCES][PAGES];
    vlmp_segment segments[SEQUENCES];
    for (int i = 0; i < SEQUENCES; i++) {
        for (int page = 0; page < PAGES; page++)
            pages[i][page] = SEQUENCES * page + i;
        segments[i] = (vlmp_segment){i, 1, stored, pages[i], PAGES};
    }
    ops->step_set(
        s->ctx, s->step,
        &(vlmp_step_rows){.rows = SEQUENCES, .segment_count = SEQUENCES, .segments = segments});
    if (replays && ops->replay(s->ctx, &s->replay, s->step)) return;
    ops->kv_write(s->ctx, s->kv, 0, s->rows, s->rows, s->step);
    ops->attention(s->ctx, s->out, s->rows, s->kv, 0,
                   &(vlmp_attention){.heads = 1, .scale = 0.5f, .causal = true}, s->step);
    if (replays) ops->replay_end(s->ctx, s->replay);
}

/* Each page of the store with the same rows. */
static void fill_store(struct sequences *s)
{
    float values[PAGE * HEAD];
    vlmp_act rows;
    vlmp_error err = {0};
    for (int i = 0; i < PAGE * HEAD; i++)
        values[i] = (float)(i % 29) / 16 - 1;
    assert_int_equal(vlmp_ctx_alloc(s->ctx, &rows, PAGE * HEAD, 2, "rows", &err), VLMP_OK);
    s->ctx->ops->write_act(s->ctx, rows, values, PAGE * HEAD);
    for (int32_t page = 0; page < SEQUENCES * PAGES; page++) {
        const vlmp_segment segment = {0, PAGE, 0, &page, 1};
        s->ctx->ops->step_set(s->ctx, s->step, &(vlmp_step_rows){PAGE, 1, &segment, NULL, {NULL}});
        s->ctx->ops->kv_write(s->ctx, s->kv, 0, rows, rows, s->step);
    }
    vlmp_ctx_free_memory(s->ctx, rows.at);
}

/* out [STEPS][SEQUENCES · HEAD]; moves: the scratch does, twice. */
static void run_sequences(bool replays, bool moves, float *out)
{
    enum { VALUES = SEQUENCES * HEAD };
    vlmp_error err = {0};
    struct sequences s = {0};
    const vlmp_kv_shape shape = {1, SEQUENCES * PAGES, PAGE, 1, HEAD, false};
    assert_int_equal(open_device(&s.ctx, 0, &err), VLMP_OK);
    const vlmp_ops *ops = s.ctx->ops;
    const vlmp_step_size size = {PAGE, SEQUENCES, SEQUENCES * PAGES};
    assert_int_equal(ops->step_create(s.ctx, &s.step, &size, &err), VLMP_OK);
    assert_int_equal(ops->kv_create(s.ctx, &s.kv, &shape, &err), VLMP_OK);
    assert_int_equal(vlmp_ctx_alloc(s.ctx, &s.rows, VALUES, ops->act_bytes, "q", &err), VLMP_OK);
    assert_int_equal(vlmp_ctx_alloc(s.ctx, &s.out, VALUES, ops->act_bytes, "y", &err), VLMP_OK);
    fill_store(&s);
    for (int i = 0; i < STEPS; i++) {
        float values[VALUES];
        for (int j = 0; j < VALUES; j++)
            values[j] = (float)((i * 31 + j * 17) % 23) / 8 - 1;
        if (moves && i % (STEPS / 2) == STEPS / 4)
            assert_int_equal(vlmp_ctx_reserve(s.ctx, 64 << i / (STEPS / 2), 1 << 10, &err), 0);
        ops->write_act(s.ctx, s.rows, values, VALUES);
        step_further(&s, i < STEPS / 2 ? i : 500 + i, replays);
        assert_int_equal(ops->read_act(s.ctx, out + (size_t)i * VALUES, s.out, VALUES, &err),
                         VLMP_OK);
    }
    ops->replay_free(s.ctx, s.replay);
    vlmp_ctx_free_memory(s.ctx, s.rows.at);
    vlmp_ctx_free_memory(s.ctx, s.out.at);
    ops->kv_free(s.ctx, s.kv);
    ops->step_free(s.ctx, s.step);
    vlmp_ctx_free(s.ctx);
}

static void what_comes_again_is_one_launch(void **state)
{
    (void)state;
    enum { VALUES = STEPS * SEQUENCES * HEAD };
    static float plain[VALUES], replayed[VALUES];
    uint64_t calls[3] = {vlmp_emu_read_counts().calls};
    run_sequences(false, false, plain);
    calls[1] = vlmp_emu_read_counts().calls;
    run_sequences(true, false, replayed);
    calls[2] = vlmp_emu_read_counts().calls;
    assert_memory_equal(plain, replayed, sizeof plain);
    /* Three launches a step become one call, but for two steps of each of the two shapes. */
    assert_in_range(calls[1] - calls[0] - (calls[2] - calls[1]), STEPS, 3 * STEPS);
    /* What was recorded over a scratch that is gone does not come again. */
    run_sequences(true, true, replayed);
    assert_memory_equal(plain, replayed, sizeof plain);
}

/* Outputs that F16 does not hold are counted as they are. */
static void what_inputs_miss_is_not_rounded(void **state)
{
    enum { ROWS = 2, N = 3, K = 8 };
    (void)state;
    vlmp_error err = {0};
    vlmp_ctx *ctx;
    vlmp_missed missed;
    vlmp_act difference;
    float w[N * K], values[ROWS * K];
    double sums[1][2];
    for (int i = 0; i < N * K; i++)
        w[i] = 300;
    for (int i = 0; i < ROWS * K; i++)
        values[i] = 512;
    assert_int_equal(open_device(&ctx, 0, &err), VLMP_OK);
    assert_int_equal(vlmp_ctx_alloc(ctx, &difference, ROWS * K, ctx->ops->act_bytes, "x", &err), 0);
    ctx->ops->write_act(ctx, difference, values, ROWS * K);
    assert_int_equal(vlmp_missed_create(&missed, ctx, 1, K, ROWS, &err), VLMP_OK);
    vlmp_missed_linear(&missed, w, N);
    assert_int_equal(vlmp_missed_begin(&missed, &err), VLMP_OK);
    vlmp_missed_add(&missed, false, difference, ROWS);
    assert_int_equal(vlmp_missed_take(&missed, sums, &err), VLMP_OK);
    double output = 300.0 * 512 * K;
    assert_true(sums[0][0] == ROWS * N * output * output && sums[0][1] == 0);
    vlmp_missed_free(&missed);
    vlmp_ctx_free_memory(ctx, difference.at);
    vlmp_ctx_free(ctx);
}

/* Memory, a weight, a step, a store, an operation and what comes back. *calls: of the runtime until
 * then; what is left only frees. */
static int work(uint64_t *calls, vlmp_error *err)
{
    enum { ROWS = 3, WIDTH = 40 };
    static float values[ROWS * WIDTH], weights[WIDTH * WIDTH];
    vlmp_ctx *ctx = NULL;
    vlmp_step *step = NULL;
    vlmp_kv *kv = NULL;
    vlmp_replay *replay = NULL;
    vlmp_act x = {NULL};
    vlmp_linear w = {.n = WIDTH, .k = WIDTH, .weight = weights, .dtype = VLMP_F32};
    const vlmp_segment segment = {.rows = ROWS};
    const vlmp_step_rows rows = {.rows = ROWS, .segment_count = 1, .segments = &segment};
    const vlmp_kv_shape shape = {1, 1, 4, 1, WIDTH, false};
    VLMP_TRY(open_device(&ctx, 0, err));
    const vlmp_ops *ops = ctx->ops;
    int status = vlmp_ctx_alloc(ctx, &x, (size_t)2 * ROWS * WIDTH, ops->act_bytes, "x", err);
    if (status == VLMP_OK) status = ops->prepare(ctx, &w, err);
    if (status == VLMP_OK)
        status = ops->step_create(ctx, &step, &(vlmp_step_size){ROWS, 1, 1}, err);
    if (status == VLMP_OK) status = ops->kv_create(ctx, &kv, &shape, err);
    if (status == VLMP_OK) {
        vlmp_act y = vlmp_act_at(ctx, x, (size_t)ROWS * WIDTH);
        ops->write_act(ctx, x, values, (size_t)ROWS * WIDTH);
        ops->step_set(ctx, step, &rows);
        ops->linear(ctx, y, x, (vlmp_rows){ROWS, false}, &w);
        ops->kv_write(ctx, kv, 0, x, y, step);
        for (int i = 0; i < 3; i++) { /* done, recorded, replayed */
            if (ops->replay(ctx, &replay, step)) continue;
            ops->attention(ctx, y, x, kv, 0, &(vlmp_attention){.heads = 1, .scale = 1}, step);
            ops->replay_end(ctx, replay);
        }
        status = ops->read_act(ctx, values, y, (size_t)ROWS * WIDTH, err);
    }
    *calls = vlmp_emu_read_counts().calls;
    ops->replay_free(ctx, replay);
    ops->kv_free(ctx, kv);
    ops->step_free(ctx, step);
    if (w.own != NULL) ops->release(ctx, w.own);
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free(ctx);
    return status;
}

/* One run of which the n-th call fails, alone or with all that follow: whether that call was one
 * before the end. Nothing stays allocated. */
static bool run_with_failure(int n, int error, bool once)
{
    vlmp_error err = {0};
    size_t left = 0, all = 0;
    const uint64_t before = vlmp_emu_read_counts().calls;
    uint64_t calls = UINT64_MAX;
    (once ? vlmp_emu_fail_once : vlmp_emu_fail_after)(n, error);
    int status = work(&calls, &err);
    vlmp_emu_fail_after(0, 0);
    (void)cudaGetLastError();
    assert_int_equal(cudaMemGetInfo(&left, &all), cudaSuccess);
    if (left != all) fail_msg("call %d: %zu bytes are left", n, all - left);
    bool matters = before + (uint64_t)n <= calls;
    if (!matters && status == VLMP_OK) return false;
    if (status != VLMP_ERR_SYSTEM) fail_msg("call %d: its failure is not told", n);
    bool memory = strstr(err.message, "out of memory") != NULL;
    if (once && error == cudaErrorMemoryAllocation && strstr(err.message, "is lost") != NULL)
        fail_msg("call %d: '%s' is no advice for want of memory", n, err.message);
    if (!memory && strstr(err.message, cudaGetErrorName((cudaError_t)error)) == NULL)
        fail_msg("call %d: '%s' does not name the error", n, err.message);
    return true;
}

/* Whichever call of the runtime fails, with the device or for want of memory, the work ends with an
 * error that names it. */
static void whatever_fails_is_told(void **state)
{
    (void)state;
    static const int errors[] = {cudaErrorIllegalAddress, cudaErrorMemoryAllocation};
    for (int e = 0; e < 2; e++)
        for (int once = 0; once < 2; once++) {
            int n = 1;
            while (run_with_failure(n, errors[e], once))
                n++;
            assert_in_range(n, 20, 200);
            for (int more = 1; more < 20; more++)
                run_with_failure(n + more, errors[e], once);
        }
}

/* The same of the host's memory; only a step that cannot be recorded goes on without. */
static void host_memory_that_runs_out_is_told(void **state)
{
    (void)state;
    int told = 0, n = 0;
    do {
        vlmp_error err = {0};
        uint64_t calls;
        size_t left = 0, all = 0;
        wanted_failure = ++n;
        bool fails = work(&calls, &err) != VLMP_OK;
        assert_int_equal(cudaMemGetInfo(&left, &all), cudaSuccess);
        assert_int_equal(left, all);
        if (fails) assert_non_null(strstr(err.message, "out of memory"));
        told += fails;
    } while (calls_left == 0);
    wanted_failure = calls_left = 0;
    assert_int_equal(told, n - 2); /* the last one was not reached */
    assert_in_range(n, 7, 20);
}

static int begin(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_emu_set_device(&whole);
    return vlmp_pool_create(&pool, 1, &err);
}

static int end(void **state)
{
    (void)state;
    vlmp_pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_device_that_cannot_be_used),
                                       cmocka_unit_test(too_little_memory),
                                       cmocka_unit_test(what_comes_again_is_one_launch),
                                       cmocka_unit_test(what_inputs_miss_is_not_rounded),
                                       cmocka_unit_test(whatever_fails_is_told),
                                       cmocka_unit_test(host_memory_that_runs_out_is_told)};
    return cmocka_run_group_tests(tests, begin, end);
}
