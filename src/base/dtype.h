/* Element types that files may hold: names and order are those of safetensors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    VLMP_BOOL,
    VLMP_F4,
    VLMP_F6_E2M3,
    VLMP_F6_E3M2,
    VLMP_U8,
    VLMP_I8,
    VLMP_F8_E5M2,
    VLMP_F8_E4M3,
    VLMP_F8_E8M0,
    VLMP_F8_E4M3FNUZ,
    VLMP_F8_E5M2FNUZ,
    VLMP_I16,
    VLMP_U16,
    VLMP_F16,
    VLMP_BF16,
    VLMP_I32,
    VLMP_U32,
    VLMP_F32,
    VLMP_C64,
    VLMP_F64,
    VLMP_I64,
    VLMP_U64,
    VLMP_DTYPE_COUNT,
} vlmp_dtype;

const char *vlmp_dtype_name(vlmp_dtype dtype);

/* Bytes that hold one element: 1 for the types of 4 and 6 bits, which are stored without gaps. */
size_t vlmp_dtype_size(vlmp_dtype dtype);

/* Bytes of count elements. false: more than size_t holds, or not whole bytes. */
bool vlmp_dtype_bytes(vlmp_dtype dtype, size_t count, size_t *bytes);

/* The inverse: elements in that many bytes. */
size_t vlmp_dtype_count(vlmp_dtype dtype, size_t bytes);

/* VLMP_DTYPE_COUNT when the name is unknown. */
vlmp_dtype vlmp_dtype_from_name(const char *name);

/* F32, F16 and BF16: the types that the forward pass reads. */
int vlmp_dtype_is_float(vlmp_dtype dtype);

/* count elements of a float type to F32. source may be unaligned. */
void vlmp_to_f32(float *out, const void *source, vlmp_dtype dtype, size_t count);

/* The first of count values of a float type that is NaN or infinite; count when none is. values may
 * be unaligned. */
size_t vlmp_first_not_finite(const void *values, vlmp_dtype dtype, size_t count);
