/* Inner loops of the quantizers on tiles: VLMP_LANES weight rows side by side, columns down, so
 * that everything vectorizes over rows and needs no horizontal sums. On the compiler's vectors
 * rather than simd.h's: the same file serves processors without any, and without contraction all
 * levels give the same bits. Private to kernels/cpu. */
#pragma once

#include "kernels/quant.h"

#define VLMP_LANES 16

/* What is tried for a group, per lane. */
typedef struct {
    int count;
    float low[VLMP_LANES], high[VLMP_LANES]; /* of the group's weights and 0 */
    float scale[VLMP_MAX_TRIALS][VLMP_LANES], zero[VLMP_MAX_TRIALS][VLMP_LANES];
    float loss[VLMP_MAX_TRIALS][VLMP_LANES];
} vlmp_trials;

typedef struct vlmp_tile_kernels {
    /* The search, for groups of any number of columns in chunks: widen low and high (0 at first)
     * over all chunks of x [cols][LANES]; list the trials; add each trial's Σ weight·(x − ŵ)² over
     * all chunks; pick. */
    void (*widen)(int cols, const float *x, vlmp_trials *trials);
    void (*list)(const vlmp_grid *grid, vlmp_trials *trials);
    void (*losses)(const vlmp_grid *grid, int cols, const float *x, const float *weight,
                   vlmp_trials *trials);
    void (*pick)(const vlmp_grid *grid, const vlmp_trials *trials, float *scale, float *zero);

    /* codes [cols][LANES] of x [cols][LANES] rounded to nearest. */
    void (*round)(const vlmp_grid *grid, int cols, const float *x, const float *scale,
                  const float *zero, uint8_t *codes);

    /* What columns first … last of a block would be if none of them were rounded: `live` holds what
     * the columns rounded so far have passed on, and each of these passes its own shift on to the
     * next. out [last − first + 1][LANES]. */
    void (*settle)(int first, int last, const float *live, const float *target, const float *factor,
                   int ld, float *out);

    /* Rounds columns last, last−1, … first of a block of `live` weights and passes each error on to
     * the block's columns before it. live, target, error [block][LANES]; codes [block][LANES];
     * scale, zero [LANES]; loss [LANES] += pivot[column]·(live − ŵ)². */
    void (*propagate)(const vlmp_grid *grid, int first, int last, float *live, const float *target,
                      const float *factor, int ld, const float *pivot, const float *scale,
                      const float *zero, float *error, uint8_t *codes, float *loss);

    /* Codes (or the floats that they stand for) of a group. error [cols][LANES]; slope
     * [cols][LANES], both kept up to date; h is gram's square of the group, leading dimension ld,
     * with `ridge` added to its diagonal. Returns the number of codes changed. */
    int (*descend)(const vlmp_grid *grid, int cols, const float *h, int ld, float ridge,
                   const float *scale, float *error, float *slope, float *codes, double *gain);

    /* Scale and zero of a group. sums [cols] are the column sums of h. Returns the number of
     * moves. */
    int (*refit)(const vlmp_grid *grid, int cols, const float *h, int ld, const float *sums,
                 float ridge, float *scale, float *zero, float *error, float *slope,
                 const float *codes, double *gain);

    /* slope [count][LANES] += change [cols][LANES]·h: what a group's changes do to other columns.
     * h [cols][count], leading dimension ld. */
    void (*spread)(int cols, int count, const float *h, int ld, const float *change, float *slope);
} vlmp_tile_kernels;
