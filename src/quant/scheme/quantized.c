#include "src/quant/scheme/quantized.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/code_values.h"
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

float vlmp_global_scale_of(float largest)
{
    int exponent;
    if (!(largest > 0)) return 1.0f;
    frexpf(largest / (6.0f * 224.0f), &exponent);
    return ldexpf(1.0f, exponent < -100 ? -100 : exponent);
}

float vlmp_largest(const float *w, size_t count)
{
    float largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(w[i]));
    return largest;
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
            int begin = g * q->group;
            vlmp_code_values(row + begin, &q->grid, codes + begin, q->group, zeros[g], scales[g]);
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
        for (size_t g = 0; g < (size_t)q->groups; g++)
            vlmp_scale_put(scales, vlmp_scale_index(&q->scheme, row, (size_t)q->groups, g),
                           q->scheme.scales, q->scales[first + g] / q->scheme.global_scale);
    }
}

static int unpack_codes(vlmp_quantized *q, size_t row, const uint8_t *from, int bits,
                        const char *name, vlmp_error *err)
{
    uint8_t *codes = q->codes + row * (size_t)q->k;
    vlmp_codes_unpack(codes, from, q->k, bits);
    bool nan = q->scheme.codes == VLMP_CODES_FP8;
    for (int i = 0; i < q->k; i++)
        if (codes[i] < q->grid.low || (nan && (codes[i] & 0x7f) == VLMP_E4M3_NAN))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s.codes: row %zu, input %d: %d is not a code of its scheme; the "
                             "file is damaged or was not written by this format",
                             name, row, i, codes[i]);
    return VLMP_OK;
}

static int unpack_scales(vlmp_quantized *q, const void *scales, const char *name, vlmp_error *err)
{
    bool wide = vlmp_scheme_has_wide_scales(&q->scheme);
    float least = wide ? VLMP_SCALE_MIN : 0x1p-127f;
    for (size_t i = 0; i < (size_t)q->n * (size_t)q->groups; i++) {
        size_t row = i / (size_t)q->groups, group = i % (size_t)q->groups;
        size_t at = vlmp_scale_index(&q->scheme, row, (size_t)q->groups, group);
        float stored = vlmp_scale_at(scales, at, q->scheme.scales);
        q->scales[i] = stored * q->scheme.global_scale;
        if (isfinite(stored) && stored >= least) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s.scales: row %zu, group %zu: %g is not a finite scale of at least %g; "
                         "the file is damaged",
                         name, row, group, (double)stored, (double)least);
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
