#include "formats/gguf_blocks.h"

#include <math.h>
#include <string.h>

#include "src/base/packed_parts.h"

enum { HALF = VLMP_GGUF_BLOCK / 2 };

vlmp_gguf_block vlmp_gguf_block_of(vlmp_gguf_type type)
{
    switch (type) {
    case VLMP_GGUF_F32:
        return (vlmp_gguf_block){1, 4};
    case VLMP_GGUF_F16:
    case VLMP_GGUF_BF16:
        return (vlmp_gguf_block){1, 2};
    case VLMP_GGUF_Q4_0:
        return (vlmp_gguf_block){VLMP_GGUF_BLOCK, 2 + HALF};
    case VLMP_GGUF_Q4_1:
        return (vlmp_gguf_block){VLMP_GGUF_BLOCK, 4 + HALF};
    case VLMP_GGUF_Q8_0:
        break;
    }
    return (vlmp_gguf_block){VLMP_GGUF_BLOCK, 2 + VLMP_GGUF_BLOCK};
}

const char *vlmp_gguf_type_name(vlmp_gguf_type type)
{
    switch (type) {
    case VLMP_GGUF_F32:
        return "F32";
    case VLMP_GGUF_F16:
        return "F16";
    case VLMP_GGUF_BF16:
        return "BF16";
    case VLMP_GGUF_Q4_0:
        return "Q4_0";
    case VLMP_GGUF_Q4_1:
        return "Q4_1";
    case VLMP_GGUF_Q8_0:
        break;
    }
    return "Q8_0";
}

vlmp_gguf_fit vlmp_gguf_fit_of(const vlmp_scheme *scheme, int k, vlmp_gguf_type *type)
{
    bool zeros = scheme->zeros != VLMP_ZEROS_NONE, four = scheme->codes == VLMP_CODES_U4;
    bool codes = four || (scheme->codes == VLMP_CODES_U8 && !zeros);
    if (!codes || vlmp_scheme_group(scheme, k) % VLMP_GGUF_BLOCK != 0) {
        *type = k % VLMP_GGUF_BLOCK == 0 ? VLMP_GGUF_Q8_0 : VLMP_GGUF_F16;
        return VLMP_GGUF_ANEW;
    }
    *type = !four ? VLMP_GGUF_Q8_0 : zeros ? VLMP_GGUF_Q4_1 : VLMP_GGUF_Q4_0;
    return zeros || scheme->scales != VLMP_F16 || scheme->global_scale != 1 ? VLMP_GGUF_ROUNDED
                                                                            : VLMP_GGUF_EXACT;
}

/* Input j and j + 16 share a byte; a row of codes has neighbours share one. */
static void put_nibbles(uint8_t *out, const uint8_t *row, int first)
{
    for (int j = 0; j < HALF; j++)
        out[j] = (uint8_t)(vlmp_code_at(row, first + j, 4) | vlmp_code_at(row, first + HALF + j, 4)
                                                                 << 4);
}

void vlmp_gguf_from_codes(void *out, const vlmp_packed_row *row)
{
    const vlmp_scheme *scheme = row->scheme;
    vlmp_gguf_type type;
    vlmp_gguf_fit_of(scheme, row->k, &type);
    int group = vlmp_scheme_group(scheme, row->k), middle = vlmp_code_types[scheme->codes].middle;
    size_t bytes = (size_t)vlmp_gguf_block_of(type).bytes;
    uint8_t *at = out;
    for (int first = 0; first < row->k; first += VLMP_GGUF_BLOCK) {
        int g = first / group;
        float scale = vlmp_scale_at(row->scales, (size_t)g, scheme->scales) * scheme->global_scale;
        uint16_t head[2] = {vlmp_f32_to_f16(scale), 0};
        size_t head_bytes = sizeof head[0];
        if (type == VLMP_GGUF_Q4_1) {
            int zero = vlmp_code_at(row->zeros, g, vlmp_code_types[scheme->codes].bits);
            head[1] = vlmp_f32_to_f16(-scale * (float)zero);
            head_bytes = sizeof head;
        }
        memcpy(at, head, head_bytes);
        if (type == VLMP_GGUF_Q8_0)
            for (int j = 0; j < VLMP_GGUF_BLOCK; j++)
                at[head_bytes + (size_t)j] = (uint8_t)(row->codes[first + j] - middle);
        else
            put_nibbles(at + head_bytes, row->codes, first);
        at += bytes;
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
