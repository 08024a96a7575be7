#include <math.h>

#include "kernels/ref/ref.h"

void vlmp_ref_rms_norm_row(float *y, const float *x, int dim, const float *weight, float eps)
{
    double sum = 0;
    for (int i = 0; i < dim; i++)
        sum += (double)x[i] * x[i];
    double factor = 1 / sqrt(sum / dim + eps);
    for (int i = 0; i < dim; i++)
        y[i] = (float)(x[i] * factor * weight[i]);
}

void vlmp_ref_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       float eps)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)rows; row++)
        vlmp_ref_rms_norm_row((float *)y.at + row * (size_t)dim, x.at + row * (size_t)dim, dim,
                              weight.at, eps);
}

void vlmp_ref_layer_norm_row(float *y, const float *x, int dim, const float *weight,
                             const float *bias, float eps)
{
    double mean = 0;
    for (int i = 0; i < dim; i++)
        mean += x[i];
    mean /= dim;
    double variance = 0;
    for (int i = 0; i < dim; i++)
        variance += (x[i] - mean) * (x[i] - mean);
    double factor = 1 / sqrt(variance / dim + eps);
    for (int i = 0; i < dim; i++)
        y[i] = (float)((x[i] - mean) * factor * weight[i] + bias[i]);
}

void vlmp_ref_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                             vlmp_f32 bias, float eps)
{
    vlmp_ref_layer_norm(ctx, (vlmp_act){x.at}, x, rows, dim, weight, bias, eps);
}

void vlmp_ref_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                         vlmp_f32 bias, float eps)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)rows; row++)
        vlmp_ref_layer_norm_row((float *)y.at + row * (size_t)dim, x.at + row * (size_t)dim, dim,
                                weight.at, bias.at, eps);
}

double vlmp_ref_act(double x, vlmp_activation act)
{
    /* 1 + erf and 1 + tanh cancel for negative x; their other forms do not. */
    switch (act) {
    case VLMP_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case VLMP_GELU_TANH:
        return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case VLMP_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case VLMP_SILU:
        return x / (1 + exp(-x));
    case VLMP_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

void vlmp_ref_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act)
{
    (void)ctx;
    float *values = x.at;
    for (size_t i = 0; i < count; i++)
        values[i] = (float)vlmp_ref_act(values[i], act);
}

void vlmp_ref_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act)
{
    (void)ctx;
    float *values = gate.at;
    const float *factors = up.at;
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(vlmp_ref_act(values[i], act) * factors[i]);
}

void vlmp_ref_subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                       vlmp_f32 s)
{
    (void)ctx;
    float *out = y.at;
    const float *from = a.at, *less = b.at;
    for (size_t i = 0; i < (size_t)rows * (size_t)dim; i++)
        out[i] = from[i] / (s.at != NULL ? s.at[i % (size_t)dim] : 1.0f) - less[i];
}

void vlmp_ref_rope(vlmp_ctx *ctx, vlmp_act rows, const vlmp_step *step, int heads, int head_dim,
                   vlmp_f32 inv_freq, vlmp_i32 axes, float scaling)
{
    (void)ctx;
    int half = head_dim / 2;
    float *x = rows.at;
    for (int row = 0; row < step->rows; row++) {
        for (int head = 0; head < heads; head++, x += head_dim) {
            for (int j = 0; j < half; j++) {
                int axis = axes.at != NULL ? axes.at[j] : 0;
                float angle = (float)step->positions[axis][row] * inv_freq.at[j];
                double cosine = cos((double)angle) * scaling;
                double sine = sin((double)angle) * scaling;
                double a = x[j];
                double b = x[j + half];
                x[j] = (float)(a * cosine - b * sine);
                x[j + half] = (float)(b * cosine + a * sine);
            }
        }
    }
}
