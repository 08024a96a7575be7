#include "src/quant/method/search.h"

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

vlmp_coded vlmp_coded_of(const vlmp_quantized *q)
{
    return (vlmp_coded){.n = q->n,
                        .k = q->k,
                        .group = q->group,
                        .codes = q->codes,
                        .scales = q->scales,
                        .zeros = q->zeros};
}
