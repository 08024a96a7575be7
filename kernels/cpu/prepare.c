/* Turns rows of inputs into the form that packed.c reads. Compiled once a level. */
#include <math.h>

#include "kernels/cpu/int8.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/packed.h"

size_t LEVEL_NAME(prepared_bytes)(const vlmp_linear *w)
{
    int bits = code_bits(w), per_block = block_inputs(bits);
    size_t blocks = (size_t)(w->k / per_block + (w->k % per_block != 0));
    return HEADER + blocks * block_bytes(bits, vlmp_linear_int8(w) ? 1 : 3);
}

/* The power of two that makes a lane with this largest |x| at most 127·65536 + 127·256 + 127, and
 * its inverse; NaN for a lane with infinite or NaN inputs. Below 2⁻¹⁰⁰ inputs lose digits. */
INLINE float lane_scale(uint32_t largest, float *inverse)
{
    float margin = float_of(largest) * 1.004f;
    uint32_t bits;
    memcpy(&bits, &margin, sizeof bits);
    uint32_t exponent = bits >> 23;
    if (exponent < 27) exponent = 27;
    *inverse = largest >= 0x7f800000u ? 0 : float_of((276u - exponent) << 23);
    return largest >= 0x7f800000u ? NAN : float_of((exponent - 22) << 23);
}

/* Byte d of each integer becomes its signed digit d: half a digit's range is added, so that carries
 * come out right, and taken from each byte again. */
INLINE __m256i digits_of(__m256i q)
{
    const __m256i half = _mm256_set1_epi32(0x808080);
    return _mm256_xor_si256(_mm256_add_epi32(q, half), half);
}

/* Stores the digits of 8 inputs of a lane where unpack_planes puts their codes: input 4·j + p is
 * byte j of part p; the second eight are bytes 2 and 3. */
INLINE void store_planes(unsigned char *block, int lane, int first, __m256i q, int digits)
{
    __m256i bytes = digits_of(q);
    __m128i a = _mm256_castsi256_si128(bytes), b = _mm256_extracti128_si256(bytes, 1);
    uint16_t pairs[16]; /* [part][digit] */
    _mm_storeu_si128((__m128i *)(void *)pairs, _mm_unpacklo_epi8(a, b));
    _mm_storeu_si128((__m128i *)(void *)(pairs + 8), _mm_unpackhi_epi8(a, b));
    unsigned char *to = block + lane * 4 + first / 4;
    UNROLL
    for (int d = 0; d < digits; d++)
        for (int p = 0; p < 4; p++)
            memcpy(to + (d * 4 + p) * VECTOR_BYTES, &pairs[4 * p + d], 2);
}

/* Stores the digits of 8 inputs of a lane, 4 bytes a digit and part. 4 bits: even inputs go to part
 * `part`, odd ones to the next. 8 bits: the first four, then the last four. */
INLINE void store_eight(unsigned char *block, int lane, int part, __m256i q, int bits, int digits)
{
    /* In each half: for each digit four bytes (8 bits), or the even two and the odd two. */
    const __m256i wide = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1, 0,
                                          4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1);
    const __m256i split = _mm256_setr_epi8(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, -1, -1, -1, -1,
                                           0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, -1, -1, -1, -1);
    __m256i bytes = _mm256_shuffle_epi8(digits_of(q), bits == 8 ? wide : split);
    __m128i a = _mm256_castsi256_si128(bytes), b = _mm256_extracti128_si256(bytes, 1);
    /* Now [digit][part], of the first two digits and of the last. */
    __m128i first = bits == 8 ? _mm_unpacklo_epi32(a, b) : _mm_unpacklo_epi16(a, b);
    __m128i last = bits == 8 ? _mm_unpackhi_epi32(a, b) : _mm_unpackhi_epi16(a, b);
    uint32_t words[8];
    _mm_storeu_si128((__m128i *)(void *)words, first);
    _mm_storeu_si128((__m128i *)(void *)(words + 4), last);
    unsigned char *to = block + part * VECTOR_BYTES + lane * 4;
    UNROLL
    for (int d = 0; d < digits; d++)
        for (int p = 0; p < 2; p++)
            memcpy(to + (d * parts_of(bits) + p) * VECTOR_BYTES, &words[2 * d + p], 4);
}

INLINE vint digit_sum(const unsigned char *block, int bits, int digit)
{
    const vint ones = vi_set8(1);
    vint sum = vi_zero();
    UNROLL
    for (int part = 0; part < parts_of(bits); part++)
        sum =
            vi_dot4(sum, ones, vi_load(block + (digit * parts_of(bits) + part) * VECTOR_BYTES), 0);
    return sum;
}

INLINE void store_sums(unsigned char *block, int bits, int digits)
{
    unsigned char *sums = block + digit_vectors(bits, digits) * VECTOR_BYTES;
    vint low = digit_sum(block, bits, 0);
    if (digits == 3) {
        vint high = vi_add(vi_shl(digit_sum(block, bits, 2), 8), digit_sum(block, bits, 1));
        if (bits == 8) {
            vi_store(sums, vi_sub(vi_zero(), high));
            sums += VECTOR_BYTES;
        } else {
            low = vi_add(low, vi_shl(high, 8));
        }
    }
    vi_store(sums, vi_sub(vi_zero(), low));
}

/* The largest |x| of a lane's inputs, as its bits. */
INLINE uint32_t lane_largest(const float *x, int count)
{
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    UNROLL
    for (int i = 0; i < count; i += 8) {
        __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        most = _mm256_max_epi32(most, _mm256_and_si256(bits, size));
    }
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    four = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 1)));
}

/* One block; int8 with the row's scale, else per lane. */
INLINE void prepare_block(unsigned char *block, const float *x, int bits, int digits, float scale)
{
    float *scales = (float *)(void *)(block + block_bytes(bits, digits) - VECTOR_BYTES);
    const __m256 limit = _mm256_set1_ps(127);
    for (int lane = 0; lane < LANES; lane++) {
        const float *values = x + lane_first(lane, bits);
        float inverse = 0;
        if (digits == 3)
            scales[lane] = lane_scale(lane_largest(values, lane_inputs(bits)), &inverse);
        UNROLL
        for (int i = 0; i < lane_inputs(bits); i += 8) {
            __m256 v = _mm256_loadu_ps(values + i);
            if (digits == 3)
                v = _mm256_mul_ps(v, _mm256_set1_ps(inverse));
            else
                v = _mm256_max_ps(_mm256_min_ps(_mm256_div_ps(v, _mm256_set1_ps(scale)), limit),
                                  _mm256_sub_ps(_mm256_setzero_ps(), limit));
            if (bits == 3)
                store_planes(block, lane, i, _mm256_cvtps_epi32(v), digits);
            else
                store_eight(block, lane, i / 4, _mm256_cvtps_epi32(v), bits, digits);
        }
    }
    store_sums(block, bits, digits);
}

INLINE void prepare_row(unsigned char *prepared, const float *x, int k, int bits, int digits)
{
    float scale = digits == 1 ? int8_scale(x, k) : 0;
    float divisor = int8_divisor(scale);
    memcpy(prepared, &scale, sizeof scale);
    int per_block = block_inputs(bits);
    prepared += HEADER;
    for (int i = 0; i < k; i += per_block, prepared += block_bytes(bits, digits)) {
        if (k - i >= per_block) {
            prepare_block(prepared, x + i, bits, digits, divisor);
        } else {
            float padded[MOST_INPUTS] = {0};
            memcpy(padded, x + i, (size_t)(k - i) * sizeof *padded);
            prepare_block(prepared, padded, bits, digits, divisor);
        }
    }
}

void LEVEL_NAME(prepare_row)(void *prepared, const float *x, const vlmp_linear *w)
{
    bool int8 = vlmp_linear_int8(w);
    if (code_bits(w) == 3 && int8) prepare_row(prepared, x, w->k, 3, 1);
    if (code_bits(w) == 3 && !int8) prepare_row(prepared, x, w->k, 3, 3);
    if (code_bits(w) == 4 && int8) prepare_row(prepared, x, w->k, 4, 1);
    if (code_bits(w) == 4 && !int8) prepare_row(prepared, x, w->k, 4, 3);
    if (code_bits(w) == 8 && int8) prepare_row(prepared, x, w->k, 8, 1);
    if (code_bits(w) == 8 && !int8) prepare_row(prepared, x, w->k, 8, 3);
}
