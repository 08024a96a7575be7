/* Reductions over a block of BLOCK threads. Every thread gets the result; the order is fixed. */
#pragma once

#include "kernels/cuda/platform.cuh"

enum { BLOCK = 128, WARPS = BLOCK / 32 };

template <typename T> static __device__ T warp_sum(T value)
{
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

static __device__ inline float warp_max(float value)
{
    for (int step = 16; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

/* room: WARPS values of shared memory, free again when all threads have passed another barrier. */
template <typename T> static __device__ T block_sum(T value, T *room)
{
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = value;
    __syncthreads();
    value = room[0];
    for (int i = 1; i < WARPS; i++)
        value += room[i];
    __syncthreads();
    return value;
}

static __device__ inline float block_max(float value, float *room)
{
    value = warp_max(value);
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = value;
    __syncthreads();
    value = room[0];
    for (int i = 1; i < WARPS; i++)
        value = fmaxf(value, room[i]);
    __syncthreads();
    return value;
}
