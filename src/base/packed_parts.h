/* Where the bytes of a packed linear lie (formats/FORMAT.md): its parts and their sizes, and how
 * one code, zero and scale is read. Whoever needs to know one of these asks here; vector kernels
 * read many at once in the same layout. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/base/half.h"
#include "src/base/minifloat.h"
#include "src/base/scheme.h"

#define VLMP_SCALE_MIN 0x1p-24f /* the smallest F16 above 0; also the floor of F32 scales */
#define VLMP_SCALE_MAX 65504.0f /* the largest finite F16 */

typedef enum {
    VLMP_PACKED_CODES, /* or their first plane */
    VLMP_PACKED_HIGH,  /* their second plane */
    VLMP_PACKED_SCALES,
    VLMP_PACKED_ZEROS,
    VLMP_PACKED_GLOBAL,
    VLMP_PACKED_PARTS,
} vlmp_packed_part;

/* "codes" ("codes2", "codes1" of codes in two planes), "scales", "zeros", "global": what follows
 * the linear's name and a dot. */
const char *vlmp_packed_part_name(vlmp_packed_part part, vlmp_code_type codes);

/* The part that ".codes" and so on name; VLMP_PACKED_PARTS: none. */
vlmp_packed_part vlmp_packed_part_of(const char *leaf);

typedef struct {
    int64_t groups; /* scales of a row */
    struct {
        vlmp_dtype dtype;
        int64_t rows;
        int64_t columns; /* elements of a row; 0: the scheme has no such part */
        int used_bits;   /* of a row's last byte; the others are 0 */
        size_t bytes;    /* of all rows */
    } parts[VLMP_PACKED_PARTS];
    size_t bytes; /* of all parts */
} vlmp_packed_shape;

/* Of n outputs and k inputs. false: no such shape (sizes below 1 or beyond 32 bits, a group that
 * does not divide k or that the codes don't have, no codes, a global scale that is not stored), or
 * a product overflows. */
bool vlmp_packed_shape_of(vlmp_packed_shape *out, int64_t n, int64_t k, const vlmp_scheme *scheme);

/* Bytes of a row of so many codes of a plane, or zeros; bits divides 8. */
static inline size_t vlmp_codes_row_bytes(int count, int bits)
{
    return ((size_t)count * (size_t)bits + 7) / 8;
}

/* Code or zero `index` of a row of one plane. */
static inline int vlmp_code_at(const uint8_t *row, int index, int bits)
{
    size_t at = (size_t)index * (size_t)bits;
    return row[at / 8] >> at % 8 & ((1 << bits) - 1);
}

/* Code `index` of a row of both planes; high is NULL where there is one. */
static inline int vlmp_planes_at(const uint8_t *low, const uint8_t *high, int index,
                                 vlmp_code_type type)
{
    int bits = vlmp_code_low_bits(type), code = vlmp_code_at(low, index, bits);
    return high == NULL ? code : code | vlmp_code_at(high, index, 1) << bits;
}

/* Between a row of codes and one code a byte; of codes that are wider than bits, the low ones. */
void vlmp_codes_pack(uint8_t *row, const uint8_t *codes, int count, int bits);
void vlmp_codes_unpack(uint8_t *codes, const uint8_t *row, int count, int bits);

/* The same of both planes. */
void vlmp_planes_pack(uint8_t *low, uint8_t *high, const uint8_t *codes, int count,
                      vlmp_code_type type);
void vlmp_planes_unpack(uint8_t *codes, const uint8_t *low, const uint8_t *high, int count,
                        vlmp_code_type type);

/* Where the scale of a group of output n is among those stored, of `groups` a row. */
static inline size_t vlmp_scale_index(const vlmp_scheme *scheme, size_t n, size_t groups,
                                      size_t group)
{
    return (scheme->blocks ? n / VLMP_BLOCK_OUTPUTS : n) * groups + group;
}

/* Scale `index` as stored, without the global one; any alignment. */
static inline float vlmp_scale_at(const void *scales, size_t index, vlmp_dtype type)
{
    const unsigned char *bytes = (const unsigned char *)scales;
    if (type == VLMP_F8_E4M3) {
        const vlmp_minifloat e4m3 = VLMP_E4M3;
        return (bytes[index] & 0x7f) == VLMP_E4M3_NAN ? NAN
                                                      : vlmp_minifloat_value(&e4m3, bytes[index]);
    }
    if (type == VLMP_F8_E8M0) /* 2^(e − 127) */
        return bytes[index] == 0xff ? NAN
               : bytes[index] == 0  ? 0x1p-127f
                                    : vlmp_f32_from_bits((uint32_t)bytes[index] << 23);
    if (type == VLMP_F32) {
        float scale;
        memcpy(&scale, bytes + index * sizeof scale, sizeof scale);
        return scale;
    }
    uint16_t half;
    memcpy(&half, bytes + index * sizeof half, sizeof half);
    return type == VLMP_BF16 ? vlmp_bf16_to_f32(half) : vlmp_f16_to_f32(half);
}

void vlmp_scale_put(void *scales, size_t index, vlmp_dtype type, float scale);

/* scale as its type holds it, at least VLMP_SCALE_MIN (F8_E4M3: 2⁻⁹, and at most 448, since a
 * global scale brings it there). Infinite when it does not fit. A power of two is the one below, or
 * from its 1.75-fold on the one above: of a quarter of the largest weight it is the least scale
 * that has this weight below level 7, the middle between 6 and 8. */
VLMP_DEVICE static inline float vlmp_scale_stored(float scale, vlmp_dtype type)
{
    if (type == VLMP_F8_E4M3) {
        const vlmp_minifloat e4m3 = VLMP_E4M3;
        return vlmp_minifloat_round(&e4m3, scale < 0x1p-9f ? 0x1p-9f : scale);
    }
    if (type == VLMP_F16) scale = vlmp_f16_to_f32(vlmp_f32_to_f16(scale));
    if (type == VLMP_BF16) scale = vlmp_bf16_to_f32(vlmp_f32_to_bf16(scale));
    if (type == VLMP_F8_E8M0 && scale > VLMP_SCALE_MIN && scale < INFINITY)
        scale = vlmp_f32_from_bits((vlmp_f32_bits(scale) + 0x200000u) & 0x7f800000u);
    return scale < VLMP_SCALE_MIN ? VLMP_SCALE_MIN : scale;
}

/* The same of a scale under a scheme's global one, a power of two. */
VLMP_DEVICE static inline float vlmp_scale_under(float scale, vlmp_dtype type, float global)
{
    return vlmp_scale_stored(scale / global, type) * global;
}
