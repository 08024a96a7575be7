/* A linear layer's weights, as files hold them: what the host may read, and what a context has made
 * of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"

/* y = x·Wᵀ + bias. Either dense (bits 0: weight, dtype) or quantized (codes, scales, zeros). */
typedef struct {
    int n; /* outputs */
    int k; /* inputs */

    /* dense */
    const void *weight; /* [n][k] of dtype, any alignment */
    vlmp_dtype dtype;   /* VLMP_F32, VLMP_F16 or VLMP_BF16 */

    /* quantized: w = (u − z)·s, see formats/FORMAT.md */
    int bits;             /* 0, 4 or 8 */
    int group;            /* inputs that share a scale; k when per channel */
    const uint8_t *codes; /* [n][⌈k·bits/8⌉], unsigned, natural order, low nibble first */
    const void *scales;   /* [n][k/group] F16; F32 when per channel (group == k) */
    const uint8_t *zeros; /* [n][⌈k/group·bits/8⌉], packed like codes; NULL: z = 2^(bits−1) */
    bool int8_activations; /* quantize x per row to int8 (s = amax/127.5, codes ±127) first; a row
                            * with an input that is not finite gives NaN */

    const float *bias; /* [n] or NULL */

    void *own; /* what ops->prepare made of the above for its context; NULL before */
} vlmp_linear;

static inline int vlmp_linear_groups(const vlmp_linear *w)
{
    return w->k / w->group;
}

static inline size_t vlmp_codes_row_bytes(int count, int bits)
{
    return ((size_t)count * (size_t)bits + 7) / 8;
}
