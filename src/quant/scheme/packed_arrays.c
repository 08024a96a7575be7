#include "src/quant/scheme/packed_arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/half.h"
#include "src/base/memory.h"
#include "src/model/model.h"

int vlmp_packed_arrays_fill(vlmp_packed_arrays *packed, const vlmp_quantized *q,
                            const vlmp_scheme *scheme, vlmp_error *err)
{
    size_t codes, scales, zeros;
    if (!vlmp_packed_bytes(q->n, q->k, scheme, &codes, &scales, &zeros))
        return vlmp_fail_memory(err, "packed codes");
    packed->codes = vlmp_alloc(codes, 1);
    packed->scales = vlmp_alloc(scales, 1);
    packed->zeros = zeros > 0 ? vlmp_alloc(zeros, 1) : NULL;
    if (packed->codes == NULL || packed->scales == NULL || (zeros > 0 && packed->zeros == NULL))
        return vlmp_fail_memory(err, "packed codes");
    vlmp_pack(q, packed->codes, packed->scales, packed->zeros);
    return VLMP_OK;
}

void vlmp_packed_arrays_free(vlmp_packed_arrays *packed)
{
    free(packed->codes);
    free(packed->scales);
    free(packed->zeros);
    *packed = (vlmp_packed_arrays){0};
}

int vlmp_packed_arrays_scale_rows(vlmp_packed_arrays *packed, int n, int k,
                                  const vlmp_scheme *scheme, const float *factors, const char *name,
                                  vlmp_error *err)
{
    int groups = scheme->group == 0 ? 1 : k / scheme->group;
    bool half = scheme->group != 0;
    for (size_t at = 0; at < (size_t)n * (size_t)groups; at++) {
        size_t row = at / (size_t)groups;
        unsigned char *place = (unsigned char *)packed->scales + at * (half ? 2 : 4);
        uint16_t stored = 0;
        float scale;
        memcpy(half ? (void *)&stored : (void *)&scale, place, half ? 2 : 4);
        scale = vlmp_scale_stored((half ? vlmp_f16_to_f32(stored) : scale) * factors[row], half);
        if (!isfinite(scale))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the scale of a group in row %zu is beyond half precision "
                             "(65504); keep this linear, or quantize it per channel",
                             name, row);
        stored = vlmp_f32_to_f16(scale);
        memcpy(place, half ? (void *)&stored : (void *)&scale, half ? 2 : 4);
    }
    return VLMP_OK;
}

void vlmp_linear_use_packed(vlmp_linear *linear, const vlmp_scheme *scheme,
                            const vlmp_packed_arrays *packed)
{
    linear->weight = NULL;
    linear->bits = scheme->bits;
    linear->group = scheme->group == 0 ? linear->k : scheme->group;
    linear->codes = packed->codes;
    linear->scales = packed->scales;
    linear->zeros = packed->zeros;
    linear->int8_activations = scheme->int8_activations;
}

int vlmp_put_packed(vlmp_sink *sink, const char *name, int n, int k, const vlmp_scheme *scheme,
                    const vlmp_packed_arrays *packed, vlmp_error *err)
{
    int groups = scheme->group == 0 ? 1 : k / scheme->group;
    const struct {
        const char *part;
        vlmp_dtype dtype;
        int64_t columns;
        const void *data;
    } parts[] = {
        {"codes", VLMP_U8, (int64_t)vlmp_codes_row_bytes(k, scheme->bits), packed->codes},
        {"scales", scheme->group == 0 ? VLMP_F32 : VLMP_F16, groups, packed->scales},
        {"zeros", VLMP_U8, (int64_t)vlmp_codes_row_bytes(groups, scheme->bits), packed->zeros},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].data == NULL) continue;
        char full[VLMP_NAME_MAX + 16];
        snprintf(full, sizeof full, "%s.%s", name, parts[i].part);
        vlmp_tensor tensor = {.name = full,
                              .dtype = parts[i].dtype,
                              .rank = 2,
                              .shape = {n, parts[i].columns},
                              .data = parts[i].data,
                              .bytes = (size_t)n * (size_t)parts[i].columns *
                                       vlmp_dtype_size(parts[i].dtype)};
        VLMP_TRY(sink->put(sink, &tensor, err));
    }
    return VLMP_OK;
}

int vlmp_get_packed(vlmp_sink *sink, const char *name, const vlmp_scheme *scheme,
                    vlmp_packed_arrays *packed, vlmp_error *err)
{
    static const char *const parts[] = {"codes", "scales", "zeros"};
    void *memory[3] = {0};
    int status = VLMP_OK;
    for (int p = 0; p < (scheme->symmetric ? 2 : 3) && status == VLMP_OK; p++) {
        char full[VLMP_NAME_MAX + 16];
        vlmp_tensor tensor;
        snprintf(full, sizeof full, "%s.%s", name, parts[p]);
        status = sink->get(sink, full, &tensor, &memory[p], err);
    }
    *packed = (vlmp_packed_arrays){.codes = memory[0], .scales = memory[1], .zeros = memory[2]};
    return status;
}
