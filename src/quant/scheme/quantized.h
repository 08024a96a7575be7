/* A quantized weight matrix while a method works on it: one code a byte, scales as F32 that the
 * stored type can hold exactly. Packing to and from the bytes of a packed file (formats/FORMAT.md:
 * w = (u − z)·s). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/packed_parts.h"

typedef struct {
    int n;               /* outputs */
    int k;               /* inputs */
    int group;           /* inputs that share a scale; k when per channel */
    int groups;          /* k / group */
    vlmp_scheme scheme;  /* with the linear's global scale, a power of two */
    vlmp_code_grid grid; /* of the scheme */
    uint8_t *codes;      /* [n][k] */
    float *scales;       /* [n][groups], the global one included; rows may share theirs */
    uint8_t *zeros;      /* [n][groups]; the grid's middle everywhere without zeros */
} vlmp_quantized;

/* *q for the shape and scheme, without arrays. The group divides k. */
void vlmp_quantized_shape(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme);

/* The global scale under which a largest weight of this size gets an F8_E4M3 scale between 112 and
 * 224: a power of two, so that products with scales are exact, with room for what error
 * compensation adds. */
float vlmp_global_scale_of(float largest);

/* The largest |w|. */
float vlmp_largest(const float *w, size_t count);

/* Fills *q and allocates its arrays: codes and zeros at the grid's middle, scales at 1. A group
 * that does not divide k, or another shape that cannot be packed, is VLMP_ERR_INPUT. */
int vlmp_quantized_alloc(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme,
                         vlmp_error *err);
void vlmp_quantized_free(vlmp_quantized *q); /* leaves it empty; harmless when empty */

/* VLMP_ERR_INPUT with row and group when a scale did not fit its type (is infinite). */
int vlmp_quantized_check_scales(const vlmp_quantized *q, const char *name, vlmp_error *err);

/* out[rows][k] = rows first … first+rows−1, dequantized. */
void vlmp_dequantize(const vlmp_quantized *q, int first, int rows, float *out);

/* Writes the arrays of a packed file, of the sizes that vlmp_packed_shape_of gives. high, the
 * second plane of codes, and zeros may be NULL when the scheme has none. */
void vlmp_pack(const vlmp_quantized *q, uint8_t *codes, uint8_t *high, void *scales,
               uint8_t *zeros);

/* The reverse, into an allocated *q of the same shape and scheme. Codes below the lowest or NaN and
 * scales that are not finite and at least VLMP_SCALE_MIN (of 8 bits: above zero) are
 * VLMP_ERR_INPUT; name is for the message. */
int vlmp_unpack(vlmp_quantized *q, const uint8_t *codes, const uint8_t *high, const void *scales,
                const uint8_t *zeros, const char *name, vlmp_error *err);
