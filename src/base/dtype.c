#include "src/base/dtype.h"

#include <string.h>

#include "src/base/half.h"

static const struct {
    const char *name;
    size_t size;
} types[VLMP_DTYPE_COUNT] = {
    [VLMP_U8] = {"U8", 1},     [VLMP_I8] = {"I8", 1},           [VLMP_BOOL] = {"BOOL", 1},
    [VLMP_I16] = {"I16", 2},   [VLMP_U16] = {"U16", 2},         [VLMP_F16] = {"F16", 2},
    [VLMP_BF16] = {"BF16", 2}, [VLMP_I32] = {"I32", 4},         [VLMP_U32] = {"U32", 4},
    [VLMP_F32] = {"F32", 4},   [VLMP_F64] = {"F64", 8},         [VLMP_I64] = {"I64", 8},
    [VLMP_U64] = {"U64", 8},   [VLMP_F8_E5M2] = {"F8_E5M2", 1}, [VLMP_F8_E4M3] = {"F8_E4M3", 1},
};

const char *vlmp_dtype_name(vlmp_dtype dtype)
{
    return types[dtype].name;
}

size_t vlmp_dtype_size(vlmp_dtype dtype)
{
    return types[dtype].size;
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
