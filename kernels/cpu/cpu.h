/* The CPU implementation. Drivers (threads, tiles, BLAS; plain C) call kernels of the processor's
 * level through a table. A kernel's result depends on its arguments only, and drivers split work
 * into blocks whose borders do not depend on the number of threads. */
#pragma once

#include "kernels/ops.h"

/* Products of at most this many rows read packed weights directly; more rows go through tiles. */
#define VLMP_FEW_ROWS 8

#define VLMP_TILE_COLUMNS 64

typedef struct vlmp_cpu_kernels {
    const char *name;

    /* Weights k0 … k1-1 of output n to F32. k0 is even. */
    void (*weights_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1);

    /* Dense y[row][n] for n0 ≤ n < n1 without bias; y has stride w->n. Any number of rows, meant
     * for few. */
    void (*dense_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1);

    /* The same with packed weights, from rows that prepare_row has turned into prepared_bytes (a
     * multiple of 64) each, for all w of one k, code type and kind of activations. Where
     * packed_supports is false (a code type without a kernel, a group that does not fit the
     * vectors) the portable kernels serve. */
    bool (*packed_supports)(const vlmp_linear *w);
    size_t (*prepared_bytes)(const vlmp_linear *w);
    void (*prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
    void (*packed_rows)(float *y, const void *prepared, size_t stride, int rows,
                        const vlmp_linear *w, int n0, int n1);

    /* Many rows with int8 activations: at most VLMP_TILE_COLUMNS outputs, unpacked into scratch
     * (VLMP_THREAD_SCRATCH bytes) first. tile_supports may be NULL: never. */
    bool (*tile_supports)(const vlmp_linear *w);
    size_t (*tile_prepared_bytes)(const vlmp_linear *w);
    void (*tile_prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
    void (*int8_tile)(float *y, const void *prepared, size_t stride, int rows, const vlmp_linear *w,
                      int n0, int n1, void *scratch);

    /* Many rows in F32, at most VLMP_TILE_COLUMNS outputs. NULL: BLAS does it. */
    void (*float_tile)(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1,
                       void *scratch);

    /* s[j] = factor·q·k_j for count rows k_j of dim, stride apart. */
    void (*dots)(float *s, float factor, const float *q, const float *k, size_t stride, int count,
                 int dim);
    /* o = factor·o + Σ p_j·v_j. */
    void (*weighted_sum)(float *o, float factor, const float *p, const float *v, size_t stride,
                         int count, int dim);
    void (*scale)(float *y, float factor, int count);
    /* x = exp(x − largest), returns the sum. */
    float (*exp_sum)(float *x, float largest, int count);
    float (*largest)(const float *x, int count);

    void (*rms_norm)(float *y, const float *x, int dim, const float *weight, float eps);
    void (*layer_norm)(float *y, const float *x, int dim, const float *weight, const float *bias,
                       float eps);
    void (*activate)(float *x, int count, vlmp_activation act);
    void (*gated)(float *gate, const float *up, int count, vlmp_activation act);
    void (*add)(float *y, const float *x, int count);
} vlmp_cpu_kernels;

extern const vlmp_ops vlmp_ops_cpu;
extern const vlmp_cpu_kernels vlmp_cpu_portable;

/* The kernels of a level, NULL: the best. NULL when the level is unknown or not supported here. */
const vlmp_cpu_kernels *vlmp_cpu_find_kernels(const char *level);

/* Shared scratch that products of rows × k inputs use. */
size_t vlmp_cpu_scratch_bytes(int rows, int k);

void vlmp_cpu_linear(vlmp_ctx *ctx, float *y, const float *x, int rows, const vlmp_linear *w);
void vlmp_cpu_linear_shared(vlmp_ctx *ctx, float *const *y, const float *x, int rows,
                            const vlmp_linear *const *w, int count);
void vlmp_cpu_rms_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                       const float *weight, float eps);
void vlmp_cpu_layer_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                         const float *weight, const float *bias, float eps);
void vlmp_cpu_activate(vlmp_ctx *ctx, float *x, size_t count, vlmp_activation act);
void vlmp_cpu_gated(vlmp_ctx *ctx, float *gate, const float *up, size_t count, vlmp_activation act);
void vlmp_cpu_add(vlmp_ctx *ctx, float *y, const float *x, size_t count);
void vlmp_cpu_rope(vlmp_ctx *ctx, float *x, int rows, int heads, int head_dim,
                   const int32_t *positions, const float *inv_freq, float scaling);
void vlmp_cpu_kv_write(vlmp_ctx *ctx, const vlmp_kv *kv, const float *k, const float *v,
                       const vlmp_segment *segments, int count);
void vlmp_cpu_attention(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv,
                        const vlmp_attention *a, const vlmp_segment *segments, int count);
void vlmp_cpu_embed(vlmp_ctx *ctx, float *y, const int32_t *ids, int rows,
                    const vlmp_linear *table);
void vlmp_cpu_gram(vlmp_ctx *ctx, float *gram, const float *x, int rows, int k);
void vlmp_cpu_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
