/* Grids of threads that share a count of things. */
#pragma once

#include "kernels/cuda/reduce.cuh"

enum { MOST_BLOCKS = 4096 };

/* Blocks of BLOCK threads for so many things; a thread goes on with the one a grid further. */
static inline int blocks_for(size_t count)
{
    size_t blocks = (count + BLOCK - 1) / BLOCK;
    return blocks < MOST_BLOCKS ? (int)blocks : MOST_BLOCKS;
}

static __device__ inline size_t first_of_grid()
{
    return (size_t)blockIdx.x * BLOCK + threadIdx.x;
}

static __device__ inline size_t threads_of_grid()
{
    return (size_t)gridDim.x * BLOCK;
}
