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
    VLMP_SITE_ATTN_IN,  /* q, k, v, or the three as one */
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
    bool fused_qkv;
    bool qk_norm; /* RMSNorm of each head's query and key */
    bool qkv_bias, o_bias, mlp_bias;
    vlmp_activation act;
    bool causal;
    const float *inv_freq; /* [head_dim/2] of the host, or NULL: no rotary positions */
    const int32_t *axes;   /* [head_dim/2] of the host: as rope's; NULL: all the first */
} vlmp_block_shape;

/* A vector as the host has it, and in a context's memory. */
typedef struct {
    const float *values; /* NULL: none */
    size_t count;
    vlmp_f32 own;
} vlmp_vector;

/* Makes vector->own of its values. Free with vlmp_ctx_free_memory. */
int vlmp_vector_copy(vlmp_vector *vector, vlmp_ctx *ctx, const char *name, vlmp_error *err);

/* One block's weights. Linears point into the source's map. */
typedef struct {
    vlmp_vector norm1, norm1_bias; /* [dim]; no bias for RMSNorm */
    vlmp_vector norm2, norm2_bias;
    vlmp_vector q_norm, k_norm; /* [head_dim]; none: no norm */
    vlmp_linear qkv;            /* fused; then q, k and v have n 0, else it has */
    vlmp_linear q, k, v, o;
    vlmp_linear gate; /* n 0 when the MLP is not gated */
    vlmp_linear up, down;
    int window;    /* sliding attention window; 0: none */
    bool windowed; /* rows see those of their batch's window alone */
} vlmp_block;

/* out: block with all its weights in the context's memory, for as long as block's own memory stays.
 * Release it, after a failure too. */
int vlmp_block_prepare(vlmp_block *out, vlmp_ctx *ctx, const vlmp_block *block, vlmp_error *err);
void vlmp_block_release(vlmp_block *block, vlmp_ctx *ctx);

/* Working memory for up to `rows` rows. */
typedef struct {
    vlmp_ctx *ctx;
    vlmp_act h;        /* [rows][dim]: a norm's output */
    vlmp_act q;        /* [rows][heads·head_dim] */
    vlmp_act k, v;     /* [rows][kv_heads·head_dim] */
    vlmp_act a;        /* [rows][heads·head_dim]: attention's output */
    vlmp_act m;        /* [rows][intermediate], or a fused product */
    vlmp_act up;       /* [rows][intermediate]; when gated */
    vlmp_f32 inv_freq; /* [head_dim/2]; at NULL: no rotary positions */
    vlmp_f32 heads;    /* [rows][heads·head_dim] in front of their norm; at NULL: there is none */
    vlmp_i32 axes;     /* [head_dim/2]; at NULL: all the first */
    vlmp_act memory;
} vlmp_block_work;

int vlmp_block_work_create(vlmp_block_work *work, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                           int rows, vlmp_error *err);
void vlmp_block_work_free(vlmp_block_work *work);

/* Rows of x are tokens, which the step cuts into sequences. */
typedef struct {
    vlmp_ctx *ctx;
    const vlmp_block_shape *shape;
    vlmp_block_work *work;
    const vlmp_step *step;
    vlmp_rows rows; /* of the step */
    vlmp_kv *kv;
    int layer; /* of the store */
} vlmp_block_run;

/* The steps between sites. Outputs are named like the site they feed. */
void vlmp_block_attn_in(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x, vlmp_act h);
void vlmp_block_attn_out(const vlmp_block_run *run, const vlmp_block *block, vlmp_act h,
                         vlmp_act a);
void vlmp_block_add_attention(const vlmp_block_run *run, const vlmp_block *block, vlmp_act a,
                              vlmp_f32 x);
void vlmp_block_mlp_in(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x, vlmp_act h);
void vlmp_block_mlp_out(const vlmp_block_run *run, const vlmp_block *block, vlmp_act h, vlmp_act m);
void vlmp_block_add_mlp(const vlmp_block_run *run, const vlmp_block *block, vlmp_act m, vlmp_f32 x);

/* Sees each site's input [rows][dim]; NULL: nothing looks. */
typedef void vlmp_tap_fn(void *arg, vlmp_site site, vlmp_act input, int rows, int dim);

/* x[rows][dim] up to the last site's input, which is left in the run's work. */
void vlmp_block_look(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x,
                     vlmp_tap_fn *tap, void *arg);

/* x[rows][dim] through the whole block, in place. */
void vlmp_block_forward(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x,
                        vlmp_tap_fn *tap, void *tap_arg);

/* The input width of a site. */
int vlmp_site_dim(const vlmp_block_shape *shape, vlmp_site site);

/* That of the widest, for vlmp_ctx_reserve. */
int vlmp_widest_site(const vlmp_block_shape *shape);
