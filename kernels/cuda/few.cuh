/* What kernels of few rows share: a block computes OUTPUTS results for `tiles` · ROWS rows, its
 * warps every fourth chunk of inputs; in the drawings of ptx.cuh (g, t), lanes hold outputs g and g
 * + 8. */
#pragma once

#include "kernels/cuda/products.cuh"
#include "kernels/cuda/ptx.cuh"

enum { OUTPUTS = 16, ROWS = 8, ROW_SHIFT = 31 };

/* Blocks of a multiprocessor that registers have to be enough for: what they ask for together is
 * what keeps the memory busy. */
static constexpr int resident_blocks(int tiles)
{
    return tiles == 1 ? 6 : tiles == 2 ? 4 : tiles == 4 ? 3 : 2;
}

/* A group is 2^shift chunks, ROW_SHIFT: the row; −1: neither, or the last chunk is not whole. */
static inline int shift_of(const vlmp_cuda_weight &w, int chunk)
{
    int shift = 0;
    if (w.k % chunk != 0) return -1;
    if (w.groups == 1) return ROW_SHIFT;
    while (chunk << shift < w.group)
        shift++;
    return chunk << shift == w.group ? shift : -1;
}

static inline dim3 grid_of(const product &p, int tiles)
{
    const int rows = tiles * ROWS;
    return dim3((unsigned)((p.w.n + OUTPUTS - 1) / OUTPUTS),
                (unsigned)((p.rows + rows - 1) / rows));
}

static inline bool is_wide(int scale_type)
{
    return scale_type == VLMP_F16 || scale_type == VLMP_BF16 || scale_type == VLMP_F32;
}

/* Of 16 bits or F32. */
static __device__ __forceinline__ float wide_scale(const void *scales, size_t index, int type)
{
    if (type == VLMP_F32) return ((const float *)scales)[index];
    const uint16_t bits = ((const uint16_t *)scales)[index];
    return type == VLMP_F16 ? __half2float(__ushort_as_half(bits)) : bf16_value(bits);
}

/* What a lane knows of the weights of one of its two outputs. */
struct line {
    const uint8_t *codes; /* its share of the chunk to be loaded next */
    const uint8_t *zeros;
    size_t scale; /* index of the first */
};

/* What is beyond the last output is computed as the last, and not stored. */
static __device__ line line_of(const vlmp_cuda_weight &w, int n, int offset)
{
    n = min(n, w.n - 1);
    return {w.codes + (size_t)n * w.code_bytes + (size_t)offset, w.zeros + (size_t)n * w.zero_bytes,
            (size_t)(n / w.scale_outputs) * (size_t)w.groups};
}

/* Where a lane's sum d of a warp's tile is among a block's parts[WARPS][tiles · ROWS][OUTPUTS]. */
static __device__ inline int part_at(int warp, int tiles, int tile, int lane, int d)
{
    return ((warp * tiles + tile) * ROWS + lane % 4 * 2 + d % 2) * OUTPUTS + lane / 4 + d / 2 * 8;
}

/* The sum of all warps for one result, in order. */
template <typename T> static __device__ inline T joined(const T *parts, int at, int of_warp)
{
    T sum = parts[at];
    for (int i = 1; i < WARPS; i++)
        sum += parts[i * of_warp + at];
    return sum;
}

/* A result of a block. */
struct place {
    int row, n;
};

static __device__ inline place place_of(int at, int tiles)
{
    return {(int)blockIdx.y * tiles * ROWS + at / OUTPUTS,
            (int)blockIdx.x * OUTPUTS + at % OUTPUTS};
}

static __device__ inline bool is_wanted(const product &p, const place &at)
{
    return at.row < p.rows && at.n < p.w.n;
}
