#include "src/quant/method/search.h"

vlmp_search vlmp_search_defaults(void)
{
    return (vlmp_search){
        .candidates = 16, .shrink_from = 0.65f, .shrink_to = 1.1f, .zero_moves = 1};
}

/* What can differ between scales of floats. fp8: only where values fall between two powers of two,
 * so one octave is all there is, upwards, as below min-max the largest weight is cut. mxfp4: the
 * powers of two around. nvfp4: the largest weight may become 4 as well as 6. */
static void set_factors(vlmp_grid *grid, vlmp_code_type codes)
{
    if (codes == VLMP_CODES_FP8) {
        grid->shrink_from = 1.0f;
        grid->shrink_to = 2.0f;
    } else if (codes == VLMP_CODES_MXFP4) {
        grid->candidates = 3;
        grid->shrink_from = 0.5f;
        grid->shrink_to = 2.0f;
    } else {
        grid->shrink_to = 1.6f;
    }
}

void vlmp_grid_init(vlmp_grid *grid, const vlmp_quantized *q, const vlmp_search *search)
{
    bool floats = q->grid.floats.mantissa != 0, symmetric = q->scheme.zeros == VLMP_ZEROS_NONE;
    *grid = (vlmp_grid){.low = floats ? -q->grid.floats.largest : (float)q->grid.low,
                        .high = floats ? q->grid.floats.largest : (float)q->grid.high,
                        .middle = (float)q->grid.middle,
                        .span = symmetric ? 2.0f * q->grid.reach : (float)q->grid.high,
                        .floats = q->grid.floats,
                        .symmetric = symmetric,
                        .scales = q->scheme.scales,
                        .global_scale = q->scheme.global_scale};
    if (search == NULL) return;
    grid->candidates = search->candidates;
    grid->shrink_from = search->shrink_from;
    grid->shrink_to = search->shrink_to;
    grid->zero_moves = search->zero_moves;
    if (floats) set_factors(grid, q->scheme.codes);
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
