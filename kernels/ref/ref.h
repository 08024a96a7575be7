/* The reference implementation of every operation: obvious C, double accumulation, one thread. It
 * is the oracle of tests/kcheck, never the fast path. Contracts are those of kernels/ops.h. */
#pragma once

#include "kernels/ops.h"

extern const vlmp_ops vlmp_ops_ref;
extern const struct vlmp_quant_ops vlmp_quant_ops_ref;

void vlmp_ref_linear(vlmp_ctx *ctx, float *y, const float *x, int rows, const vlmp_linear *w);
void vlmp_ref_embed(vlmp_ctx *ctx, float *y, const int32_t *ids, int rows,
                    const vlmp_linear *table);

void vlmp_ref_rms_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                       const float *weight, float eps);
void vlmp_ref_layer_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                         const float *weight, const float *bias, float eps);
void vlmp_ref_activate(vlmp_ctx *ctx, float *x, size_t count, vlmp_activation act);
void vlmp_ref_gated(vlmp_ctx *ctx, float *gate, const float *up, size_t count, vlmp_activation act);
void vlmp_ref_add(vlmp_ctx *ctx, float *y, const float *x, size_t count);

void vlmp_ref_rope(vlmp_ctx *ctx, float *x, int rows, int heads, int head_dim,
                   const int32_t *positions, const float *inv_freq, float scaling);
void vlmp_ref_kv_write(vlmp_ctx *ctx, const vlmp_kv *kv, const float *k, const float *v,
                       const vlmp_segment *segments, int count);
void vlmp_ref_attention(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv,
                        const vlmp_attention *a, const vlmp_segment *segments, int count);

void vlmp_ref_gram(vlmp_ctx *ctx, float *gram, const float *x, int rows, int k);
void vlmp_ref_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* The weight of output n and input k, exact. */
double vlmp_ref_weight(const vlmp_linear *w, int n, int k);

/* A row's scale s = amax/127.5, NaN when an input is not finite, and the int8 code of x at it: x/s
 * rounded to even and clamped to ±127; 0 when s is not positive. */
float vlmp_ref_int8_scale(const float *x, int k);
int vlmp_ref_int8_code(float x, float scale);

/* act(x) in double. */
double vlmp_ref_act(double x, vlmp_activation act);
