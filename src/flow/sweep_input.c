/* The two ends where pictures and tokens enter a sweep. */
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

/* The tiles of one batch, in order, to the context. */
static int set_tiles(struct tile_cursor *cursor, vlmp_tile_input *input, int tiles, vlmp_error *err)
{
    size_t side = (size_t)input->model->config.vision.image_size;
    for (int t = 0; t < tiles; t++) {
        const uint8_t *tile = NULL;
        VLMP_TRY(next_tile(cursor, 3 * side * side, &tile, err));
        vlmp_tile_input_set(input, t, tile);
    }
    return VLMP_OK;
}

static int embed_tiles(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                       const vlmp_batches *batches, const vlmp_vision_input *weights,
                       vlmp_activations *x, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    vlmp_ctx *ctx = sweep->ctx;
    vlmp_tile_input input;
    vlmp_f32 rows = {NULL};
    vlmp_i32 found = {NULL};
    float levels[3 * 256];
    struct tile_cursor cursor = {.sweep = sweep, .sequences = sequences};
    vlmp_preprocess_levels(sweep->preprocess, levels);
    int status = vlmp_tile_input_create(&input, ctx, model, levels,
                                        batches->max_rows / model->tile_rows, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &rows, (size_t)batches->max_rows,
                                (size_t)x->dim * sizeof(float), "a batch of picture tiles", err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &found, 1, sizeof(int32_t), "a batch", err);
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, batches->max_rows, weights->patch.k, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        status = set_tiles(&cursor, &input, batch->segment_count, err);
        if (status != VLMP_OK) break;
        vlmp_tile_input_embed(&input, weights, batch->segment_count, rows);
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
    vlmp_loaded loaded = {.ctx = sweep->ctx};
    vlmp_vision_input input;
    if (sweep->resident != NULL)
        input = sweep->resident->vision_input;
    else if (status == VLMP_OK)
        status = vlmp_load_vision_input(&loaded, model, &input, err);
    if (status == VLMP_OK) status = embed_tiles(sweep, sequences, batches, &input, x, err);
    vlmp_unload(&loaded);
    return status;
}

/* What a sequence's pictures need on their way into its rows. */
struct pictures {
    vlmp_act features;          /* [rows][features' dim] */
    vlmp_act hidden, projected; /* [rows + 1][hidden]: the newline's row is the last */
    vlmp_i32 from, to;          /* [tokens] rows of projected, and of the sequence */
};

static void free_pictures(vlmp_ctx *ctx, struct pictures *p)
{
    void *const all[] = {p->features.at, p->hidden.at, p->projected.at, p->from.at, p->to.at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vlmp_ctx_free_memory(ctx, all[i]);
}

static int create_pictures(vlmp_ctx *ctx, struct pictures *p, size_t rows, size_t tokens,
                           int feature_dim, int hidden, vlmp_error *err)
{
    static const char what[] = "projected pictures";
    size_t act = ctx->ops->act_bytes, width = (size_t)hidden * act;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->features, rows, (size_t)feature_dim * act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->hidden, rows, width, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->projected, rows + 1, width, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->from, tokens, sizeof(int32_t), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->to, tokens, sizeof(int32_t), what, err));
    return vlmp_ctx_reserve(ctx, (int)rows, feature_dim, err);
}

/* Which projected row goes to which row of the batch; first: the sequence's. */
static int list_places(const vlmp_model *model, const vlmp_sequence *sequence, int first,
                       vlmp_ctx *ctx, const struct pictures *p, size_t tokens, vlmp_error *err)
{
    int32_t newline = sequence->tiles * model->tile_tokens, row = 0;
    int32_t *from = vlmp_alloc(tokens, sizeof *from), *to = vlmp_alloc(tokens, sizeof *to);
    int status = from != NULL && to != NULL ? VLMP_OK : vlmp_fail_memory(err, "projected pictures");
    if (status == VLMP_OK) {
        int32_t *next = from;
        for (int i = 0; i < sequence->image_count; i++) {
            const vlmp_image_plan *plan = &sequence->plans[i];
            model->config.family->pack(&model->config, plan, row, newline, next);
            row += plan->tiles * model->tile_tokens;
            next += plan->tokens;
        }
        next = to;
        for (int r = 0; r < sequence->length; r++)
            if (sequence->ids[r] == model->config.image_token) *next++ = first + r;
        vlmp_ctx_write(ctx, p->from.at, from, tokens * sizeof *from);
        vlmp_ctx_write(ctx, p->to.at, to, tokens * sizeof *to);
    }
    free(from);
    free(to);
    return status;
}

/* Projects the pictures of one sequence into its rows of x, which begin at `first`. */
static int place_pictures(const vlmp_sweep *sweep, const vlmp_sequence *sequence,
                          const vlmp_projector *projector, vlmp_activations *features,
                          size_t feature_row, vlmp_f32 x, int first, vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    vlmp_ctx *ctx = sweep->ctx;
    int hidden = model->config.text.hidden;
    size_t rows = (size_t)sequence->tiles * (size_t)model->tile_tokens, tokens = 0;
    for (int i = 0; i < sequence->image_count; i++)
        tokens += (size_t)sequence->plans[i].tokens;
    struct pictures p = {0};
    int status = create_pictures(ctx, &p, rows, tokens, features->dim, hidden, err);
    if (status == VLMP_OK)
        status = vlmp_activations_upload_act(features, feature_row, rows, ctx, p.features, err);
    if (status == VLMP_OK) status = list_places(model, sequence, first, ctx, &p, tokens, err);
    if (status == VLMP_OK) {
        vlmp_project(ctx, model, projector, p.features, (int)rows, p.hidden, p.projected);
        if (projector->newline != NULL)
            ctx->ops->write_act(ctx, vlmp_act_at(ctx, p.projected, rows * (size_t)hidden),
                                projector->newline, (size_t)hidden);
        ctx->ops->scatter(ctx, x, p.to, p.projected, p.from, (int)tokens, hidden, false);
    }
    free_pictures(ctx, &p);
    return status;
}

/* What embedding a batch works with. */
struct embedding {
    vlmp_f32 x; /* [max rows][hidden] */
    vlmp_step *step;
    vlmp_i32 found;
    int32_t *ids; /* [max rows] */
};

static void free_embedding(vlmp_ctx *ctx, struct embedding *e)
{
    vlmp_ctx_free_memory(ctx, e->x.at);
    vlmp_ctx_free_memory(ctx, e->found.at);
    ctx->ops->step_free(ctx, e->step);
    free(e->ids);
}

static int create_embedding(vlmp_ctx *ctx, struct embedding *e, const vlmp_batches *batches,
                            int hidden, vlmp_error *err)
{
    size_t rows = (size_t)batches->max_rows;
    const vlmp_step_size size = {batches->max_rows, batches->max_segments, batches->max_pages};
    e->ids = vlmp_alloc(rows, sizeof *e->ids);
    if (e->ids == NULL) return vlmp_fail_memory(err, "embedded tokens");
    VLMP_TRY(
        vlmp_ctx_alloc(ctx, &e->x, rows, (size_t)hidden * sizeof(float), "embedded tokens", err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &e->found, 1, sizeof(int32_t), "a batch", err));
    return ctx->ops->step_create(ctx, &e->step, &size, err);
}

/* A batch's sequences, opened one after the other. */
struct text_input {
    const vlmp_sweep *sweep;
    const vlmp_sequence *sequences;
    const vlmp_projector *projector;
    const vlmp_linear *embed;
    vlmp_activations *features;
    size_t feature_row; /* of the next sequence */
};

static int embed_ids(const struct text_input *in, struct embedding *e, const vlmp_batch *batch,
                     vlmp_error *err)
{
    vlmp_ctx *ctx = in->sweep->ctx;
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_sequence *sequence;
        vlmp_sequence held;
        VLMP_TRY(vlmp_sweep_sequence(in->sweep, in->sequences, batch->first + s, false, &held,
                                     &sequence, err));
        memcpy(e->ids + batch->segments[s].first_row, sequence->ids,
               (size_t)sequence->length * sizeof *e->ids);
        vlmp_sequence_free(&held);
    }
    ctx->ops->step_set(ctx, e->step,
                       &(vlmp_step_rows){.rows = batch->rows,
                                         .segment_count = batch->segment_count,
                                         .segments = batch->segments,
                                         .ids = e->ids});
    ctx->ops->embed(ctx, e->x, e->step, in->embed);
    return VLMP_OK;
}

static int embed_pictures(struct text_input *in, const struct embedding *e, const vlmp_batch *batch,
                          vlmp_error *err)
{
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_sequence *sequence;
        vlmp_sequence held;
        if (in->sequences[batch->first + s].tiles == 0) continue;
        VLMP_TRY(vlmp_sweep_sequence(in->sweep, in->sequences, batch->first + s, false, &held,
                                     &sequence, err));
        int status = place_pictures(in->sweep, sequence, in->projector, in->features,
                                    in->feature_row, e->x, batch->segments[s].first_row, err);
        in->feature_row += (size_t)sequence->tiles * (size_t)in->sweep->model->tile_tokens;
        vlmp_sequence_free(&held);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static int embed_sequences(struct text_input *in, const vlmp_batches *batches, vlmp_activations *x,
                           vlmp_error *err)
{
    vlmp_ctx *ctx = in->sweep->ctx;
    struct embedding e = {0};
    int status = create_embedding(ctx, &e, batches, x->dim, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        status = embed_ids(in, &e, batch, err);
        if (status == VLMP_OK) status = embed_pictures(in, &e, batch, err);
        /* Rows of the table are finite as its weights are. */
        if (status == VLMP_OK)
            status =
                vlmp_sweep_check(in->sweep, "projector", false, batch, e.found, e.x, x->dim, err);
        if (status == VLMP_OK)
            status =
                vlmp_activations_download(x, batch->first_row, (size_t)batch->rows, ctx, e.x, err);
    }
    free_embedding(ctx, &e);
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
                          vlmp_activations *features, vlmp_activations *x, vlmp_batches *batches,
                          vlmp_error *err)
{
    const vlmp_model *model = sweep->model;
    *x = (vlmp_activations){.fd = -1};
    int status = vlmp_sweep_text_batches(sweep, sequences, count, batches, err);
    if (status == VLMP_OK)
        status = vlmp_activations_create(x, batches->total_rows, model->config.text.hidden,
                                         sweep->memory_limit, sweep->work_folder, err);
    vlmp_loaded loaded = {.ctx = sweep->ctx};
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
        status = embed_sequences(&(struct text_input){.sweep = sweep,
                                                      .sequences = sequences,
                                                      .projector = &projector,
                                                      .embed = &embed,
                                                      .features = features},
                                 batches, x, err);
    vlmp_unload(&loaded);
    return status;
}
