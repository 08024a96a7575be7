#include "src/quant/scheme/quantized.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/half.h"
#include "src/base/memory.h"

int vlmp_quantized_alloc(vlmp_quantized *q, int n, int k, const vlmp_scheme *scheme,
                         vlmp_error *err)
{
    *q = (vlmp_quantized){0};
    if (scheme->bits != 4 && scheme->bits != 8)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%d-bit weights are not supported; use 4 or 8",
                         scheme->bits);
    int group = scheme->group == 0 ? k : scheme->group;
    if (n <= 0 || k <= 0 || group <= 0 || k % group != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "a group of %d does not divide %d inputs", group, k);
    int groups = k / group;
    *q = (vlmp_quantized){.n = n,
                          .k = k,
                          .bits = scheme->bits,
                          .group = group,
                          .groups = groups,
                          .symmetric = scheme->symmetric};
    q->codes = vlmp_alloc((size_t)n, (size_t)k);
    q->scales = vlmp_alloc((size_t)n * (size_t)groups, sizeof *q->scales);
    q->zeros = vlmp_alloc((size_t)n, (size_t)groups);
    if (q->codes == NULL || q->scales == NULL || q->zeros == NULL) {
        vlmp_quantized_free(q);
        return vlmp_fail_memory(err, "codes of a linear");
    }
    int middle = 1 << (q->bits - 1);
    memset(q->codes, middle, (size_t)n * (size_t)k);
    memset(q->zeros, middle, (size_t)n * (size_t)groups);
    for (size_t i = 0; i < (size_t)n * (size_t)groups; i++)
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

void vlmp_quantized_copy(vlmp_quantized *to, const vlmp_quantized *from)
{
    size_t groups = (size_t)from->n * (size_t)from->groups;
    memcpy(to->codes, from->codes, (size_t)from->n * (size_t)from->k);
    memcpy(to->scales, from->scales, groups * sizeof *from->scales);
    memcpy(to->zeros, from->zeros, groups);
}

float vlmp_scale_stored(float scale, bool half)
{
    float stored = half ? vlmp_f16_to_f32(vlmp_f32_to_f16(scale)) : scale;
    return stored < VLMP_SCALE_MIN ? VLMP_SCALE_MIN : stored;
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
                row[i] = (float)(codes[i] - zero) * scale;
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

static bool row_bytes(size_t count, int bits, size_t *out)
{
    size_t sum;
    if (!vlmp_mul_size(count, (size_t)bits, &sum) || !vlmp_add_size(sum, 7, &sum)) return false;
    *out = sum / 8;
    return true;
}

bool vlmp_packed_bytes(int n, int k, const vlmp_scheme *scheme, size_t *codes, size_t *scales,
                       size_t *zeros)
{
    int group = scheme->group == 0 ? k : scheme->group;
    if (n <= 0 || k <= 0 || group <= 0 || k % group != 0) return false;
    size_t rows = (size_t)n, groups = (size_t)(k / group), row;
    if (!row_bytes((size_t)k, scheme->bits, &row) || !vlmp_mul_size(rows, row, codes)) return false;
    size_t scale_size = vlmp_scales_half(group, k) ? 2 : 4;
    if (!vlmp_mul_size(rows, groups, scales) || !vlmp_mul_size(*scales, scale_size, scales))
        return false;
    *zeros = 0;
    if (scheme->symmetric) return true;
    return row_bytes(groups, scheme->bits, &row) && vlmp_mul_size(rows, row, zeros);
}

static void pack_row(uint8_t *out, const uint8_t *in, int count, int bits)
{
    if (bits == 8) {
        memcpy(out, in, (size_t)count);
        return;
    }
    for (int i = 0; i + 1 < count; i += 2)
        out[i / 2] = (uint8_t)(in[i] | in[i + 1] << 4);
    if (count % 2 != 0) out[count / 2] = in[count - 1];
}

static void unpack_row(uint8_t *out, const uint8_t *in, int count, int bits)
{
    if (bits == 8) {
        memcpy(out, in, (size_t)count);
        return;
    }
    for (int i = 0; i < count; i++)
        out[i] = i % 2 == 0 ? in[i / 2] & 15 : in[i / 2] >> 4;
}

void vlmp_pack(const vlmp_quantized *q, uint8_t *codes, void *scales, uint8_t *zeros)
{
    size_t code_row = ((size_t)q->k * (size_t)q->bits + 7) / 8;
    size_t zero_row = ((size_t)q->groups * (size_t)q->bits + 7) / 8;
    size_t count = (size_t)q->n * (size_t)q->groups;
    for (int r = 0; r < q->n; r++) {
        size_t row = (size_t)r;
        pack_row(codes + row * code_row, q->codes + row * (size_t)q->k, q->k, q->bits);
        if (!q->symmetric)
            pack_row(zeros + row * zero_row, q->zeros + row * (size_t)q->groups, q->groups,
                     q->bits);
    }
    unsigned char *out = scales;
    for (size_t i = 0; i < count; i++) {
        if (vlmp_scales_half(q->group, q->k)) {
            uint16_t half = vlmp_f32_to_f16(q->scales[i]);
            memcpy(out + i * sizeof half, &half, sizeof half);
        } else {
            memcpy(out + i * sizeof(float), &q->scales[i], sizeof(float));
        }
    }
}

static float stored_scale_at(const void *scales, size_t i, bool half)
{
    const unsigned char *bytes = scales;
    if (half) {
        uint16_t value;
        memcpy(&value, bytes + i * sizeof value, sizeof value);
        return vlmp_f16_to_f32(value);
    }
    float value;
    memcpy(&value, bytes + i * sizeof value, sizeof value);
    return value;
}

int vlmp_unpack(vlmp_quantized *q, const uint8_t *codes, const void *scales, const uint8_t *zeros,
                const char *name, vlmp_error *err)
{
    size_t code_row = ((size_t)q->k * (size_t)q->bits + 7) / 8;
    size_t zero_row = ((size_t)q->groups * (size_t)q->bits + 7) / 8;
    size_t count = (size_t)q->n * (size_t)q->groups;
    bool half = vlmp_scales_half(q->group, q->k);
    int low = vlmp_code_low(q->bits, q->symmetric);
    for (int r = 0; r < q->n; r++) {
        size_t row = (size_t)r;
        uint8_t *out = q->codes + row * (size_t)q->k;
        unpack_row(out, codes + row * code_row, q->k, q->bits);
        for (int i = 0; low > 0 && i < q->k; i++)
            if (out[i] < low)
                return vlmp_fail(err, VLMP_ERR_INPUT,
                                 "%s.codes: row %d, input %d: code %d is below %d; the file is "
                                 "damaged or was not written by this format",
                                 name, r, i, out[i], low);
        if (!q->symmetric)
            unpack_row(q->zeros + row * (size_t)q->groups, zeros + row * zero_row, q->groups,
                       q->bits);
    }
    if (q->symmetric) memset(q->zeros, 1 << (q->bits - 1), count);
    for (size_t i = 0; i < count; i++) {
        float scale = stored_scale_at(scales, i, half);
        if (!isfinite(scale) || scale < VLMP_SCALE_MIN)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s.scales: row %zu, group %zu: %g is not a finite scale of at least "
                             "2^-24; the file is damaged",
                             name, i / (size_t)q->groups, i % (size_t)q->groups, (double)scale);
        q->scales[i] = scale;
    }
    return VLMP_OK;
}
