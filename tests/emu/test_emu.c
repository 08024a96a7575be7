/* The emulated GPU computes what CUDA defines, and finds what a device would hide: a fault of each
 * class is planted in a kernel of test_kernels.cu or in the calls here, next to the same without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/half.h"
#include "tests/emu/emu.h"
#include "tests/emu/include/cuda_runtime_api.h"
#include "tests/emu/test_kernels.h"

enum { N = 192, BYTES = N * 4, SEEDS = 20 };

static float *x, *y; /* of the device */
static float host[N];

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        host[i] = (float)(i % 7);
    vlmp_emu_keep_faults(1);
    vlmp_emu_seed(1);
    if (cudaMalloc((void **)&x, BYTES) != cudaSuccess) return -1;
    if (cudaMalloc((void **)&y, BYTES) != cudaSuccess) return -1;
    return cudaMemcpy(x, host, BYTES, cudaMemcpyHostToDevice) == cudaSuccess ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    if (cudaFree(x) != cudaSuccess || cudaFree(y) != cudaSuccess) return -1;
    return vlmp_emu_take_fault() == NULL ? 0 : -1;
}

static const float *result(const char *kernel, int n)
{
    static float out[N];
    assert_int_equal(vlmp_emu_test(kernel, x, y, n), 0);
    cudaMemcpy(out, y, BYTES, cudaMemcpyDeviceToHost);
    const char *fault = vlmp_emu_take_fault();
    if (fault != NULL) fail_msg("%s: %s", kernel, fault);
    return out;
}

/* Whatever the order of threads, the kernel's fault has these words; NULL: there is none. */
static void faults(const char *kernel, int n, const char *words)
{
    for (int seed = 1; seed <= SEEDS; seed++) {
        vlmp_emu_seed((uint64_t)seed);
        assert_int_equal(vlmp_emu_test(kernel, x, y, n), 0);
        const cudaError_t error = cudaDeviceSynchronize();
        const char *fault = vlmp_emu_take_fault();
        if (words == NULL) {
            if (fault != NULL || error != cudaSuccess)
                fail_msg("%s, seed %d: %s", kernel, seed, fault != NULL ? fault : "an error");
        } else if (fault == NULL || strstr(fault, words) == NULL || error == cudaSuccess) {
            fail_msg("%s, seed %d: expected '%s', got %s", kernel, seed, words,
                     fault != NULL ? fault : "nothing");
        }
    }
}

static void test_sum(void **state)
{
    (void)state;
    const float *out = result("sum_rows", 64);
    for (int row = 0; row < 3; row++) {
        float sum = 0;
        for (int i = 0; i < 64; i++)
            sum += host[row * 64 + i];
        assert_true(out[row] == sum);
    }
    assert_true(result("template", 0)[63] == 7);
}

static void test_votes(void **state)
{
    (void)state;
    const float *out = result("votes", 0);
    for (int i = 0; i < 64; i++) {
        assert_true(out[2 * i] == 1);
        assert_true(out[2 * i + 1] == 40.25f);
    }
}

static void test_races(void **state)
{
    (void)state;
    const char *race = "with no barrier between";
    faults("exchange", 1, NULL);
    faults("exchange", 0, race);
    faults("reuse", 1, NULL);
    faults("reuse", 0, race);
    faults("swap by warp", 1, NULL);
    faults("swap by warp", 17, NULL);
    faults("swap by warp", 32, race);
    faults("swap by half", 9, NULL);
    faults("swap by half", 16, race);
    faults("swap by shuffle", 1, race);
    faults("swap by nothing", 0, NULL);
    faults("swap by nothing", 1, race);
    faults("same_place", 1, NULL);
    faults("same_place", 0, race);
    faults("count_shared", 1, NULL);
    faults("count_shared", 0, race);
    assert_true(result("count_shared", 1)[9] == 192);
    faults("read_count", 1, NULL);
    faults("read_count", 0, race);
}

/* What depends on the order of threads or of blocks comes out in several ways, and a seed repeats.
 */
static void test_order(void **state)
{
    (void)state;
    float sums[SEEDS], first[SEEDS];
    int other_sums = 0, other_first = 0;
    for (int seed = 0; seed < SEEDS; seed++) {
        vlmp_emu_seed((uint64_t)seed);
        sums[seed] = result("sum_in_turn", 0)[0];
        cudaMemset(x, 0, 4);
        first[seed] = result("number_blocks", 9)[0];
        cudaMemcpy(x, host, BYTES, cudaMemcpyHostToDevice);
        other_sums += sums[seed] != sums[0];
        other_first += first[seed] != first[0];
        vlmp_emu_seed((uint64_t)seed);
        assert_true(result("sum_in_turn", 0)[0] == sums[seed]);
    }
    assert_true(other_sums > 2);
    assert_true(other_first > 2);
}

static void test_shared_memory(void **state)
{
    (void)state;
    faults("read_shared", 0, NULL);
    faults("read_shared", 31, NULL);
    faults("read_shared", 32, "nobody wrote it");
    faults("read_shared", 64, "outside shared memory: offset 256 of room (256 bytes, shared)");
    faults("read_shared", -1, "outside shared memory");
    faults("write_dynamic", 63, NULL);
    faults("write_dynamic", 64, "outside shared memory: offset 256 of dynamic memory");
    faults("no_dynamic", 0, "launched without");
    assert_true(isnan(result("read_poison", 0)[0]));
}

static void test_global_memory(void **state)
{
    (void)state;
    const char *foreign = "memory of the host or of another thread";
    faults("read", N - 1, NULL);
    faults("read", N, "a read at ");
    faults("read", N, "outside global memory: 4 bytes at offset 768 of a buffer of 768 bytes");
    faults("read", -1, "outside global memory");
    faults("write", N, "a write at ");
    faults("write", N, "outside global memory: 4 bytes at offset 768 of a buffer of 768 bytes");
    faults("read", 1 << 20, "outside global memory");
    faults("copy_four", N - 4, NULL);
#ifndef __clang__ /* which copies a struct without a look at its address */
    faults("copy_four", 2, "is not a multiple of 16");
#endif
    faults("write_constant", 0, NULL);
    faults("write_constant", 1, foreign);
    faults("read_neighbour", 0, NULL);
    faults("read_neighbour", 1, foreign);

    float *device = x;
    x = host;
    faults("read", 0, foreign);
    assert_int_equal(cudaMalloc((void **)&x, 64), cudaSuccess);
    assert_true(isnan(result("read", 3)[0])); /* poison */
    assert_int_equal(cudaMemset(x, 0, 64), cudaSuccess);
    assert_true(result("read", 3)[0] == 0);
    assert_int_equal(cudaFree(x), cudaSuccess);
    faults("read", 3, "that was freed");
    x = device;
}

static void test_meetings(void **state)
{
    (void)state;
    faults("barrier_in_branch", 64, NULL);
    faults("barrier_in_branch", 0, NULL);
    /* who comes last says that the other has ended, or that it ends */
    faults("barrier_in_branch", 32, " end");
    faults("barrier_in_branch", 63, " end");
    faults("barrier_after_end", 64, NULL);
    faults("barrier_after_end", 63, " end");
    faults("two_barriers", 64, NULL);
    faults("two_barriers", 32, "others of the block wait in the one at");
    faults("shuffle", 64, NULL);
    faults("shuffle", 48, " end");
    faults("shuffle in half", 15, NULL);
    faults("shuffle in half", 16, "lane 16, which takes no part");
    faults("shuffle out of mask", 16, NULL);
    faults("shuffle out of mask", 17, "lane 16 is not in its own mask");
    faults("shuffle_or_vote", 32, NULL);
    faults("shuffle_or_vote", 16, "wait in a ");
    faults("wait_crosswise", 32, NULL);
    faults("wait_crosswise", 16, "nobody can go on");
    faults("product_in_branch", 32, NULL);
    faults("product_in_branch", 31, "mma f16 at");
    faults("product_in_branch", 31, " end");
}

static void test_copies(void **state)
{
    (void)state;
    const char *early = "cp.async fills it, and nobody has waited";
    const char *race = "with no barrier between";
    const float *out = result("copy_tile", 0);
    for (int i = 0; i < 64; i++) {
        const int from = 127 - i; /* of four floats, two were asked for */
        assert_true(out[i] == host[63 - i]);
        assert_true(out[64 + i] == (from % 4 < 2 ? host[from] : 0));
    }
    faults("copy_tile", 0, NULL);
    faults("copy_tile", 1, early);
    faults("copy_tile", 2, early);
    faults("copy_tile", 3, race);
    faults("copy_tile", 4, "that it never waited for");
    faults("copy_tile", 5, race);
    faults("copy_unaligned", 4, NULL);
    faults("copy_unaligned", 2, "not both multiples of 16");
    faults("copy_unaligned", N, "outside global memory");
}

/* 16×8 products of the first 512 bytes, rows, and the 256 behind, columns. */
static void check_product(int kind)
{
    const char *names[] = {"product f16", "product bf16", "product s8"};
    uint16_t halves[2 * N];
    int8_t bytes[BYTES];
    for (int i = 0; i < 2 * N; i++) {
        const float value = (float)(i * 7 % 13 - 6) / 4;
        halves[i] = kind == 0 ? vlmp_f32_to_f16(value) : vlmp_f32_to_bf16(value);
    }
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (int8_t)(i * 89 % 251 - 125);
    cudaMemcpy(x, kind == 2 ? (const void *)bytes : halves, BYTES, cudaMemcpyHostToDevice);
    const float *out = result(names[kind], 0);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            float sum = row >= 8 && column % 2 == 1 ? 1000 : 0;
            for (int k = 0; k < 16 && kind != 2; k++)
                sum += (float)((row * 16 + k) * 7 % 13 - 6) / 4 *
                       ((float)((256 + column * 16 + k) * 7 % 13 - 6) / 4);
            for (int k = 0; k < 32 && kind == 2; k++)
                sum += (float)(bytes[row * 32 + k] * bytes[512 + column * 32 + k]);
            assert_true(out[row * 8 + column] == sum);
        }
    faults(names[kind], 0, NULL);
    faults(names[kind], 8, "is not a multiple of 16");
    faults(names[kind], 64, "outside shared memory");
}

static void test_tiles(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        check_product(kind);
    uint16_t halves[256];
    for (int i = 0; i < 256; i++)
        halves[i] = (uint16_t)i;
    cudaMemcpy(x, halves, sizeof halves, cudaMemcpyHostToDevice);
    const uint16_t *turned = (const uint16_t *)(const void *)result("transpose", 0);
    for (int i = 0; i < 256; i++)
        assert_int_equal(turned[i], i / 64 * 64 + i % 8 * 8 + i / 8 % 8);
}

static void test_grid(void **state)
{
    (void)state;
    for (int seed = 1; seed <= SEEDS; seed++) {
        vlmp_emu_seed((uint64_t)seed);
        if (seed == 1) cudaMemset(x, 0, 4); /* a launch leaves the counter fit for the next */
        const float *out = result("pass_on", 5);
        for (int turn = 0; turn < 3; turn++)
            for (int block = 0; block < 5; block++)
                assert_true(out[16 * (turn + 1) + block] == (float)(turn * 100 + (block + 1) % 5));
    }
    assert_int_equal(vlmp_emu_test("pass_on", x, y, 1000), 0);
    assert_int_equal(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
    cudaMemset(x, 0, 4);
    assert_int_equal(vlmp_emu_test("pass_on plainly", x, y, 4), 0); /* one block after the other */
    assert_int_not_equal(cudaDeviceSynchronize(), cudaSuccess);
    const char *fault = vlmp_emu_take_fault();
    assert_true(fault != NULL && strstr(fault, "every thread waits") != NULL);
}

static void test_launches(void **state)
{
    (void)state;
    vlmp_emu_test("much_dynamic", x, y, 48 << 10);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    vlmp_emu_test("much_dynamic", x, y, (48 << 10) + 1);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    vlmp_emu_test("allow_dynamic", x, y, 100 << 10);
    vlmp_emu_test("much_dynamic", x, y, 100 << 10);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    vlmp_emu_test("allow_dynamic", x, y, 200 << 10);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
    vlmp_emu_test("allow_dynamic", x, y, 48 << 10);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
}

/* Pinned memory and streams: nothing has happened before somebody waits. */
static void test_streams(void **state)
{
    (void)state;
    cudaStream_t one, two;
    cudaEvent_t event;
    float *pinned;
    assert_int_equal(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaMallocHost((void **)&pinned, 8), cudaSuccess);
    pinned[0] = 5;
    cudaMemcpyAsync(y, pinned, 4, cudaMemcpyHostToDevice, one);
    pinned[0] = 6; /* too early: this is what arrives */
    cudaEventRecord(event, one);
    cudaStreamWaitEvent(two, event, 0);
    cudaMemcpyAsync(pinned + 1, y, 4, cudaMemcpyDeviceToHost, two);
    assert_true(isnan(pinned[1])); /* too early */
    assert_int_equal(cudaStreamQuery(two), cudaErrorNotReady);
    assert_int_equal(cudaStreamSynchronize(two), cudaSuccess);
    assert_true(pinned[1] == 6);
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(one), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(two), cudaSuccess);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
}

static void test_graphs(void **state)
{
    (void)state;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float *pinned, out = 0;
    assert_int_equal(cudaStreamCreate(&stream), cudaSuccess);
    assert_int_equal(cudaMallocHost((void **)&pinned, 4), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    cudaMemcpyAsync(y, pinned, 4, cudaMemcpyHostToDevice, stream);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiateWithFlags(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    for (int i = 0; i < 3; i++) {
        pinned[0] = (float)i;
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
        cudaMemcpyAsync(&out, y, 4, cudaMemcpyDeviceToHost, stream); /* not pinned: waits */
        assert_true(out == (float)i);
    }
    assert_int_equal(cudaGraphExecDestroy(exec), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
}

/* What CUDA refuses while a stream is captured, for which the capture comes to nothing. */
static cudaError_t disturb(int how, cudaStream_t stream, cudaEvent_t event, void *pinned)
{
    void *z;
    switch (how) {
    case 0:
        return cudaStreamSynchronize(stream);
    case 1:
        return cudaStreamQuery(stream);
    case 2:
        return cudaDeviceSynchronize();
    case 3:
        return cudaMalloc(&z, 16);
    case 4:
        return cudaMallocHost(&z, 16);
    case 5:
        return cudaFree(NULL);
    case 6:
        return cudaFreeHost(NULL);
    case 7:
        return cudaMemcpyAsync(y, host, 4, cudaMemcpyHostToDevice, stream); /* not pinned */
    case 8:
        return cudaMemcpy(y, pinned, 4, cudaMemcpyHostToDevice);
    default:
        if (cudaEventRecord(event, stream) != cudaSuccess) return cudaErrorUnknown;
        return how == 9 ? cudaEventSynchronize(event) : cudaEventQuery(event);
    }
}

static void test_captures(void **state)
{
    (void)state;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaEvent_t event;
    void *pinned;
    assert_int_equal(cudaStreamCreate(&stream), cudaSuccess);
    assert_int_equal(cudaEventCreate(&event), cudaSuccess);
    assert_int_equal(cudaMallocHost(&pinned, 4), cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
    for (int how = 0; how <= 10; how++) {
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), 0);
        assert_int_equal(cudaMemsetAsync(y, 0, 4, stream), cudaSuccess);
        assert_int_equal(disturb(how, stream, event, pinned),
                         how < 8   ? cudaErrorStreamCaptureUnsupported
                         : how < 9 ? cudaErrorStreamCaptureImplicit
                                   : cudaErrorCapturedEvent);
        assert_int_equal(cudaMemsetAsync(y, 0, 4, stream), cudaErrorStreamCaptureInvalidated);
        graph = (cudaGraph_t)pinned;
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
        assert_int_equal(cudaMemsetAsync(y, 0, 4, stream), cudaSuccess); /* as before */
    }
    (void)cudaGetLastError();
    assert_int_equal(cudaEventDestroy(event), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
}

static void expect_fault(const char *words)
{
    const char *fault = vlmp_emu_take_fault();
    if (fault == NULL || strstr(fault, words) == NULL)
        fail_msg("expected '%s', got %s", words, fault != NULL ? fault : "nothing");
}

static void test_host(void **state)
{
    (void)state;
    float out[2], *z;
    assert_int_not_equal(cudaMemcpy(out, y + N - 1, 8, cudaMemcpyDeviceToHost), cudaSuccess);
    expect_fault("8 bytes at offset 764 of a buffer of 768 bytes");
    assert_int_not_equal(cudaMemcpy(out, host, 8, cudaMemcpyDeviceToHost), cudaSuccess);
    expect_fault("is no memory of the device");
    assert_int_not_equal(cudaMemset(y, 0, BYTES + 1), cudaSuccess);
    expect_fault("cudaMemset");
    assert_int_equal(cudaMalloc((void **)&z, 16), cudaSuccess);
    assert_int_equal(cudaFree(z), cudaSuccess);
    assert_int_not_equal(cudaFree(z), cudaSuccess);
    expect_fault("cudaFree");
}

/* What tests of the host's side plant: no device, little memory, calls that fail. */
static void test_planted_errors(void **state)
{
    (void)state;
    const vlmp_emu_device small = {1, 4, 8, 0, 1 << 20}, none = {0, 4, 8, 0, 1 << 20};
    const vlmp_emu_device usual = {1, 4, 8, 0, (size_t)4 << 30};
    int count;
    void *z;
    vlmp_emu_set_device(&small);
    assert_int_equal(cudaMalloc(&z, 2 << 20), cudaErrorMemoryAllocation);
    vlmp_emu_set_device(&none);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    vlmp_emu_set_device(&usual);
    vlmp_emu_fail_after(2, cudaErrorUnknown);
    assert_int_equal(cudaMemset(y, 0, 4), cudaSuccess);
    assert_int_equal(cudaMemset(y, 0, 4), cudaErrorUnknown);
    assert_int_equal(cudaMemset(y, 0, 4), cudaErrorUnknown);
    vlmp_emu_fail_after(0, 0);
    assert_int_equal(cudaMemset(y, 0, 4), cudaSuccess);
    (void)cudaGetLastError();
}

/* The host touches the device's memory: the process ends by a signal. */
static void test_touch(void **state)
{
    (void)state;
    for (int write = 0; write < 2; write++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            volatile float *at = y;
            if (write != 0)
                at[0] = 1;
            else
                (void)at[0];
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sum),           TEST(test_votes),
        TEST(test_races),         TEST(test_order),
        TEST(test_shared_memory), TEST(test_global_memory),
        TEST(test_meetings),      TEST(test_copies),
        TEST(test_tiles),         TEST(test_grid),
        TEST(test_launches),      TEST(test_streams),
        TEST(test_graphs),        TEST(test_captures),
        TEST(test_host),          TEST(test_planted_errors),
        TEST(test_touch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
