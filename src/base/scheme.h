/* How a quantized linear is coded: w = (u − z)·s, u an unsigned code, z a zero, s a scale, or w =
 * v·s, v the float that a code stands for. The table in scheme.c says all there is to know of a
 * code type; where the bytes lie is packed_parts.h, what they mean on disk formats/FORMAT.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/minifloat.h"
#include "src/base/round.h"

typedef enum {
    VLMP_CODES_NONE, /* not quantized */
    VLMP_CODES_U3,   /* in two planes: two bits of each, one bit of each */
    VLMP_CODES_U4,   /* two a byte */
    VLMP_CODES_U8,
    VLMP_CODES_FP8,   /* E4M3 */
    VLMP_CODES_MXFP4, /* E2M1, two a byte */
    VLMP_CODES_NVFP4, /* the same under other scales */
    VLMP_CODE_TYPES,
} vlmp_code_type;

typedef enum {
    VLMP_ZEROS_NONE,   /* symmetric: z is the grid's middle */
    VLMP_ZEROS_PACKED, /* one a group */
} vlmp_zeros;

typedef struct {
    vlmp_code_type codes;
    vlmp_dtype scales; /* as stored: F16, F32, F8_E4M3 or F8_E8M0; BF16 of other tools alone */
    int group;         /* inputs that share a scale; VLMP_GROUP_CHANNEL: all of an output */
    vlmp_zeros zeros;
    float global_scale;    /* factor of every scale; 1 but where a linear stores its own */
    bool int8_activations; /* computed with per-token int8 activations */
    bool blocks;           /* VLMP_BLOCK_OUTPUTS outputs share their scales */
} vlmp_scheme;

#define VLMP_GROUP_CHANNEL 0
#define VLMP_GROUP_AUTO    (-1) /* in recipes: the plan chooses */
#define VLMP_GROUP_BLOCK   (-2) /* in recipes: VLMP_BLOCK_OUTPUTS outputs by as many inputs */
#define VLMP_BLOCK_OUTPUTS 128

/* Code type and group settle how scales are stored. */
vlmp_scheme vlmp_scheme_make(vlmp_code_type codes, int group, vlmp_zeros zeros,
                             bool int8_activations);

/* Whether scales of another float type may stand in for those that vlmp_scheme_make chooses. */
static inline bool vlmp_scheme_has_wide_scales(const vlmp_scheme *scheme)
{
    return scheme->scales == VLMP_F16 || scheme->scales == VLMP_BF16 || scheme->scales == VLMP_F32;
}

/* Whether a linear of the scheme stores a global scale. */
static inline bool vlmp_scheme_has_global(const vlmp_scheme *scheme)
{
    return scheme->scales == VLMP_F8_E4M3;
}

/* Inputs that share a scale, of k. */
static inline int vlmp_scheme_group(const vlmp_scheme *scheme, int k)
{
    return scheme->group == VLMP_GROUP_CHANNEL ? k : scheme->group;
}

/* Inputs that may share a scale where both sides are integers: sums of int8 inputs, at most 127,
 * by codes less their zeros fit 32 bits. */
static inline int vlmp_int8_most_inputs(int bits)
{
    return INT32_MAX / (127 * ((1 << bits) - 1));
}

/* A code type: one row of the table. */
typedef struct {
    const char *name;    /* in recipes and files; NULL: its bits say it */
    const char *feature; /* in vlmp.requires of files that hold such codes */
    int bits;
    int high_bits;         /* of these, in a plane of their own; 0: codes have one plane */
    int middle;            /* z where none is stored */
    int low_symmetric;     /* the lowest code without zeros; with them it is 0 */
    vlmp_minifloat floats; /* what codes stand for; mantissa 0: themselves */
    int group;             /* the only one that it may have; 0: others */
    vlmp_dtype scales;     /* of that group */
    float reach; /* without zeros: the level that min-max scales give the largest weight */
} vlmp_code_info;

extern const vlmp_code_info vlmp_code_types[VLMP_CODE_TYPES];

/* Bits of a code in its first plane, and those that a stored zero takes: they divide 8. */
static inline int vlmp_code_low_bits(vlmp_code_type type)
{
    return vlmp_code_types[type].bits - vlmp_code_types[type].high_bits;
}

static inline int vlmp_code_zero_bits(vlmp_code_type type)
{
    return vlmp_code_types[type].high_bits != 0 ? 4 : vlmp_code_types[type].bits;
}

/* The integer type of so many bits; VLMP_CODES_NONE when there is none. */
vlmp_code_type vlmp_code_type_of_bits(int bits);

/* The type that a file means: by name, or by bits where name is NULL. VLMP_CODES_NONE: unknown, or
 * of other bits. */
vlmp_code_type vlmp_code_type_of(const char *name, int bits);

/* "W4", "W8", "fp8" …: what tables call the codes. */
void vlmp_codes_text(char *out, size_t capacity, const vlmp_scheme *scheme);

/* Codes that stand for floats: no zeros, no int8 activations. */
static inline bool vlmp_codes_are_floats(vlmp_code_type type)
{
    return vlmp_code_types[type].floats.mantissa != 0;
}

/* The levels of a scheme's codes. */
typedef struct {
    int count;     /* of codes */
    int low, high; /* lowest and highest code */
    int middle;    /* z where none is stored; the code that arrays start with */
    float reach;   /* as in vlmp_code_info */
    vlmp_minifloat floats;
} vlmp_code_grid;

vlmp_code_grid vlmp_code_grid_of(const vlmp_scheme *scheme);

/* A code in units of its scale; exact. The codes of integer types are their own values. */
static inline float vlmp_code_level(const vlmp_code_grid *grid, int code, int zero)
{
    if (grid->floats.mantissa != 0) return vlmp_minifloat_value(&grid->floats, (unsigned)code);
    return (float)(code - zero);
}

/* The code nearest to level, in units of the scale; ties to even. */
static inline int vlmp_code_nearest(const vlmp_code_grid *grid, float level, int zero)
{
    if (grid->floats.mantissa != 0)
        return (int)vlmp_minifloat_code(&grid->floats, vlmp_minifloat_round(&grid->floats, level));
    float least = (float)(grid->low - zero), most = (float)(grid->high - zero);
    level = level < least ? least : level > most ? most : level;
    return (int)vlmp_round_even(level) + zero;
}
