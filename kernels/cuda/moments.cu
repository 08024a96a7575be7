/* Second moments of activations on tensor cores: products of F16 are exact, the sums of a chunk of
 * rows F32, and chunks are added to what is there in F32, in order.
 *
 * A block computes TILE × TILE sums, each of its eight warps 64 × 32: DOWN × ACROSS products of
 * 16 × 8 at a time. Rows lie in shared memory as in the device's, and ldmatrix turns both operands;
 * the next STEP rows arrive while these are multiplied. Rows of shared memory are 16 bytes longer
 * than what they hold, so that the eight rows of a matrix lie in different banks. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

enum { TILE = 128, STEP = 32, CHUNK = 512, STRIDE = TILE + 8, THREADS = 256, OCTET = 8 };
enum { WARP_ROWS = 64, WARP_COLUMNS = 32, DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8 };

/* STEP rows of TILE columns from `first` on; what is beyond the last is 0. octets: 16 bytes at a
 * time, which arrive later. */
static __device__ void load_step(__half *room, const __half *x, int row, int rows, int first, int k,
                                 bool octets)
{
    for (int at = (int)threadIdx.x; at < STEP * TILE / OCTET; at += THREADS) {
        int r = row + at / (TILE / OCTET), column = first + at % (TILE / OCTET) * OCTET;
        __half *to = room + at / (TILE / OCTET) * STRIDE + at % (TILE / OCTET) * OCTET;
        const __half *from = x + (size_t)r * (size_t)k + (size_t)column;
        if (octets) {
            bool inside = r < rows && column < k;
            vlmp_copy_async(to, inside ? from : x, inside ? 16 : 0);
            continue;
        }
        for (int i = 0; i < OCTET; i++)
            to[i] = r < rows && column + i < k ? from[i] : __float2half_rn(0.0f);
    }
}

/* Adds the products of 16 rows to a warp's sums: left and right are its columns of the first. */
static __device__ void multiply_step(float (&sums)[DOWN][ACROSS][4], const __half *left,
                                     const __half *right)
{
    int lane = (int)threadIdx.x % 32, line = lane % 8, matrix = lane / 8;
    unsigned a[DOWN][4];
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        vlmp_ldmatrix_x4_trans(a[i],
                               left + (matrix / 2 * 8 + line) * STRIDE + i * 16 + matrix % 2 * 8);
    VLMP_UNROLL
    for (int j = 0; j < ACROSS; j += 2) {
        unsigned both[4];
        vlmp_ldmatrix_x4_trans(both,
                               right + (matrix % 2 * 8 + line) * STRIDE + j * 8 + matrix / 2 * 8);
        const unsigned first[2] = {both[0], both[1]}, second[2] = {both[2], both[3]};
        VLMP_UNROLL
        for (int i = 0; i < DOWN; i++) {
            vlmp_mma_f16(sums[i][j], a[i], first);
            vlmp_mma_f16(sums[i][j + 1], a[i], second);
        }
    }
}

/* Adds a warp's sums to those from (row, column) on, and empties them. */
static __device__ void add_chunk(float *out, float (&sums)[DOWN][ACROSS][4], int row, int column,
                                 int k, bool lower)
{
    int lane = (int)threadIdx.x % 32;
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++)
        VLMP_UNROLL
    for (int d = 0; d < 4; d++) {
        int r = row + i * 16 + lane / 4 + d / 2 * 8, c = column + j * 8 + lane % 4 * 2 + d % 2;
        if (r < k && c < k && !(lower && c > r))
            out[(size_t)r * (size_t)k + (size_t)c] += sums[i][j][d];
        sums[i][j][d] = 0;
    }
}

/* lower: the triangle alone. */
static __global__ void moments(float *out, const __half *a, const __half *b, int rows, int k,
                               bool lower, bool octets)
{
    VLMP_SHARED(__half, left, 2 * STEP * STRIDE);
    VLMP_SHARED(__half, right, 2 * STEP * STRIDE);
    int top = (int)blockIdx.y * TILE, first = (int)blockIdx.x * TILE;
    if (lower && first > top) return;
    int warp = (int)threadIdx.x / 32, steps = (rows + STEP - 1) / STEP;
    int down = warp / (TILE / WARP_COLUMNS) * WARP_ROWS;
    int across = warp % (TILE / WARP_COLUMNS) * WARP_COLUMNS;
    bool busy = top + down < k && first + across < k &&
                !(lower && first + across >= top + down + WARP_ROWS);
    float sums[DOWN][ACROSS][4] = {};
    load_step(left, a, 0, rows, top, k, octets);
    load_step(right, b, 0, rows, first, k, octets);
    vlmp_copies_close();
    for (int s = 0; s < steps; s++) {
        int now = s % 2 * STEP * STRIDE, next = (s + 1) % 2 * STEP * STRIDE;
        if (s + 1 < steps) {
            load_step(left + next, a, (s + 1) * STEP, rows, top, k, octets);
            load_step(right + next, b, (s + 1) * STEP, rows, first, k, octets);
        }
        vlmp_copies_close();
        vlmp_copies_wait<1>();
        __syncthreads();
        for (int r = 0; r < STEP && busy; r += 16)
            multiply_step(sums, left + now + r * STRIDE + down, right + now + r * STRIDE + across);
        if (busy && ((s + 1) * STEP % CHUNK == 0 || s + 1 == steps))
            add_chunk(out, sums, top + down, first + across, k, lower);
        __syncthreads();
    }
}

static void add(vlmp_ctx *ctx, float *sums, const void *a, const void *b, int rows, int k,
                bool lower, const char *what)
{
    unsigned tiles = (unsigned)(k + TILE - 1) / TILE;
    bool octets = k % OCTET == 0 && (uintptr_t)a % 16 == 0 && (uintptr_t)b % 16 == 0;
    if (rows == 0 || k == 0) return;
    VLMP_LAUNCH(moments, dim3(tiles, tiles), THREADS, 0, vlmp_cuda_of(ctx)->stream, sums,
                (const __half *)a, (const __half *)b, rows, k, lower, octets);
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
