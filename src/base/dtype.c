#include "src/base/dtype.h"

#include <string.h>

#include "src/base/half.h"
#include "src/base/memory.h"

static const struct {
    const char *name;
    unsigned bits;
} types[VLMP_DTYPE_COUNT] = {
    [VLMP_BOOL] = {"BOOL", 8},
    [VLMP_F4] = {"F4", 4},
    [VLMP_F6_E2M3] = {"F6_E2M3", 6},
    [VLMP_F6_E3M2] = {"F6_E3M2", 6},
    [VLMP_U8] = {"U8", 8},
    [VLMP_I8] = {"I8", 8},
    [VLMP_F8_E5M2] = {"F8_E5M2", 8},
    [VLMP_F8_E4M3] = {"F8_E4M3", 8},
    [VLMP_F8_E8M0] = {"F8_E8M0", 8},
    [VLMP_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [VLMP_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [VLMP_I16] = {"I16", 16},
    [VLMP_U16] = {"U16", 16},
    [VLMP_F16] = {"F16", 16},
    [VLMP_BF16] = {"BF16", 16},
    [VLMP_I32] = {"I32", 32},
    [VLMP_U32] = {"U32", 32},
    [VLMP_F32] = {"F32", 32},
    [VLMP_C64] = {"C64", 64},
    [VLMP_F64] = {"F64", 64},
    [VLMP_I64] = {"I64", 64},
    [VLMP_U64] = {"U64", 64},
};

const char *vlmp_dtype_name(vlmp_dtype dtype)
{
    return types[dtype].name;
}

size_t vlmp_dtype_size(vlmp_dtype dtype)
{
    return (types[dtype].bits + 7) / 8;
}

bool vlmp_dtype_bytes(vlmp_dtype dtype, size_t count, size_t *bytes)
{
    unsigned bits = types[dtype].bits;
    if (bits % 8 == 0) return vlmp_mul_size(count, bits / 8, bytes);
    size_t whole;
    if (!vlmp_mul_size(count, bits, &whole) || whole % 8 != 0) return false;
    *bytes = whole / 8;
    return true;
}

size_t vlmp_dtype_count(vlmp_dtype dtype, size_t bytes)
{
    unsigned bits = types[dtype].bits;
    return bits % 8 == 0 ? bytes / (bits / 8) : bytes / bits * 8 + bytes % bits * 8 / bits;
}

vlmp_dtype vlmp_dtype_from_name(const char *name)
{
    for (int i = 0; i < VLMP_DTYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) return (vlmp_dtype)i;
    return VLMP_DTYPE_COUNT;
}

int vlmp_dtype_is_float(vlmp_dtype dtype)
{
    return dtype == VLMP_F32 || dtype == VLMP_F16 || dtype == VLMP_BF16;
}

void vlmp_to_f32(float *out, const void *source, vlmp_dtype dtype, size_t count)
{
    const unsigned char *bytes = source;
    if (dtype == VLMP_F32) {
        memcpy(out, bytes, count * sizeof *out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        out[i] = dtype == VLMP_BF16 ? vlmp_bf16_to_f32(half) : vlmp_f16_to_f32(half);
    }
}

#define FINITE_STEP 4096 /* elements tested without a branch, so that the loop vectorizes */

/* An exponent of all ones is a NaN or an infinity. */
static bool any32(const unsigned char *data, size_t count)
{
    unsigned bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, data + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad;
}

static bool any16(const unsigned char *data, size_t count, uint16_t exponent)
{
    uint16_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, data + 2 * i, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad;
}

static bool any_not_finite(const unsigned char *data, size_t count, vlmp_dtype dtype)
{
    if (dtype == VLMP_F32) return any32(data, count);
    return any16(data, count, dtype == VLMP_BF16 ? 0x7f80u : 0x7c00u);
}

size_t vlmp_first_not_finite(const void *values, vlmp_dtype dtype, size_t count)
{
    const unsigned char *data = values;
    size_t size = vlmp_dtype_size(dtype);
    for (size_t from = 0; from < count; from += FINITE_STEP) {
        size_t step = count - from < FINITE_STEP ? count - from : FINITE_STEP;
        if (!any_not_finite(data + from * size, step, dtype)) continue;
        while (!any_not_finite(data + from * size, 1, dtype))
            from++;
        return from;
    }
    return count;
}
