/* Schemes as constant initializers. */
#pragma once

#include "src/base/scheme.h"

#define SCHEME(bits, group, symmetric, int8)                                     \
    {                                                                            \
        (bits) == 3   ? VLMP_CODES_U3                                            \
        : (bits) == 4 ? VLMP_CODES_U4                                            \
                      : VLMP_CODES_U8,                                           \
            (group) == 0 ? VLMP_F32 : VLMP_F16, group,                           \
            (symmetric) ? VLMP_ZEROS_NONE : VLMP_ZEROS_PACKED, 1.0f, int8, false \
    }
