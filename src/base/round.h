/* Round half to even without a library call, so that loops over it vectorize. */
#pragma once

#include "src/base/device.h"

/* For |x| ≤ 2²²: behind that the sum has no room for the fraction. */
VLMP_DEVICE static inline float vlmp_round_even(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}
