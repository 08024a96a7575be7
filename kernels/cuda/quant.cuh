/* What the files of the quantizers' kernels share. Rows of weights are warps': the values of a
 * block's columns lie in shared memory, and a sum over columns runs through them in order in every
 * lane, so that bits are those of the processor. */
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

static __device__ inline float clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* The level nearest to x: an integer from least to most, or a float. */
static __device__ inline float nearest(const vlmp_grid &grid, float x, float least, float most)
{
    if (grid.floats.mantissa != 0) return vlmp_minifloat_round(&grid.floats, x);
    return vlmp_round_even(clamp(x, least, most));
}

/* Index of the scale and zero of a column. */
static __device__ inline size_t group_at(const vlmp_coded &q, size_t row, int column)
{
    return row * (size_t)(q.k / q.group) + (size_t)(column / q.group);
}

/* A row a warp. */
static __device__ inline int row_of_warp()
{
    return (int)blockIdx.x * WARPS + (int)threadIdx.x / 32;
}

static inline int blocks_of_rows(int n)
{
    return (n + WARPS - 1) / WARPS;
}
