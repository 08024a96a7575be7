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
    *input = (vlmp_tile_input){0};
}

/* Row i of a batch's patches belongs behind its tile's class row, where there is one. */
static int place_patches(vlmp_tile_input *input, int tiles, vlmp_error *err)
{
    const vlmp_model *model = input->model;
    size_t rows = (size_t)tiles * (size_t)model->patches, bytes = rows * sizeof(int32_t);
    int32_t *from = vlmp_alloc(rows, sizeof *from), *to = vlmp_alloc(rows, sizeof *to);
    int status = from != NULL && to != NULL ? VLMP_OK : vlmp_fail_memory(err, "patches");
    for (size_t i = 0; i < rows && status == VLMP_OK; i++) {
        int tile = (int)i / model->patches, patch = (int)i % model->patches;
        from[i] = (int32_t)i;
        to[i] = tile * model->tile_rows + (model->tile_rows - model->patches) + patch;
    }
    if (status == VLMP_OK) {
        vlmp_ctx_write(input->ctx, input->from.at, from, bytes);
        vlmp_ctx_write(input->ctx, input->to.at, to, bytes);
    }
    free(from);
    free(to);
    return status;
}

int vlmp_tile_input_create(vlmp_tile_input *input, vlmp_ctx *ctx, const vlmp_model *model,
                           const float *levels, int tiles, vlmp_error *err)
{
    static const char what[] = "a batch of picture tiles";
    const vlmp_vision_config *vision = &model->config.vision;
    size_t n = (size_t)tiles, act = ctx->ops->act_bytes;
    size_t pixels = 3 * (size_t)vision->image_size * (size_t)vision->image_size;
    size_t rows = n * (size_t)model->patches;
    *input = (vlmp_tile_input){.ctx = ctx, .model = model};
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->levels, (size_t)3 * 256, sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->pixels, n * pixels, 1, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->patches, n * pixels, act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->projected, rows * (size_t)vision->hidden, act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->from, rows, sizeof(int32_t), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &input->to, rows, sizeof(int32_t), what, err));
    vlmp_ctx_write(ctx, input->levels.at, levels, sizeof(float) * 3 * 256);
    return place_patches(input, tiles, err);
}

void vlmp_tile_input_set(vlmp_tile_input *input, int tile, const uint8_t *pixels)
{
    size_t side = (size_t)input->model->config.vision.image_size, bytes = 3 * side * side;
    vlmp_ctx_write(input->ctx, input->pixels.at + (size_t)tile * bytes, pixels, bytes);
}

void vlmp_tile_input_embed(vlmp_tile_input *input, const vlmp_vision_input *weights, int tiles,
                           vlmp_f32 x)
{
    const vlmp_model *model = input->model;
    const vlmp_vision_config *vision = &model->config.vision;
    const vlmp_ops *ops = input->ctx->ops;
    vlmp_ctx *ctx = input->ctx;
    int patches = tiles * model->patches, rows = tiles * model->tile_rows;
    ops->patchify(ctx, input->patches, input->pixels, tiles, vision->image_size, vision->patch_size,
                  input->levels);
    ops->linear(ctx, input->projected, input->patches, (vlmp_rows){patches, false},
                &weights->patch);
    ops->repeat(ctx, x, weights->rows.own, rows, model->tile_rows, vision->hidden);
    ops->scatter(ctx, x, input->to, input->projected, input->from, patches, vision->hidden, true);
    if (vision->has_pre_norm)
        ops->layer_norm_f32(ctx, x, rows, vision->hidden, weights->pre_norm.own,
                            weights->pre_norm_bias.own, vision->norm_eps);
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
