/* How a quantized linear is coded: w = (u − z)·s, u an unsigned code, z a zero, s a scale. The
 * table in scheme.c says all there is to know of a code type; where the bytes lie is
 * packed_parts.h, what they mean on disk formats/FORMAT.md. */
#pragma once

#include <stdbool.h>

#include "src/base/dtype.h"
#include "src/base/round.h"

typedef enum {
    VLMP_CODES_NONE, /* not quantized */
    VLMP_CODES_U4,   /* two a byte */
    VLMP_CODES_U8,
    VLMP_CODE_TYPES,
} vlmp_code_type;

typedef enum {
    VLMP_ZEROS_NONE,   /* symmetric: z is the grid's middle */
    VLMP_ZEROS_PACKED, /* one a group, packed like codes */
} vlmp_zeros;

typedef struct {
    vlmp_code_type codes;
    vlmp_dtype scales; /* VLMP_F16 or VLMP_F32, as stored */
    int group;         /* inputs that share a scale; VLMP_GROUP_CHANNEL: all of an output */
    vlmp_zeros zeros;
    float global_scale;    /* factor of every stored scale; files of version 1 know 1 only */
    bool int8_activations; /* computed with per-token int8 activations */
} vlmp_scheme;

#define VLMP_GROUP_CHANNEL 0
#define VLMP_GROUP_AUTO    (-1) /* in recipes: the plan chooses */

/* What the files of version 1 hold: F16 scales of groups, F32 ones per channel, no global scale. */
static inline vlmp_scheme vlmp_scheme_make(vlmp_code_type codes, int group, vlmp_zeros zeros,
                                           bool int8_activations)
{
    return (vlmp_scheme){.codes = codes,
                         .scales = group == VLMP_GROUP_CHANNEL ? VLMP_F32 : VLMP_F16,
                         .group = group,
                         .zeros = zeros,
                         .global_scale = 1.0f,
                         .int8_activations = int8_activations};
}

/* Inputs that share a scale, of k. */
static inline int vlmp_scheme_group(const vlmp_scheme *scheme, int k)
{
    return scheme->group == VLMP_GROUP_CHANNEL ? k : scheme->group;
}

/* A code type: one row of the table. */
typedef struct {
    const char *feature; /* in vlmp.requires of files that hold such codes */
    int bits;
    int middle;        /* z where none is stored */
    int low_symmetric; /* the lowest code without zeros; with them it is 0 */
} vlmp_code_info;

extern const vlmp_code_info vlmp_code_types[VLMP_CODE_TYPES];

/* The integer type of so many bits; VLMP_CODES_NONE when there is none. */
vlmp_code_type vlmp_code_type_of_bits(int bits);

/* The levels of a scheme's codes. */
typedef struct {
    int count;     /* of levels */
    int low, high; /* lowest and highest code */
    int middle;    /* z where none is stored; the code that arrays start with */
} vlmp_code_grid;

vlmp_code_grid vlmp_code_grid_of(const vlmp_scheme *scheme);

/* A code in units of its scale; exact. The codes of integer types are their own values. */
static inline float vlmp_code_level(const vlmp_code_grid *grid, int code, int zero)
{
    (void)grid;
    return (float)(code - zero);
}

/* The code nearest to level, in units of the scale; ties to even. */
static inline int vlmp_code_nearest(const vlmp_code_grid *grid, float level, int zero)
{
    float least = (float)(grid->low - zero), most = (float)(grid->high - zero);
    level = level < least ? least : level > most ? most : level;
    return (int)vlmp_round_even(level) + zero;
}
