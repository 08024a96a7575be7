#include "src/quant/scheme/quantized.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

void vlmp_quantized_shape(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme)
{
    int group = vlmp_scheme_group(scheme, k);
    *q = (vlmp_quantized){.n = n,
                          .k = k,
                          .group = group,
                          .groups = k / group,
                          .scheme = *scheme,
                          .grid = vlmp_code_grid_of(scheme)};
}

int vlmp_quantized_alloc(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme,
                         vlmp_error *err)
{
    vlmp_packed_shape shape;
    *q = (vlmp_quantized){0};
    if (!vlmp_packed_shape_of(&shape, n, k, scheme))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%d × %d weights do not fit a scheme with groups of %d", n, k,
                         scheme->group);
    vlmp_quantized_shape(q, n, k, scheme);
    size_t scales = (size_t)n * (size_t)q->groups;
    q->codes = vlmp_alloc((size_t)n, (size_t)k);
    q->scales = vlmp_alloc(scales, sizeof *q->scales);
    q->zeros = vlmp_alloc(scales, 1);
    if (q->codes == NULL || q->scales == NULL || q->zeros == NULL) {
        vlmp_quantized_free(q);
        return vlmp_fail_memory(err, "codes of a linear");
    }
    memset(q->codes, q->grid.middle, (size_t)n * (size_t)k);
    memset(q->zeros, q->grid.middle, scales);
    for (size_t i = 0; i < scales; i++)
        q->scales[i] = 1.0f;
    return VLMP_OK;
}

void vlmp_quantized_free(vlmp_quantized *q)
{
    free(q->codes);
    free(q->scales);
    free(q->zeros);
    *q = (vlmp_quantized){0};
}

void vlmp_dequantize(const vlmp_quantized *q, int first, int rows, float *out)
{
    for (int r = 0; r < rows; r++) {
        const uint8_t *codes = q->codes + (size_t)(first + r) * (size_t)q->k;
        const float *scales = q->scales + (size_t)(first + r) * (size_t)q->groups;
        const uint8_t *zeros = q->zeros + (size_t)(first + r) * (size_t)q->groups;
        float *row = out + (size_t)r * (size_t)q->k;
        for (int g = 0; g < q->groups; g++) {
            int begin = g * q->group, zero = zeros[g];
            float scale = scales[g];
            for (int i = begin; i < begin + q->group; i++)
                row[i] = vlmp_code_level(&q->grid, codes[i], zero) * scale;
        }
    }
}

int vlmp_quantized_check_scales(const vlmp_quantized *q, const char *name, vlmp_error *err)
{
    for (size_t i = 0; i < (size_t)q->n * (size_t)q->groups; i++)
        if (!isfinite(q->scales[i]))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the scale of group %zu in row %zu is beyond half precision "
                             "(65504); keep this linear, or quantize it per channel",
                             name, i % (size_t)q->groups, i / (size_t)q->groups);
    return VLMP_OK;
}

void vlmp_pack(const vlmp_quantized *q, uint8_t *codes, void *scales, uint8_t *zeros)
{
    int bits = vlmp_code_types[q->scheme.codes].bits;
    size_t code_row = vlmp_codes_row_bytes(q->k, bits);
    size_t zero_row = vlmp_codes_row_bytes(q->groups, bits);
    for (size_t row = 0; row < (size_t)q->n; row++) {
        size_t first = row * (size_t)q->groups;
        vlmp_codes_pack(codes + row * code_row, q->codes + row * (size_t)q->k, q->k, bits);
        if (q->scheme.zeros == VLMP_ZEROS_PACKED)
            vlmp_codes_pack(zeros + row * zero_row, q->zeros + first, q->groups, bits);
        for (size_t i = first; i < first + (size_t)q->groups; i++)
            vlmp_scale_put(scales, i, q->scheme.scales, q->scales[i]);
    }
}

static int unpack_codes(vlmp_quantized *q, size_t row, const uint8_t *from, int bits,
                        const char *name, vlmp_error *err)
{
    uint8_t *codes = q->codes + row * (size_t)q->k;
    vlmp_codes_unpack(codes, from, q->k, bits);
    for (int i = 0; q->grid.low > 0 && i < q->k; i++)
        if (codes[i] < q->grid.low)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s.codes: row %zu, input %d: code %d is below %d; the file is "
                             "damaged or was not written by this format",
                             name, row, i, codes[i], q->grid.low);
    return VLMP_OK;
}

static int unpack_scales(vlmp_quantized *q, const void *scales, const char *name, vlmp_error *err)
{
    for (size_t i = 0; i < (size_t)q->n * (size_t)q->groups; i++) {
        q->scales[i] = vlmp_scale_at(scales, i, q->scheme.scales);
        if (isfinite(q->scales[i]) && q->scales[i] >= VLMP_SCALE_MIN) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s.scales: row %zu, group %zu: %g is not a finite scale of at least "
                         "2^-24; the file is damaged",
                         name, i / (size_t)q->groups, i % (size_t)q->groups, (double)q->scales[i]);
    }
    return VLMP_OK;
}

int vlmp_unpack(vlmp_quantized *q, const uint8_t *codes, const void *scales, const uint8_t *zeros,
                const char *name, vlmp_error *err)
{
    int bits = vlmp_code_types[q->scheme.codes].bits;
    size_t code_row = vlmp_codes_row_bytes(q->k, bits);
    size_t zero_row = vlmp_codes_row_bytes(q->groups, bits);
    for (size_t row = 0; row < (size_t)q->n; row++) {
        uint8_t *row_zeros = q->zeros + row * (size_t)q->groups;
        VLMP_TRY(unpack_codes(q, row, codes + row * code_row, bits, name, err));
        if (q->scheme.zeros == VLMP_ZEROS_PACKED)
            vlmp_codes_unpack(row_zeros, zeros + row * zero_row, q->groups, bits);
        else
            memset(row_zeros, q->grid.middle, (size_t)q->groups);
    }
    return unpack_scales(q, scales, name, err);
}
