#include "src/base/packed_parts.h"

#include "src/base/memory.h"

const char *const vlmp_packed_part_names[VLMP_PACKED_PARTS] = {"codes", "scales", "zeros"};

vlmp_packed_part vlmp_packed_part_of(const char *leaf)
{
    int part = 0;
    while (part < VLMP_PACKED_PARTS &&
           (leaf[0] != '.' || strcmp(leaf + 1, vlmp_packed_part_names[part]) != 0))
        part++;
    return (vlmp_packed_part)part;
}

/* Rows of `count` codes, each from a byte on. */
static void code_part(vlmp_packed_shape *out, vlmp_packed_part part, int64_t count, int bits)
{
    out->parts[part].dtype = VLMP_U8;
    out->parts[part].columns = (count * bits + 7) / 8;
    out->parts[part].used_bits = (int)((count * bits + 7) % 8) + 1;
}

bool vlmp_packed_shape_of(vlmp_packed_shape *out, int64_t n, int64_t k, const vlmp_scheme *scheme)
{
    *out = (vlmp_packed_shape){0};
    if (scheme->codes <= VLMP_CODES_NONE || scheme->codes >= VLMP_CODE_TYPES) return false;
    if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX || scheme->group < 0 ||
        scheme->global_scale != 1.0f)
        return false;
    int group = vlmp_scheme_group(scheme, (int)k), bits = vlmp_code_types[scheme->codes].bits;
    if (k % group != 0) return false;
    out->groups = k / group;
    code_part(out, VLMP_PACKED_CODES, k, bits);
    out->parts[VLMP_PACKED_SCALES].dtype = scheme->scales;
    out->parts[VLMP_PACKED_SCALES].columns = out->groups;
    out->parts[VLMP_PACKED_SCALES].used_bits = 8;
    if (scheme->zeros == VLMP_ZEROS_PACKED) code_part(out, VLMP_PACKED_ZEROS, out->groups, bits);
    for (int i = 0; i < VLMP_PACKED_PARTS; i++) {
        if (out->parts[i].columns == 0) continue;
        if (!vlmp_mul_size((size_t)n, (size_t)out->parts[i].columns, &out->parts[i].bytes) ||
            !vlmp_mul_size(out->parts[i].bytes, vlmp_dtype_size(out->parts[i].dtype),
                           &out->parts[i].bytes) ||
            !vlmp_add_size(out->bytes, out->parts[i].bytes, &out->bytes))
            return false;
    }
    return true;
}

void vlmp_codes_pack(uint8_t *row, const uint8_t *codes, int count, int bits)
{
    if (bits == 8) {
        memcpy(row, codes, (size_t)count);
        return;
    }
    int in_byte = 8 / bits;
    for (int i = 0; i < count; i += in_byte, row++) {
        unsigned byte = 0;
        for (int j = 0; j < in_byte && i + j < count; j++)
            byte |= (unsigned)codes[i + j] << j * bits;
        *row = (uint8_t)byte;
    }
}

void vlmp_codes_unpack(uint8_t *codes, const uint8_t *row, int count, int bits)
{
    if (bits == 8) {
        memcpy(codes, row, (size_t)count);
        return;
    }
    for (int i = 0; i < count; i++)
        codes[i] = (uint8_t)vlmp_code_at(row, i, bits);
}

void vlmp_scale_put(void *scales, size_t index, vlmp_dtype type, float scale)
{
    unsigned char *bytes = scales;
    uint16_t half = vlmp_f32_to_f16(scale);
    if (type == VLMP_F32)
        memcpy(bytes + index * sizeof scale, &scale, sizeof scale);
    else
        memcpy(bytes + index * sizeof half, &half, sizeof half);
}
