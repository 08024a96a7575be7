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
    vlmp_emu_set_device(&whole);
    refuses(2, (const char *const[]){"no cuda:2", "0 to 0", NULL});
    vlmp_emu_fail_after(1, cudaErrorInsufficientDriver);
    refuses(0, (const char *const[]){"driver is too old", "13.0", "newer driver", NULL});
    vlmp_emu_fail_after(4, cudaErrorNoKernelImageForDevice);
    refuses(0, (const char *const[]){"architecture 8.0", "8.0 and newer", NULL});
    small.memory = (size_t)9 << 20;
    vlmp_emu_set_device(&small);
    refuses(0, (const char *const[]){"needs 16 MiB, 9 of 9 MiB are free", NULL});
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
    assert_non_null(strstr(err.message, "a test needs 100 MiB, 48 of 64 MiB are free"));
    assert_int_equal(vlmp_ctx_alloc(ctx, &small, 1, sizeof in, "a test", &fine), VLMP_OK);
    vlmp_ctx_write(ctx, small.at, &in, sizeof in);
    assert_int_equal(vlmp_ctx_read(ctx, &out, small.at, sizeof out, &fine), VLMP_OK);
    assert_true(out == in);
    vlmp_ctx_free_memory(ctx, small.at);
    vlmp_ctx_free(ctx);
}

/* Memory, a weight, a step, a store, an operation and what comes back. */
static int work(vlmp_error *err)
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
    ops->kv_free(ctx, kv);
    ops->step_free(ctx, step);
    if (w.own != NULL) ops->release(ctx, w.own);
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free(ctx);
    return status;
}

/* Whichever call of the runtime is the first to fail, with the device or for want of memory, the
 * work ends with an error that names it, or needed no more of it. */
static void whatever_fails_is_told(void **state)
{
    (void)state;
    static const int errors[] = {cudaErrorIllegalAddress, cudaErrorMemoryAllocation};
    int told = 0;
    for (int e = 0; e < 2; e++) {
        vlmp_error err = {0};
        int status = VLMP_ERR_SYSTEM;
        for (int n = 1; n < 200 && status != VLMP_OK; n++) {
            err = (vlmp_error){0};
            vlmp_emu_fail_after(n, errors[e]);
            status = work(&err);
            vlmp_emu_fail_after(0, 0);
            (void)cudaGetLastError();
            if (status == VLMP_OK) break;
            assert_int_equal(status, VLMP_ERR_SYSTEM);
            bool memory = strstr(err.message, "out of memory") != NULL;
            if (!memory && strstr(err.message, cudaGetErrorName((cudaError_t)errors[e])) == NULL)
                fail_msg("call %d: '%s' does not name the error", n, err.message);
            told++;
        }
        assert_int_equal(status, VLMP_OK);
    }
    assert_true(told > 40);
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
