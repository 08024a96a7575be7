#include "kernels/ref/ref.h"

static void add_products(float *out, const float *left, const float *right, size_t rows,
                         size_t width, size_t i, size_t j)
{
    double sum = out[i * width + j];
    for (size_t row = 0; row < rows; row++)
        sum += (double)left[row * width + i] * right[row * width + j];
    out[i * width + j] = (float)sum;
}

void vlmp_ref_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k)
{
    (void)ctx;
    for (size_t i = 0; i < (size_t)k; i++)
        for (size_t j = 0; j < (size_t)k; j++)
            add_products(c.at, a.at, b.at, (size_t)rows, (size_t)k, i, j);
}

void vlmp_ref_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k)
{
    (void)ctx;
    for (size_t i = 0; i < (size_t)k; i++)
        for (size_t j = 0; j <= i; j++)
            add_products(gram.at, x.at, x.at, (size_t)rows, (size_t)k, i, j);
}

void vlmp_ref_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    (void)ctx;
    for (size_t i = 0; i < (size_t)m; i++) {
        for (size_t j = 0; j < (size_t)n; j++) {
            double sum = 0;
            for (size_t p = 0; p < (size_t)k; p++) {
                float a_value = trans_a ? a[p * (size_t)lda + i] : a[i * (size_t)lda + p];
                float b_value = trans_b ? b[j * (size_t)ldb + p] : b[p * (size_t)ldb + j];
                sum += (double)a_value * b_value;
            }
            float *out = &c[i * (size_t)ldc + j];
            /* beta 0 overwrites, so that c may hold NaN, as BLAS does. */
            *out = (float)(alpha * sum + (beta == 0 ? 0 : (double)beta * *out));
        }
    }
}
