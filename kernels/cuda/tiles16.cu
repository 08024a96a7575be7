/* Products of rows of prompts on tensor cores, as tiles.cu, for shapes that models have: F16 inputs
 * and weights of F16, BF16 or integer codes, in rows of whole sixteens.
 *
 * A block computes ROWS × OUTPUTS results, each of its four warps half the rows of half the
 * outputs, DEPTH inputs at a time. Inputs, and weights that are F16, come into one of STAGES while
 * others are multiplied; other weights come into registers, a thread 16 of an output, and are
 * written there as F16 a step ahead: no copy of a matrix is made. Rows of shared memory are 16
 * bytes longer than what they hold, so that the eight rows of a matrix lie in different banks. */
#include "kernels/cuda/multiply.cuh"
#include "kernels/cuda/products.cuh"

enum { ROWS = 128, OUTPUTS = 64, DEPTH = 32, STRIDE = DEPTH + 8, STAGES = 3, SHARE = 16 };
enum { DOWN = ROWS / 2 / 16, ACROSS = OUTPUTS / 2 / 8, STAGE = (ROWS + OUTPUTS) * STRIDE };

enum { HALVES, BRAINS, CODES4, CODES8 };

/* Asks for the inputs from `first` on, with HALVES for the weights too; what is beyond the last
 * row, output or input is 0. */
template <int KIND> static __device__ void ask(const product &p, __half *stage, int first)
{
    const int pieces = DEPTH / OCTET, lines = KIND == HALVES ? ROWS + OUTPUTS : ROWS;
    VLMP_UNROLL
    for (int i = 0; i < lines * pieces / BLOCK; i++) {
        const int at = i * BLOCK + (int)threadIdx.x;
        const int line = at / pieces, column = at % pieces * OCTET, k = first + column;
        const int row = (int)blockIdx.y * ROWS + line;
        const int n = (int)blockIdx.x * OUTPUTS + line - ROWS;
        const bool there = k < p.w.k && (line < ROWS ? row < p.rows : n < p.w.n);
        const __half *from = line < ROWS ? p.x + (size_t)row * (size_t)p.w.k
                                         : (const __half *)p.w.weight + (size_t)n * (size_t)p.w.k;
        vlmp_copy_async(stage + line * STRIDE + column, there ? from + k : p.x, there ? 16 : 0);
    }
    vlmp_copies_close();
}

/* What a thread brings of a step's weights: SHARE inputs of an output. */
struct share {
    uint4 bits[2];
    float scale;
    int zero;
    bool there;
};

template <int KIND> static __device__ share load_share(const product &p, int first)
{
    share s = {};
    const int n = (int)blockIdx.x * OUTPUTS + (int)threadIdx.x / 2;
    const int k = first + (int)threadIdx.x % 2 * SHARE;
    s.there = KIND != HALVES && n < p.w.n && k < p.w.k;
    if (!s.there) return s;
    if (KIND == BRAINS) {
        const uint16_t *at = (const uint16_t *)p.w.weight + (size_t)n * (size_t)p.w.k + (size_t)k;
        s.bits[0] = ((const uint4 *)(const void *)at)[0];
        s.bits[1] = ((const uint4 *)(const void *)at)[1];
        return s;
    }
    const uint8_t *codes = p.w.codes + (size_t)n * p.w.code_bytes;
    if (KIND == CODES4) {
        const uint2 half = *(const uint2 *)(const void *)(codes + k / 2);
        s.bits[0].x = half.x, s.bits[0].y = half.y;
    } else {
        s.bits[0] = *(const uint4 *)(const void *)(codes + k);
    }
    const int group = p.w.groups == 1 ? 0 : k / p.w.group;
    s.scale = scale_of(p.w, n, group);
    s.zero = zero_of(p.w, n, group);
    return s;
}

/* Weight i of a share. */
template <int KIND>
static __device__ __forceinline__ float value_of(const unsigned *words, const share &s, int i)
{
    if (KIND == BRAINS) return bf16_value((uint16_t)(words[i / 2] >> i % 2 * 16));
    const unsigned code =
        KIND == CODES4 ? words[i / 8] >> i % 8 * 4 & 15 : words[i / 4] >> i % 4 * 8 & 255;
    return (float)((int)code - s.zero) * s.scale;
}

template <int KIND> static __device__ void put_share(__half *stage, const share &s)
{
    const unsigned words[8] = {s.bits[0].x, s.bits[0].y, s.bits[0].z, s.bits[0].w,
                               s.bits[1].x, s.bits[1].y, s.bits[1].z, s.bits[1].w};
    unsigned out[SHARE / 2];
    VLMP_UNROLL
    for (int i = 0; i < SHARE / 2; i++)
        out[i] = s.there ? halves_of(value_of<KIND>(words, s, 2 * i),
                                     value_of<KIND>(words, s, 2 * i + 1))
                         : 0;
    __half *to = stage + (ROWS + (int)threadIdx.x / 2) * STRIDE + (int)threadIdx.x % 2 * SHARE;
    ((uint4 *)(void *)to)[0] = {out[0], out[1], out[2], out[3]};
    ((uint4 *)(void *)to)[1] = {out[4], out[5], out[6], out[7]};
}

static __device__ void store_all(const product &p, const float (&sums)[DOWN][ACROSS][4], int row,
                                 int n)
{
    const int lane = (int)threadIdx.x % 32;
    row += (int)blockIdx.y * ROWS + lane / 4;
    n += (int)blockIdx.x * OUTPUTS + lane % 4 * 2;
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++)
        VLMP_UNROLL
    for (int d = 0; d < 4; d++) {
        const int at_row = row + i * 16 + d / 2 * 8, at_n = n + j * 8 + d % 2;
        if (at_row < p.rows && at_n < p.w.n) store(p, at_row, at_n, sums[i][j][d]);
    }
}

template <int KIND> static __global__ void __launch_bounds__(BLOCK) tiles_of_halves(product p)
{
    VLMP_SHARED(__half, room, STAGES * STAGE);
    const int warp = (int)threadIdx.x / 32, steps = (p.w.k + DEPTH - 1) / DEPTH;
    const int row = warp / 2 * (ROWS / 2), n = warp % 2 * (OUTPUTS / 2);
    const bool busy =
        (int)blockIdx.y * ROWS + row < p.rows && (int)blockIdx.x * OUTPUTS + n < p.w.n;
    float sums[DOWN][ACROSS][4] = {};
    share next = {};
    for (int step = 0; step < STAGES - 1; step++)
        ask<KIND>(p, room + step * STAGE, step * DEPTH);
    if (KIND != HALVES) {
        put_share<KIND>(room, load_share<KIND>(p, 0));
        next = load_share<KIND>(p, DEPTH);
    }
    for (int step = 0; step < steps; step++) {
        vlmp_copies_wait<STAGES - 2>();
        __syncthreads(); /* all have what they wait for, and are done with the step before */
        const share behind = load_share<KIND>(p, (step + 2) * DEPTH);
        ask<KIND>(p, room + (step + STAGES - 1) % STAGES * STAGE, (step + STAGES - 1) * DEPTH);
        const __half *stage = room + step % STAGES * STAGE;
        VLMP_UNROLL
        for (int k = 0; k < DEPTH; k += 16)
            if (busy)
                multiply_step<STRIDE>(sums, stage + row * STRIDE, stage + (ROWS + n) * STRIDE, k);
        if (KIND != HALVES) put_share<KIND>(room + (step + 1) % STAGES * STAGE, next);
        next = behind;
    }
    vlmp_copies_wait<0>();
    store_all(p, sums, row, n);
}

template <int KIND> static bool launch(vlmp_cuda *cuda, const product &p)
{
    dim3 grid((unsigned)((p.w.n + OUTPUTS - 1) / OUTPUTS), (unsigned)((p.rows + ROWS - 1) / ROWS));
    VLMP_LAUNCH((tiles_of_halves<KIND>), grid, BLOCK, 0, cuda->stream, p);
    return true;
}

bool vlmp_cuda_tiles16(vlmp_cuda *cuda, const product *p)
{
    const vlmp_cuda_weight &w = p->w;
    if (w.k % SHARE != 0 || (uintptr_t)p->x % 16 != 0 || w.mantissa != 0) return false;
    if (w.bits == 0) {
        if (w.dtype == VLMP_F16) return launch<HALVES>(cuda, *p);
        return w.dtype == VLMP_BF16 && launch<BRAINS>(cuda, *p);
    }
    if (w.groups != 1 && w.group % SHARE != 0) return false;
    return w.bits == 4 ? launch<CODES4>(cuda, *p) : launch<CODES8>(cuda, *p);
}
