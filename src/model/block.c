#include "src/model/block.h"

#include <string.h>

int vlmp_vector_copy(vlmp_vector *vector, vlmp_ctx *ctx, const char *name, vlmp_error *err)
{
    if (vector->values == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &vector->own, vector->count, sizeof(float), name, err));
    vlmp_ctx_write(ctx, vector->own.at, vector->values, vector->count * sizeof(float));
    return VLMP_OK;
}

enum { LINEARS = 8, VECTORS = 6 };

static void list_parts(vlmp_block *block, vlmp_linear *linears[LINEARS],
                       vlmp_vector *vectors[VECTORS])
{
    vlmp_linear *const all[LINEARS] = {&block->qkv, &block->q,    &block->k,  &block->v,
                                       &block->o,   &block->gate, &block->up, &block->down};
    vlmp_vector *const norms[VECTORS] = {&block->norm1,      &block->norm1_bias, &block->norm2,
                                         &block->norm2_bias, &block->q_norm,     &block->k_norm};
    memcpy(linears, all, sizeof all);
    memcpy(vectors, norms, sizeof norms);
}

int vlmp_block_prepare(vlmp_block *out, vlmp_ctx *ctx, const vlmp_block *block, vlmp_error *err)
{
    vlmp_linear *linears[LINEARS];
    vlmp_vector *vectors[VECTORS];
    *out = *block;
    list_parts(out, linears, vectors);
    for (int i = 0; i < LINEARS; i++)
        linears[i]->own = NULL;
    for (int i = 0; i < VECTORS; i++)
        vectors[i]->own.at = NULL;
    for (int i = 0; i < LINEARS; i++)
        if (linears[i]->n > 0) VLMP_TRY(ctx->ops->prepare(ctx, linears[i], err));
    for (int i = 0; i < VECTORS; i++)
        VLMP_TRY(vlmp_vector_copy(vectors[i], ctx, "a norm", err));
    return VLMP_OK;
}

void vlmp_block_release(vlmp_block *block, vlmp_ctx *ctx)
{
    vlmp_linear *linears[LINEARS];
    vlmp_vector *vectors[VECTORS];
    list_parts(block, linears, vectors);
    for (int i = 0; i < LINEARS; i++)
        if (linears[i]->own != NULL) ctx->ops->release(ctx, linears[i]->own);
    for (int i = 0; i < VECTORS; i++)
        vlmp_ctx_free_memory(ctx, vectors[i]->own.at);
    *block = (vlmp_block){0};
}

int vlmp_block_work_create(vlmp_block_work *work, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                           int rows, vlmp_error *err)
{
    *work = (vlmp_block_work){.ctx = ctx};
    size_t count = (size_t)rows, dim = (size_t)shape->dim, half = (size_t)shape->head_dim / 2;
    size_t q = (size_t)shape->heads * (size_t)shape->head_dim;
    size_t kv = (size_t)shape->kv_heads * (size_t)shape->head_dim;
    size_t m = (size_t)shape->intermediate, qkv = shape->fused_qkv ? q + 2 * kv : 0;
    const struct {
        vlmp_act *act;
        size_t width;
    } parts[] = {{&work->h, dim},
                 {&work->q, q},
                 {&work->a, q},
                 {&work->k, kv},
                 {&work->v, kv},
                 {&work->m, m > qkv ? m : qkv},
                 {&work->up, shape->gated ? m : 0}};
    size_t width = 0, at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        width += parts[i].width;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &work->memory, count, width * ctx->ops->act_bytes,
                            "block activations", err));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].act = vlmp_act_at(ctx, work->memory, at);
        at += count * parts[i].width;
    }
    vlmp_vector frequencies = {.values = shape->inv_freq, .count = half};
    VLMP_TRY(vlmp_vector_copy(&frequencies, ctx, "RoPE frequencies", err));
    work->inv_freq = frequencies.own;
    if (shape->qk_norm)
        VLMP_TRY(vlmp_ctx_alloc(ctx, &work->heads, count, q * sizeof(float), "heads", err));
    if (shape->axes == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &work->axes, half, sizeof(int32_t), "RoPE axes", err));
    vlmp_ctx_write(ctx, work->axes.at, shape->axes, half * sizeof(int32_t));
    return VLMP_OK;
}

void vlmp_block_work_free(vlmp_block_work *work)
{
    if (work->ctx == NULL) return;
    vlmp_ctx_free_memory(work->ctx, work->memory.at);
    vlmp_ctx_free_memory(work->ctx, work->inv_freq.at);
    vlmp_ctx_free_memory(work->ctx, work->axes.at);
    vlmp_ctx_free_memory(work->ctx, work->heads.at);
    *work = (vlmp_block_work){0};
}

static void norm(const vlmp_block_run *run, vlmp_act y, vlmp_f32 x, const vlmp_vector *weight,
                 const vlmp_vector *bias)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_ops *ops = run->ctx->ops;
    if (shape->norm == VLMP_NORM_RMS)
        ops->rms_norm(run->ctx, y, x, run->rows.count, shape->dim, weight->own, shape->norm_eps);
    else
        ops->layer_norm(run->ctx, y, x, run->rows.count, shape->dim, weight->own, bias->own,
                        shape->norm_eps);
}

void vlmp_block_attn_in(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x, vlmp_act h)
{
    norm(run, h, x, &block->norm1, &block->norm1_bias);
}

/* out [rows][heads·head_dim], each head normed. */
static void normed_heads(const vlmp_block_run *run, vlmp_act out, vlmp_act h,
                         const vlmp_linear *weights, const vlmp_vector *norm, int heads)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_ops *ops = run->ctx->ops;
    ops->linear_f32(run->ctx, run->work->heads, h, run->rows, weights, false);
    ops->rms_norm(run->ctx, out, run->work->heads, run->rows.count * heads, shape->head_dim,
                  norm->own, shape->norm_eps);
}

/* Into the work's q, k and v. */
static void queries_keys_values(const vlmp_block_run *run, const vlmp_block *block, vlmp_act h)
{
    const vlmp_block_work *work = run->work;
    const vlmp_ops *ops = run->ctx->ops;
    const vlmp_act outputs[] = {work->q, work->k, work->v};
    if (run->shape->qk_norm) {
        normed_heads(run, work->q, h, &block->q, &block->q_norm, run->shape->heads);
        normed_heads(run, work->k, h, &block->k, &block->k_norm, run->shape->kv_heads);
        ops->linear(run->ctx, work->v, h, run->rows, &block->v);
        return;
    }
    if (block->qkv.n == 0) {
        const vlmp_linear *const weights[] = {&block->q, &block->k, &block->v};
        ops->linear_shared(run->ctx, outputs, h, run->rows, weights, 3);
        return;
    }
    int q = run->shape->heads * run->shape->head_dim;
    int kv = run->shape->kv_heads * run->shape->head_dim;
    const int widths[] = {q, kv, kv}, columns[] = {0, q, q + kv};
    ops->linear(run->ctx, work->m, h, run->rows, &block->qkv);
    for (int i = 0; i < 3; i++)
        ops->columns(run->ctx, outputs[i], work->m, run->rows.count, block->qkv.n, columns[i],
                     widths[i]);
}

void vlmp_block_attn_out(const vlmp_block_run *run, const vlmp_block *block, vlmp_act h, vlmp_act a)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_block_work *work = run->work;
    const vlmp_ops *ops = run->ctx->ops;
    queries_keys_values(run, block, h);
    if (work->inv_freq.at != NULL) {
        ops->rope(run->ctx, work->q, run->step, shape->heads, shape->head_dim, work->inv_freq,
                  work->axes, 1.0f);
        ops->rope(run->ctx, work->k, run->step, shape->kv_heads, shape->head_dim, work->inv_freq,
                  work->axes, 1.0f);
    }
    ops->kv_write(run->ctx, run->kv, run->layer, work->k, work->v, run->step);
    vlmp_attention attention = {
        .heads = shape->heads,
        .scale = 1.0f / __builtin_sqrtf((float)shape->head_dim),
        .causal = shape->causal,
        .window = block->window,
        .next = &block->o,
    };
    ops->attention(run->ctx, a, work->q, run->kv, run->layer, &attention, run->step);
}

void vlmp_block_add_attention(const vlmp_block_run *run, const vlmp_block *block, vlmp_act a,
                              vlmp_f32 x)
{
    run->ctx->ops->linear_f32(run->ctx, x, a, run->rows, &block->o, true);
}

void vlmp_block_mlp_in(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x, vlmp_act h)
{
    norm(run, h, x, &block->norm2, &block->norm2_bias);
}

void vlmp_block_mlp_out(const vlmp_block_run *run, const vlmp_block *block, vlmp_act h, vlmp_act m)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_ops *ops = run->ctx->ops;
    size_t count = (size_t)run->rows.count * (size_t)shape->intermediate;
    if (!shape->gated) {
        ops->linear(run->ctx, m, h, run->rows, &block->up);
        ops->activate(run->ctx, m, count, shape->act);
        return;
    }
    const vlmp_act outputs[] = {m, run->work->up};
    const vlmp_linear *const weights[] = {&block->gate, &block->up};
    ops->linear_shared(run->ctx, outputs, h, run->rows, weights, 2);
    ops->gated(run->ctx, m, run->work->up, count, shape->act);
}

void vlmp_block_add_mlp(const vlmp_block_run *run, const vlmp_block *block, vlmp_act m, vlmp_f32 x)
{
    run->ctx->ops->linear_f32(run->ctx, x, m, run->rows, &block->down, true);
}

void vlmp_block_look(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x,
                     vlmp_tap_fn *tap, void *arg)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_block_work *work = run->work;
    int rows = run->rows.count, heads_dim = shape->heads * shape->head_dim;
    vlmp_block_attn_in(run, block, x, work->h);
    if (tap != NULL) tap(arg, VLMP_SITE_ATTN_IN, work->h, rows, shape->dim);
    vlmp_block_attn_out(run, block, work->h, work->a);
    if (tap != NULL) tap(arg, VLMP_SITE_ATTN_OUT, work->a, rows, heads_dim);
    vlmp_block_add_attention(run, block, work->a, x);
    vlmp_block_mlp_in(run, block, x, work->h);
    if (tap != NULL) tap(arg, VLMP_SITE_MLP_IN, work->h, rows, shape->dim);
    vlmp_block_mlp_out(run, block, work->h, work->m);
    if (tap != NULL) tap(arg, VLMP_SITE_MLP_OUT, work->m, rows, shape->intermediate);
}

void vlmp_block_forward(const vlmp_block_run *run, const vlmp_block *block, vlmp_f32 x,
                        vlmp_tap_fn *tap, void *arg)
{
    vlmp_block_look(run, block, x, tap, arg);
    vlmp_block_add_mlp(run, block, run->work->m, x);
}

int vlmp_site_dim(const vlmp_block_shape *shape, vlmp_site site)
{
    switch (site) {
    case VLMP_SITE_ATTN_OUT:
        return shape->heads * shape->head_dim;
    case VLMP_SITE_MLP_OUT:
        return shape->intermediate;
    default:
        return shape->dim;
    }
}

int vlmp_widest_site(const vlmp_block_shape *shape)
{
    int widest = 0;
    for (int site = 0; site < VLMP_SITES; site++)
        if (vlmp_site_dim(shape, (vlmp_site)site) > widest)
            widest = vlmp_site_dim(shape, (vlmp_site)site);
    return widest;
}
