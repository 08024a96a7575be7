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
#include "tests/emu/emu.h"

static vlmp_pool *pool;
static const vlmp_emu_device whole = {
    .present = 1, .multiprocessors = 4, .major = 8, .memory = (size_t)64 << 20};

static int open_device(vlmp_ctx **ctx, int device, vlmp_error *err)
{
    vlmp_ctx *host;
    assert_int_equal(vlmp_ctx_create(&host, VLMP_BACKEND_REF, NULL, pool, err), VLMP_OK);
    int status = vlmp_cuda_plugin.create(ctx, host, device, err);
    if (status != VLMP_OK) vlmp_ctx_free(host);
    return status;
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
    vlmp_ctx_free_memory(ctx, small.at);
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
        ops->attention(ctx, y, x, kv, 0, &(vlmp_attention){.heads = 1, .scale = 1}, step);
        status = ops->read_act(ctx, values, y, (size_t)ROWS * WIDTH, err);
    }
    *calls = vlmp_emu_read_counts().calls;
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
                                       cmocka_unit_test(whatever_fails_is_told)};
    return cmocka_run_group_tests(tests, begin, end);
}
