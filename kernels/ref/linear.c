#include <assert.h>
#include <math.h>

#include "kernels/ref/ref.h"
#include "src/base/half.h"

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

/* (u − z), in units of the scale. */
static double level_at(const vlmp_linear *w, int n, int k)
{
    vlmp_code_grid grid = vlmp_code_grid_of(&w->scheme);
    int code =
        vlmp_planes_at(vlmp_linear_codes(w, n), vlmp_linear_high(w, n), k, w->scheme.codes);
    return vlmp_code_level(&grid, code, vlmp_linear_zero(w, n, k / vlmp_linear_group(w)));
}

double vlmp_ref_weight(const vlmp_linear *w, int n, int k)
{
    if (!vlmp_linear_quantized(w))
        return dense_at(w->weight, w->dtype, (size_t)n * (size_t)w->k + (size_t)k);
    return level_at(w, n, k) * vlmp_linear_scale(w, n, k / vlmp_linear_group(w));
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
    return (int)vlmp_round_even(fminf(fmaxf(x / scale, -127), 127));
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
    int size = vlmp_linear_group(w);
    double sum = 0;
    for (int group = 0; group < vlmp_linear_groups(w); group++) {
        double dot = 0; /* of integers: exact */
        for (int k = group * size; k < (group + 1) * size; k++)
            dot += level_at(w, n, k) * vlmp_ref_int8_code(x[k], x_scale);
        sum += dot * vlmp_linear_scale(w, n, group);
    }
    return sum * x_scale;
}

static double product(const vlmp_linear *w, int n, const float *x)
{
    double sum = vlmp_linear_int8(w) ? dot_int8(w, n, x) : dot_float(w, n, x);
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
