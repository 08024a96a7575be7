#include "src/quant/method/tiles.h"

#include <string.h>

void vlmp_tile_load(float *tile, const float *m, int ld, int row0, int rows, int first, int cols,
                    const int *order)
{
    if (rows < VLMP_LANES) memset(tile, 0, (size_t)cols * VLMP_LANES * sizeof *tile);
    for (int r = 0; r < rows; r++) {
        const float *row = m + (size_t)(row0 + r) * (size_t)ld;
        if (order == NULL)
            for (int c = 0; c < cols; c++)
                tile[c * VLMP_LANES + r] = row[first + c];
        else
            for (int c = 0; c < cols; c++)
                tile[c * VLMP_LANES + r] = row[order[first + c]];
    }
}

void vlmp_tile_store(const float *tile, float *m, int ld, int row0, int rows, int first, int cols)
{
    for (int r = 0; r < rows; r++) {
        float *row = m + (size_t)(row0 + r) * (size_t)ld + first;
        for (int c = 0; c < cols; c++)
            row[c] = tile[c * VLMP_LANES + r];
    }
}

vlmp_search vlmp_search_defaults(void)
{
    return (vlmp_search){
        .candidates = 16, .shrink_from = 0.65f, .shrink_to = 1.1f, .zero_moves = 1};
}

void vlmp_grid_init(vlmp_grid *grid, const vlmp_quantized *q, const vlmp_search *search)
{
    *grid = (vlmp_grid){.low = (float)q->grid.low,
                        .high = (float)q->grid.high,
                        .middle = (float)q->grid.middle,
                        .span = (float)q->grid.high,
                        .symmetric = q->scheme.zeros == VLMP_ZEROS_NONE,
                        .scales = q->scheme.scales};
    if (search == NULL) return;
    grid->candidates = search->candidates;
    grid->shrink_from = search->shrink_from;
    grid->shrink_to = search->shrink_to;
    grid->zero_moves = search->zero_moves;
}

void vlmp_tile_scales(const vlmp_quantized *q, int row0, int rows, int g, float *scale, float *zero)
{
    for (int r = 0; r < VLMP_LANES; r++) {
        size_t at = (size_t)(row0 + r) * (size_t)q->groups + (size_t)g;
        scale[r] = r < rows ? q->scales[at] : 1.0f;
        zero[r] = r < rows ? (float)q->zeros[at] : (float)q->grid.middle;
    }
}

void vlmp_tile_put_scales(vlmp_quantized *q, int row0, int rows, int g, const float *scale,
                          const float *zero)
{
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)(row0 + r) * (size_t)q->groups + (size_t)g;
        q->scales[at] = scale[r];
        q->zeros[at] = (uint8_t)(int)zero[r];
    }
}
