/* Kernels whose results or faults test_emu.c knows. Blocks of 64 threads unless said. */
#include "kernels/cuda/platform.cuh"
#include "tests/emu/test_kernels.h"

namespace {

enum { BLOCK = 64 };

/* y[b]: the sum of row b of n numbers. */
__global__ void sum_rows(const float *x, float *y, int n)
{
    VLMP_SHARED(float, part, BLOCK / 32);
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += BLOCK)
        sum += x[static_cast<int>(blockIdx.x) * n + i];
    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = part[0] + part[1];
}

/* y: x with the two halves of the block exchanged; barrier false: the one that matters is missing.
 */
__global__ void exchange(const float *x, float *y, bool barrier)
{
    VLMP_SHARED(float, room, BLOCK);
    room[threadIdx.x] = 0;
    __syncthreads();
    room[threadIdx.x] = x[threadIdx.x];
    if (barrier) __syncthreads();
    y[threadIdx.x] = room[threadIdx.x ^ 32];
}

} // namespace

int vlmp_emu_test(const char *name, float *x, float *y, int n)
{
#define CASE(is) strcmp(name, is) == 0
    if (CASE("sum_rows"))
        VLMP_LAUNCH(sum_rows, 3, BLOCK, 0, nullptr, x, y, n);
    else if (CASE("exchange"))
        VLMP_LAUNCH(exchange, 1, BLOCK, 0, nullptr, x, y, true);
    else if (CASE("exchange without a barrier"))
        VLMP_LAUNCH(exchange, 1, BLOCK, 0, nullptr, x, y, false);
    else
        return -1;
    return 0;
}
