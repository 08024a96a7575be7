/* How scales are searched, and what operations of kernels/quant.h need to know of a quantized
 * matrix.
 */
#pragma once

#include "kernels/quant.h"
#include "src/quant/scheme/quantized.h"

/* Factors of the min-max scale, min-max itself always included. */
typedef struct {
    int candidates;
    float shrink_from, shrink_to;
    int zero_moves; /* zeros tried on each side of the centred one (asymmetric) */
} vlmp_search;

/* 16 factors around min-max, one zero on each side; codes that stand for floats have factors of
 * their own. */
vlmp_search vlmp_search_defaults(void);

/* The code grid of a scheme; search NULL: min-max only. */
void vlmp_grid_init(vlmp_grid *grid, const vlmp_quantized *q, const vlmp_search *search);

/* The same arrays as q. */
vlmp_coded vlmp_coded_of(const vlmp_quantized *q);
