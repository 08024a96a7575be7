/* The two ends where pictures and tokens enter a sweep. */
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"

static int count_tiles(const vlmp_sequence *sequences, int count)
{
    int tiles = 0;
    for (int i = 0; i < count; i++)
        tiles += sequences[i].tiles;
    return tiles;
}

/* Buffers for one batch of tiles on their way into the tower. */
struct tile_buffers {
    float *pixels, *patches, *projected, *x;
};

static void free_tile_buffers(struct tile_buffers *b)
{
    free(b->pixels);
    free(b->patches);
    free(b->projected);
    free(b->x);
}

static int create_tile_buffers(struct tile_buffers *b, const vlmp_model *model, int tiles,
                               vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    size_t n = (size_t)tiles, hidden = (size_t)vision->hidden;
    size_t pixels = 3 * (size_t)vision->image_size * (size_t)vision->image_size;
    *b = (struct tile_buffers){
        .pixels = vlmp_alloc(n * pixels, sizeof(float)),
        .patches = vlmp_alloc(n * pixels, sizeof(float)),
        .projected = vlmp_alloc(n * (size_t)model->patches * hidden, sizeof(float)),
        .x = vlmp_alloc(n * (size_t)model->tile_rows * hidden, sizeof(float)),
    };
    if (b->pixels != NULL && b->patches != NULL && b->projected != NULL && b->x != NULL)
        return VLMP_OK;
    free_tile_buffers(b);
    *b = (struct tile_buffers){0};
    return vlmp_fail_memory(err, "a batch of picture tiles");
}

int vlmp_sweep_sequence(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int index,
                        bool pixels, vlmp_sequence *held, const vlmp_sequence **out,
                        vlmp_error *err)
{
    const vlmp_sequence *own = &sequences[index];
    *held = (vlmp_sequence){0};
    *out = own;
    if (own->ids != NULL && (!pixels || own->tiles == 0 || own->pixels != NULL)) return VLMP_OK;
    *out = held;
    return sweep->fetch(sweep->fetch_arg, index, pixels, held, err);
}

/* Walks the tiles of all sequences in order. */
struct tile_cursor {
    const vlmp_sweep *sweep;
    const vlmp_sequence *sequences;
    int sequence;          /* the next one to open */
    int tile;              /* the next one of the open sequence */
    vlmp_sequence held;    /* of the open sequence, when it was fetched */
    const uint8_t *pixels; /* of the open sequence; NULL before the first */
};

static int next_tile(struct tile_cursor *c, size_t tile_bytes, const uint8_t **out, vlmp_error *err)
{
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
    *out = c->pixels + (size_t)c->tile++ * tile_bytes;
    return VLMP_OK;
}

static int embed_tiles(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                       const vlmp_batches *batches, const vlmp_vision_input *input,
                       vlmp_activations *x, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    size_t side = (size_t)model->config.vision.image_size, tile_bytes = 3 * side * side;
    struct tile_buffers b;
    VLMP_TRY(create_tile_buffers(&b, model, batches->max_rows / model->tile_rows, err));
    struct tile_cursor cursor = {.sweep = sweep, .sequences = sequences};
    int status = vlmp_ctx_reserve(sweep->ctx, batches->max_rows, input->patch.k, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        for (int t = 0; t < batch->segment_count && status == VLMP_OK; t++) {
            const uint8_t *tile = NULL;
            status = next_tile(&cursor, tile_bytes, &tile, err);
            if (status == VLMP_OK)
                vlmp_preprocess_normalize(sweep->preprocess, b.pixels + (size_t)t * tile_bytes,
                                          tile, (int)side, (int)side);
        }
        if (status != VLMP_OK) break;
        vlmp_vision_embed(sweep->ctx, model, input, b.pixels, batch->segment_count, b.patches,
                          b.projected, b.x);
        status = vlmp_sweep_check(sweep, "vision.embed", true, batch, b.x,
                                  model->config.vision.hidden, err);
        if (status == VLMP_OK)
            status = vlmp_activations_put(x, batch->first_row, (size_t)batch->rows, b.x, err);
    }
    vlmp_sequence_free(&cursor.held);
    free_tile_buffers(&b);
    return status;
}

int vlmp_sweep_vision_batches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                              vlmp_batches *batches, vlmp_error *err)
{
    int tiles = count_tiles(sequences, count);
    *batches = (vlmp_batches){0};
    if (tiles == 0) return VLMP_OK;
    int *lengths = vlmp_alloc((size_t)tiles, sizeof *lengths);
    if (lengths == NULL) return vlmp_fail_memory(err, "tile lengths");
    for (int i = 0; i < tiles; i++)
        lengths[i] = sweep->model->tile_rows;
    int break_at = sweep->break_at > 0 ? count_tiles(sequences, sweep->break_at) : tiles;
    int status = vlmp_batches_create(batches, lengths, tiles, break_at, err);
    free(lengths);
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
    vlmp_loaded loaded = {0};
    vlmp_vision_input input;
    if (sweep->resident != NULL)
        input = sweep->resident->vision_input;
    else if (status == VLMP_OK)
        status = vlmp_load_vision_input(&loaded, model, &input, err);
    if (status == VLMP_OK) status = embed_tiles(sweep, sequences, batches, &input, x, err);
    vlmp_unload(&loaded);
    return status;
}

int vlmp_sweep_create_features(const vlmp_sweep *sweep, const vlmp_batches *batches,
                               vlmp_activations *features, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    size_t tiles = batches->total_rows / (size_t)model->tile_rows;
    return vlmp_activations_create(features, tiles * (size_t)model->tile_tokens,
                                   model->config.vision.hidden * model->config.vision.feature_count,
                                   sweep->memory_limit, sweep->work_folder, err);
}

static void copy_features(const vlmp_model *model, const float *x, int tiles, int slot, float *out)
{
    const vlmp_vision_config *vision = &model->config.vision;
    size_t hidden = (size_t)vision->hidden, width = hidden * (size_t)vision->feature_count;
    int skip = model->tile_rows - model->tile_tokens; /* row 0, unless the strategy is "full" */
    for (int t = 0; t < tiles; t++)
        for (int r = 0; r < model->tile_tokens; r++) {
            size_t from = (size_t)t * (size_t)model->tile_rows + (size_t)(skip + r);
            size_t to = (size_t)t * (size_t)model->tile_tokens + (size_t)r;
            memcpy(out + to * width + (size_t)slot * hidden, x + from * hidden,
                   hidden * sizeof *out);
        }
}

int vlmp_sweep_take_features(const vlmp_sweep *sweep, const vlmp_activations *x,
                             const vlmp_batches *batches, int done, vlmp_activations *features,
                             vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    const vlmp_vision_config *vision = &model->config.vision;
    size_t rows = (size_t)batches->max_rows;
    float *in = vlmp_alloc(rows * (size_t)x->dim, sizeof *in);
    float *out = vlmp_alloc(rows * (size_t)features->dim, sizeof *out);
    int status = in != NULL && out != NULL ? VLMP_OK : vlmp_fail_memory(err, "picture features");
    for (int slot = 0; slot < vision->feature_count; slot++) {
        if (vision->feature_layers[slot] != done) continue;
        for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
            const vlmp_batch *batch = &batches->batches[i];
            int tiles = batch->segment_count;
            size_t first = batch->first_row / (size_t)model->tile_rows * (size_t)model->tile_tokens;
            size_t count = (size_t)tiles * (size_t)model->tile_tokens;
            float *source, *target;
            status =
                vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, in, &source, err);
            /* Other slots of the same rows are kept: read, change, write. A fresh spill file has
             * nothing to read before its first slot. */
            target = out;
            if (status == VLMP_OK && (features->memory != NULL || slot > 0))
                status = vlmp_activations_get(features, first, count, out, &target, err);
            if (status != VLMP_OK) break;
            copy_features(model, source, tiles, slot, target);
            status = vlmp_activations_put(features, first, count, target, err);
        }
    }
    free(in);
    free(out);
    return status;
}

/* Projects and packs the pictures of one sequence into its rows. */
static int place_pictures(const vlmp_sweep *sweep, const vlmp_sequence *sequence,
                          const vlmp_projector *projector, const vlmp_activations *features,
                          size_t feature_row, float *rows, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    size_t hidden = (size_t)model->config.text.hidden;
    int count = sequence->tiles * model->tile_tokens, tokens = 0;
    for (int i = 0; i < sequence->image_count; i++)
        tokens += sequence->plans[i].tokens;
    float *in = vlmp_alloc((size_t)count * (size_t)features->dim, sizeof *in);
    float *work = vlmp_alloc((size_t)count * hidden, sizeof *work);
    float *projected = vlmp_alloc((size_t)count * hidden, sizeof *projected);
    float *packed = vlmp_alloc((size_t)tokens * hidden, sizeof *packed);
    int status = in != NULL && work != NULL && projected != NULL && packed != NULL
                     ? vlmp_ctx_reserve(sweep->ctx, count, features->dim, err)
                     : vlmp_fail_memory(err, "projected pictures");
    float *source = NULL;
    if (status == VLMP_OK)
        status = vlmp_activations_get(features, feature_row, (size_t)count, in, &source, err);
    if (status == VLMP_OK) {
        vlmp_project(sweep->ctx, model, projector, source, count, work, projected);
        const float *from = projected;
        float *to = packed;
        for (int i = 0; i < sequence->image_count; i++) {
            const vlmp_image_plan *plan = &sequence->plans[i];
            model->config.family->pack(&model->config, plan, from, projector->newline, to);
            from += (size_t)plan->tiles * (size_t)model->tile_tokens * hidden;
            to += (size_t)plan->tokens * hidden;
        }
        from = packed;
        for (int r = 0; r < sequence->length; r++) {
            if (sequence->ids[r] != model->config.image_token) continue;
            memcpy(rows + (size_t)r * hidden, from, hidden * sizeof *rows);
            from += hidden;
        }
    }
    free(in);
    free(work);
    free(projected);
    free(packed);
    return status;
}

static int embed_sequences(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                           const vlmp_batches *batches, const vlmp_projector *projector,
                           const vlmp_linear *embed, const vlmp_activations *features,
                           vlmp_activations *x, vlmp_error *err)
{
    size_t hidden = (size_t)sweep->model->config.text.hidden, feature_row = 0;
    float *rows = vlmp_alloc((size_t)batches->max_rows * hidden, sizeof *rows);
    if (rows == NULL) return vlmp_fail_memory(err, "embedded tokens");
    int status = VLMP_OK;
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        for (int s = 0; s < batch->segment_count && status == VLMP_OK; s++) {
            const vlmp_sequence *sequence;
            vlmp_sequence held;
            float *at = rows + (size_t)batch->segments[s].first_row * hidden;
            status = vlmp_sweep_sequence(sweep, sequences, batch->first + s, false, &held,
                                         &sequence, err);
            if (status != VLMP_OK) break;
            sweep->ctx->ops->embed(sweep->ctx, at, sequence->ids, sequence->length, embed);
            if (sequence->tiles > 0)
                status = place_pictures(sweep, sequence, projector, features, feature_row, at, err);
            feature_row += (size_t)sequence->tiles * (size_t)sweep->model->tile_tokens;
            vlmp_sequence_free(&held);
        }
        /* Rows of the table are finite as its weights are. */
        if (status == VLMP_OK)
            status = vlmp_sweep_check(sweep, "projector", false, batch, rows, (int)hidden, err);
        if (status == VLMP_OK)
            status = vlmp_activations_put(x, batch->first_row, (size_t)batch->rows, rows, err);
    }
    free(rows);
    return status;
}

int vlmp_sweep_text_batches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                            vlmp_batches *batches, vlmp_error *err)
{
    *batches = (vlmp_batches){0};
    int *lengths = vlmp_alloc((size_t)count, sizeof *lengths);
    if (lengths == NULL) return vlmp_fail_memory(err, "sequence lengths");
    for (int i = 0; i < count; i++)
        lengths[i] = sequences[i].length;
    int break_at = sweep->break_at > 0 ? sweep->break_at : count;
    int status = vlmp_batches_create(batches, lengths, count, break_at, err);
    free(lengths);
    return status;
}

int vlmp_sweep_text_input(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                          const vlmp_activations *features, vlmp_activations *x,
                          vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    *x = (vlmp_activations){.fd = -1};
    int status = vlmp_sweep_text_batches(sweep, sequences, count, batches, err);
    if (status == VLMP_OK)
        status = vlmp_activations_create(x, batches->total_rows, model->config.text.hidden,
                                         sweep->memory_limit, sweep->work_folder, err);
    vlmp_loaded loaded = {0};
    vlmp_projector projector;
    vlmp_linear embed;
    if (sweep->resident != NULL) {
        projector = sweep->resident->projector;
        embed = sweep->resident->embed;
    } else {
        if (status == VLMP_OK) status = vlmp_load_projector(&loaded, model, &projector, err);
        if (status == VLMP_OK) status = vlmp_load_text_embed(&loaded, model, &embed, err);
    }
    if (status == VLMP_OK)
        status = embed_sequences(sweep, sequences, batches, &projector, &embed, features, x, err);
    vlmp_unload(&loaded);
    return status;
}
