/* A warp's products of tiles that lie in shared memory, rows of inputs by rows of weights. */
#pragma once

#include <string.h>

#include "kernels/cuda/ptx.cuh"

static __device__ __forceinline__ unsigned halves_of(float low, float high)
{
    const __half2 pair = __floats2half2_rn(low, high);
    unsigned bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

/* What lies there as halves or signed bytes; of weights, codes u with the highest bit turned are
 * u − 128. */
static __device__ __forceinline__ void add_tile(float (&sums)[4], const unsigned (&a)[4],
                                                const unsigned (&b)[2])
{
    vlmp_mma_f16(sums, a, b);
}

static __device__ __forceinline__ void add_tile(int (&sums)[4], const unsigned (&a)[4],
                                                const unsigned (&b)[2])
{
    const unsigned turn = 0x80808080u, turned[2] = {b[0] ^ turn, b[1] ^ turn};
    vlmp_mma_s8(sums, a, turned);
}

/* Adds the products of 32 bytes of inputs from element `k` on: DOWN × ACROSS tiles of 16 × 8. Rows
 * are STRIDE elements apart. */
template <int STRIDE, int DOWN, int ACROSS, typename SUM, typename T>
static __device__ __forceinline__ void multiply_step(SUM (&sums)[DOWN][ACROSS][4], const T *inputs,
                                                     const T *weights, int k)
{
    const int half = 16 / (int)sizeof(T);
    const int lane = (int)threadIdx.x % 32, line = lane % 8, matrix = lane / 8;
    unsigned a[DOWN][4];
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        vlmp_ldmatrix_x4(a[i], inputs + (i * 16 + matrix % 2 * 8 + line) * STRIDE + k +
                                   matrix / 2 * half);
    VLMP_UNROLL
    for (int j = 0; j < ACROSS; j += 2) {
        unsigned both[4];
        vlmp_ldmatrix_x4(both, weights + (j * 8 + matrix / 2 * 8 + line) * STRIDE + k +
                                   matrix % 2 * half);
        const unsigned left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
        VLMP_UNROLL
        for (int i = 0; i < DOWN; i++) {
            add_tile(sums[i][j], a[i], left);
            add_tile(sums[i][j + 1], a[i], right);
        }
    }
}
