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

/* Digits of 4 integers, as 4 bytes each. */
INLINE void split4(__m128i q, uint32_t *bytes, int digits)
{
    const __m128i low_bytes =
        _mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    UNROLL
    for (int d = 0; d < digits; d++) {
        __m128i digit = _mm_srai_epi32(_mm_slli_epi32(q, 24), 24);
        bytes[d] = (uint32_t)_mm_cvtsi128_si32(_mm_shuffle_epi8(digit, low_bytes));
        q = _mm_srai_epi32(_mm_sub_epi32(q, digit), 8);
    }
}

/* Stores the digits of a lane's inputs unit·4 …, 4 bytes a digit. 4 bits: inputs 0 … 7 go to parts
 * 0 (even ones) and 1 (odd ones), 8 … 15 to 2 and 3. 8 bits: 0 … 3 to part 0, 4 … 7 to 1. */
INLINE void store_unit(unsigned char *block, int lane, int unit, const uint32_t *bytes, int bits,
                       int digits)
{
    for (int d = 0; d < digits; d++) {
        unsigned char *parts = block + (size_t)(d * parts_of(bits)) * VECTOR_BYTES + lane * 4;
        if (bits == 8) {
            memcpy(parts + unit * VECTOR_BYTES, &bytes[d], 4);
            continue;
        }
        uint16_t even = (uint16_t)((bytes[d] & 0xff) | (bytes[d] >> 8 & 0xff00));
        uint16_t odd = (uint16_t)((bytes[d] >> 8 & 0xff) | (bytes[d] >> 16 & 0xff00));
        parts += unit / 2 * 2 * VECTOR_BYTES + unit % 2 * 2;
        memcpy(parts, &even, 2);
        memcpy(parts + VECTOR_BYTES, &odd, 2);
    }
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

/* One block; int8 with the row's scale, else per lane. */
INLINE void prepare_block(unsigned char *block, const float *x, int bits, int digits, float scale)
{
    float *scales = (float *)(void *)(block + block_bytes(bits, digits) - VECTOR_BYTES);
    const __m128 limit = _mm_set1_ps(127);
    for (int lane = 0; lane < LANES; lane++) {
        const float *values = x + lane_byte(lane) * 8 / bits;
        float inverse = 0;
        if (digits == 3)
            scales[lane] = lane_scale(largest_bits(values, lane_inputs(bits)), &inverse);
        for (int unit = 0; unit < lane_inputs(bits) / 4; unit++) {
            __m128 v = _mm_loadu_ps(values + 4 * unit);
            if (digits == 3)
                v = _mm_mul_ps(v, _mm_set1_ps(inverse));
            else
                v = _mm_max_ps(_mm_min_ps(_mm_div_ps(v, _mm_set1_ps(scale)), limit),
                               _mm_sub_ps(_mm_setzero_ps(), limit));
            uint32_t bytes[3];
            split4(_mm_cvtps_epi32(v), bytes, digits);
            store_unit(block, lane, unit, bytes, bits, digits);
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
            float padded[2 * BLOCK_BYTES] = {0};
            memcpy(padded, x + i, (size_t)(k - i) * sizeof *padded);
            prepare_block(prepared, padded, bits, digits, divisor);
        }
    }
}

void LEVEL_NAME(prepare_row)(void *prepared, const float *x, const vlmp_linear *w)
{
    bool int8 = vlmp_linear_int8(w);
    if (code_bits(w) == 4 && int8) prepare_row(prepared, x, w->k, 4, 1);
    if (code_bits(w) == 4 && !int8) prepare_row(prepared, x, w->k, 4, 3);
    if (code_bits(w) == 8 && int8) prepare_row(prepared, x, w->k, 8, 1);
    if (code_bits(w) == 8 && !int8) prepare_row(prepared, x, w->k, 8, 3);
}
