/* The reference implementation of every operation: obvious C, double accumulation, one thread. It
 * is the oracle of tests/kcheck, never the fast path. Contracts are those of kernels/ops.h. */
#pragma once

#include "kernels/host.h"

extern const vlmp_ops vlmp_ops_ref;
extern const struct vlmp_quant_ops vlmp_quant_ops_ref;

int vlmp_ref_ctx_create(vlmp_ctx **ctx, vlmp_pool *pool, vlmp_error *err);

void vlmp_ref_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w);
void vlmp_ref_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                            const vlmp_linear *const *w, int count);
void vlmp_ref_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                         const vlmp_linear *w, bool add);
void vlmp_ref_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table);

void vlmp_ref_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       float eps);
void vlmp_ref_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                         vlmp_f32 bias, float eps);
void vlmp_ref_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                             vlmp_f32 bias, float eps);
void vlmp_ref_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act);
void vlmp_ref_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act);
void vlmp_ref_subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                       vlmp_f32 s);

void vlmp_ref_rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                   vlmp_f32 inv_freq, vlmp_i32 axes, float scaling);
void vlmp_ref_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                        const vlmp_attention *a, const vlmp_step *step);

void vlmp_ref_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count);
void vlmp_ref_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count);
void vlmp_ref_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                           vlmp_act x, int rows, int dim, vlmp_i32 kinds);
void vlmp_ref_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                               vlmp_f32 x, int rows, int dim, vlmp_i32 kinds);
void vlmp_ref_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                      size_t p_stride, int vocab, vlmp_i32 targets, int rows);
void vlmp_ref_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n);

void vlmp_ref_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k);
void vlmp_ref_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k);
void vlmp_ref_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* One row of the norms. y may be x. */
void vlmp_ref_rms_norm_row(float *y, const float *x, int dim, const float *weight, float eps);
void vlmp_ref_layer_norm_row(float *y, const float *x, int dim, const float *weight,
                             const float *bias, float eps);

/* One row of vlmp_ops.measure. */
vlmp_token_measure vlmp_ref_measure_row(const float *q, const float *p, int vocab, int32_t target);

/* The weight of output n and input k, exact. */
double vlmp_ref_weight(const vlmp_linear *w, int n, int k);

/* A row's scale s = amax/127.5, NaN when an input is not finite, and the int8 code of x at it: x/s
 * rounded to even and clamped to ±127; 0 when s is not positive. */
float vlmp_ref_int8_scale(const float *x, int k);
int vlmp_ref_int8_code(float x, float scale);

/* act(x) in double. */
double vlmp_ref_act(double x, vlmp_activation act);
