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

/* Bytes of the rows of a matrix's parts. */
struct rows {
    size_t low, high, zeros;
};

static struct rows rows_of(const vlmp_quantized *q)
{
    vlmp_code_type type = q->scheme.codes;
    return (struct rows){vlmp_codes_row_bytes(q->k, vlmp_code_low_bits(type)),
                         vlmp_codes_row_bytes(q->k, vlmp_code_types[type].high_bits),
                         vlmp_codes_row_bytes(q->groups, vlmp_code_zero_bits(type))};
}

void vlmp_pack(const vlmp_quantized *q, uint8_t *codes, uint8_t *high, void *scales, uint8_t *zeros)
{
    vlmp_code_type type = q->scheme.codes;
    struct rows bytes = rows_of(q);
    for (size_t row = 0; row < (size_t)q->n; row++) {
        size_t first = row * (size_t)q->groups;
        vlmp_planes_pack(codes + row * bytes.low, high != NULL ? high + row * bytes.high : NULL,
                         q->codes + row * (size_t)q->k, q->k, type);
        if (q->scheme.zeros == VLMP_ZEROS_PACKED)
            vlmp_codes_pack(zeros + row * bytes.zeros, q->zeros + first, q->groups,
                            vlmp_code_zero_bits(type));
        for (size_t g = 0; g < (size_t)q->groups; g++)
            vlmp_scale_put(scales, vlmp_scale_index(&q->scheme, row, (size_t)q->groups, g),
                           q->scheme.scales, q->scales[first + g] / q->scheme.global_scale);
    }
}

static int unpack_codes(vlmp_quantized *q, size_t row, const uint8_t *low, const uint8_t *high,
                        const char *name, vlmp_error *err)
{
    uint8_t *codes = q->codes + row * (size_t)q->k;
    vlmp_planes_unpack(codes, low, high, q->k, q->scheme.codes);
    bool nan = q->scheme.codes == VLMP_CODES_FP8;
    for (int i = 0; i < q->k; i++)
        if (codes[i] < q->grid.low || (nan && (codes[i] & 0x7f) == VLMP_E4M3_NAN))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s.codes: row %zu, input %d: %d is not a code of its scheme; the "
                             "file is damaged or was not written by this format",
                             name, row, i, codes[i]);
    return VLMP_OK;
}

static int unpack_zeros(vlmp_quantized *q, size_t row, const uint8_t *from, const char *name,
                        vlmp_error *err)
{
    uint8_t *zeros = q->zeros + row * (size_t)q->groups;
    if (q->scheme.zeros == VLMP_ZEROS_NONE) {
        memset(zeros, q->grid.middle, (size_t)q->groups);
        return VLMP_OK;
    }
    vlmp_codes_unpack(zeros, from, q->groups, vlmp_code_zero_bits(q->scheme.codes));
    for (int g = 0; g < q->groups; g++)
        if (zeros[g] > q->grid.high)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s.zeros: row %zu, group %d: %d is not a code of its scheme; the "
                             "file is damaged or was not written by this format",
                             name, row, g, zeros[g]);
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

int vlmp_unpack(vlmp_quantized *q, const uint8_t *codes, const uint8_t *high, const void *scales,
                const uint8_t *zeros, const char *name, vlmp_error *err)
{
    struct rows bytes = rows_of(q);
    for (size_t row = 0; row < (size_t)q->n; row++) {
        VLMP_TRY(unpack_codes(q, row, codes + row * bytes.low,
                              high != NULL ? high + row * bytes.high : NULL, name, err));
        VLMP_TRY(unpack_zeros(q, row, zeros != NULL ? zeros + row * bytes.zeros : NULL, name, err));
    }
    return unpack_scales(q, scales, name, err);
}
