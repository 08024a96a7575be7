/* Quantizers' operations on whole matrices, in double. */
#include <math.h>

#include "kernels/ref/quant.h"

void vlmp_ref_quant_mirror(vlmp_ctx *ctx, float *a, int k)
{
    (void)ctx;
    size_t width = (size_t)k;
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j < i; j++)
            a[j * width + i] = a[i * width + j];
}

void vlmp_ref_quant_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide)
{
    (void)ctx;
    size_t width = (size_t)k;
    for (size_t at = 0; at < width * width; at++) {
        float by = s[at / width] * s[at % width];
        a[at] = divide ? a[at] / by : a[at] * by;
    }
}

void vlmp_ref_quant_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k)
{
    (void)ctx;
    for (size_t i = 0; i < (size_t)k; i++)
        out[i] = a[i * (size_t)k + i];
}

void vlmp_ref_quant_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                            float ridge)
{
    (void)ctx;
    size_t width = (size_t)k;
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j <= i; j++)
            out[i * width + j] = a[(size_t)order[i] * width + (size_t)order[j]];
        out[i * width + i] += ridge;
    }
}

/* Row by row: m[i][j]·pivot[j] is what a[i][j] leaves of the columns before. */
void vlmp_ref_quant_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                           int32_t *failed)
{
    (void)ctx, (void)room;
    size_t width = (size_t)k;
    *failed = 1;
    for (size_t i = 0; i < width; i++) {
        float *row = a + i * width;
        double left = row[i];
        for (size_t j = 0; j < i; j++) {
            const float *other = a + j * width;
            double sum = row[j];
            for (size_t l = 0; l < j; l++)
                sum -= (double)row[l] * (double)pivot[l] * (double)other[l];
            row[j] = (float)(sum / (double)pivot[j]);
            left -= (double)row[j] * (double)row[j] * (double)pivot[j];
        }
        if (!(left >= (double)least) || !isfinite(left)) return;
        pivot[i] = (float)left;
    }
    *failed = 0;
}

void vlmp_ref_quant_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n)
{
    (void)ctx;
    size_t width = (size_t)k;
    for (size_t row = 0; row < (size_t)n; row++) {
        float *out = x + row * width;
        for (size_t i = 0; i < width; i++) {
            double sum = out[i];
            for (size_t j = 0; j < i; j++)
                sum -= (double)out[j] * (double)m[i * width + j];
            out[i] = (float)sum;
        }
        for (size_t i = width; i-- > 0;) {
            double sum = (double)out[i] / (double)pivot[i];
            for (size_t j = i + 1; j < width; j++)
                sum -= (double)out[j] * (double)m[j * width + i];
            out[i] = (float)sum;
        }
    }
}

void vlmp_ref_quant_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k,
                            const int *order, bool back)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)n; row++)
        for (size_t i = 0; i < (size_t)k; i++) {
            size_t at = row * (size_t)k + i, there = row * (size_t)k + (size_t)order[i];
            out[back ? there : at] = x[back ? at : there];
        }
}

void vlmp_ref_quant_sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k)
{
    (void)ctx;
    for (size_t r = 0; r < (size_t)taken; r++)
        for (size_t i = 0; i < (size_t)k; i++)
            out[r * (size_t)k + i] = x[r * (size_t)n / (size_t)taken * (size_t)k + i];
}

void vlmp_ref_quant_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        y[i] += by * x[i];
}

void vlmp_ref_quant_dot(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                        void *room)
{
    (void)ctx, (void)room;
    *out = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        *out += (double)a[i] * (double)b[i];
}

void vlmp_ref_quant_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                                   const float *gram, const float *cross, void *room)
{
    (void)ctx, (void)room;
    size_t width = (size_t)k;
    *out = 0;
    for (size_t row = 0; row < (size_t)n; row++)
        for (size_t i = 0; i < width; i++) {
            double product = cross != NULL ? 2 * (double)cross[row * width + i] : 0;
            for (size_t j = 0; j < width; j++)
                product += (double)e[row * width + j] * (double)gram[j * width + i];
            *out += (double)e[row * width + i] * product;
        }
}
