/* Products of F32 values that are rounded to BF16 first, with F32 sums: the level "avx512bf16".
 *
 * A pair is two neighbouring terms of a sum as BF16 in 32 bits, the first one below; behind an odd
 * number of terms comes a zero. Numbers below 2⁻¹²⁶ count as zero. */
#pragma once

#include "kernels/cpu/cpu.h"

/* Outputs that lie side by side, as lanes; pairs of so many outputs that fit the L1 cache twice. */
#define VLMP_BF16_PANEL 32
#define VLMP_BF16_DEPTH 128

typedef struct vlmp_bf16_kernels {
    /* The pairs of a row's inputs, and zeros up to a multiple of 64 bytes. */
    void (*pair_row)(uint32_t *pairs, const float *x, int k);

    /* y[rows][n] for n0 ≤ n < n1 (at most VLMP_TILE_COLUMNS) without bias, of rows of pairs
     * `stride` apart; y has stride w->n. kernels: those that read w. scratch: VLMP_THREAD_SCRATCH
     * bytes. */
    void (*linear_tile)(float *y, const uint32_t *pairs, size_t stride, int rows,
                        const vlmp_linear *w, int n0, int n1, const vlmp_cpu_kernels *kernels,
                        void *scratch);

    /* panel[⌈rows/2⌉][VLMP_BF16_PANEL]: pairs of neighbouring rows of x, `stride` apart; zeros
     * behind its columns (at most VLMP_BF16_PANEL). */
    void (*pair_panel)(uint32_t *panel, const float *x, size_t stride, int rows, int columns);

    /* c[m][n] += aᵀ·b of two panels with `pairs` pairs, m and n at most VLMP_BF16_PANEL; lower:
     * what is above the diagonal stays. */
    void (*add_block)(float *c, size_t c_stride, const uint32_t *a, const uint32_t *b, int pairs,
                      int m, int n, bool lower);
} vlmp_bf16_kernels;

/* Where the context has the level: gram (lower, a and b the same) and cross. */
void vlmp_bf16_moments(vlmp_cpu_ctx *cpu, float *c, const float *a, const float *b, int rows, int k,
                       bool lower);
