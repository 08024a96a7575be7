/* Second moments of activations: products of F16 are exact in F32, sums are F32. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

/* TILE × TILE sums a block, DOWN × ACROSS a thread, rows in steps; chunks of rows in order. */
enum { TILE = 32, ACROSS = 2, DOWN = 4, STEP = 32, CHUNK = 512 };

static __device__ void load_step(float *room, const __half *x, int row, int rows, int first, int k)
{
    for (int i = (int)threadIdx.x; i < STEP * TILE; i += BLOCK) {
        int r = row + i / TILE, column = first + i % TILE;
        room[i] =
            r < rows && column < k ? __half2float(x[(size_t)r * (size_t)k + (size_t)column]) : 0;
    }
}

/* lower: the triangle alone. */
static __global__ void moments(float *sums, const __half *a, const __half *b, int rows, int k,
                               bool lower)
{
    VLMP_SHARED(float, left, STEP *TILE);
    VLMP_SHARED(float, right, STEP *TILE);
    int top = (int)blockIdx.y * TILE, first = (int)blockIdx.x * TILE;
    int i = (int)threadIdx.x / (TILE / ACROSS) * DOWN;
    int j = (int)threadIdx.x % (TILE / ACROSS);
    float chunk[DOWN][ACROSS] = {}, all[DOWN][ACROSS] = {};
    if (lower && first > top) return;
    for (int row = 0; row < rows; row += STEP) {
        load_step(left, a, row, rows, top, k);
        load_step(right, b, row, rows, first, k);
        __syncthreads();
        for (int r = 0; r < STEP; r++)
            for (int m = 0; m < DOWN; m++)
                for (int n = 0; n < ACROSS; n++)
                    chunk[m][n] = fmaf(left[r * TILE + i + m],
                                       right[r * TILE + j + n * (TILE / ACROSS)], chunk[m][n]);
        __syncthreads();
        bool last = (row + STEP) % CHUNK == 0 || row + STEP >= rows;
        for (int m = 0; m < DOWN && last; m++)
            for (int n = 0; n < ACROSS; n++)
                all[m][n] += chunk[m][n], chunk[m][n] = 0;
    }
    for (int m = 0; m < DOWN; m++)
        for (int n = 0; n < ACROSS; n++) {
            int row = top + i + m, column = first + j + n * (TILE / ACROSS);
            if (row < k && column < k && !(lower && column > row))
                sums[(size_t)row * (size_t)k + (size_t)column] += all[m][n];
        }
}

static void add(vlmp_ctx *ctx, float *sums, const void *a, const void *b, int rows, int k,
                bool lower, const char *what)
{
    unsigned tiles = (unsigned)(k + TILE - 1) / TILE;
    if (rows == 0 || k == 0) return;
    VLMP_LAUNCH(moments, dim3(tiles, tiles), BLOCK, 0, vlmp_cuda_of(ctx)->stream, sums,
                (const __half *)a, (const __half *)b, rows, k, lower);
    vlmp_cuda_launched(ctx, what);
}

void vlmp_cuda_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k)
{
    add(ctx, gram.at, x.at, x.at, rows, k, true, "gram");
}

void vlmp_cuda_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k)
{
    add(ctx, c.at, a.at, b.at, rows, k, false, "cross");
}
