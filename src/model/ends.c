#include "src/model/ends.h"

#include <stdlib.h>

#include "src/base/memory.h"

void vlmp_tile_input_free(vlmp_tile_input *input)
{
    if (input->ctx == NULL) return;
    void *const all[] = {input->levels.at,    input->pixels.at, input->patches.at,
                         input->projected.at, input->from.at,   input->to.at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vlmp_ctx_free_memory(input->ctx, all[i]);
    free(input->order);
    free(input->sources);
    free(input->places);
    *input = (vlmp_tile_input){0};
}

int vlmp_tile_input_create(vlmp_tile_input *input, vlmp_ctx *ctx, const vlmp_model *model,
                           const float *levels, int patches, size_t bytes, vlmp_error *err)
{
    static const char what[] = "a batch of picture tiles";
    const vlmp_vision_config *vision = &model->config.vision;
    size_t rows = (size_t)patches, act = ctx->ops->act_bytes;
    size_t values = 3 * (size_t)vision->patch_size * (size_t)vision->patch_size;
    *input = (vlmp_tile_input){.ctx = ctx,
                               .model = model,
                               .order = vlmp_alloc(rows, sizeof *input->order),
                               .sources = vlmp_alloc(rows, sizeof *input->sources),
                               .places = vlmp_alloc(rows, sizeof *input->places)};
    if (input->order == NULL || input->sources == NULL || input->places == NULL)
        return vlmp_fail_memory(err, what);
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->levels, (size_t)3 * 256, sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->pixels, bytes, 1, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->patches, rows, values * act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->projected, rows, (size_t)vision->hidden * act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->from, rows, sizeof(int32_t), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->to, rows, sizeof(int32_t), what, err));
    vlmp_ctx_write(ctx, input->levels.at, levels, sizeof(float) * 3 * 256);
    return VLMP_OK;
}

void vlmp_tile_input_add(vlmp_tile_input *input, vlmp_patch_grid grid, const uint8_t *pixels)
{
    vlmp_ctx *ctx = input->ctx;
    const vlmp_vision_config *vision = &input->model->config.vision;
    int count = vlmp_grid_patches(grid), rows = vlmp_grid_tower_rows(vision, grid), height, width;
    size_t values = 3 * (size_t)vision->patch_size * (size_t)vision->patch_size;
    vlmp_grid_pixels(vision, grid, &height, &width);
    vlmp_ctx_write(ctx, input->pixels.at, pixels, vlmp_grid_bytes(vision, grid));
    ctx->ops->patchify(ctx, vlmp_act_at(ctx, input->patches, (size_t)input->count * values),
                       input->pixels, height, width, vision->patch_size, input->levels);
    vlmp_grid_order(vision, grid, input->order);
    for (int i = 0; i < count; i++) {
        input->sources[input->count + i] = input->count + input->order[i];
        input->places[input->count + i] = input->rows + rows - count + i;
    }
    input->count += count;
    input->rows += rows;
}

void vlmp_tile_input_embed(vlmp_tile_input *input, const vlmp_vision_input *weights, vlmp_f32 x)
{
    const vlmp_vision_config *vision = &input->model->config.vision;
    const vlmp_ops *ops = input->ctx->ops;
    vlmp_ctx *ctx = input->ctx;
    size_t bytes = (size_t)input->count * sizeof(int32_t);
    vlmp_ctx_write(ctx, input->from.at, input->sources, bytes);
    vlmp_ctx_write(ctx, input->to.at, input->places, bytes);
    ops->linear(ctx, input->projected, input->patches, (vlmp_rows){input->count, false},
                &weights->patch);
    bool table = vision->positions != VLMP_POSITIONS_NONE;
    if (table)
        ops->repeat(ctx, x, weights->rows.own, input->rows,
                    (int)(weights->rows.count / (size_t)vision->hidden), vision->hidden);
    ops->scatter(ctx, x, input->to, input->projected, input->from, input->count, vision->hidden,
                 table);
    if (vision->has_pre_norm)
        ops->layer_norm_f32(ctx, x, input->rows, vision->hidden, weights->pre_norm.own,
                            weights->pre_norm_bias.own, vision->norm_eps);
    input->count = input->rows = 0;
}

void vlmp_project(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_projector *projector,
                  vlmp_act features, int rows, vlmp_act hidden, vlmp_act out)
{
    const vlmp_rows all = {rows, false};
    if (model->config.projector.linears == 1) {
        ctx->ops->linear(ctx, out, features, all, &projector->first);
        return;
    }
    ctx->ops->linear(ctx, hidden, features, all, &projector->first);
    ctx->ops->activate(ctx, hidden, (size_t)rows * (size_t)projector->first.n,
                       model->config.projector.act);
    ctx->ops->linear(ctx, out, hidden, all, &projector->second);
}
