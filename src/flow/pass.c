#include "src/flow/pass.h"

#include <string.h>

int vlmp_pass_create(vlmp_pass *pass, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                     const vlmp_batches *batches, vlmp_error *err)
{
    *pass = (vlmp_pass){.ctx = ctx, .shape = shape};
    const vlmp_step_size size = {batches->max_rows, batches->max_segments, batches->max_pages};
    const vlmp_kv_shape kv = {.layers = 1,
                              .pages = batches->max_pages,
                              .page_rows = VLMP_PAGE_ROWS,
                              .kv_heads = shape->kv_heads,
                              .head_dim = shape->head_dim};
    size_t row = (size_t)shape->dim * sizeof(float);
    VLMP_TRY(vlmp_ctx_reserve(ctx, batches->max_rows, vlmp_widest_site(shape), err));
    VLMP_TRY(vlmp_block_work_create(&pass->work, ctx, shape, batches->max_rows, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &pass->x, (size_t)batches->max_rows, row, "a batch of activations",
                            err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &pass->found, 1, sizeof(int32_t), "a batch", err));
    VLMP_TRY(ctx->ops->step_create(ctx, &pass->step, &size, err));
    return ctx->ops->kv_create(ctx, &pass->kv, &kv, err);
}

void vlmp_pass_free(vlmp_pass *pass)
{
    vlmp_ctx *ctx = pass->ctx;
    if (ctx == NULL) return;
    vlmp_block_work_free(&pass->work);
    vlmp_ctx_free_memory(ctx, pass->x.at);
    vlmp_ctx_free_memory(ctx, pass->found.at);
    ctx->ops->step_free(ctx, pass->step);
    ctx->ops->kv_free(ctx, pass->kv);
    *pass = (vlmp_pass){0};
}

vlmp_block_run vlmp_pass_set(vlmp_pass *pass, const vlmp_batch *batch, bool windowed)
{
    vlmp_step_rows rows = {.rows = batch->rows,
                           .segment_count = windowed ? batch->window_count : batch->segment_count,
                           .segments = windowed ? batch->windows : batch->segments};
    memcpy(rows.positions, batch->positions, sizeof rows.positions);
    pass->ctx->ops->step_set(pass->ctx, pass->step, &rows);
    return (vlmp_block_run){.ctx = pass->ctx,
                            .shape = pass->shape,
                            .work = &pass->work,
                            .step = pass->step,
                            .rows = {batch->rows, false},
                            .kv = pass->kv};
}

static int read_found(vlmp_ctx *ctx, vlmp_i32 found, size_t *at, vlmp_error *err)
{
    int32_t number = 0;
    VLMP_TRY(vlmp_ctx_read(ctx, &number, found.at, sizeof number, err));
    *at = (size_t)number;
    return VLMP_OK;
}

int vlmp_first_bad(vlmp_ctx *ctx, vlmp_i32 found, vlmp_f32 x, size_t count, size_t *at,
                   float *value, vlmp_error *err)
{
    ctx->ops->first_not_finite_f32(ctx, found, x, count);
    VLMP_TRY(read_found(ctx, found, at, err));
    if (*at == count) return VLMP_OK;
    return vlmp_ctx_read(ctx, value, x.at + *at, sizeof *value, err);
}

int vlmp_first_bad_act(vlmp_ctx *ctx, vlmp_i32 found, vlmp_act x, size_t count, size_t *at,
                       float *value, vlmp_error *err)
{
    ctx->ops->first_not_finite(ctx, found, x, count);
    VLMP_TRY(read_found(ctx, found, at, err));
    if (*at == count) return VLMP_OK;
    return ctx->ops->read_act(ctx, value, vlmp_act_at(ctx, x, *at), 1, err);
}
