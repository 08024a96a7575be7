/* Products of rows of prompts on tensor cores: inputs F16, weights made F16, sums F32.
 *
 * A block computes ROWS × OUTPUTS results, each of its four warps a quarter: 2 × 4 products of
 * 16 × 8 at a time, DEPTH inputs between two barriers. Rows of shared memory are 16 bytes longer
 * than what they hold, so that the eight rows of a matrix lie in different banks. */
#include "kernels/cuda/multiply.cuh"
#include "kernels/cuda/products.cuh"

enum { ROWS = 64, OUTPUTS = 64, DEPTH = 32, STRIDE = DEPTH + 8, QUARTER = 32 };
enum { DOWN = QUARTER / 16, ACROSS = QUARTER / 8 };

/* Whether rows of so many halves from an address on can be read 16 bytes at a time. */
static bool has_octets(const void *at, int k)
{
    return (uintptr_t)at % 16 == 0 && k % OCTET == 0;
}

static __device__ void put_octet(__half *to, const float values[OCTET])
{
    for (int i = 0; i < OCTET; i++)
        to[i] = __float2half_rn(values[i]);
}

/* Brings DEPTH inputs and weights from `first` on; what is beyond the last is 0. */
static __device__ void load_step(const product &p, __half *inputs, __half *weights, int first,
                                 bool input_octets, bool weight_octets)
{
    for (int at = (int)threadIdx.x; at < ROWS * DEPTH / OCTET; at += BLOCK) {
        int line = at / (DEPTH / OCTET), column = at % (DEPTH / OCTET) * OCTET, k = first + column;
        int row = (int)blockIdx.y * ROWS + line, n = (int)blockIdx.x * OUTPUTS + line;
        __half *input = inputs + line * STRIDE + column, *weight = weights + line * STRIDE + column;
        float values[OCTET];
        if (input_octets && row < p.rows && k < p.w.k) {
            *(uint4 *)input = *(const uint4 *)(p.x + (size_t)row * (size_t)p.w.k + (size_t)k);
        } else {
            load_inputs(p, row, k, values);
            put_octet(input, values);
        }
        if (weight_octets && n < p.w.n && k < p.w.k) {
            const __half *from = (const __half *)p.w.weight + (size_t)n * (size_t)p.w.k + (size_t)k;
            *(uint4 *)weight = *(const uint4 *)from;
        } else {
            for (int i = 0; i < OCTET; i++)
                values[i] = 0;
            if (n < p.w.n && k < p.w.k) load_weights(p.w, n, k, values);
            put_octet(weight, values);
        }
    }
}

static __global__ void tiles(product p, bool input_octets, bool weight_octets)
{
    VLMP_SHARED(__half, inputs, ROWS * STRIDE);
    VLMP_SHARED(__half, weights, OUTPUTS * STRIDE);
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int row = warp / 2 * QUARTER, n = warp % 2 * QUARTER;
    bool busy = (int)blockIdx.y * ROWS + row < p.rows && (int)blockIdx.x * OUTPUTS + n < p.w.n;
    float sums[DOWN][ACROSS][4] = {};
    for (int first = 0; first < p.w.k; first += DEPTH) {
        load_step(p, inputs, weights, first, input_octets, weight_octets);
        __syncthreads();
        for (int k = 0; k < DEPTH && busy; k += 16)
            multiply_step<STRIDE>(sums, inputs + row * STRIDE, weights + n * STRIDE, k);
        __syncthreads();
    }
    row += (int)blockIdx.y * ROWS + lane / 4;
    n += (int)blockIdx.x * OUTPUTS + lane % 4 * 2;
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++)
        VLMP_UNROLL
    for (int d = 0; d < 4; d++) {
        int at_row = row + i * 16 + d / 2 * 8, at_n = n + j * 8 + d % 2;
        if (at_row < p.rows && at_n < p.w.n) store(p, at_row, at_n, sums[i][j][d]);
    }
}

void vlmp_cuda_tiles(vlmp_cuda *cuda, const product *p)
{
    dim3 grid((unsigned)((p->w.n + OUTPUTS - 1) / OUTPUTS),
              (unsigned)((p->rows + ROWS - 1) / ROWS));
    bool weight_octets =
        p->w.bits == 0 && p->w.dtype == VLMP_F16 && has_octets(p->w.weight, p->w.k);
    VLMP_LAUNCH(tiles, grid, BLOCK, 0, cuda->stream, *p, has_octets(p->x, p->w.k), weight_octets);
}
