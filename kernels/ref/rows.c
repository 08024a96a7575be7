#include <math.h>

#include "kernels/ref/ref.h"

void vlmp_ref_rms_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                       const float *weight, float eps)
{
    (void)ctx;
    for (int row = 0; row < rows; row++, x += dim, y += dim) {
        double sum = 0;
        for (int i = 0; i < dim; i++)
            sum += (double)x[i] * x[i];
        double factor = 1 / sqrt(sum / dim + eps);
        for (int i = 0; i < dim; i++)
            y[i] = (float)(x[i] * factor * weight[i]);
    }
}

void vlmp_ref_layer_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                         const float *weight, const float *bias, float eps)
{
    (void)ctx;
    for (int row = 0; row < rows; row++, x += dim, y += dim) {
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

void vlmp_ref_activate(vlmp_ctx *ctx, float *x, size_t count, vlmp_activation act)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)vlmp_ref_act(x[i], act);
}

void vlmp_ref_gated(vlmp_ctx *ctx, float *gate, const float *up, size_t count, vlmp_activation act)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        gate[i] = (float)(vlmp_ref_act(gate[i], act) * up[i]);
}

void vlmp_ref_add(vlmp_ctx *ctx, float *y, const float *x, size_t count)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

void vlmp_ref_rope(vlmp_ctx *ctx, float *x, int rows, int heads, int head_dim,
                   const int32_t *positions, const float *inv_freq, float scaling)
{
    (void)ctx;
    int half = head_dim / 2;
    for (int row = 0; row < rows; row++) {
        for (int head = 0; head < heads; head++, x += head_dim) {
            for (int j = 0; j < half; j++) {
                float angle = (float)positions[row] * inv_freq[j];
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
