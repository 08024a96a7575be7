/* A linear layer's weights, as files hold them: what the host may read, and what a context has made
 * of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/packed_parts.h"

/* y = x·Wᵀ + bias. Either dense (weight, dtype) or quantized (scheme, codes, scales, zeros). */
typedef struct {
    int n; /* outputs */
    int k; /* inputs */

    /* dense */
    const void *weight; /* [n][k] of dtype, any alignment */
    vlmp_dtype dtype;   /* VLMP_F32, VLMP_F16 or VLMP_BF16 */

    /* quantized: w = (u − z)·s or v·s, the parts as in src/base/packed_parts.h. With int8
     * activations x is quantized per row to int8 (s = amax/127.5, codes ±127) first; a row with an
     * input that is not finite gives NaN. */
    vlmp_scheme scheme; /* codes VLMP_CODES_NONE: dense */
    const uint8_t *codes;
    const uint8_t *high; /* the second plane of codes that have one; else NULL */
    const void *scales;
    const uint8_t *zeros; /* NULL without zeros */

    const float *bias; /* [n] or NULL */

    void *own; /* what ops->prepare made of the above for its context; NULL before */
} vlmp_linear;

static inline bool vlmp_linear_quantized(const vlmp_linear *w)
{
    return w->scheme.codes != VLMP_CODES_NONE;
}

/* Whether inputs become int8 first. */
static inline bool vlmp_linear_int8(const vlmp_linear *w)
{
    return vlmp_linear_quantized(w) && w->scheme.int8_activations;
}

/* The rest is for quantized linears. Bits of a code, inputs of a group, groups of a row. */
static inline int vlmp_linear_bits(const vlmp_linear *w)
{
    return vlmp_code_types[w->scheme.codes].bits;
}

static inline int vlmp_linear_group(const vlmp_linear *w)
{
    return vlmp_scheme_group(&w->scheme, w->k);
}

static inline int vlmp_linear_groups(const vlmp_linear *w)
{
    return w->k / vlmp_linear_group(w);
}

/* The codes of output n, or their first plane; and the second, NULL where there is none. */
static inline const uint8_t *vlmp_linear_codes(const vlmp_linear *w, int n)
{
    return w->codes + (size_t)n * vlmp_codes_row_bytes(w->k, vlmp_code_low_bits(w->scheme.codes));
}

static inline const uint8_t *vlmp_linear_high(const vlmp_linear *w, int n)
{
    return w->high != NULL ? w->high + (size_t)n * vlmp_codes_row_bytes(w->k, 1) : NULL;
}

/* Scale and zero of one group of output n. */
static inline float vlmp_linear_scale(const vlmp_linear *w, int n, int group)
{
    size_t index =
        vlmp_scale_index(&w->scheme, (size_t)n, (size_t)vlmp_linear_groups(w), (size_t)group);
    return vlmp_scale_at(w->scales, index, w->scheme.scales) * w->scheme.global_scale;
}

static inline int vlmp_linear_zero(const vlmp_linear *w, int n, int group)
{
    if (w->zeros == NULL) return vlmp_code_types[w->scheme.codes].middle;
    int bits = vlmp_code_zero_bits(w->scheme.codes);
    size_t row_bytes = vlmp_codes_row_bytes(vlmp_linear_groups(w), bits);
    return vlmp_code_at(w->zeros + (size_t)n * row_bytes, group, bits);
}
