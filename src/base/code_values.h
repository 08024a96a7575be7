/* Values of the codes of one group. */
#pragma once

#include "src/base/scheme.h"

/* out[i] = level of codes[i], a byte each, times scale. */
static inline void vlmp_code_values(float *out, const vlmp_code_grid *grid, const uint8_t *codes,
                                    int count, int zero, float scale)
{
    for (int i = 0; i < count; i++)
        out[i] = vlmp_code_level(grid, codes[i], zero) * scale;
}
