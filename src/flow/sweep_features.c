/* From the tower's outputs to the rows that the projector sees. */
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"

int vlmp_sweep_create_features(const vlmp_sweep *sweep, const vlmp_batches *batches,
                               vlmp_activations *features, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    size_t tiles = batches->total_rows / (size_t)model->tile_rows;
    return vlmp_activations_create(features, tiles * (size_t)model->tile_tokens,
                                   vlmp_feature_width(&model->config), sweep->memory_limit,
                                   sweep->work_folder, err);
}

/* A square of features, side `square`, that one row of the projector's input holds. */
static int square_size(const vlmp_model *model)
{
    return model->config.projector.shuffle * model->config.projector.shuffle;
}

/* The tower's row that is part `part` (row by row) of the square that the projector sees as row
 * `token` of a tile. Where squares are single features: all but the class row, unless the strategy
 * is "full". */
static int32_t feature_row(const vlmp_model *model, int part, int token)
{
    int shuffle = model->config.projector.shuffle;
    int skip = model->tile_rows - model->tile_tokens * square_size(model);
    if (shuffle == 1) return skip + token;
    int side = model->config.vision.image_size / model->config.vision.patch_size;
    int squares = side / shuffle;
    int row = token / squares * shuffle + part / shuffle;
    int column = token % squares * shuffle + part % shuffle;
    return skip + row * side + column;
}

/* Rows [parts][tiles·tile_tokens] that the projector sees. */
static int list_features(const vlmp_model *model, vlmp_ctx *ctx, vlmp_i32 to, int tiles,
                         vlmp_error *err)
{
    int parts = square_size(model), tokens = model->tile_tokens;
    size_t count = (size_t)tiles * (size_t)tokens * (size_t)parts;
    int32_t *rows = vlmp_alloc(count, sizeof *rows), *next = rows;
    if (rows == NULL) return vlmp_fail_memory(err, "picture features");
    for (int part = 0; part < parts; part++)
        for (int tile = 0; tile < tiles; tile++)
            for (int token = 0; token < tokens; token++)
                *next++ = tile * model->tile_rows + feature_row(model, part, token);
    vlmp_ctx_write(ctx, to.at, rows, count * sizeof *rows);
    free(rows);
    return VLMP_OK;
}

/* What taking features works with: tower rows of a batch, the projector's rows, and which. */
struct taken {
    vlmp_f32 x;
    vlmp_act features;
    vlmp_i32 rows; /* [parts][tokens] */
    size_t tokens; /* of the largest batch */
    vlmp_loaded loaded;
    vlmp_vision_output norm;
};

static void free_taken(vlmp_ctx *ctx, struct taken *taken)
{
    vlmp_ctx_free_memory(ctx, taken->x.at);
    vlmp_ctx_free_memory(ctx, taken->features.at);
    vlmp_ctx_free_memory(ctx, taken->rows.at);
    vlmp_unload(&taken->loaded);
}

static int create_taken(const vlmp_sweep *sweep, struct taken *taken, const vlmp_batches *batches,
                        int dim, int feature_dim, vlmp_error *err)
{
    static const char what[] = "picture features";
    const vlmp_model *model = sweep->model;
    vlmp_ctx *ctx = sweep->ctx;
    int tiles = batches->max_rows / model->tile_rows;
    size_t rows = (size_t)batches->max_rows, parts = (size_t)square_size(model);
    *taken = (struct taken){.tokens = (size_t)tiles * (size_t)model->tile_tokens,
                            .loaded = {.ctx = ctx}};
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->x, rows, (size_t)dim * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->features, taken->tokens,
                            (size_t)feature_dim * ctx->ops->act_bytes, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->rows, taken->tokens, parts * sizeof(int32_t), what, err));
    VLMP_TRY(list_features(model, ctx, taken->rows, tiles, err));
    if (sweep->resident == NULL)
        return vlmp_load_vision_output(&taken->loaded, model, &taken->norm, err);
    taken->norm = sweep->resident->vision_output;
    return VLMP_OK;
}

static int take_slot(const vlmp_sweep *sweep, const struct taken *taken, vlmp_activations *x,
                     const vlmp_batches *batches, int slot, vlmp_activations *features,
                     vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    vlmp_ctx *ctx = sweep->ctx;
    int parts = square_size(model);
    for (int i = 0; i < batches->count; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        size_t first = batch->first_row / (size_t)model->tile_rows * (size_t)model->tile_tokens;
        size_t count = (size_t)batch->segment_count * (size_t)model->tile_tokens;
        VLMP_TRY(
            vlmp_activations_upload(x, batch->first_row, (size_t)batch->rows, ctx, taken->x, err));
        /* Other slots of the same rows are kept. */
        if (model->config.vision.feature_count > 1)
            VLMP_TRY(
                vlmp_activations_upload_act(features, first, count, ctx, taken->features, err));
        if (model->config.vision.has_post_norm)
            ctx->ops->layer_norm_f32(ctx, taken->x, batch->rows, x->dim, taken->norm.weight.own,
                                     taken->norm.bias.own, model->config.vision.norm_eps);
        for (int part = 0; part < parts; part++)
            ctx->ops->gather(ctx, taken->features, features->dim, (slot * parts + part) * x->dim,
                             taken->x, x->dim,
                             (vlmp_i32){taken->rows.at + (size_t)part * taken->tokens}, (int)count);
        VLMP_TRY(vlmp_activations_download_act(features, first, count, ctx, taken->features, err));
    }
    return VLMP_OK;
}

int vlmp_sweep_take_features(const vlmp_sweep *sweep, vlmp_activations *x,
                             const vlmp_batches *batches, int done, vlmp_activations *features,
                             vlmp_error *err)
{
    const vlmp_vision_config *vision = &sweep->model->config.vision;
    struct taken taken;
    bool any = false;
    for (int slot = 0; slot < vision->feature_count; slot++)
        any = any || vision->feature_layers[slot] == done;
    if (!any) return VLMP_OK;
    int status = create_taken(sweep, &taken, batches, x->dim, features->dim, err);
    for (int slot = 0; slot < vision->feature_count && status == VLMP_OK; slot++)
        if (vision->feature_layers[slot] == done)
            status = take_slot(sweep, &taken, x, batches, slot, features, err);
    free_taken(sweep->ctx, &taken);
    return status;
}
