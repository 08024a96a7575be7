/* Blocks of GGUF's types as floats (ggml's ggml-quants.c, dequantize_row_*). Operations are F32 and
 * in ggml's order, so that the values are its own, bit for bit. */
#include <string.h>

#include "formats/gguf_blocks.h"
#include "src/base/half.h"

/* One block; d and the like are F16. */
typedef void decode_block(float *out, const uint8_t *block);

static float half_at(const uint8_t *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return vlmp_f16_to_f32(half);
}

/* Inputs j and j + 16 share byte j. */
static void q4_0(float *out, const uint8_t *block)
{
    float d = half_at(block);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((block[2 + j] & 15) - 8);
        out[j + 16] = d * (float)((block[2 + j] >> 4) - 8);
    }
}

static void q4_1(float *out, const uint8_t *block)
{
    float d = half_at(block), m = half_at(block + 2);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)(block[4 + j] & 15) + m;
        out[j + 16] = d * (float)(block[4 + j] >> 4) + m;
    }
}

/* The fifth bits of 32 inputs lie before their nibbles. */
static int five_bits(const uint8_t *fifth, const uint8_t *nibbles, int i)
{
    int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    return low | (fifth[i / 8] >> i % 8 & 1) << 4;
}

static void q5_0(float *out, const uint8_t *block)
{
    float d = half_at(block);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(five_bits(block + 2, block + 6, i) - 16);
}

static void q5_1(float *out, const uint8_t *block)
{
    float d = half_at(block), m = half_at(block + 2);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)five_bits(block + 4, block + 8, i) + m;
}

static void q8_0(float *out, const uint8_t *block)
{
    float d = half_at(block);
    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)block[2 + i];
}

/* K-quants: 256 inputs. In Q2_K and Q3_K a half of 128 inputs has 32 bytes of two bits; bits 2j and
 * 2j + 1 of byte l are those of input 32j + l. Sub-blocks of 16 have a scale each. */
static int two_bits(const uint8_t *codes, int i)
{
    return codes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

/* 16 bytes: 4 bits of scale, 4 of minimum; then the codes, d and dmin. */
static void q2_k(float *out, const uint8_t *block)
{
    float d = half_at(block + 80), dmin = half_at(block + 82);
    for (int i = 0; i < 256; i++) {
        float scale = d * (float)(block[i / 16] & 15), low = dmin * (float)(block[i / 16] >> 4);
        out[i] = scale * (float)two_bits(block + 16, i) - low;
    }
}

/* 32 bytes of third bits (bit i / 32 of byte i % 32), the codes, 12 bytes of scales, d. A scale has
 * 4 bits in the first 8 bytes and 2 in the last 4. */
static void q3_k(float *out, const uint8_t *block)
{
    const uint8_t *scales = block + 96;
    float d = half_at(block + 108);
    for (int i = 0; i < 256; i++) {
        int s = i / 16, low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4;
        int scale = (low | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32;
        int code = two_bits(block + 32, i) | (block[i % 32] >> i / 32 & 1) << 2;
        out[i] = d * (float)scale * (float)(code - 4);
    }
}

/* Q4_K and Q5_K: d, dmin, 12 bytes with 6 bits of scale and of minimum for each of 8 sub-blocks of
 * 32; the last four have their upper 2 bits where the first four leave room. */
static void six_bits(const uint8_t *packed, int j, int *scale, int *low)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *low = packed[j + 4] & 63;
        return;
    }
    *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
    *low = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
}

/* Sub-blocks 2p and 2p + 1 share 32 bytes of codes. fifth: NULL, or bit j of byte l is that of
 * input 32j + l. */
static void four_or_five(float *out, const uint8_t *block, const uint8_t *fifth,
                         const uint8_t *codes)
{
    float d = half_at(block), dmin = half_at(block + 2);
    for (int j = 0; j < 8; j++) {
        int scale, low;
        six_bits(block + 4, j, &scale, &low);
        float step = d * (float)scale, minimum = dmin * (float)low;
        for (int l = 0; l < 32; l++) {
            int code = codes[j / 2 * 32 + l] >> j % 2 * 4 & 15;
            if (fifth != NULL) code |= (fifth[l] >> j & 1) << 4;
            out[32 * j + l] = step * (float)code - minimum;
        }
    }
}

static void q4_k(float *out, const uint8_t *block)
{
    four_or_five(out, block, NULL, block + 16);
}

static void q5_k(float *out, const uint8_t *block)
{
    four_or_five(out, block, block + 16, block + 48);
}

/* 128 bytes of lower and 64 of upper bits, 16 signed scales, d. Of a half, inputs l, l + 32, l + 64
 * and l + 96 (l < 32) share byte l of the upper bits; l and l + 64 share one of the lower. */
static void q6_k(float *out, const uint8_t *block)
{
    float d = half_at(block + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, at = i % 128;
        int low = block[64 * half + at % 64] >> at / 64 * 4 & 15;
        int high = block[128 + 32 * half + at % 32] >> at / 32 * 2 & 3;
        float scale = d * (float)(int8_t)block[192 + i / 16];
        out[i] = scale * (float)((low | high << 4) - 32);
    }
}

/* What the codes of IQ4_NL and IQ4_XS stand for. */
static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

static void by_level(float *out, float scale, const uint8_t *codes)
{
    for (int j = 0; j < 16; j++) {
        out[j] = scale * (float)levels[codes[j] & 15];
        out[j + 16] = scale * (float)levels[codes[j] >> 4];
    }
}

static void iq4_nl(float *out, const uint8_t *block)
{
    by_level(out, half_at(block), block + 2);
}

/* d, 2 upper bits of 8 scales in 2 bytes, 4 lower ones in 4, codes as in IQ4_NL. */
static void iq4_xs(float *out, const uint8_t *block)
{
    float d = half_at(block);
    int high = block[2] | block[3] << 8;
    for (int j = 0; j < 8; j++) {
        int scale = (block[4 + j / 2] >> j % 2 * 4 & 15) | (high >> 2 * j & 3) << 4;
        by_level(out + 32 * j, d * (float)(scale - 32), block + 8 + 16 * j);
    }
}

static decode_block *const decoders[] = {
    [VLMP_GGUF_Q4_0] = q4_0, [VLMP_GGUF_Q4_1] = q4_1,     [VLMP_GGUF_Q5_0] = q5_0,
    [VLMP_GGUF_Q5_1] = q5_1, [VLMP_GGUF_Q8_0] = q8_0,     [VLMP_GGUF_Q2_K] = q2_k,
    [VLMP_GGUF_Q3_K] = q3_k, [VLMP_GGUF_Q4_K] = q4_k,     [VLMP_GGUF_Q5_K] = q5_k,
    [VLMP_GGUF_Q6_K] = q6_k, [VLMP_GGUF_IQ4_NL] = iq4_nl, [VLMP_GGUF_IQ4_XS] = iq4_xs,
};

void vlmp_gguf_to_floats(float *out, vlmp_gguf_type type, const void *blocks, int k)
{
    if (type == VLMP_GGUF_F32 || type == VLMP_GGUF_F16 || type == VLMP_GGUF_BF16) {
        vlmp_to_f32(out, blocks, vlmp_gguf_dtype_of(type), (size_t)k);
        return;
    }
    vlmp_gguf_block block = vlmp_gguf_block_of(type);
    for (int i = 0; i < k / block.inputs; i++)
        decoders[type](out + (size_t)i * (size_t)block.inputs,
                       (const uint8_t *)blocks + (size_t)i * (size_t)block.bytes);
}
