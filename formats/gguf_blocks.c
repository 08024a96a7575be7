#include "formats/gguf_blocks.h"

#include <math.h>
#include <string.h>

#include "src/base/packed_parts.h"

enum { HALF = VLMP_GGUF_BLOCK / 2 };

/* By ggml's numbers. Types without bytes are known by name alone. */
static const struct {
    const char *name;
    vlmp_gguf_block block;
} types[] = {
    [VLMP_GGUF_F32] = {"F32", {1, 4}},
    [VLMP_GGUF_F16] = {"F16", {1, 2}},
    [VLMP_GGUF_Q4_0] = {"Q4_0", {32, 18}},
    [VLMP_GGUF_Q4_1] = {"Q4_1", {32, 20}},
    [VLMP_GGUF_Q5_0] = {"Q5_0", {32, 22}},
    [VLMP_GGUF_Q5_1] = {"Q5_1", {32, 24}},
    [VLMP_GGUF_Q8_0] = {"Q8_0", {32, 34}},
    [9] = {"Q8_1", {0}},
    [VLMP_GGUF_Q2_K] = {"Q2_K", {256, 84}},
    [VLMP_GGUF_Q3_K] = {"Q3_K", {256, 110}},
    [VLMP_GGUF_Q4_K] = {"Q4_K", {256, 144}},
    [VLMP_GGUF_Q5_K] = {"Q5_K", {256, 176}},
    [VLMP_GGUF_Q6_K] = {"Q6_K", {256, 210}},
    [15] = {"Q8_K", {0}},
    [16] = {"IQ2_XXS", {0}},
    [17] = {"IQ2_XS", {0}},
    [18] = {"IQ3_XXS", {0}},
    [19] = {"IQ1_S", {0}},
    [VLMP_GGUF_IQ4_NL] = {"IQ4_NL", {32, 18}},
    [21] = {"IQ3_S", {0}},
    [22] = {"IQ2_S", {0}},
    [VLMP_GGUF_IQ4_XS] = {"IQ4_XS", {256, 136}},
    [24] = {"I8", {0}},
    [25] = {"I16", {0}},
    [26] = {"I32", {0}},
    [27] = {"I64", {0}},
    [28] = {"F64", {0}},
    [29] = {"IQ1_M", {0}},
    [VLMP_GGUF_BF16] = {"BF16", {1, 2}},
    [34] = {"TQ1_0", {0}},
    [35] = {"TQ2_0", {0}},
    [39] = {"MXFP4", {0}},
    [40] = {"NVFP4", {0}},
};

enum { TYPES = sizeof types / sizeof *types };

vlmp_gguf_block vlmp_gguf_block_of(vlmp_gguf_type type)
{
    return types[type].block;
}

const char *vlmp_gguf_type_name(uint32_t type)
{
    return type < TYPES ? types[type].name : NULL;
}

bool vlmp_gguf_type_is_read(uint32_t type)
{
    return type < TYPES && types[type].block.bytes > 0;
}

vlmp_dtype vlmp_gguf_dtype_of(vlmp_gguf_type type)
{
    return type == VLMP_GGUF_F16 ? VLMP_F16 : type == VLMP_GGUF_BF16 ? VLMP_BF16 : VLMP_F32;
}

bool vlmp_gguf_has_blocks(const vlmp_scheme *scheme, int k)
{
    return (scheme->codes == VLMP_CODES_U4 || scheme->codes == VLMP_CODES_U8) &&
           vlmp_scheme_group(scheme, k) % VLMP_GGUF_BLOCK == 0;
}

vlmp_gguf_fit vlmp_gguf_fit_of(const vlmp_scheme *scheme, int k, vlmp_gguf_type *type)
{
    bool zeros = scheme->zeros != VLMP_ZEROS_NONE, four = scheme->codes == VLMP_CODES_U4;
    if (!vlmp_gguf_has_blocks(scheme, k) || (zeros && !four)) {
        *type = k % VLMP_GGUF_BLOCK == 0 ? VLMP_GGUF_Q8_0 : VLMP_GGUF_F16;
        return VLMP_GGUF_ANEW;
    }
    *type = !four ? VLMP_GGUF_Q8_0 : zeros ? VLMP_GGUF_Q4_1 : VLMP_GGUF_Q4_0;
    return zeros || scheme->scales != VLMP_F16 || scheme->global_scale != 1 ? VLMP_GGUF_ROUNDED
                                                                            : VLMP_GGUF_EXACT;
}

static float scale_of(const vlmp_packed_row *row, int group)
{
    const vlmp_scheme *scheme = row->scheme;
    return vlmp_scale_at(row->scales, (size_t)group, scheme->scales) * scheme->global_scale;
}

static int zero_of(const vlmp_packed_row *row, int group)
{
    const vlmp_code_info *info = &vlmp_code_types[row->scheme->codes];
    return row->zeros == NULL ? info->middle : vlmp_code_at(row->zeros, group, info->bits);
}

static bool is_half(float value)
{
    return vlmp_f16_to_f32(vlmp_f32_to_f16(value)) == value;
}

bool vlmp_gguf_row_is_exact(const vlmp_packed_row *row, vlmp_gguf_type type)
{
    int middle = vlmp_code_types[row->scheme->codes].middle;
    for (int g = 0; g < row->k / vlmp_scheme_group(row->scheme, row->k); g++) {
        float scale = scale_of(row, g);
        int zero = zero_of(row, g);
        if (!is_half(scale)) return false;
        /* 11 bits by 4: the product is exact. */
        if (type == VLMP_GGUF_Q4_1 ? !is_half(scale * (float)zero)
                                   : zero != middle && zero != middle - 1)
            return false;
    }
    return true;
}

/* Input j and j + 16 share a byte; a row of codes has neighbours share one. */
static void put_nibbles(uint8_t *out, const uint8_t *row, int first, int mirror)
{
    for (int j = 0; j < HALF; j++)
        out[j] = (uint8_t)((vlmp_code_at(row, first + j, 4) | vlmp_code_at(row, first + HALF + j, 4)
                                                                  << 4) ^
                           mirror);
}

/* A zero one below the middle is told by the scale's sign: (u − z)·s is ((m − u) − (m − z))·(−s),
 * m the highest code. */
void vlmp_gguf_from_codes(void *out, vlmp_gguf_type type, const vlmp_packed_row *row)
{
    int group = vlmp_scheme_group(row->scheme, row->k);
    size_t bytes = (size_t)vlmp_gguf_block_of(type).bytes, head_bytes = sizeof(uint16_t);
    uint8_t *at = out;
    for (int first = 0; first < row->k; first += VLMP_GGUF_BLOCK, at += bytes) {
        float scale = scale_of(row, first / group);
        int zero = zero_of(row, first / group), mirror = 0;
        uint16_t head[2] = {0, vlmp_f32_to_f16(-scale * (float)zero)};
        if (type == VLMP_GGUF_Q4_1) head_bytes = sizeof head;
        if (type != VLMP_GGUF_Q4_1 && zero < vlmp_code_types[row->scheme->codes].middle) {
            scale = -scale;
            mirror = 0xff;
        }
        head[0] = vlmp_f32_to_f16(scale);
        memcpy(at, head, head_bytes);
        if (type == VLMP_GGUF_Q8_0)
            for (int j = 0; j < VLMP_GGUF_BLOCK; j++)
                at[head_bytes + (size_t)j] = (uint8_t)(row->codes[first + j] ^ mirror ^ 0x80);
        else
            put_nibbles(at + head_bytes, row->codes, first, mirror);
    }
}

static void q8_block(uint8_t *out, const float *x)
{
    float largest = 0;
    for (int j = 0; j < VLMP_GGUF_BLOCK; j++)
        largest = fmaxf(largest, fabsf(x[j]));
    float scale = largest / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0;
    uint16_t half = vlmp_f32_to_f16(scale);
    memcpy(out, &half, sizeof half);
    for (int j = 0; j < VLMP_GGUF_BLOCK; j++)
        out[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
}

void vlmp_gguf_from_floats(void *out, vlmp_gguf_type type, const float *x, int k)
{
    uint16_t *halves = out;
    size_t bytes = (size_t)vlmp_gguf_block_of(type).bytes;
    if (type == VLMP_GGUF_F32)
        memcpy(out, x, (size_t)k * sizeof *x);
    else if (type == VLMP_GGUF_F16)
        for (int i = 0; i < k; i++)
            halves[i] = vlmp_f32_to_f16(x[i]);
    else if (type == VLMP_GGUF_BF16)
        for (int i = 0; i < k; i++)
            halves[i] = vlmp_f32_to_bf16(x[i]);
    else
        for (int first = 0; first < k; first += VLMP_GGUF_BLOCK)
            q8_block((uint8_t *)out + (size_t)(first / VLMP_GGUF_BLOCK) * bytes, x + first);
}
