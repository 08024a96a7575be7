/* The end where pictures enter a sweep. */
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"
#include "src/model/ends.h"

static int count_tiles(const vlmp_sequence *sequences, int count)
{
    int tiles = 0;
    for (int i = 0; i < count; i++)
        tiles += sequences[i].tiles;
    return tiles;
}

/* Walks the tiles of all sequences in order. */
struct tile_cursor {
    const vlmp_sweep *sweep;
    const vlmp_sequence *sequences;
    int sequence;          /* the next one to open */
    int tile;              /* the next one of the open sequence */
    vlmp_sequence held;    /* of the open sequence, when it was fetched */
    const uint8_t *pixels; /* of the next tile; NULL before the first */
};

static int next_tile(struct tile_cursor *c, vlmp_patch_grid *grid, const uint8_t **out,
                     vlmp_error *err)
{
    const vlmp_config *config = &c->sweep->model->config;
    while (c->pixels == NULL || c->tile == c->sequences[c->sequence - 1].tiles) {
        const vlmp_sequence *open;
        vlmp_sequence_free(&c->held);
        if (c->sequences[c->sequence].tiles == 0) {
            c->pixels = NULL;
            c->sequence++;
            continue;
        }
        VLMP_TRY(
            vlmp_sweep_sequence(c->sweep, c->sequences, c->sequence++, true, &c->held, &open, err));
        c->pixels = open->pixels;
        c->tile = 0;
    }
    *grid = vlmp_sequence_grid(&c->sequences[c->sequence - 1], config, c->tile++);
    *out = c->pixels;
    c->pixels += vlmp_grid_bytes(&config->vision, *grid);
    return VLMP_OK;
}

/* The tiles of one batch, in order, to the context. */
static int add_tiles(struct tile_cursor *cursor, vlmp_tile_input *input, int tiles, vlmp_error *err)
{
    for (int t = 0; t < tiles; t++) {
        const uint8_t *pixels = NULL;
        vlmp_patch_grid grid = {0, 0};
        VLMP_TRY(next_tile(cursor, &grid, &pixels, err));
        vlmp_tile_input_add(input, grid, pixels);
    }
    return VLMP_OK;
}

static size_t largest_tile(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count)
{
    const vlmp_vision_config *vision = &sweep->model->config.vision;
    size_t largest = 0;
    for (int i = 0; i < count; i++)
        for (int p = 0; p < sequences[i].image_count; p++) {
            size_t bytes = vlmp_grid_bytes(vision, vlmp_tile_grid(vision, &sequences[i].plans[p]));
            if (bytes > largest) largest = bytes;
        }
    return largest;
}

static int embed_tiles(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                       const vlmp_batches *batches, const vlmp_vision_input *weights,
                       vlmp_activations *x, vlmp_error *err)
{
    vlmp_ctx *ctx = sweep->ctx;
    vlmp_tile_input input;
    vlmp_f32 rows = {NULL};
    vlmp_i32 found = {NULL};
    float levels[3 * 256];
    struct tile_cursor cursor = {.sweep = sweep, .sequences = sequences};
    vlmp_preprocess_levels(sweep->preprocess, levels);
    int status = vlmp_tile_input_create(&input, ctx, sweep->model, levels, batches->max_rows,
                                        largest_tile(sweep, sequences, count), err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &rows, (size_t)batches->max_rows,
                                (size_t)x->dim * sizeof(float), "a batch of picture tiles", err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &found, 1, sizeof(int32_t), "a batch", err);
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, batches->max_rows, weights->patch.k, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        status = add_tiles(&cursor, &input, batch->segment_count, err);
        if (status != VLMP_OK) break;
        vlmp_tile_input_embed(&input, weights, rows);
        status = vlmp_sweep_check(sweep, "vision.embed", true, batch, found, rows, x->dim, err);
        if (status == VLMP_OK)
            status =
                vlmp_activations_download(x, batch->first_row, (size_t)batch->rows, ctx, rows, err);
    }
    vlmp_sequence_free(&cursor.held);
    vlmp_tile_input_free(&input);
    vlmp_ctx_free_memory(ctx, rows.at);
    vlmp_ctx_free_memory(ctx, found.at);
    return status;
}

/* Where the patches of all tiles lie in their grids, as rows of the tower stand. */
static int place_patches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                         vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    size_t stride = batches->total_rows;
    int32_t *positions, *order = vlmp_alloc((size_t)batches->max_rows, sizeof *order);
    int status = order != NULL ? VLMP_OK : vlmp_fail_memory(err, "places of patches");
    if (status == VLMP_OK) status = vlmp_batches_place(batches, &positions, err);
    for (int i = 0; i < count && status == VLMP_OK; i++) {
        for (int t = 0; t < sequences[i].tiles; t++) {
            vlmp_patch_grid grid = vlmp_sequence_grid(&sequences[i], config, t);
            int patches = vlmp_grid_patches(grid);
            vlmp_grid_order(&config->vision, grid, order);
            for (int r = 0; r < patches; r++, positions++) {
                positions[0] = 0;
                positions[stride] = order[r] / grid.cols;
                positions[2 * stride] = order[r] % grid.cols;
            }
        }
    }
    free(order);
    return status;
}

static int cut_windows(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                       vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    int windows = 0, made = 0;
    for (int i = 0; i < count; i++)
        for (int t = 0; t < sequences[i].tiles; t++)
            windows += vlmp_grid_windows(&config->vision,
                                         vlmp_sequence_grid(&sequences[i], config, t), NULL);
    int *rows = vlmp_alloc((size_t)windows, sizeof *rows);
    if (rows == NULL) return vlmp_fail_memory(err, "windows of pictures");
    for (int i = 0; i < count; i++)
        for (int t = 0; t < sequences[i].tiles; t++)
            made += vlmp_grid_windows(&config->vision, vlmp_sequence_grid(&sequences[i], config, t),
                                      rows + made);
    int status = vlmp_batches_cut(batches, rows, windows, err);
    free(rows);
    return status;
}

int vlmp_sweep_vision_batches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                              vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    int tiles = count_tiles(sequences, count), made = 0;
    *batches = (vlmp_batches){0};
    if (tiles == 0) return VLMP_OK;
    int *lengths = vlmp_alloc((size_t)tiles, sizeof *lengths);
    if (lengths == NULL) return vlmp_fail_memory(err, "tile lengths");
    for (int i = 0; i < count; i++)
        for (int t = 0; t < sequences[i].tiles; t++)
            lengths[made++] =
                vlmp_grid_tower_rows(&config->vision, vlmp_sequence_grid(&sequences[i], config, t));
    int break_at = sweep->break_at > 0 ? count_tiles(sequences, sweep->break_at) : tiles;
    int status = vlmp_batches_create(batches, lengths, tiles, break_at, err);
    free(lengths);
    if (status == VLMP_OK && config->vision.rope_theta > 0)
        status = place_patches(sweep, sequences, count, batches, err);
    if (status == VLMP_OK && config->vision.window > 0)
        status = cut_windows(sweep, sequences, count, batches, err);
    return status;
}

int vlmp_sweep_vision_input(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                            vlmp_activations *x, vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    *x = (vlmp_activations){.fd = -1};
    int status = vlmp_sweep_vision_batches(sweep, sequences, count, batches, err);
    if (status != VLMP_OK || batches->count == 0) return status;
    status = vlmp_activations_create(x, batches->total_rows, model->config.vision.hidden,
                                     sweep->memory_limit, sweep->work_folder, err);
    vlmp_loaded loaded = {.ctx = sweep->ctx};
    vlmp_vision_input input;
    if (sweep->resident != NULL)
        input = sweep->resident->vision_input;
    else if (status == VLMP_OK)
        status = vlmp_load_vision_input(&loaded, model, &input, err);
    if (status == VLMP_OK) status = embed_tiles(sweep, sequences, count, batches, &input, x, err);
    vlmp_unload(&loaded);
    return status;
}
