/* The vectors of simd.h with 512 bits on any processor: the layouts of the AVX-512 levels, for
 * tests where the processor has none. Loops where GNU C has no operator; lanes round as the
 * instructions do. */
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/inline.h"

enum { LANES = 16, VECTOR_BYTES = 64 };
typedef int32_t vint __attribute__((vector_size(64)));
typedef float vfloat __attribute__((vector_size(64)));
typedef uint32_t vlmp_unsigned_lanes __attribute__((vector_size(64)));
typedef uint8_t vlmp_unsigned_byte_lanes __attribute__((vector_size(64)));
typedef int16_t vlmp_short_lanes __attribute__((vector_size(64)));
typedef int8_t vlmp_signed_byte_lanes __attribute__((vector_size(64)));

#define EACH_LANE for (int lane = 0; lane < LANES; lane++)

/* clang-format off */
INLINE vint vi_zero(void) { return (vint){0}; }
INLINE vint vi_set(int32_t x) { return x - (vint){0}; }
INLINE vint vi_set_eights(int32_t a, int32_t b) { vint x; EACH_LANE x[lane] = lane < 8 ? a : b; return x; }
INLINE vint vi_set8(int8_t x) { return (vint)(x - (vlmp_signed_byte_lanes){0}); }
INLINE vint vi_load(const void *p) { vint x; memcpy(&x, p, sizeof x); return x; }
INLINE void vi_store(void *p, vint x) { memcpy(p, &x, sizeof x); }
INLINE vint vi_and(vint a, vint b) { return a & b; }
INLINE vint vi_or(vint a, vint b) { return a | b; }
INLINE vint vi_and_or(vint a, vint mask, vint b) { return (a & mask) | b; }
INLINE vint vi_or_and(vint a, vint b, vint mask) { return (a | b) & mask; }
INLINE vint vi_add(vint a, vint b) { return (vint)((vlmp_unsigned_lanes)a + (vlmp_unsigned_lanes)b); }
INLINE vint vi_sub(vint a, vint b) { return (vint)((vlmp_unsigned_lanes)a - (vlmp_unsigned_lanes)b); }
INLINE vint vi_pairs(vint u, vint s)
{
    vlmp_unsigned_byte_lanes codes = (vlmp_unsigned_byte_lanes)u;
    vlmp_signed_byte_lanes x = (vlmp_signed_byte_lanes)s;
    vlmp_short_lanes sums;
    for (int i = 0; i < VECTOR_BYTES; i += 2) {
        int sum = codes[i] * x[i] + codes[i + 1] * x[i + 1];
        sums[i / 2] = (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
    return (vint)sums;
}
INLINE vint vi_add16(vint a, vint b) { return (vint)((vlmp_short_lanes)a + (vlmp_short_lanes)b); }
INLINE vint vi_join_pairs(vint a)
{
    vlmp_short_lanes pairs = (vlmp_short_lanes)a;
    EACH_LANE a[lane] = pairs[2 * lane] + pairs[2 * lane + 1];
    return a;
}
INLINE vint vi_mul(vint a, vint b) { return (vint)((vlmp_unsigned_lanes)a * (vlmp_unsigned_lanes)b); }
INLINE vint vi_max(vint a, vint b) { EACH_LANE a[lane] = a[lane] > b[lane] ? a[lane] : b[lane]; return a; }
INLINE vint vi_shl(vint a, int bits) { return (vint)((vlmp_unsigned_lanes)a << (uint32_t)bits); }
INLINE vint vi_shr(vint a, int bits) { return (vint)((vlmp_unsigned_lanes)a >> (uint32_t)bits); }
INLINE vint vi_sar(vint a, int bits) { return a >> bits; }
INLINE vint vi_shr_each(vint a, vint bits) { return (vint)((vlmp_unsigned_lanes)a >> (vlmp_unsigned_lanes)bits); }
INLINE vint vi_iota(void) { return (vint){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
INLINE vfloat vi_to_float(vint a) { return __builtin_convertvector(a, vfloat); }
INLINE vint vf_to_int(vfloat a) { vint x; EACH_LANE x[lane] = _mm_cvtss_si32(_mm_set_ss(a[lane])); return x; }
INLINE vfloat vi_as_float(vint a) { return (vfloat)a; }
INLINE vint vf_as_int(vfloat a) { return (vint)a; }
INLINE vfloat vf_zero(void) { return (vfloat){0}; }
INLINE vfloat vf_set(float x) { return x - (vfloat){0}; }
INLINE vfloat vf_load(const void *p) { vfloat x; memcpy(&x, p, sizeof x); return x; }
INLINE void vf_store(float *p, vfloat x) { memcpy(p, &x, sizeof x); }
INLINE vfloat vf_add(vfloat a, vfloat b) { return a + b; }
INLINE vfloat vf_sub(vfloat a, vfloat b) { return a - b; }
INLINE vfloat vf_mul(vfloat a, vfloat b) { return a * b; }
INLINE vfloat vf_div(vfloat a, vfloat b) { return a / b; }
INLINE vfloat vf_max(vfloat a, vfloat b) { EACH_LANE a[lane] = a[lane] > b[lane] ? a[lane] : b[lane]; return a; }
INLINE vfloat vf_min(vfloat a, vfloat b) { EACH_LANE a[lane] = a[lane] < b[lane] ? a[lane] : b[lane]; return a; }
INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) { EACH_LANE a[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]); return a; }
/* In halves, as the reductions of AVX-512 are defined. */
INLINE float vf_sum(vfloat a)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) a[lane] += a[lane + half];
    return a[0];
}
INLINE float vf_largest(vfloat a)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) a[lane] = a[lane] > a[lane + half] ? a[lane] : a[lane + half];
    return a[0];
}
INLINE vint vi_from_u16(const void *p) { uint16_t from[LANES]; vint x; memcpy(from, p, sizeof from); EACH_LANE x[lane] = from[lane]; return x; }
INLINE vint vi_from_u8(const void *p) { uint8_t from[LANES]; vint x; memcpy(from, p, sizeof from); EACH_LANE x[lane] = from[lane]; return x; }
INLINE vint vi_spread8(const void *p)
{
    uint8_t from[2 * LANES];
    memcpy(from, p, sizeof from);
    vint x;
    EACH_LANE x[lane] = from[2 * lane] | from[2 * lane + 1] << 16;
    return x;
}
INLINE vint vi_pick16(__m128i table, vint index)
{
    uint8_t from[16];
    _mm_storeu_si128((__m128i *)(void *)from, table);
    vlmp_unsigned_byte_lanes x = (vlmp_unsigned_byte_lanes)index;
    for (int i = 0; i < VECTOR_BYTES; i++) x[i] = from[x[i] & 15];
    return (vint)x;
}
INLINE vfloat vf_from_f16(const void *p)
{
    float x[LANES];
    _mm256_storeu_ps(x, _mm256_cvtph_ps(_mm_loadu_si128(p)));
    _mm256_storeu_ps(x + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1)));
    return vf_load(x);
}
INLINE vfloat vf_from_i16(const void *p) { int16_t from[LANES]; vfloat x; memcpy(from, p, sizeof from); EACH_LANE x[lane] = from[lane]; return x; }
INLINE __m256 vf_eight(vfloat x, int half) { float lanes[LANES]; memcpy(lanes, &x, sizeof x); return _mm256_loadu_ps(lanes + 8 * half); }
INLINE void vf_to_i16(void *p, vfloat x)
{
    __m128i *to = p;
    for (int half = 0; half < 2; half++) {
        __m256i all = _mm256_cvtps_epi32(vf_eight(x, half));
        _mm_storeu_si128(to + half, _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
    }
}
INLINE vfloat vf_pick8(__m256 table, vint index)
{
    float from[8];
    vfloat x;
    _mm256_storeu_ps(from, table);
    EACH_LANE x[lane] = from[index[lane]];
    return x;
}
INLINE vint vi_even(vint a, vint b)
{
    vint x;
    EACH_LANE x[lane] = lane % 4 < 2 ? a[lane / 4 * 4 + lane % 2 * 2] : b[lane / 4 * 4 + lane % 2 * 2];
    return x;
}
INLINE vint vi_odd(vint a, vint b)
{
    vint x;
    EACH_LANE x[lane] = lane % 4 < 2 ? a[lane / 4 * 4 + lane % 2 * 2 + 1] : b[lane / 4 * 4 + lane % 2 * 2 + 1];
    return x;
}
/* clang-format on */
INLINE vint vi_load_part(const void *p, int bytes)
{
    vint x = {0};
    memcpy(&x, p, (size_t)(bytes > VECTOR_BYTES ? VECTOR_BYTES : bytes));
    return x;
}
INLINE vfloat vf_load_part(const float *p, int lanes)
{
    vfloat x = {0};
    memcpy(&x, p, (size_t)lanes * sizeof *p);
    return x;
}
INLINE void vf_store_part(float *p, vfloat x, int lanes)
{
    memcpy(p, &x, (size_t)lanes * sizeof *p);
}
