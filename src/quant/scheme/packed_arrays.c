#include "src/quant/scheme/packed_arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/model/model.h"

static vlmp_packed_arrays from_memory(void *const memory[VLMP_PACKED_PARTS])
{
    return (vlmp_packed_arrays){.codes = memory[VLMP_PACKED_CODES],
                                .high = memory[VLMP_PACKED_HIGH],
                                .scales = memory[VLMP_PACKED_SCALES],
                                .zeros = memory[VLMP_PACKED_ZEROS],
                                .global_scale = memory[VLMP_PACKED_GLOBAL]};
}

int vlmp_packed_arrays_fill(vlmp_packed_arrays *packed, const vlmp_quantized *q, vlmp_error *err)
{
    vlmp_packed_shape shape;
    bool fits = vlmp_packed_shape_of(&shape, q->n, q->k, &q->scheme);
    void *memory[VLMP_PACKED_PARTS] = {0};
    for (int i = 0; i < VLMP_PACKED_PARTS && fits; i++) {
        if (shape.parts[i].columns == 0) continue;
        memory[i] = vlmp_alloc(shape.parts[i].bytes, 1);
        fits = memory[i] != NULL;
    }
    *packed = from_memory(memory);
    if (!fits) return vlmp_fail_memory(err, "packed codes");
    vlmp_pack(q, packed->codes, packed->high, packed->scales, packed->zeros);
    if (packed->global_scale != NULL) *packed->global_scale = q->scheme.global_scale;
    return VLMP_OK;
}

void vlmp_packed_arrays_free(vlmp_packed_arrays *packed)
{
    free(packed->codes);
    free(packed->high);
    free(packed->scales);
    free(packed->zeros);
    free(packed->global_scale);
    *packed = (vlmp_packed_arrays){0};
}

int vlmp_packed_arrays_scale_rows(vlmp_packed_arrays *packed, int n, int k,
                                  const vlmp_scheme *scheme, const float *factors, const char *name,
                                  vlmp_error *err)
{
    size_t groups = (size_t)(k / vlmp_scheme_group(scheme, k));
    for (size_t at = 0; at < (size_t)n * groups; at++) {
        size_t row = at / groups;
        float scale = vlmp_scale_stored(
            vlmp_scale_at(packed->scales, at, scheme->scales) * factors[row], scheme->scales);
        if (!isfinite(scale))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the scale of a group in row %zu is beyond half precision "
                             "(65504); keep this linear, or quantize it per channel",
                             name, row);
        vlmp_scale_put(packed->scales, at, scheme->scales, scale);
    }
    return VLMP_OK;
}

void vlmp_linear_use_packed(vlmp_linear *linear, const vlmp_scheme *scheme,
                            const vlmp_packed_arrays *packed)
{
    linear->weight = NULL;
    linear->scheme = *scheme;
    linear->codes = packed->codes;
    linear->high = packed->high;
    linear->scales = packed->scales;
    linear->zeros = packed->zeros;
    if (packed->global_scale != NULL) linear->scheme.global_scale = *packed->global_scale;
}

int vlmp_put_packed(vlmp_sink *sink, const char *name, int n, int k, const vlmp_scheme *scheme,
                    const vlmp_packed_arrays *packed, vlmp_error *err)
{
    const void *const data[] = {packed->codes, packed->high, packed->scales, packed->zeros,
                                packed->global_scale};
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, n, k, scheme))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: its scheme does not fit its shape", name);
    for (int i = 0; i < VLMP_PACKED_PARTS; i++) {
        if (shape.parts[i].columns == 0) continue;
        char full[VLMP_NAME_MAX + 16];
        snprintf(full, sizeof full, "%s.%s", name,
                 vlmp_packed_part_name((vlmp_packed_part)i, scheme->codes));
        vlmp_tensor tensor = {.name = full,
                              .dtype = shape.parts[i].dtype,
                              .rank = 2,
                              .shape = {shape.parts[i].rows, shape.parts[i].columns},
                              .data = data[i],
                              .bytes = shape.parts[i].bytes};
        VLMP_TRY(sink->put(sink, &tensor, err));
    }
    return VLMP_OK;
}

int vlmp_get_packed(vlmp_sink *sink, const char *name, const vlmp_scheme *scheme,
                    vlmp_packed_arrays *packed, vlmp_error *err)
{
    void *memory[VLMP_PACKED_PARTS] = {0};
    int status = VLMP_OK;
    for (int i = 0; i < VLMP_PACKED_PARTS && status == VLMP_OK; i++) {
        if (i == VLMP_PACKED_HIGH && vlmp_code_types[scheme->codes].high_bits == 0) continue;
        if (i == VLMP_PACKED_ZEROS && scheme->zeros == VLMP_ZEROS_NONE) continue;
        if (i == VLMP_PACKED_GLOBAL && !vlmp_scheme_has_global(scheme)) continue;
        char full[VLMP_NAME_MAX + 16];
        vlmp_tensor tensor;
        snprintf(full, sizeof full, "%s.%s", name,
                 vlmp_packed_part_name((vlmp_packed_part)i, scheme->codes));
        status = sink->get(sink, full, &tensor, &memory[i], err);
    }
    *packed = from_memory(memory);
    return status;
}
