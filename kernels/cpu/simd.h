/* Vectors of the level that a file is compiled for: 512 bits with AVX-512 (F, BW, DQ, VL), else 256
 * with AVX2, FMA and F16C. One lane is 32 bits. Private to the files of a level. */
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/inline.h"

#if defined(VLMP_EMULATED)
#    include "kernels/cpu/simd_emulated.h"
#elif defined(__AVX512BW__)

enum { LANES = 16, VECTOR_BYTES = 64 };
typedef __m512i vint;
typedef __m512 vfloat;

/* clang-format off */
INLINE vint vi_zero(void) { return _mm512_setzero_si512(); }
INLINE vint vi_set(int32_t x) { return _mm512_set1_epi32(x); }
/* Lanes 0 … 7, and those above where there are any. */
INLINE vint vi_set_eights(int32_t a, int32_t b) { return _mm512_mask_set1_epi32(_mm512_set1_epi32(a), 0xff00, b); }
INLINE vint vi_set8(int8_t x) { return _mm512_set1_epi8(x); }
INLINE vint vi_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void vi_store(void *p, vint x) { _mm512_storeu_si512(p, x); }
INLINE vint vi_and(vint a, vint b) { return _mm512_and_si512(a, b); }
INLINE vint vi_or(vint a, vint b) { return _mm512_or_si512(a, b); }
/* a & mask | b, and (a | b) & mask. */
INLINE vint vi_and_or(vint a, vint mask, vint b) { return _mm512_ternarylogic_epi32(a, mask, b, 0xea); }
INLINE vint vi_or_and(vint a, vint b, vint mask) { return _mm512_ternarylogic_epi32(a, b, mask, 0xa8); }
INLINE vint vi_add(vint a, vint b) { return _mm512_add_epi32(a, b); }
INLINE vint vi_sub(vint a, vint b) { return _mm512_sub_epi32(a, b); }
/* In 16-bit lanes: u·s of two neighbouring bytes, added and saturated; and two of these added to 32 bits. */
INLINE vint vi_pairs(vint u, vint s) { return _mm512_maddubs_epi16(u, s); }
INLINE vint vi_add16(vint a, vint b) { return _mm512_add_epi16(a, b); }
INLINE vint vi_join_pairs(vint a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }
INLINE vint vi_mul(vint a, vint b) { return _mm512_mullo_epi32(a, b); }
INLINE vint vi_max(vint a, vint b) { return _mm512_max_epi32(a, b); }
#define vi_shl(a, bits) _mm512_slli_epi32(a, bits)
#define vi_shr(a, bits) _mm512_srli_epi32(a, bits)
#define vi_sar(a, bits) _mm512_srai_epi32(a, bits)
INLINE vint vi_shr_each(vint a, vint bits) { return _mm512_srlv_epi32(a, bits); }
INLINE vint vi_iota(void) { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
INLINE vfloat vi_to_float(vint a) { return _mm512_cvtepi32_ps(a); }
INLINE vint vf_to_int(vfloat a) { return _mm512_cvtps_epi32(a); }
INLINE vfloat vi_as_float(vint a) { return _mm512_castsi512_ps(a); }
INLINE vint vf_as_int(vfloat a) { return _mm512_castps_si512(a); }
INLINE vfloat vf_zero(void) { return _mm512_setzero_ps(); }
INLINE vfloat vf_set(float x) { return _mm512_set1_ps(x); }
INLINE vfloat vf_load(const void *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vfloat x) { _mm512_storeu_ps(p, x); }
INLINE vfloat vf_add(vfloat a, vfloat b) { return _mm512_add_ps(a, b); }
INLINE vfloat vf_sub(vfloat a, vfloat b) { return _mm512_sub_ps(a, b); }
INLINE vfloat vf_mul(vfloat a, vfloat b) { return _mm512_mul_ps(a, b); }
INLINE vfloat vf_div(vfloat a, vfloat b) { return _mm512_div_ps(a, b); }
INLINE vfloat vf_max(vfloat a, vfloat b) { return _mm512_max_ps(a, b); }
INLINE vfloat vf_min(vfloat a, vfloat b) { return _mm512_min_ps(a, b); }
INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) { return _mm512_fmadd_ps(a, b, c); }
INLINE float vf_sum(vfloat a) { return _mm512_reduce_add_ps(a); }
INLINE float vf_largest(vfloat a) { return _mm512_reduce_max_ps(a); }
INLINE vfloat vf_from_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE vint vi_from_u16(const void *p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(p)); }
INLINE vint vi_from_u8(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(p)); }
/* Bytes to 16-bit halves of lanes; and byte → table[byte], bytes 0 … 15. */
INLINE vint vi_spread8(const void *p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(p)); }
INLINE vint vi_pick16(__m128i table, vint index) { return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), index); }
INLINE vfloat vf_from_i16(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(p))); }
/* Rounded to even, saturated. */
INLINE void vf_to_i16(void *p, vfloat x) { _mm256_storeu_si256(p, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x))); }
/* lane → table[index[lane]], index 0 … 7. */
INLINE vfloat vf_pick8(__m256 table, vint index) { return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(table)); }
/* Of each 128 bits, the even (odd) lanes of a, then those of b. */
INLINE vint vi_even(vint a, vint b) { return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88)); }
INLINE vint vi_odd(vint a, vint b) { return _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xdd)); }
/* The first `bytes` (0 … VECTOR_BYTES) bytes, then zeros. */
INLINE vint vi_load_part(const void *p, int bytes)
{
    return _mm512_maskz_loadu_epi8(bytes >= 64 ? ~0ull : (1ull << bytes) - 1, p);
}
INLINE vfloat vf_load_part(const float *p, int lanes)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), p);
}
INLINE void vf_store_part(float *p, vfloat x, int lanes)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << lanes) - 1), x);
}
/* clang-format on */

#else

enum { LANES = 8, VECTOR_BYTES = 32 };
typedef __m256i vint;
typedef __m256 vfloat;

/* clang-format off */
INLINE vint vi_zero(void) { return _mm256_setzero_si256(); }
INLINE vint vi_set(int32_t x) { return _mm256_set1_epi32(x); }
INLINE vint vi_set_eights(int32_t a, int32_t b) { (void)b; return _mm256_set1_epi32(a); }
INLINE vint vi_set8(int8_t x) { return _mm256_set1_epi8(x); }
INLINE vint vi_load(const void *p) { return _mm256_loadu_si256(p); }
INLINE void vi_store(void *p, vint x) { _mm256_storeu_si256(p, x); }
INLINE vint vi_and(vint a, vint b) { return _mm256_and_si256(a, b); }
INLINE vint vi_or(vint a, vint b) { return _mm256_or_si256(a, b); }
INLINE vint vi_and_or(vint a, vint mask, vint b) { return vi_or(vi_and(a, mask), b); }
INLINE vint vi_or_and(vint a, vint b, vint mask) { return vi_and(vi_or(a, b), mask); }
INLINE vint vi_add(vint a, vint b) { return _mm256_add_epi32(a, b); }
INLINE vint vi_sub(vint a, vint b) { return _mm256_sub_epi32(a, b); }
INLINE vint vi_pairs(vint u, vint s) { return _mm256_maddubs_epi16(u, s); }
INLINE vint vi_add16(vint a, vint b) { return _mm256_add_epi16(a, b); }
INLINE vint vi_join_pairs(vint a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
INLINE vint vi_mul(vint a, vint b) { return _mm256_mullo_epi32(a, b); }
INLINE vint vi_max(vint a, vint b) { return _mm256_max_epi32(a, b); }
#define vi_shl(a, bits) _mm256_slli_epi32(a, bits)
#define vi_shr(a, bits) _mm256_srli_epi32(a, bits)
#define vi_sar(a, bits) _mm256_srai_epi32(a, bits)
INLINE vint vi_shr_each(vint a, vint bits) { return _mm256_srlv_epi32(a, bits); }
INLINE vint vi_iota(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
INLINE vfloat vi_to_float(vint a) { return _mm256_cvtepi32_ps(a); }
INLINE vint vf_to_int(vfloat a) { return _mm256_cvtps_epi32(a); }
INLINE vfloat vi_as_float(vint a) { return _mm256_castsi256_ps(a); }
INLINE vint vf_as_int(vfloat a) { return _mm256_castps_si256(a); }
INLINE vfloat vf_zero(void) { return _mm256_setzero_ps(); }
INLINE vfloat vf_set(float x) { return _mm256_set1_ps(x); }
INLINE vfloat vf_load(const void *p) { return _mm256_loadu_ps(p); }
INLINE void vf_store(float *p, vfloat x) { _mm256_storeu_ps(p, x); }
INLINE vfloat vf_add(vfloat a, vfloat b) { return _mm256_add_ps(a, b); }
INLINE vfloat vf_sub(vfloat a, vfloat b) { return _mm256_sub_ps(a, b); }
INLINE vfloat vf_mul(vfloat a, vfloat b) { return _mm256_mul_ps(a, b); }
INLINE vfloat vf_div(vfloat a, vfloat b) { return _mm256_div_ps(a, b); }
INLINE vfloat vf_max(vfloat a, vfloat b) { return _mm256_max_ps(a, b); }
INLINE vfloat vf_min(vfloat a, vfloat b) { return _mm256_min_ps(a, b); }
INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) { return _mm256_fmadd_ps(a, b, c); }
INLINE float vf_sum(vfloat a)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
INLINE float vf_largest(vfloat a)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
INLINE vfloat vf_from_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE vfloat vf_from_i16(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(p))); }
INLINE void vf_to_i16(void *p, vfloat x)
{
    __m256i all = _mm256_cvtps_epi32(x);
    _mm_storeu_si128(p, _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
INLINE vint vi_from_u16(const void *p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(p)); }
INLINE vint vi_from_u8(const void *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(p)); }
INLINE vint vi_spread8(const void *p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(p)); }
INLINE vint vi_pick16(__m128i table, vint index) { return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index); }
INLINE vfloat vf_pick8(__m256 table, vint index) { return _mm256_permutevar8x32_ps(table, index); }
INLINE vint vi_even(vint a, vint b) { return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88)); }
INLINE vint vi_odd(vint a, vint b) { return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xdd)); }
INLINE vint vi_load_part(const void *p, int bytes)
{
    _Alignas(32) unsigned char copy[32] = {0};
    memcpy(copy, p, (size_t)(bytes > 32 ? 32 : bytes));
    return _mm256_load_si256((const __m256i *)copy);
}
INLINE vint vi_lane_mask(int lanes) { return _mm256_cmpgt_epi32(vi_set(lanes), vi_iota()); }
INLINE vfloat vf_load_part(const float *p, int lanes) { return _mm256_maskload_ps(p, vi_lane_mask(lanes)); }
INLINE void vf_store_part(float *p, vfloat x, int lanes) { _mm256_maskstore_ps(p, vi_lane_mask(lanes), x); }
/* clang-format on */

#endif

/* out[column][row] = from[row][column] of 4 rows and columns of 32 bits each, rows so many apart.
 */
INLINE void vi_transpose4(void *out, size_t out_stride, const void *from, size_t from_stride)
{
    float *to = out;
    const float *rows = from;
    __m128 a = _mm_loadu_ps(rows);
    __m128 b = _mm_loadu_ps(rows + from_stride);
    __m128 c = _mm_loadu_ps(rows + 2 * from_stride);
    __m128 d = _mm_loadu_ps(rows + 3 * from_stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + out_stride, b);
    _mm_storeu_ps(to + 2 * out_stride, c);
    _mm_storeu_ps(to + 3 * out_stride, d);
}

/* x·2ⁿ for whole n from −250 to 250, rounded once where it is subnormal (x is near 1). */
INLINE vfloat vf_times_power(vfloat x, vfloat n)
{
#if defined(__AVX512BW__)
    return _mm512_scalef_ps(x, n);
#else
    vint whole = vf_to_int(n), half = vi_sar(whole, 1), rest = vi_sub(whole, half);
    const vint bias = vi_set(127);
    x = vf_mul(x, vi_as_float(vi_shl(vi_add(half, bias), 23)));
    return vf_mul(x, vi_as_float(vi_shl(vi_add(rest, bias), 23)));
#endif
}

/* Eight lanes: those of 256 bits, or both halves of 512 added. */
INLINE __m256 vf_fold(vfloat a)
{
#if defined(VLMP_EMULATED)
    return _mm256_add_ps(vf_eight(a, 0), vf_eight(a, 1));
#elif defined(__AVX512BW__)
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
#else
    return a;
#endif
}

/* The sums of four or eight vectors, each added up in the same order. */
INLINE __m128 vf_sums4(const vfloat *a)
{
    __m256 x = _mm256_hadd_ps(_mm256_hadd_ps(vf_fold(a[0]), vf_fold(a[1])),
                              _mm256_hadd_ps(vf_fold(a[2]), vf_fold(a[3])));
    return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}

INLINE __m256 vf_sums8(const vfloat *a)
{
    return _mm256_set_m128(vf_sums4(a + 4), vf_sums4(a));
}

/* acc + Σ of 4 products u8·s8 in each lane, exact modulo 2³². Without VNNI the 16-bit pair sums of
 * vi_pairs would saturate for large codes, so wide codes go through their two nibbles: 2·15·128
 * fits. wide: codes may exceed 15. */
INLINE vint vi_dot4(vint acc, vint codes, vint x, int wide)
{
#if defined(__AVX512VNNI__)
    (void)wide;
    return _mm512_dpbusd_epi32(acc, codes, x);
#else
    if (!wide) return vi_add(acc, vi_join_pairs(vi_pairs(codes, x)));
    const vint nibble = vi_set8(15);
    vint low = vi_join_pairs(vi_pairs(vi_and(codes, nibble), x));
    vint high = vi_join_pairs(vi_pairs(vi_and(vi_shr(codes, 4), nibble), x));
    return vi_add(acc, vi_add(low, vi_shl(high, 4)));
#endif
}

/* acc + Σ of the products of `parts` (at most 4) vectors of codes with those at x, as vi_dot4 adds
 * them. Without VNNI, sums of pairs are added in 16 bits, which hold 4·2·15·128. */
INLINE vint vi_dot_parts(vint acc, const vint *codes, const unsigned char *x, const int parts,
                         const int wide)
{
#if !defined(__AVX512VNNI__)
    if (!wide) {
        vint pairs = vi_pairs(codes[0], vi_load(x));
        UNROLL
        for (int part = 1; part < parts; part++)
            pairs = vi_add16(pairs, vi_pairs(codes[part], vi_load(x + part * VECTOR_BYTES)));
        return vi_add(acc, vi_join_pairs(pairs));
    }
#endif
    UNROLL
    for (int part = 0; part < parts; part++)
        acc = vi_dot4(acc, codes[part], vi_load(x + part * VECTOR_BYTES), wide);
    return acc;
}
