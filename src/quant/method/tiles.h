/* Moving matrices in and out of tiles (tile.h), and running a function over a matrix's tiles.
 * Internal to src/quant. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/method/search.h"
#include "src/quant/method/tile.h"
#include "src/quant/scheme/quantized.h"

static inline int vlmp_tile_count(int n)
{
    return (n + VLMP_LANES - 1) / VLMP_LANES;
}

/* Rows of tile `task` that exist. */
static inline int vlmp_tile_rows(int n, int task)
{
    int left = n - task * VLMP_LANES;
    return left < VLMP_LANES ? left : VLMP_LANES;
}

/* tile [cols][LANES] = m[row0 + lane][columns first …]; missing rows are 0. order maps position to
 * column; NULL: the same. */
void vlmp_tile_load(float *tile, const float *m, int ld, int row0, int rows, int first, int cols,
                    const int *order);
void vlmp_tile_store(const float *tile, float *m, int ld, int row0, int rows, int first, int cols);

/* The code grid of a scheme; search NULL: min-max only. */
void vlmp_grid_init(vlmp_grid *grid, const vlmp_quantized *q, const vlmp_search *search);

/* Scales and zeros of group g for a tile's lanes (missing rows: 1 and the middle). */
void vlmp_tile_scales(const vlmp_quantized *q, int row0, int rows, int g, float *scale,
                      float *zero);
void vlmp_tile_put_scales(vlmp_quantized *q, int row0, int rows, int g, const float *scale,
                          const float *zero);
