#include "src/model/block.h"

#include <stdlib.h>

#include "src/base/memory.h"

int vlmp_block_work_create(vlmp_block_work *work, const vlmp_block_shape *shape, int rows,
                           vlmp_error *err)
{
    *work = (vlmp_block_work){.rows = rows};
    size_t q = (size_t)shape->heads * (size_t)shape->head_dim;
    size_t kv = (size_t)shape->kv_heads * (size_t)shape->head_dim;
    size_t m = (size_t)shape->intermediate;
    size_t width = (size_t)shape->dim + 2 * q + 2 * kv + m + (shape->gated ? m : 0) + 1;
    work->memory = vlmp_alloc((size_t)rows, width * sizeof(float));
    if (work->memory == NULL) return vlmp_fail_memory(err, "block activations");
    float *next = work->memory;
    size_t count = (size_t)rows;
    work->h = next, next += count * (size_t)shape->dim;
    work->q = next, next += count * q;
    work->a = next, next += count * q;
    work->k = next, next += count * kv;
    work->v = next, next += count * kv;
    work->m = next, next += count * m;
    if (shape->gated) work->up = next, next += count * m;
    work->positions = (int32_t *)next;
    return VLMP_OK;
}

void vlmp_block_work_free(vlmp_block_work *work)
{
    free(work->memory);
    *work = (vlmp_block_work){0};
}

static void norm(const vlmp_block_run *run, float *y, const float *x, const float *weight,
                 const float *bias)
{
    const vlmp_block_shape *shape = run->shape;
    if (shape->norm == VLMP_NORM_RMS)
        run->ctx->ops->rms_norm(run->ctx, y, x, run->rows, shape->dim, weight, shape->norm_eps);
    else
        run->ctx->ops->layer_norm(run->ctx, y, x, run->rows, shape->dim, weight, bias,
                                  shape->norm_eps);
}

static void linears(const vlmp_block_run *run, float *const *y, const float *x,
                    const vlmp_linear *const *w, int count)
{
    const vlmp_ops *ops = run->ctx->ops;
    if (ops->linear_shared != NULL) {
        ops->linear_shared(run->ctx, y, x, run->rows, w, count);
        return;
    }
    for (int i = 0; i < count; i++)
        ops->linear(run->ctx, y[i], x, run->rows, w[i]);
}

void vlmp_block_attn_in(const vlmp_block_run *run, const vlmp_block *block, const float *x,
                        float *h)
{
    norm(run, h, x, block->norm1, block->norm1_bias);
}

static void rotate(const vlmp_block_run *run, float *q, float *k)
{
    const vlmp_block_shape *shape = run->shape;
    for (int s = 0; s < run->segment_count; s++)
        for (int r = 0; r < run->segments[s].rows; r++)
            run->work->positions[run->segments[s].first_row + r] = run->segments[s].position + r;
    const vlmp_ops *ops = run->ctx->ops;
    ops->rope(run->ctx, q, run->rows, shape->heads, shape->head_dim, run->work->positions,
              shape->inv_freq, 1.0f);
    ops->rope(run->ctx, k, run->rows, shape->kv_heads, shape->head_dim, run->work->positions,
              shape->inv_freq, 1.0f);
}

void vlmp_block_attn_out(const vlmp_block_run *run, const vlmp_block *block, const float *h,
                         float *a)
{
    const vlmp_block_shape *shape = run->shape;
    vlmp_block_work *work = run->work;
    float *outputs[] = {work->q, work->k, work->v};
    const vlmp_linear *weights[] = {&block->q, &block->k, &block->v};
    linears(run, outputs, h, weights, 3);
    if (shape->inv_freq != NULL) rotate(run, work->q, work->k);
    const vlmp_ops *ops = run->ctx->ops;
    ops->kv_write(run->ctx, &run->kv, work->k, work->v, run->segments, run->segment_count);
    vlmp_attention attention = {
        .heads = shape->heads,
        .scale = 1.0f / __builtin_sqrtf((float)shape->head_dim),
        .causal = shape->causal,
        .window = block->window,
    };
    ops->attention(run->ctx, a, work->q, &run->kv, &attention, run->segments, run->segment_count);
}

void vlmp_block_add_attention(const vlmp_block_run *run, const vlmp_block *block, const float *a,
                              float *x)
{
    const vlmp_ops *ops = run->ctx->ops;
    ops->linear(run->ctx, run->work->h, a, run->rows, &block->o);
    ops->add(run->ctx, x, run->work->h, (size_t)run->rows * (size_t)run->shape->dim);
}

void vlmp_block_mlp_in(const vlmp_block_run *run, const vlmp_block *block, const float *x, float *h)
{
    norm(run, h, x, block->norm2, block->norm2_bias);
}

void vlmp_block_mlp_out(const vlmp_block_run *run, const vlmp_block *block, const float *h,
                        float *m)
{
    const vlmp_block_shape *shape = run->shape;
    const vlmp_ops *ops = run->ctx->ops;
    size_t count = (size_t)run->rows * (size_t)shape->intermediate;
    if (!shape->gated) {
        ops->linear(run->ctx, m, h, run->rows, &block->up);
        ops->activate(run->ctx, m, count, shape->act);
        return;
    }
    float *outputs[] = {m, run->work->up};
    const vlmp_linear *weights[] = {&block->gate, &block->up};
    linears(run, outputs, h, weights, 2);
    ops->gated(run->ctx, m, run->work->up, count, shape->act);
}

void vlmp_block_add_mlp(const vlmp_block_run *run, const vlmp_block *block, const float *m,
                        float *x)
{
    const vlmp_ops *ops = run->ctx->ops;
    ops->linear(run->ctx, run->work->h, m, run->rows, &block->down);
    ops->add(run->ctx, x, run->work->h, (size_t)run->rows * (size_t)run->shape->dim);
}

void vlmp_block_forward(const vlmp_block_run *run, const vlmp_block *block, float *x,
                        vlmp_tap_fn *tap, void *arg)
{
    const vlmp_block_shape *shape = run->shape;
    vlmp_block_work *work = run->work;
    int heads_dim = shape->heads * shape->head_dim;
    vlmp_block_attn_in(run, block, x, work->h);
    if (tap != NULL) tap(arg, VLMP_SITE_ATTN_IN, work->h, run->rows, shape->dim);
    vlmp_block_attn_out(run, block, work->h, work->a);
    if (tap != NULL) tap(arg, VLMP_SITE_ATTN_OUT, work->a, run->rows, heads_dim);
    vlmp_block_add_attention(run, block, work->a, x);
    vlmp_block_mlp_in(run, block, x, work->h);
    if (tap != NULL) tap(arg, VLMP_SITE_MLP_IN, work->h, run->rows, shape->dim);
    vlmp_block_mlp_out(run, block, work->h, work->m);
    if (tap != NULL) tap(arg, VLMP_SITE_MLP_OUT, work->m, run->rows, shape->intermediate);
    vlmp_block_add_mlp(run, block, work->m, x);
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
