/* From the tower's outputs to the rows that the projector sees. */
#include <assert.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"

/* A square of features, side `shuffle`, that one row of the projector's input holds. */
static int square_size(const vlmp_config *config)
{
    return config->projector.shuffle * config->projector.shuffle;
}

/* Rows of a tile in front of those that the projector sees. */
static int skipped(const vlmp_config *config)
{
    return config->vision.drop_first ? 1 : 0;
}

/* Rows of the features that so many rows of so many tiles give. */
static size_t rows_of(const vlmp_config *config, size_t tower_rows, int tiles)
{
    size_t seen = tower_rows - (size_t)tiles * (size_t)skipped(config);
    return seen / (size_t)square_size(config);
}

int vlmp_sweep_create_features(const vlmp_sweep *sweep, const vlmp_batches *batches,
                               vlmp_activations *features, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    int tiles = 0;
    for (int i = 0; i < batches->count; i++)
        tiles += batches->batches[i].segment_count;
    size_t rows = rows_of(config, batches->total_rows, tiles);
    return vlmp_activations_create(features, (size_t)(1 + config->vision.tap_count) * rows,
                                   vlmp_feature_width(config), sweep->memory_limit,
                                   sweep->work_folder, err);
}

/* The tower's row of a tile that is part `part` (row by row) of the square that the projector sees
 * as row `token`. Rows stand square by square, or row by row of the tile. */
static int32_t feature_row(const vlmp_config *config, int part, int token)
{
    int shuffle = config->projector.shuffle;
    if (shuffle == config->vision.merge)
        return skipped(config) + token * square_size(config) + part;
    int side = config->vision.image_size / config->vision.patch_size;
    int squares = side / shuffle;
    int row = token / squares * shuffle + part / shuffle;
    int column = token % squares * shuffle + part % shuffle;
    return skipped(config) + row * side + column;
}

/* What taking features works with: tower rows of a batch, the projector's rows, and which. */
struct taken {
    vlmp_f32 x;
    vlmp_act features;
    vlmp_i32 rows;   /* [parts][tokens] */
    int32_t *listed; /* of the host */
    size_t tokens;   /* of the largest batch */
    vlmp_loaded loaded;
    vlmp_vision_output norm;
};

/* Rows [parts][tokens] that the projector sees of a batch. */
static void list_features(const vlmp_config *config, vlmp_ctx *ctx, const struct taken *taken,
                          const vlmp_batch *batch)
{
    size_t parts = (size_t)square_size(config), token = 0;
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_segment *tile = &batch->segments[s];
        int tokens = (int)rows_of(config, (size_t)tile->rows, 1);
        for (int t = 0; t < tokens; t++, token++)
            for (size_t part = 0; part < parts; part++)
                taken->listed[part * taken->tokens + token] =
                    tile->first_row + feature_row(config, (int)part, t);
    }
    vlmp_ctx_write(ctx, taken->rows.at, taken->listed,
                   parts * taken->tokens * sizeof *taken->listed);
}

static void free_taken(vlmp_ctx *ctx, struct taken *taken)
{
    vlmp_ctx_free_memory(ctx, taken->x.at);
    vlmp_ctx_free_memory(ctx, taken->features.at);
    vlmp_ctx_free_memory(ctx, taken->rows.at);
    free(taken->listed);
    vlmp_unload(&taken->loaded);
}

static int create_taken(const vlmp_sweep *sweep, struct taken *taken, const vlmp_batches *batches,
                        int dim, int feature_dim, vlmp_error *err)
{
    static const char what[] = "picture features";
    const vlmp_config *config = &sweep->model->config;
    vlmp_ctx *ctx = sweep->ctx;
    size_t rows = (size_t)batches->max_rows, parts = (size_t)square_size(config);
    *taken = (struct taken){.tokens = rows / parts, .loaded = {.ctx = ctx}};
    taken->listed = vlmp_calloc(taken->tokens * parts, sizeof *taken->listed);
    if (taken->listed == NULL) return vlmp_fail_memory(err, what);
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->x, rows, (size_t)dim * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->features, taken->tokens,
                            (size_t)feature_dim * ctx->ops->act_bytes, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &taken->rows, taken->tokens, parts * sizeof(int32_t), what, err));
    if (sweep->resident == NULL)
        return vlmp_load_vision_output(&taken->loaded, sweep->model, &taken->norm, err);
    taken->norm = sweep->resident->vision_output;
    return VLMP_OK;
}

/* The squares of a batch, into their slot of columns. */
static void gather_parts(const vlmp_sweep *sweep, const struct taken *taken,
                         const vlmp_batch *batch, int slot, int dim, int feature_dim)
{
    const vlmp_config *config = &sweep->model->config;
    vlmp_ctx *ctx = sweep->ctx;
    int parts = square_size(config);
    int count = (int)rows_of(config, (size_t)batch->rows, batch->segment_count);
    list_features(config, ctx, taken, batch);
    if (config->vision.has_post_norm)
        ctx->ops->layer_norm_f32(ctx, taken->x, batch->rows, dim, taken->norm.weight.own,
                                 taken->norm.bias.own, config->vision.norm_eps);
    for (int part = 0; part < parts; part++)
        ctx->ops->gather(ctx, taken->features, feature_dim, (slot * parts + part) * dim, taken->x,
                         dim, (vlmp_i32){taken->rows.at + (size_t)part * taken->tokens}, count);
}

/* A batch's rows as the projector reads them. RMSNorm, which has no form in place, is for towers
 * whose features are all their rows as they stand. */
static void take_rows(const vlmp_sweep *sweep, const struct taken *taken, const vlmp_batch *batch,
                      int slot, int dim, int feature_dim)
{
    const vlmp_config *config = &sweep->model->config;
    if (!config->vision.has_post_norm || config->vision.norm == VLMP_NORM_LAYER) {
        gather_parts(sweep, taken, batch, slot, dim, feature_dim);
        return;
    }
    assert(config->projector.shuffle == config->vision.merge && skipped(config) == 0 &&
           config->vision.feature_count == 1);
    sweep->ctx->ops->rms_norm(sweep->ctx, taken->features, taken->x, batch->rows, dim,
                              taken->norm.weight.own, config->vision.norm_eps);
}

/* Rows of a tap, normed side by side as they are merged: towers that have taps give all their rows
 * as they stand. */
static void take_tap(const vlmp_sweep *sweep, const struct taken *taken, int tap, int count,
                     int feature_dim)
{
    const vlmp_config *config = &sweep->model->config;
    assert(config->projector.shuffle == config->vision.merge && skipped(config) == 0);
    sweep->ctx->ops->layer_norm(sweep->ctx, taken->features, taken->x, count, feature_dim,
                                taken->norm.tap_weight[tap].own, taken->norm.tap_bias[tap].own,
                                config->vision.norm_eps);
}

/* What a slot of the projector's columns, or, below 0, tap −1 − slot sees of all batches. */
static int take(const vlmp_sweep *sweep, const struct taken *taken, vlmp_activations *x,
                const vlmp_batches *batches, int slot, vlmp_activations *features, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    vlmp_ctx *ctx = sweep->ctx;
    /* Taps' rows follow those of the slots, which are as many. */
    size_t every = features->rows / (size_t)(1 + config->vision.tap_count);
    size_t start = slot < 0 ? (size_t)-slot * every : 0;
    for (int i = 0; i < batches->count; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        size_t first = start + rows_of(config, batch->first_row, batch->first);
        size_t count = rows_of(config, (size_t)batch->rows, batch->segment_count);
        VLMP_TRY(
            vlmp_activations_upload(x, batch->first_row, (size_t)batch->rows, ctx, taken->x, err));
        /* Other slots of the same rows are kept. */
        if (slot >= 0 && config->vision.feature_count > 1)
            VLMP_TRY(
                vlmp_activations_upload_act(features, first, count, ctx, taken->features, err));
        if (slot >= 0)
            take_rows(sweep, taken, batch, slot, x->dim, features->dim);
        else
            take_tap(sweep, taken, -1 - slot, (int)count, features->dim);
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
    for (int tap = 0; tap < vision->tap_count; tap++)
        any = any || vision->taps[tap] == done;
    if (!any) return VLMP_OK;
    int status = create_taken(sweep, &taken, batches, x->dim, features->dim, err);
    for (int slot = 0; slot < vision->feature_count && status == VLMP_OK; slot++)
        if (vision->feature_layers[slot] == done)
            status = take(sweep, &taken, x, batches, slot, features, err);
    for (int tap = 0; tap < vision->tap_count && status == VLMP_OK; tap++)
        if (vision->taps[tap] == done)
            status = take(sweep, &taken, x, batches, -1 - tap, features, err);
    free_taken(sweep->ctx, &taken);
    return status;
}
