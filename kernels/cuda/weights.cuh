/* Weights as kernels read them: dense of three types, or codes, scales and zeros as files store
 * them (src/base/packed_parts.h). */
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/platform.cuh"

static __device__ inline float bf16_value(uint16_t bits)
{
    return __uint_as_float((unsigned)bits << 16);
}

/* The float that a code of `bits` bits stands for: its fields in F32's places, whose exponents
 * differ by both biases, also of subnormals (src/base/minifloat.h). */
static __device__ inline float float_of_code(unsigned code, int bits, int mantissa, int bias)
{
    unsigned magnitude = code & ((1u << (bits - 1)) - 1), sign = code >> (bits - 1);
    float value = __uint_as_float(magnitude << (23 - mantissa));
    value *= __uint_as_float((unsigned)(254 - bias) << 23);
    return __uint_as_float(__float_as_uint(value) | sign << 31);
}

static __device__ inline float stored_scale(const void *scales, size_t index, int type)
{
    unsigned byte;
    switch (type) {
    case VLMP_F32:
        return ((const float *)scales)[index];
    case VLMP_F16:
        return __half2float(((const __half *)scales)[index]);
    case VLMP_BF16:
        return bf16_value(((const uint16_t *)scales)[index]);
    case VLMP_F8_E8M0:
        byte = ((const uint8_t *)scales)[index];
        if (byte == 0xff) return NAN;
        return byte == 0 ? 0x1p-127f : __uint_as_float(byte << 23);
    default: /* VLMP_F8_E4M3 */
        byte = ((const uint8_t *)scales)[index];
        return byte == VLMP_E4M3_NAN ? NAN : float_of_code(byte, 8, 3, 7);
    }
}

static __device__ inline float scale_of(const vlmp_cuda_weight &w, int n, int group)
{
    size_t index = (size_t)(n / w.scale_outputs) * (size_t)w.groups + (size_t)group;
    return stored_scale(w.scales, index, w.scale_type) * w.global_scale;
}

static __device__ inline int code_of(const uint8_t *row, int index, int bits)
{
    return bits == 8 ? row[index] : row[index / 2] >> index % 2 * 4 & 15;
}

static __device__ inline int zero_of(const vlmp_cuda_weight &w, int n, int group)
{
    if (w.zeros == NULL) return w.middle;
    return code_of(w.zeros + (size_t)n * w.zero_bytes, group, w.bits);
}

/* Weights first … first + 7 of output n; 0 beyond the last. */
enum { OCTET = 8 };

static __device__ inline void load_weights(const vlmp_cuda_weight &w, int n, int first,
                                           float out[OCTET])
{
    const uint8_t *codes = w.codes + (size_t)n * w.code_bytes;
    size_t at = (size_t)n * (size_t)w.k + (size_t)first;
    int group = -1, zero = 0;
    float scale = 0;
    for (int i = 0; i < OCTET; i++) {
        int k = first + i;
        if (k >= w.k) {
            out[i] = 0;
        } else if (w.bits == 0) {
            out[i] = w.dtype == VLMP_F32 ? ((const float *)w.weight)[at + (size_t)i]
                     : w.dtype == VLMP_F16
                         ? __half2float(((const __half *)w.weight)[at + (size_t)i])
                         : bf16_value(((const uint16_t *)w.weight)[at + (size_t)i]);
        } else {
            if (k / w.group != group) {
                group = k / w.group;
                scale = scale_of(w, n, group);
                zero = zero_of(w, n, group);
            }
            int code = code_of(codes, k, w.bits);
            float level = w.mantissa != 0
                              ? float_of_code((unsigned)code, w.bits, w.mantissa, w.bias)
                              : (float)(code - zero);
            out[i] = level * scale;
        }
    }
}

/* The same of codes − zeros, for codes that are integers. */
static __device__ inline void load_weights(const vlmp_cuda_weight &w, int n, int first,
                                           int out[OCTET])
{
    const uint8_t *codes = w.codes + (size_t)n * w.code_bytes;
    int group = -1, zero = 0;
    for (int i = 0; i < OCTET; i++) {
        int k = first + i;
        if (k < w.k && k / w.group != group) {
            group = k / w.group;
            zero = zero_of(w, n, group);
        }
        out[i] = k < w.k ? code_of(codes, k, w.bits) - zero : 0;
    }
}
