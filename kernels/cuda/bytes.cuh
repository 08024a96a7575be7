/* Rows of activations as int8, for products with int8 activations. */
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.cuh"

struct byte_rows {
    int8_t *codes; /* rows of stride; NULL: none are wanted */
    float *scales; /* [rows] */
    size_t stride;
};

/* So many rows of k, one after another, and then their scales, in the scratch. */
static inline byte_rows byte_rows_of(const vlmp_cuda *cuda, int rows, int k)
{
    size_t stride = ((size_t)k + 15) / 16 * 16;
    unsigned char *scales = cuda->scratch + (size_t)rows * stride;
    return {(int8_t *)cuda->scratch, (float *)(void *)scales, stride};
}

/* Infinite where x is not finite. */
static __device__ inline float size_of(__half x)
{
    float size = fabsf(__half2float(x));
    return isfinite(size) ? size : INFINITY;
}

/* The block's row of k: its scale amax/127.5, NaN where an input is not finite, and codes of ±127.
 * largest: of the inputs that the thread takes, which are every BLOCK-th; room as for block_max. */
static __device__ inline void code_row(const byte_rows &to, const __half *row, int k, float largest,
                                       float *room)
{
    largest = block_max(largest, room);
    float scale = isfinite(largest) ? largest / 127.5f : NAN;
    for (int i = (int)threadIdx.x; i < k; i += BLOCK) {
        float code = rintf(fminf(fmaxf(__half2float(row[i]) / scale, -127), 127));
        to.codes[(size_t)blockIdx.x * to.stride + (size_t)i] = scale > 0 ? (int8_t)code : 0;
    }
    if (threadIdx.x == 0) to.scales[blockIdx.x] = scale;
}
