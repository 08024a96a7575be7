/* Inner loops of the quantizers on tiles: LANES weight rows side by side, columns down, so that
 * everything vectorizes over rows and needs no horizontal sums. Compiled once per instruction set;
 * without contraction all levels give the same bits. Internal to src/quant. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/dtype.h"

#define VLMP_LANES 16
#define VLMP_BLOCK 128 /* columns handled between two matrix products */

/* The code grid of a scheme, and how its scales are searched. */
typedef struct {
    float low, high; /* codes */
    float middle;    /* z when symmetric */
    float span;      /* min-max: scale = range/span; 2^bits − 1 (symmetric: range = 2·amax) */
    bool symmetric;
    vlmp_dtype scales; /* as stored */

    int candidates;               /* scales tried beside min-max */
    float shrink_from, shrink_to; /* factors of the min-max scale, geometric */
    int zero_moves;               /* zeros tried on each side of the centred one (asymmetric) */
} vlmp_grid;

/* Per lane, the scale and zero that minimise Σ weight[i]·(x − ŵ)² over the group's columns;
 * min-max is the first candidate. x [cols][LANES], weight [cols]. A group of zeros gets scale 1. A
 * scale that does not fit its type comes out infinite. */
typedef void vlmp_tile_search_fn(const vlmp_grid *grid, int cols, const float *x,
                                 const float *weight, float *scale, float *zero);

/* codes [cols][LANES] and values [cols][LANES] (ŵ) of x [cols][LANES] rounded to nearest. */
typedef void vlmp_tile_round_fn(const vlmp_grid *grid, int cols, const float *x, const float *scale,
                                const float *zero, float *codes, float *values);

/* What columns first … last of a block would be if none of them were rounded: `live` holds what the
 * columns rounded so far have passed on, and each of these passes its own shift on to the next.
 * out [last − first + 1][LANES]. */
typedef void vlmp_tile_settle_fn(int first, int last, const float *live, const float *target,
                                 const float *factor, int ld, float *out);

/* Rounds columns last, last−1, … first of a block of `live` weights and passes each error
 * (target − ŵ) on to the block's columns before it:
 * live[i] += error·factor[column·ld + i] for i < column.
 * live, target, error [block][LANES]; codes [block][LANES]; scale, zero [LANES]; loss [LANES] +=
 * pivot[column]·(live − ŵ)². */
typedef void vlmp_tile_propagate_fn(const vlmp_grid *grid, int first, int last, float *live,
                                    const float *target, const float *factor, int ld,
                                    const float *pivot, const float *scale, const float *zero,
                                    float *error, uint8_t *codes, float *loss);

/* One pass of coordinate descent on the codes of a group of columns. error [cols][LANES] = target −
 * ŵ; slope [cols][LANES] = error·H of these columns, both kept up to date; h is H's square of the
 * group, leading dimension ld, with `ridge` added to its diagonal. gain [LANES] += the decrease of
 * error·H·errorᵀ. Returns the number of codes changed. */
typedef int vlmp_tile_descend_fn(const vlmp_grid *grid, int cols, const float *h, int ld,
                                 float ridge, const float *scale, float *error, float *slope,
                                 float *codes, double *gain);

/* Refits the scale (and the zero when asymmetric) of a group, codes fixed, where that lowers the
 * error. Arguments as above; sums [cols] are the column sums of h. Returns the number of moves. */
typedef int vlmp_tile_refit_fn(const vlmp_grid *grid, int cols, const float *h, int ld,
                               const float *sums, float ridge, float *scale, float *zero,
                               float *error, float *slope, const float *codes, double *gain);

/* slope [count][LANES] += change [cols][LANES]·h: what a group's changes do to other columns. h
 * [cols][count], leading dimension ld. */
typedef void vlmp_tile_spread_fn(int cols, int count, const float *h, int ld, const float *change,
                                 float *slope);

typedef struct {
    vlmp_tile_search_fn *search;
    vlmp_tile_round_fn *round;
    vlmp_tile_settle_fn *settle;
    vlmp_tile_propagate_fn *propagate;
    vlmp_tile_descend_fn *descend;
    vlmp_tile_refit_fn *refit;
    vlmp_tile_spread_fn *spread;
} vlmp_tile_ops;

/* The widest instruction set of this processor. */
const vlmp_tile_ops *vlmp_tile_ops_get(void);

extern const vlmp_tile_ops vlmp_tile_base;
extern const vlmp_tile_ops vlmp_tile_avx2;
extern const vlmp_tile_ops vlmp_tile_avx512;
