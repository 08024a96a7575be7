/* The hostile implementation itself: what callers may not do is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/quant.h"
#include "tests/hostile/hostile.h"

enum { DIM = 8, FAULT = 7 };

static vlmp_ctx *ctx;
static char said[512]; /* the last report */

static void report(void *arg, const char *message)
{
    (void)arg;
    snprintf(said, sizeof said, "%s", message);
}

static int set_up(void **state)
{
    vlmp_error err = {0};
    (void)state;
    said[0] = '\0';
    return vlmp_hostile_ctx_create(&ctx, NULL, report, NULL, &err);
}

static int tear_down(void **state)
{
    (void)state;
    vlmp_ctx_free(ctx);
    return 0;
}

static void expect(const char *message)
{
    assert_string_equal(said, message);
    said[0] = '\0';
}

static vlmp_f32 floats(size_t count)
{
    vlmp_error err = {0};
    vlmp_f32 x;
    assert_int_equal(vlmp_ctx_alloc(ctx, &x, count, sizeof *x.at, "a test", &err), VLMP_OK);
    return x;
}

static vlmp_act acts(size_t count)
{
    vlmp_error err = {0};
    vlmp_act x;
    assert_int_equal(vlmp_ctx_alloc(ctx, &x, count, ctx->ops->act_bytes, "a test", &err), VLMP_OK);
    return x;
}

/* Every entry of the table is there, those that are added later too. */
static void the_table_is_whole(void **state)
{
    (void)state;
    const unsigned char *entries = (const unsigned char *)ctx->ops;
    for (size_t at = offsetof(vlmp_ops, destroy); at < sizeof *ctx->ops; at += sizeof(void *)) {
        void *entry;
        memcpy(&entry, entries + at, sizeof entry);
        if (entry == NULL) fail_msg("entry %zu is missing", at / sizeof(void *));
    }
}

static void on_fault(int signal)
{
    (void)signal;
    _exit(FAULT);
}

/* Whether a read, or a write, of host code at an address dies. */
static bool faults(const void *at, bool write)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        volatile unsigned char *byte = (unsigned char *)(uintptr_t)at;
        signal(SIGSEGV, on_fault);
        if (write)
            *byte = 1;
        else
            (void)*byte;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == FAULT;
}

static void the_host_cannot_touch_it(void **state)
{
    (void)state;
    vlmp_error err = {0};
    const float host[DIM] = {1};
    float back[DIM];
    vlmp_step *step;
    vlmp_f32 x = floats(DIM);
    const vlmp_step_size size = {1, 1, 1};
    assert_false(faults(host, false));
    assert_true(faults(x.at, false) && faults(x.at, true) && faults(x.at + DIM, false));
    vlmp_ctx_write(ctx, x.at, host, sizeof host);
    assert_int_equal(vlmp_ctx_read(ctx, back, x.at, sizeof back, &err), VLMP_OK);
    assert_memory_equal(back, host, sizeof host);
    assert_true(faults(x.at, false) && faults(x.at + DIM - 1, true));
    assert_false(ctx->ops->host);
    assert_int_equal(ctx->ops->step_create(ctx, &step, &size, &err), VLMP_OK);
    assert_true(faults(step, false));
    ctx->ops->step_free(ctx, step);
    vlmp_ctx_free_memory(ctx, x.at);
    assert_true(faults(x.at, false));
    expect("");
}

/* What is written is what the host had at the call, and operations see it in order. */
static void calls_wait_with_copies(void **state)
{
    (void)state;
    vlmp_error err = {0};
    float values[DIM], back[DIM];
    vlmp_f32 x = floats(DIM), weight = floats(DIM);
    vlmp_act y = acts(DIM);
    for (int i = 0; i < DIM; i++)
        values[i] = 2;
    vlmp_ctx_write(ctx, x.at, values, sizeof values);
    vlmp_ctx_write(ctx, weight.at, values, sizeof values);
    memset(values, 0xff, sizeof values);
    ctx->ops->rms_norm(ctx, y, x, 1, DIM, weight, 0);
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free_memory(ctx, weight.at);
    assert_int_equal(ctx->ops->read_act(ctx, back, y, DIM, &err), VLMP_OK);
    for (int i = 0; i < DIM; i++)
        assert_true(back[i] == 2);
    vlmp_ctx_free_memory(ctx, y.at);
    expect("");
}

static void addresses_are_checked(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_ctx *other;
    float host[DIM] = {0};
    vlmp_f32 x = floats(DIM), weight = floats(DIM);
    vlmp_act y = acts(DIM);
    assert_int_equal(vlmp_hostile_ctx_create(&other, NULL, report, NULL, &err), VLMP_OK);
    ctx->ops->rms_norm(ctx, y, x, 1, DIM, (vlmp_f32){host}, 0);
    expect("rms_norm: weight is no address of the context's memory");
    other->ops->rms_norm(other, y, x, 1, DIM, weight, 0);
    expect("rms_norm: y is no address of the context's memory");
    ctx->ops->rms_norm(ctx, y, x, 2, DIM, weight, 0);
    expect("rms_norm: y needs 128 bytes of 64");
    ctx->ops->rms_norm(ctx, vlmp_act_at(ctx, y, 1), x, 1, DIM, weight, 0);
    expect("rms_norm: y needs 64 bytes of 56");
    vlmp_ctx_write(ctx, x.at, weight.at, sizeof host);
    expect("write: from is memory of the context");
    vlmp_ctx_write(ctx, host, host, sizeof host);
    expect("write: to is no address of the context's memory");
    ctx->ops->gemm(ctx, false, false, 1, 1, 1, 1, host, 1, x.at, 1, 0, x.at, 1);
    expect("gemm: a is no address of the context's memory");
    ctx->ops->quant->diagonal(ctx, x.at, x.at, DIM);
    expect("diagonal: a needs 256 bytes of 32");
    vlmp_ctx_free_memory(ctx, x.at);
    ctx->ops->rms_norm(ctx, y, x, 1, DIM, weight, 0);
    expect("rms_norm: x was freed");
    vlmp_ctx_free_memory(ctx, x.at);
    expect("free: a memory that was freed");
    vlmp_ctx_free_memory(ctx, weight.at);
    vlmp_ctx_free_memory(ctx, y.at);
    vlmp_ctx_free(other);
    expect("");
}

static void weights_are_prepared_and_stay(void **state)
{
    (void)state;
    vlmp_error err = {0};
    float host[DIM * DIM] = {1}, back[DIM];
    const float ones[DIM] = {1};
    vlmp_linear w = {.n = DIM, .k = DIM, .weight = host, .dtype = VLMP_F32}, other = w;
    vlmp_act x = acts(DIM), y = acts(DIM);
    ctx->ops->linear(ctx, y, x, (vlmp_rows){1, true}, &w);
    expect("linear_shared: a weight that was not prepared");
    other.own = host;
    ctx->ops->linear(ctx, y, x, (vlmp_rows){1, true}, &other);
    expect("linear_shared: no weight of this context");
    assert_int_equal(ctx->ops->prepare(ctx, &w, &err), VLMP_OK);
    other = w;
    ctx->ops->write_act(ctx, x, ones, DIM);
    ctx->ops->linear(ctx, y, x, (vlmp_rows){1, true}, &w);
    memset(&w, 0, sizeof w); /* read before the call returned */
    assert_int_equal(ctx->ops->read_act(ctx, back, y, DIM, &err), VLMP_OK);
    assert_true(back[0] == 1 && back[1] == 0);
    host[3] = 2;
    ctx->ops->release(ctx, other.own);
    expect("release: the weight's memory has changed since it was prepared");
    ctx->ops->linear(ctx, y, x, (vlmp_rows){1, true}, &other);
    expect("linear_shared: a weight that was freed");
    vlmp_ctx_free_memory(ctx, x.at);
    vlmp_ctx_free_memory(ctx, y.at);
    expect("");
}

static void steps_must_fit(void **state)
{
    (void)state;
    vlmp_error err = {0};
    int32_t page = 2;
    vlmp_step *step;
    vlmp_kv *kv;
    vlmp_act x = acts(2 * DIM);
    vlmp_segment segment = {.rows = 2, .pages = &page, .page_count = 1};
    const vlmp_step_size size = {2, 1, 1};
    const vlmp_kv_shape shape = {
        .layers = 1, .pages = 2, .page_rows = 4, .kv_heads = 1, .head_dim = DIM};
    assert_int_equal(ctx->ops->step_create(ctx, &step, &size, &err), VLMP_OK);
    assert_int_equal(ctx->ops->kv_create(ctx, &kv, &shape, &err), VLMP_OK);
    ctx->ops->kv_write(ctx, kv, 0, x, x, step);
    expect("kv_write: the step was not set");
    ctx->ops->step_set(ctx, step, &(vlmp_step_rows){3, 1, &segment, NULL, {NULL}});
    expect("step_set: segments of 2 rows of 3");
    ctx->ops->step_set(ctx, step, &(vlmp_step_rows){2, 1, &segment, NULL, {NULL}});
    ctx->ops->kv_write(ctx, kv, 0, x, x, step);
    expect("kv_write: page 2 of 2");
    segment.pages = NULL, segment.position = 7;
    ctx->ops->step_set(ctx, step, &(vlmp_step_rows){2, 1, &segment, NULL, {NULL}});
    ctx->ops->kv_write(ctx, kv, 0, x, x, step);
    expect("kv_write: page 2 of 2");
    ctx->ops->step_free(ctx, step);
    ctx->ops->kv_free(ctx, kv);
    vlmp_ctx_free_memory(ctx, x.at);
    expect("");
}

/* What comes again is the same calls on the same memory, and nothing is moved meanwhile. */
static void what_comes_again_is_the_same(void **state)
{
    (void)state;
    vlmp_error err = {0};
    const vlmp_ops *ops = ctx->ops;
    const vlmp_segment segment = {.rows = 1};
    const vlmp_step_rows rows = {1, 1, &segment, NULL, {NULL}};
    vlmp_act x = acts(DIM), y = acts(DIM), z = {NULL};
    float values[DIM] = {0};
    vlmp_replay *replay = NULL;
    vlmp_step *step;
    assert_int_equal(ops->step_create(ctx, &step, &(vlmp_step_size){1, 1, 1}, &err), VLMP_OK);
    ops->step_set(ctx, step, &rows);
    for (int i = 0; i < 2; i++) {
        assert_false(ops->replay(ctx, &replay, step));
        ops->gated(ctx, x, y, DIM, VLMP_SILU);
        ops->replay_end(ctx, replay);
    }
    expect("");
    assert_false(ops->replay(ctx, &replay, step));
    ops->gated(ctx, y, x, DIM, VLMP_SILU);
    ops->replay_end(ctx, replay);
    expect("replay_end: call 0 is gated of other memory than the first time");
    assert_false(ops->replay(ctx, &replay, step));
    ops->gated(ctx, x, y, DIM, VLMP_SILU);
    ops->activate(ctx, x, DIM, VLMP_SILU);
    ops->replay_end(ctx, replay);
    expect("replay_end: 2 calls, and 1 the first time");
    ops->replay_end(ctx, replay);
    expect("replay_end: replay comes first");
    assert_false(ops->replay(ctx, &replay, step));
    ops->write_act(ctx, x, values, DIM);
    expect("write: not between replay and replay_end");
    ops->step_set(ctx, step, &rows);
    expect("step_set: not between replay and replay_end");
    assert_int_equal(ops->read_act(ctx, values, x, DIM, &err), VLMP_OK);
    expect("read: not between replay and replay_end");
    z = acts(DIM);
    expect("alloc: not between replay and replay_end");
    vlmp_ctx_free_memory(ctx, z.at);
    expect("free: not between replay and replay_end");
    ops->replay_end(ctx, replay);
    expect("");
    vlmp_ctx_free_memory(ctx, x.at);
    ops->replay_free(ctx, replay);
    expect("replay_free: what gated uses was freed before");
    vlmp_ctx_free_memory(ctx, y.at);
    ops->step_free(ctx, step);
    expect("");
}

static void errors_come_when_asked_for(void **state)
{
    (void)state;
    vlmp_error err = {0};
    float back[DIM] = {0};
    vlmp_f32 x = floats(DIM);
    vlmp_hostile_fail_after(ctx, 2);
    assert_int_equal(vlmp_ctx_sync(ctx, &err), VLMP_OK);
    assert_int_equal(vlmp_ctx_read(ctx, back, x.at, sizeof back, &err), VLMP_ERR_SYSTEM);
    assert_string_equal(err.message, VLMP_HOSTILE_ERROR);
    assert_true(isnan(back[0]));
    assert_int_equal(vlmp_ctx_read(ctx, back, x.at, sizeof back, &err), VLMP_OK);
    assert_int_equal(vlmp_hostile_reads(ctx), 3);
    vlmp_ctx_free_memory(ctx, x.at);
    expect("");
}

static void what_is_left_is_told(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_ctx *outer = ctx;
    assert_int_equal(vlmp_hostile_ctx_create(&ctx, NULL, report, NULL, &err), VLMP_OK);
    floats(DIM);
    acts(DIM);
    vlmp_ctx_free(ctx);
    ctx = outer;
    expect("destroy: 2 allocations, 0 weights, 0 steps and 0 stores were not freed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_host_cannot_touch_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_wait_with_copies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(weights_are_prepared_and_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(steps_must_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_again_is_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_come_when_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_left_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
