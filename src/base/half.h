/* Scalar conversions between F32 and the two 16-bit float types (IEEE 754 binary16, bfloat16).
 * Round to nearest, ties to even; subnormals, infinities and NaN kept. */
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__F16C__)
#    include <immintrin.h>
#endif

#include "src/base/device.h"

VLMP_DEVICE static inline uint32_t vlmp_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

VLMP_DEVICE static inline float vlmp_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

VLMP_DEVICE static inline float vlmp_bf16_to_f32(uint16_t value)
{
    return vlmp_f32_from_bits((uint32_t)value << 16);
}

VLMP_DEVICE static inline uint16_t vlmp_f32_to_bf16(float value)
{
    uint32_t bits = vlmp_f32_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

VLMP_DEVICE static inline float vlmp_f16_to_f32(uint16_t value)
{
#if defined(__F16C__)
    return _cvtsh_ss(value);
#else
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    uint32_t exponent = value >> 10 & 0x1fu;
    uint32_t mantissa = value & 0x3ffu;
    if (exponent == 0x1fu) return vlmp_f32_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0) return vlmp_f32_from_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f; /* exact: 10 bits */
    return vlmp_f32_from_bits(sign | vlmp_f32_bits(magnitude));
#endif
}

VLMP_DEVICE static inline uint16_t vlmp_f32_to_f16(float value)
{
    uint32_t bits = vlmp_f32_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* ≥ 65520 rounds to infinity */
    if (bits < 0x38800000u) { /* subnormal: let the FPU round at 2^-24 */
        float shifted = vlmp_f32_from_bits(bits) + 0.5f;
        return (uint16_t)(sign | (vlmp_f32_bits(shifted) - 0x3f000000u));
    }
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (bits - 0x38000000u) >> 13);
}
