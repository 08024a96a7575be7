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
    free(input->grids);
    free(input->row);
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
                               .places = vlmp_alloc(rows, sizeof *input->places),
                               .grids = vlmp_alloc(rows, sizeof *input->grids),
                               .row = vlmp_alloc((size_t)vision->hidden, sizeof *input->row)};
    if (input->grids == NULL || input->row == NULL || input->order == NULL ||
        input->sources == NULL || input->places == NULL)
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
    input->grids[input->tiles++] = grid;
}

/* Entry i of `size` along an axis, between two of a table of `side`, both ends on its ends: F32 as
 * in the reference. Returns the first and how much of the next. */
static int stretch(int i, int size, int side, float *next)
{
    float at = (float)i * (float)(side - 1) / (float)(size > 1 ? size - 1 : 1);
    int first = (int)at;
    *next = at - (float)first;
    return first;
}

/* out[hidden]: of a patch of the grid, between four rows of the table [side²][hidden]. */
static void stretch_row(const vlmp_vision_config *vision, const float *table, vlmp_patch_grid grid,
                        int patch, float *out)
{
    size_t hidden = (size_t)vision->hidden;
    int side = vision->table_side;
    float down, across;
    int row = stretch(patch / grid.cols, grid.rows, side, &down);
    int col = stretch(patch % grid.cols, grid.cols, side, &across);
    int below = row + 1 < side ? row + 1 : row, right = col + 1 < side ? col + 1 : col;
    const float *corners[] = {table + (size_t)(row * side + col) * hidden,
                              table + (size_t)(row * side + right) * hidden,
                              table + (size_t)(below * side + col) * hidden,
                              table + (size_t)(below * side + right) * hidden};
    const float parts[] = {(1 - down) * (1 - across), (1 - down) * across, down * (1 - across),
                           down * across};
    for (size_t j = 0; j < hidden; j++) {
        double sum = 0;
        for (int c = 0; c < 4; c++)
            sum += (double)parts[c] * (double)corners[c][j];
        out[j] = (float)sum;
    }
}

/* The positions of all tiles added, as their rows stand. */
static void write_stretched(vlmp_tile_input *input, const float *table, vlmp_f32 x)
{
    const vlmp_vision_config *vision = &input->model->config.vision;
    size_t hidden = (size_t)vision->hidden, row = 0;
    for (int t = 0; t < input->tiles; t++) {
        int count = vlmp_grid_patches(input->grids[t]);
        vlmp_grid_order(vision, input->grids[t], input->order);
        for (int i = 0; i < count; i++, row++) {
            stretch_row(vision, table, input->grids[t], input->order[i], input->row);
            vlmp_ctx_write(input->ctx, x.at + row * hidden, input->row, hidden * sizeof(float));
        }
    }
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
    if (vision->positions == VLMP_POSITIONS_STRETCHED)
        write_stretched(input, weights->rows.values, x);
    else if (table)
        ops->repeat(ctx, x, weights->rows.own, input->rows,
                    (int)(weights->rows.count / (size_t)vision->hidden), vision->hidden);
    ops->scatter(ctx, x, input->to, input->projected, input->from, (vlmp_f32){NULL}, input->count,
                 vision->hidden, table);
    if (vision->has_pre_norm)
        ops->layer_norm_f32(ctx, x, input->rows, vision->hidden, weights->pre_norm.own,
                            weights->pre_norm_bias.own, vision->norm_eps);
    input->count = input->rows = input->tiles = 0;
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
