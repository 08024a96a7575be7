/* A quantized weight matrix while a method works on it: one code a byte, scales as F32 that the
 * stored type can hold exactly. Packing to and from the bytes of a packed file (formats/FORMAT.md:
 * w = (u − z)·s). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/store/source.h"

#define VLMP_SCALE_MIN 0x1p-24f /* the smallest F16 above 0; also the floor of F32 scales */
#define VLMP_SCALE_MAX 65504.0f /* the largest finite F16 */

typedef struct {
    int n;      /* outputs */
    int k;      /* inputs */
    int bits;   /* 4 or 8 */
    int group;  /* inputs that share a scale; k when per channel */
    int groups; /* k / group */
    bool symmetric;
    uint8_t *codes; /* [n][k] */
    float *scales;  /* [n][groups] */
    uint8_t *zeros; /* [n][groups]; 2^(bits−1) everywhere when symmetric */
} vlmp_quantized;

/* Fills *q and allocates its arrays: codes and zeros at 2^(bits−1), scales at 1. scheme->group 0 is
 * per channel; bits other than 4 and 8, or a group that does not divide k, is VLMP_ERR_INPUT. */
int vlmp_quantized_alloc(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme,
                         vlmp_error *err);
void vlmp_quantized_free(vlmp_quantized *q); /* leaves it empty; harmless when empty */

/* Copies codes, scales and zeros between two of the same shape and scheme. */
void vlmp_quantized_copy(vlmp_quantized *to, const vlmp_quantized *from);

/* Lowest code: 1 for symmetric 8 bits, else 0. Highest: 2^bits − 1. */
static inline int vlmp_code_low(int bits, bool symmetric)
{
    return bits == 8 && symmetric ? 1 : 0;
}

static inline int vlmp_code_high(int bits)
{
    return (1 << bits) - 1;
}

/* Whether scales are stored as F16 (per channel they are F32). */
static inline bool vlmp_scales_half(int group, int k)
{
    return group != k;
}

/* scale as the file stores it: rounded to F16 when half, at least VLMP_SCALE_MIN. Infinite when it
 * does not fit. */
float vlmp_scale_stored(float scale, bool half);

/* VLMP_ERR_INPUT with row and group when a scale did not fit its type (is infinite). */
int vlmp_quantized_check_scales(const vlmp_quantized *q, const char *name, vlmp_error *err);

/* out[rows][k] = rows first … first+rows−1, dequantized. */
void vlmp_dequantize(const vlmp_quantized *q, int first, int rows, float *out);

/* Bytes of X.codes, X.scales and X.zeros (0 when symmetric) for the shape and scheme. false: a
 * product overflows. */
bool vlmp_packed_bytes(int n, int k, const vlmp_scheme *scheme, size_t *codes, size_t *scales,
                       size_t *zeros);

/* Writes the arrays of a packed file, of the sizes vlmp_packed_bytes gives. zeros may be NULL when
 * symmetric. */
void vlmp_pack(const vlmp_quantized *q, uint8_t *codes, void *scales, uint8_t *zeros);

/* The reverse, into an allocated *q of the same shape and scheme. Codes below the lowest and scales
 * that are not finite and at least VLMP_SCALE_MIN are VLMP_ERR_INPUT; name is for the message. */
int vlmp_unpack(vlmp_quantized *q, const uint8_t *codes, const void *scales, const uint8_t *zeros,
                const char *name, vlmp_error *err);
