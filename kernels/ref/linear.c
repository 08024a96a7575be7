#include <assert.h>
#include <math.h>

#include "kernels/ref/ref.h"
#include "src/base/half.h"

static int unpack(const uint8_t *row, int index, int bits)
{
    if (bits == 8) return row[index];
    return row[index / 2] >> (index % 2 * 4) & 15;
}

static double dense_at(const void *data, vlmp_dtype dtype, size_t index)
{
    const unsigned char *bytes = data; /* any alignment */
    if (dtype == VLMP_F32) {
        float value;
        memcpy(&value, bytes + index * 4, sizeof value);
        return value;
    }
    uint16_t half;
    memcpy(&half, bytes + index * 2, sizeof half);
    return dtype == VLMP_F16 ? vlmp_f16_to_f32(half) : vlmp_bf16_to_f32(half);
}

static int code_minus_zero(const vlmp_linear *w, int n, int k)
{
    int code = unpack(w->codes + (size_t)n * vlmp_codes_row_bytes(w->k, w->bits), k, w->bits);
    if (w->zeros == NULL) return code - (1 << (w->bits - 1));
    size_t row_bytes = vlmp_codes_row_bytes(vlmp_linear_groups(w), w->bits);
    return code - unpack(w->zeros + (size_t)n * row_bytes, k / w->group, w->bits);
}

static double scale_at(const vlmp_linear *w, int n, int group)
{
    size_t index = (size_t)n * (size_t)vlmp_linear_groups(w) + (size_t)group;
    return dense_at(w->scales, w->group == w->k ? VLMP_F32 : VLMP_F16, index);
}

double vlmp_ref_weight(const vlmp_linear *w, int n, int k)
{
    if (w->bits == 0) return dense_at(w->weight, w->dtype, (size_t)n * (size_t)w->k + (size_t)k);
    return code_minus_zero(w, n, k) * scale_at(w, n, k / w->group);
}

float vlmp_ref_int8_scale(const float *x, int k)
{
    float amax = 0;
    for (int i = 0; i < k; i++) {
        if (!isfinite(x[i])) return NAN;
        amax = fmaxf(amax, fabsf(x[i]));
    }
    return amax / 127.5f;
}

int vlmp_ref_int8_code(float x, float scale)
{
    if (!(scale > 0)) return 0;
    return (int)fminf(fmaxf(rintf(x / scale), -127), 127);
}

static double dot_float(const vlmp_linear *w, int n, const float *x)
{
    double sum = 0;
    for (int k = 0; k < w->k; k++)
        sum += vlmp_ref_weight(w, n, k) * x[k];
    return sum;
}

static double dot_int8(const vlmp_linear *w, int n, const float *x)
{
    float x_scale = vlmp_ref_int8_scale(x, w->k);
    double sum = 0;
    for (int group = 0; group < vlmp_linear_groups(w); group++) {
        int64_t dot = 0;
        for (int k = group * w->group; k < (group + 1) * w->group; k++)
            dot += code_minus_zero(w, n, k) * vlmp_ref_int8_code(x[k], x_scale);
        sum += (double)dot * scale_at(w, n, group);
    }
    return sum * x_scale;
}

static double product(const vlmp_linear *w, int n, const float *x)
{
    double sum = w->bits != 0 && w->int8_activations ? dot_int8(w, n, x) : dot_float(w, n, x);
    return w->bias != NULL ? sum + w->bias[n] : sum;
}

void vlmp_ref_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                         const vlmp_linear *w, bool add)
{
    (void)ctx;
    assert(rows.count >= 0);
    for (int row = 0; row < rows.count; row++) {
        const float *x_row = (const float *)x.at + (size_t)row * (size_t)w->k;
        for (int n = 0; n < w->n; n++) {
            float *out = &y.at[(size_t)row * (size_t)w->n + (size_t)n];
            double sum = product(w, n, x_row);
            *out = (float)(add ? *out + sum : sum);
        }
    }
}

void vlmp_ref_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    vlmp_ref_linear_f32(ctx, (vlmp_f32){y.at}, x, rows, w, false);
}

void vlmp_ref_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                            const vlmp_linear *const *w, int count)
{
    for (int i = 0; i < count; i++)
        vlmp_ref_linear(ctx, y[i], x, rows, w[i]);
}

void vlmp_ref_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table)
{
    (void)ctx;
    for (int row = 0; row < step->rows; row++) {
        int32_t id = step->ids[row];
        assert(id >= 0 && id < table->n);
        for (int k = 0; k < table->k; k++)
            y.at[(size_t)row * (size_t)table->k + (size_t)k] = (float)vlmp_ref_weight(table, id, k);
    }
}
