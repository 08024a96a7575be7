#include "src/base/packed_parts.h"

#include "src/base/memory.h"

static const char *const names[VLMP_PACKED_PARTS] = {"codes", "codes1", "scales", "zeros",
                                                     "global"};

/* Of codes in two planes: the first. */
static const char low_plane[] = "codes2";

const char *vlmp_packed_part_name(vlmp_packed_part part, vlmp_code_type codes)
{
    bool low = part == VLMP_PACKED_CODES && vlmp_code_types[codes].high_bits != 0;
    return low ? low_plane : names[part];
}

vlmp_packed_part vlmp_packed_part_of(const char *leaf)
{
    if (leaf[0] != '.') return VLMP_PACKED_PARTS;
    if (strcmp(leaf + 1, low_plane) == 0) return VLMP_PACKED_CODES;
    int part = 0;
    while (part < VLMP_PACKED_PARTS && strcmp(leaf + 1, names[part]) != 0)
        part++;
    return (vlmp_packed_part)part;
}

/* Rows of `count` codes, each from a byte on. */
static void code_part(vlmp_packed_shape *out, vlmp_packed_part part, int64_t n, int64_t count,
                      int bits)
{
    out->parts[part].dtype = VLMP_U8;
    out->parts[part].rows = n;
    out->parts[part].columns = (count * bits + 7) / 8;
    out->parts[part].used_bits = (int)((count * bits + 7) % 8) + 1;
}

static void scale_part(vlmp_packed_shape *out, vlmp_packed_part part, int64_t rows, int64_t columns,
                       vlmp_dtype dtype)
{
    out->parts[part].dtype = dtype;
    out->parts[part].rows = rows;
    out->parts[part].columns = columns;
    out->parts[part].used_bits = 8;
}

static bool count_bytes(vlmp_packed_shape *out)
{
    for (int i = 0; i < VLMP_PACKED_PARTS; i++) {
        if (out->parts[i].columns == 0) continue;
        if (!vlmp_mul_size((size_t)out->parts[i].rows, (size_t)out->parts[i].columns,
                           &out->parts[i].bytes) ||
            !vlmp_mul_size(out->parts[i].bytes, vlmp_dtype_size(out->parts[i].dtype),
                           &out->parts[i].bytes) ||
            !vlmp_add_size(out->bytes, out->parts[i].bytes, &out->bytes))
            return false;
    }
    return true;
}

/* Scales, groups, zeros and activations that the codes can have. */
static bool codes_allow(const vlmp_scheme *scheme)
{
    const vlmp_code_info *info = &vlmp_code_types[scheme->codes];
    if (info->group == 0 ? !vlmp_scheme_has_wide_scales(scheme) : scheme->scales != info->scales)
        return false;
    if (!vlmp_codes_are_floats(scheme->codes)) return true;
    if (scheme->zeros != VLMP_ZEROS_NONE || scheme->int8_activations) return false;
    if (info->group != 0) return scheme->group == info->group;
    return scheme->group == VLMP_GROUP_CHANNEL || scheme->group == VLMP_BLOCK_OUTPUTS;
}

bool vlmp_packed_shape_of(vlmp_packed_shape *out, int64_t n, int64_t k, const vlmp_scheme *scheme)
{
    *out = (vlmp_packed_shape){0};
    if (scheme->codes <= VLMP_CODES_NONE || scheme->codes >= VLMP_CODE_TYPES) return false;
    if (n < 1 || k < 1 || n > INT32_MAX || k > INT32_MAX || scheme->group < 0 ||
        !codes_allow(scheme) || (scheme->global_scale != 1.0f && !vlmp_scheme_has_global(scheme)))
        return false;
    int group = vlmp_scheme_group(scheme, (int)k);
    if (k % group != 0) return false;
    out->groups = k / group;
    int64_t scale_rows = scheme->blocks ? (n + VLMP_BLOCK_OUTPUTS - 1) / VLMP_BLOCK_OUTPUTS : n;
    int high_bits = vlmp_code_types[scheme->codes].high_bits;
    code_part(out, VLMP_PACKED_CODES, n, k, vlmp_code_low_bits(scheme->codes));
    if (high_bits != 0) code_part(out, VLMP_PACKED_HIGH, n, k, high_bits);
    scale_part(out, VLMP_PACKED_SCALES, scale_rows, out->groups, scheme->scales);
    if (scheme->zeros == VLMP_ZEROS_PACKED)
        code_part(out, VLMP_PACKED_ZEROS, n, out->groups, vlmp_code_zero_bits(scheme->codes));
    if (vlmp_scheme_has_global(scheme)) scale_part(out, VLMP_PACKED_GLOBAL, 1, 1, VLMP_F32);
    return count_bytes(out);
}

void vlmp_codes_pack(uint8_t *row, const uint8_t *codes, int count, int bits)
{
    if (bits == 8) {
        memcpy(row, codes, (size_t)count);
        return;
    }
    int in_byte = 8 / bits;
    unsigned mask = (1u << bits) - 1;
    for (int i = 0; i < count; i += in_byte, row++) {
        unsigned byte = 0;
        for (int j = 0; j < in_byte && i + j < count; j++)
            byte |= (codes[i + j] & mask) << j * bits;
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

void vlmp_planes_pack(uint8_t *low, uint8_t *high, const uint8_t *codes, int count,
                      vlmp_code_type type)
{
    int bits = vlmp_code_low_bits(type);
    vlmp_codes_pack(low, codes, count, bits);
    if (high == NULL) return;
    memset(high, 0, vlmp_codes_row_bytes(count, 1));
    for (int i = 0; i < count; i++)
        high[i / 8] |= (uint8_t)(codes[i] >> bits << i % 8);
}

void vlmp_planes_unpack(uint8_t *codes, const uint8_t *low, const uint8_t *high, int count,
                        vlmp_code_type type)
{
    int bits = vlmp_code_low_bits(type);
    vlmp_codes_unpack(codes, low, count, bits);
    for (int i = 0; high != NULL && i < count; i++)
        codes[i] |= (uint8_t)(vlmp_code_at(high, i, 1) << bits);
}

void vlmp_scale_put(void *scales, size_t index, vlmp_dtype type, float scale)
{
    unsigned char *bytes = scales;
    const vlmp_minifloat e4m3 = VLMP_E4M3;
    uint16_t half = vlmp_f32_to_f16(scale);
    if (type == VLMP_F32)
        memcpy(bytes + index * sizeof scale, &scale, sizeof scale);
    else if (type == VLMP_F16 || type == VLMP_BF16) {
        if (type == VLMP_BF16) half = vlmp_f32_to_bf16(scale);
        memcpy(bytes + index * sizeof half, &half, sizeof half);
    } else if (type == VLMP_F8_E4M3)
        bytes[index] = (unsigned char)vlmp_minifloat_code(&e4m3, scale);
    else
        bytes[index] = (unsigned char)(vlmp_f32_bits(scale) >> 23);
}
