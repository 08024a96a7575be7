/* Products of rows of prompts with int8 activations and 8-bit integer weights without zeros, on
 * tensor cores.
 *
 * A block computes ROWS × OUTPUTS results, each of its four warps half the rows of half the
 * outputs, DEPTH inputs at a time; STAGES such steps are on their way into shared memory. Rows of
 * it are 16 bytes longer than what they hold, so that the eight rows of a matrix lie in different
 * banks. Codes lie there as stored; with the highest bit turned, u is u − 128 as a signed byte.
 * Sums of a group are exact. */
#include "kernels/cuda/multiply.cuh"
#include "kernels/cuda/products.cuh"

enum { ROWS = 128, OUTPUTS = 64, DEPTH = 64, STRIDE = DEPTH + 16, STAGES = 3, PIECE = 16 };
enum { DOWN = ROWS / 2 / 16, ACROSS = OUTPUTS / 2 / 8, STAGE_BYTES = (ROWS + OUTPUTS) * STRIDE };

/* Asks for a step's inputs and codes; what is beyond the last row, output or input is 0. */
static __device__ void ask(const product &p, unsigned char *stage, int first)
{
    const int pieces = DEPTH / PIECE;
    VLMP_UNROLL
    for (int i = 0; i < (ROWS + OUTPUTS) * pieces / BLOCK; i++) {
        const int at = i * BLOCK + (int)threadIdx.x;
        const int line = at / pieces, column = at % pieces * PIECE, k = first + column;
        const int row = (int)blockIdx.y * ROWS + line;
        const int n = (int)blockIdx.x * OUTPUTS + line - ROWS;
        const bool is_input = line < ROWS, there = is_input ? row < p.rows : n < p.w.n;
        const int valid = there ? max(0, min(PIECE, p.w.k - k)) : 0;
        const uint8_t *from = is_input ? (const uint8_t *)p.codes + (size_t)row * p.code_stride
                                       : p.w.codes + (size_t)n * p.w.code_bytes;
        vlmp_copy_async(stage + line * STRIDE + column,
                        valid > 0 ? from + k : (const uint8_t *)p.codes, valid);
    }
    vlmp_copies_close();
}

/* Output and row of a lane's first sum. */
struct corner {
    int row, n;
};

static __device__ corner corner_of()
{
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    return {(int)blockIdx.y * ROWS + warp / 2 * (ROWS / 2) + lane / 4,
            (int)blockIdx.x * OUTPUTS + warp % 2 * (OUTPUTS / 2) + lane % 4 * 2};
}

/* sums += the exact ones of a group at its scales; those begin anew. */
static __device__ void join(const product &p, float (&sums)[DOWN][ACROSS][4],
                            int (&exact)[DOWN][ACROSS][4], int group)
{
    const corner at = corner_of();
    VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++) {
        float scales[2];
        for (int d = 0; d < 2; d++)
            scales[d] = scale_of(p.w, min(at.n + j * 8 + d, p.w.n - 1), group);
        VLMP_UNROLL
        for (int i = 0; i < DOWN; i++)
            VLMP_UNROLL
        for (int d = 0; d < 4; d++) {
            sums[i][j][d] = fmaf((float)exact[i][j][d], scales[d % 2], sums[i][j][d]);
            exact[i][j][d] = 0;
        }
    }
}

static __device__ void store_all(const product &p, const float (&sums)[DOWN][ACROSS][4])
{
    const corner at = corner_of();
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++)
        VLMP_UNROLL
    for (int d = 0; d < 4; d++) {
        const int row = at.row + i * 16 + d / 2 * 8, n = at.n + j * 8 + d % 2;
        if (row < p.rows && n < p.w.n) store(p, row, n, sums[i][j][d] * p.scales[row]);
    }
}

/* GROUPS: a group is so many steps; else it is the row. */
template <bool GROUPS> static __global__ void __launch_bounds__(BLOCK) tiles_of_bytes(product p)
{
    VLMP_SHARED(unsigned char, room, STAGES *STAGE_BYTES);
    const int warp = (int)threadIdx.x / 32, steps = (p.w.k + DEPTH - 1) / DEPTH;
    const int row = warp / 2 * (ROWS / 2), n = warp % 2 * (OUTPUTS / 2);
    const int steps_of_group = p.w.group / DEPTH;
    const bool busy =
        (int)blockIdx.y * ROWS + row < p.rows && (int)blockIdx.x * OUTPUTS + n < p.w.n;
    int exact[DOWN][ACROSS][4] = {};
    float sums[DOWN][ACROSS][4] = {};
    for (int step = 0; step < STAGES - 1; step++)
        ask(p, room + step * STAGE_BYTES, step * DEPTH);
    for (int step = 0; step < steps; step++) {
        vlmp_copies_wait<STAGES - 2>();
        __syncthreads(); /* all have what they wait for, and are done with the step before */
        ask(p, room + (step + STAGES - 1) % STAGES * STAGE_BYTES, (step + STAGES - 1) * DEPTH);
        const unsigned char *stage = room + step % STAGES * STAGE_BYTES;
        VLMP_UNROLL
        for (int k = 0; k < DEPTH; k += 32)
            if (busy)
                multiply_step<STRIDE>(exact, stage + row * STRIDE, stage + (ROWS + n) * STRIDE, k);
        if (GROUPS && (step + 1) % steps_of_group == 0) join(p, sums, exact, step / steps_of_group);
    }
    vlmp_copies_wait<0>();
    if (!GROUPS) join(p, sums, exact, 0);
    store_all(p, sums);
}

bool vlmp_cuda_tiles8(vlmp_cuda *cuda, const product *p)
{
    const vlmp_cuda_weight &w = p->w;
    if (w.bits != 8 || w.zeros != NULL || w.middle != 128 || w.mantissa != 0 ||
        (w.groups != 1 && w.group % DEPTH != 0))
        return false;
    dim3 grid((unsigned)((w.n + OUTPUTS - 1) / OUTPUTS), (unsigned)((p->rows + ROWS - 1) / ROWS));
    if (w.groups == 1)
        VLMP_LAUNCH((tiles_of_bytes<false>), grid, BLOCK, 0, cuda->stream, *p);
    else
        VLMP_LAUNCH((tiles_of_bytes<true>), grid, BLOCK, 0, cuda->stream, *p);
    return true;
}
