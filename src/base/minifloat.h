/* Floats of 4 and 8 bits: a sign, an exponent, a mantissa, subnormals; no infinities. Round to
 * nearest, ties to even; what lies beyond the largest becomes the largest. Written without
 * branches on values, so that loops over them vectorize. */
#pragma once

#include <math.h>
#include <stdint.h>

#include "src/base/half.h"

typedef struct {
    int bits;     /* of a code */
    int mantissa; /* bits; 0: no floats, codes are integers */
    int bias;     /* of the exponent */
    float largest;
} vlmp_minifloat;

/* 0, 0.5, 1, 1.5, 2, 3, 4, 6. */
#define VLMP_E2M1     ((vlmp_minifloat){.bits = 4, .mantissa = 1, .bias = 1, .largest = 6.0f})
/* All exponent and mantissa bits set would be 480: that code is NaN. */
#define VLMP_E4M3     ((vlmp_minifloat){.bits = 8, .mantissa = 3, .bias = 7, .largest = 448.0f})
#define VLMP_E4M3_NAN 0x7f /* without the sign */

/* The value of a code. */
VLMP_DEVICE static inline float vlmp_minifloat_value(const vlmp_minifloat *f, unsigned code)
{
    uint32_t magnitude = code & ((1u << (f->bits - 1)) - 1), sign = code >> (f->bits - 1);
    /* The fields in F32's places: the exponents differ by both biases, also of subnormals. */
    float value = vlmp_f32_from_bits(magnitude << (23 - f->mantissa));
    value *= vlmp_f32_from_bits((uint32_t)(254 - f->bias) << 23);
    return vlmp_f32_from_bits(vlmp_f32_bits(value) | sign << 31);
}

/* The code of a value that has one; 0 for both zeros. */
VLMP_DEVICE static inline unsigned vlmp_minifloat_code(const vlmp_minifloat *f, float value)
{
    uint32_t bits = vlmp_f32_bits(value), sign = value < 0 ? 1u << (f->bits - 1) : 0u;
    float magnitude = vlmp_f32_from_bits(bits & 0x7fffffffu);
    magnitude *= vlmp_f32_from_bits((uint32_t)f->bias << 23);
    return sign | vlmp_f32_bits(magnitude) >> (23 - f->mantissa);
}

/* The nearest value; never −0. x is not NaN. */
VLMP_DEVICE static inline float vlmp_minifloat_round(const vlmp_minifloat *f, float x)
{
    x = x < -f->largest ? -f->largest : x;
    x = x > f->largest ? f->largest : x;
    uint32_t least = (uint32_t)(128 - f->bias) << 23; /* the exponent of subnormals too */
    uint32_t exponent = vlmp_f32_bits(x) & 0x7f800000u;
    exponent = exponent < least ? least : exponent;
    /* A sum of this size has the last bit that the value's mantissa has. */
    float sum = vlmp_f32_from_bits((exponent + ((uint32_t)(23 - f->mantissa) << 23)) | 0x400000u);
    return (x + sum) - sum;
}
