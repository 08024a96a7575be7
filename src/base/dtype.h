/* Element types that files may hold (names as in safetensors). */
#pragma once

#include <stddef.h>

typedef enum {
    VLMP_U8,
    VLMP_I8,
    VLMP_BOOL,
    VLMP_I16,
    VLMP_U16,
    VLMP_F16,
    VLMP_BF16,
    VLMP_I32,
    VLMP_U32,
    VLMP_F32,
    VLMP_F64,
    VLMP_I64,
    VLMP_U64,
    VLMP_F8_E5M2,
    VLMP_F8_E4M3,
    VLMP_DTYPE_COUNT,
} vlmp_dtype;

const char *vlmp_dtype_name(vlmp_dtype dtype);
size_t vlmp_dtype_size(vlmp_dtype dtype); /* bytes */

/* VLMP_DTYPE_COUNT when the name is unknown. */
vlmp_dtype vlmp_dtype_from_name(const char *name);

/* F32, F16 and BF16: the types that the forward pass reads. */
int vlmp_dtype_is_float(vlmp_dtype dtype);

/* count elements of a float type to F32. source may be unaligned. */
void vlmp_to_f32(float *out, const void *source, vlmp_dtype dtype, size_t count);
