/* A pre-norm transformer block, for towers and decoders alike: the forward pass that exists once.
 *
 * A block has four sites, the inputs of its linears. The forward pass is cut at the sites, so that
 * a quantizer can look at a site's input, replace the linears behind it, and go on:
 *
 *   x ─ norm1 ─(attn_in)─ q k v ─ attention ─(attn_out)─ o ─ + ─ norm2 ─(mlp_in)─ up ─(mlp_out)─
 * down ─ +
 */
#pragma once

#include "kernels/ops.h"

typedef enum {
    VLMP_SITE_ATTN_IN,  /* q, k, v */
    VLMP_SITE_ATTN_OUT, /* o */
    VLMP_SITE_MLP_IN,   /* gate and up, or fc1 */
    VLMP_SITE_MLP_OUT,  /* down, or fc2 */
    VLMP_SITES,
} vlmp_site;

typedef enum { VLMP_NORM_LAYER, VLMP_NORM_RMS } vlmp_norm_kind;

/* What all blocks of a stack share. */
typedef struct {
    vlmp_norm_kind norm;
    float norm_eps;
    int dim;
    int heads;
    int kv_heads;
    int head_dim;
    int intermediate;
    bool gated;
    vlmp_activation act;
    bool causal;
    const float *inv_freq; /* [head_dim/2], or NULL: no rotary positions */
} vlmp_block_shape;

/* One block's weights. Linears point into the source's map; norms are F32 copies. */
typedef struct {
    const float *norm1, *norm1_bias; /* [dim]; bias NULL for RMSNorm */
    const float *norm2, *norm2_bias;
    vlmp_linear q, k, v, o;
    vlmp_linear gate; /* n 0 when the MLP is not gated */
    vlmp_linear up, down;
    int window; /* sliding attention window; 0: none */
} vlmp_block;

/* Working memory for up to `rows` rows. */
typedef struct {
    int rows;
    float *h;           /* [rows][dim]: a norm's output, then a linear's */
    float *q;           /* [rows][heads·head_dim] */
    float *k, *v;       /* [rows][kv_heads·head_dim] */
    float *a;           /* [rows][heads·head_dim]: attention's output */
    float *m;           /* [rows][intermediate] */
    float *up;          /* [rows][intermediate]; NULL when not gated */
    int32_t *positions; /* [rows] */
    float *memory;
} vlmp_block_work;

int vlmp_block_work_create(vlmp_block_work *work, const vlmp_block_shape *shape, int rows,
                           vlmp_error *err);
void vlmp_block_work_free(vlmp_block_work *work);

/* Rows of x are tokens; segments cut them into sequences; kv is this block's store. */
typedef struct {
    vlmp_ctx *ctx;
    const vlmp_block_shape *shape;
    vlmp_block_work *work;
    const vlmp_segment *segments;
    int segment_count;
    int rows; /* of all segments */
    vlmp_kv kv;
} vlmp_block_run;

/* The steps between sites. Outputs are named like the site they feed. */
void vlmp_block_attn_in(const vlmp_block_run *run, const vlmp_block *block, const float *x,
                        float *h);
void vlmp_block_attn_out(const vlmp_block_run *run, const vlmp_block *block, const float *h,
                         float *a);
void vlmp_block_add_attention(const vlmp_block_run *run, const vlmp_block *block, const float *a,
                              float *x);
void vlmp_block_mlp_in(const vlmp_block_run *run, const vlmp_block *block, const float *x,
                       float *h);
void vlmp_block_mlp_out(const vlmp_block_run *run, const vlmp_block *block, const float *h,
                        float *m);
void vlmp_block_add_mlp(const vlmp_block_run *run, const vlmp_block *block, const float *m,
                        float *x);

/* Sees each site's input; NULL: nothing looks. */
typedef void vlmp_tap_fn(void *arg, vlmp_site site, const float *input, int rows, int dim);

/* x[rows][dim] through the whole block, in place. */
void vlmp_block_forward(const vlmp_block_run *run, const vlmp_block *block, float *x,
                        vlmp_tap_fn *tap, void *tap_arg);

/* The input width of a site. */
int vlmp_site_dim(const vlmp_block_shape *shape, vlmp_site site);

/* That of the widest, for vlmp_ctx_reserve. */
int vlmp_widest_site(const vlmp_block_shape *shape);
