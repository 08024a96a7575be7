/* The emulated GPU computes what CUDA defines, and finds what a device would hide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/emu/emu.h"
#include "tests/emu/include/cuda_runtime_api.h"
#include "tests/emu/test_kernels.h"

enum { N = 192 };

static float *x, *y;

static int setup(void **state)
{
    (void)state;
    float host[N];
    for (int i = 0; i < N; i++)
        host[i] = (float)(i % 7);
    vlmp_emu_keep_faults(1);
    if (cudaMalloc((void **)&x, sizeof host) != cudaSuccess) return -1;
    if (cudaMalloc((void **)&y, sizeof host) != cudaSuccess) return -1;
    return cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice) == cudaSuccess ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    cudaFree(x);
    cudaFree(y);
    return 0;
}

static void test_sum(void **state)
{
    (void)state;
    float out[3];
    assert_int_equal(vlmp_emu_test("sum_rows", x, y, 64), 0);
    assert_int_equal(cudaMemcpy(out, y, sizeof out, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int row = 0; row < 3; row++) {
        float sum = 0;
        for (int i = 0; i < 64; i++)
            sum += (float)((row * 64 + i) % 7);
        assert_true(out[row] == sum);
    }
    assert_null(vlmp_emu_take_fault());
}

/* The kernel's fault has these words; what lacks the fault has none. */
static void faults(const char *kernel, int n, const char *words)
{
    assert_int_equal(vlmp_emu_test(kernel, x, y, n), 0);
    cudaDeviceSynchronize();
    const char *fault = vlmp_emu_take_fault();
    if (words == NULL) {
        if (fault != NULL) fail_msg("%s: %s", kernel, fault);
        return;
    }
    if (fault == NULL || strstr(fault, words) == NULL)
        fail_msg("%s: expected '%s', got %s", kernel, words, fault != NULL ? fault : "nothing");
}

static void test_races(void **state)
{
    (void)state;
    faults("exchange", 0, NULL);
    faults("exchange without a barrier", 0, "with no barrier between");
}

static void test_bounds(void **state)
{
    (void)state;
    faults("sum_rows", N / 3, NULL);
    faults("sum_rows", N / 3 + 1, "of a buffer of 768 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_races, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
