/* Rows of GGUF's types (ggml's ggml-common.h, ggml-quants.c): from the codes of a packed linear,
 * where the type holds them exactly, from floats, and to floats.
 *
 *   Q4_0  d F16, 16 bytes: byte j holds input j low, input j + 16 high;  w = d·(q − 8)
 *   Q4_1  d F16, m F16, 16 bytes as Q4_0;                                w = d·q + m
 *   Q8_0  d F16, 32 signed bytes;                                        w = d·q
 *
 * The others are read alone, and described where they are (gguf_decode.c). */
#pragma once

#include "formats/gguf_write.h"
#include "src/base/dtype.h"
#include "src/base/scheme.h"

#define VLMP_GGUF_BLOCK 32 /* inputs of a block of 4 or 8 bits */

typedef struct {
    int inputs;
    int bytes;
} vlmp_gguf_block;

vlmp_gguf_block vlmp_gguf_block_of(vlmp_gguf_type type);

/* "Q4_0" …; also of types that are not read. NULL: ggml has none of this number. */
const char *vlmp_gguf_type_name(uint32_t type);

/* Whether it is one of vlmp_gguf_type. */
bool vlmp_gguf_type_is_read(uint32_t type);

/* The type of its values; of blocks, of what is made of them. */
vlmp_dtype vlmp_gguf_dtype_of(vlmp_gguf_type type);

/* One row of a packed linear, where it lies. */
typedef struct {
    const vlmp_scheme *scheme;
    int k;
    const uint8_t *codes;
    const void *scales; /* of the row */
    const uint8_t *zeros;
} vlmp_packed_row;

typedef enum {
    VLMP_GGUF_EXACT,   /* the type's blocks hold the same values */
    VLMP_GGUF_ROUNDED, /* they hold the same codes; scales or minima are rounded to F16 */
    VLMP_GGUF_ANEW,    /* no type has such codes: values are rounded to another grid */
} vlmp_gguf_fit;

/* Whether blocks have as many bits as the scheme's integer codes, and its groups are whole blocks.
 */
bool vlmp_gguf_has_blocks(const vlmp_scheme *scheme, int k);

/* The type nearest to a scheme of k inputs, and what can be said without looking at scales. */
vlmp_gguf_fit vlmp_gguf_fit_of(const vlmp_scheme *scheme, int k, vlmp_gguf_type *type);

/* Whether Q4_0, Q4_1 or Q8_0 holds the row's values: scales and minima are F16, and where there are
 * none, zeros are the middle or, under the scale's sign, one below it. */
bool vlmp_gguf_row_is_exact(const vlmp_packed_row *row, vlmp_gguf_type type);

/* The row in that type, which holds its codes. */
void vlmp_gguf_from_codes(void *out, vlmp_gguf_type type, const vlmp_packed_row *row);

/* k floats in a type; Q8_0: the nearest code at scale amax/127. */
void vlmp_gguf_from_floats(void *out, vlmp_gguf_type type, const float *x, int k);

/* k inputs, whole blocks of any alignment, as F32: ggml's own arithmetic, operation by operation.
 */
void vlmp_gguf_to_floats(float *out, vlmp_gguf_type type, const void *blocks, int k);
