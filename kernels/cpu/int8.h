/* int8 activations of one row: s = amax/127.5, codes round(x/s) in ±127. */
#pragma once

#include <math.h>

#include "kernels/cpu/simd.h"

/* The largest |x|, as its bits: NaN counts as larger than infinity. */
INLINE uint32_t largest_bits(const float *x, int count)
{
    uint32_t largest = 0;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

INLINE float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE float int8_scale(const float *x, int k)
{
    uint32_t largest = largest_bits(x, k);
    return largest >= 0x7f800000u ? NAN : float_of(largest) / 127.5f;
}

/* What codes divide by: where the scale is 0 or NaN all codes are 0. */
INLINE float int8_divisor(float scale)
{
    return scale > 0 ? scale : INFINITY;
}
