/* The end where tokens enter a sweep, and pictures take their rows. */
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/flow/sweep.h"
#include "src/model/ends.h"

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

/* What a sequence's pictures need on their way into its rows. */
struct pictures {
    vlmp_act features;  /* [rows][features' dim] */
    vlmp_act hidden;    /* [rows][projector's inner width] */
    vlmp_act projected; /* [rows + 1][hidden]: the newline's row is the last */
    int parts;          /* rows of projected that one of the sequence is made of */
    vlmp_i32 from;      /* [parts][tokens] rows of projected */
    vlmp_f32 weights;   /* [parts][tokens]; at NULL: 1 */
    vlmp_i32 to;        /* [tokens] rows of the sequence */
};

static void free_pictures(vlmp_ctx *ctx, struct pictures *p)
{
    void *const all[] = {p->features.at, p->hidden.at,  p->projected.at,
                         p->from.at,     p->weights.at, p->to.at};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vlmp_ctx_free_memory(ctx, all[i]);
}

static int create_pictures(vlmp_ctx *ctx, struct pictures *p, size_t rows, size_t tokens,
                           int feature_dim, const vlmp_config *config, vlmp_error *err)
{
    static const char what[] = "projected pictures";
    int inner = config->projector.inner, widest = feature_dim > inner ? feature_dim : inner;
    size_t act = ctx->ops->act_bytes, width = (size_t)config->text.hidden * act;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->features, rows, (size_t)feature_dim * act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->hidden, rows, (size_t)inner * act, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->projected, rows + 1, width, what, err));
    bool mixed = config->family->mix != NULL;
    p->parts = mixed ? VLMP_MIXED_ROWS : 1;
    size_t parts = (size_t)p->parts;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->from, tokens, parts * sizeof(int32_t), what, err));
    if (mixed) VLMP_TRY(vlmp_ctx_alloc(ctx, &p->weights, tokens, parts * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &p->to, tokens, sizeof(int32_t), what, err));
    return vlmp_ctx_reserve(ctx, (int)rows, widest, err);
}

static size_t picture_tokens(const vlmp_sequence *sequence)
{
    size_t tokens = 0;
    for (int i = 0; i < sequence->image_count; i++)
        tokens += (size_t)sequence->plans[i].tokens;
    return tokens;
}

/* from[picture tokens]: the projected row that each is. weights: NULL, or where rows are mixed,
 * those of the rows, both [parts][picture tokens]. */
static void list_sources(const vlmp_config *config, const vlmp_sequence *sequence, int32_t *from,
                         float *weights)
{
    size_t tokens = picture_tokens(sequence);
    int32_t newline = (int32_t)vlmp_sequence_picture_rows(sequence, config), row = 0;
    for (int i = 0; i < sequence->image_count; i++) {
        const vlmp_image_plan *plan = &sequence->plans[i];
        if (weights != NULL) {
            config->family->mix(config, plan, row, newline, tokens, from, weights);
            weights += plan->tokens;
        } else {
            config->family->pack(config, plan, row, newline, from);
        }
        row += plan->tiles * vlmp_grid_tokens(config, vlmp_tile_grid(&config->vision, plan));
        from += plan->tokens;
    }
}

/* Which projected rows go to which row of the batch; first: the sequence's. */
static int list_places(const vlmp_config *config, const vlmp_sequence *sequence, int first,
                       vlmp_ctx *ctx, const struct pictures *p, size_t tokens, vlmp_error *err)
{
    size_t count = tokens * (size_t)p->parts;
    bool mixed = p->weights.at != NULL;
    int32_t *from = vlmp_alloc(count, sizeof *from), *to = vlmp_alloc(tokens, sizeof *to);
    float *weights = mixed ? vlmp_alloc(count, sizeof *weights) : NULL;
    int status = from != NULL && to != NULL && (weights != NULL || !mixed)
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "projected pictures");
    if (status == VLMP_OK) {
        int32_t *next = to;
        list_sources(config, sequence, from, weights);
        for (int r = 0; r < sequence->length; r++)
            if (sequence->ids[r] == config->image_token) *next++ = first + r;
        vlmp_ctx_write(ctx, p->from.at, from, count * sizeof *from);
        vlmp_ctx_write(ctx, p->to.at, to, tokens * sizeof *to);
        if (mixed) vlmp_ctx_write(ctx, p->weights.at, weights, count * sizeof *weights);
    }
    free(from);
    free(to);
    free(weights);
    return status;
}

/* A batch's sequences, opened one after the other. */
struct text_input {
    const vlmp_sweep *sweep;
    const vlmp_sequence *sequences;
    const vlmp_projector *projector, *taps; /* [tap_count] */
    const vlmp_linear *embed;
    vlmp_activations *features;
    size_t feature_row; /* of the next sequence */
    vlmp_added_rows *added;
    size_t added_row; /* likewise */
};

/* What the taps give for the pictures of one sequence, token by token. */
static int place_taps(struct text_input *in, const vlmp_sequence *sequence,
                      const struct pictures *p, vlmp_error *err)
{
    const vlmp_model *model = in->sweep->model;
    vlmp_ctx *ctx = in->sweep->ctx;
    size_t hidden = (size_t)model->config.text.hidden, tokens = picture_tokens(sequence);
    size_t rows = vlmp_sequence_picture_rows(sequence, &model->config);
    size_t every = in->features->rows / (size_t)(1 + in->added->taps);
    float *projected = vlmp_alloc(rows * hidden, sizeof *projected);
    float *placed = vlmp_alloc(tokens * hidden, sizeof *placed);
    int32_t *from = vlmp_alloc(tokens, sizeof *from);
    int status = projected != NULL && placed != NULL && from != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "projected pictures");
    if (status == VLMP_OK) list_sources(&model->config, sequence, from, NULL);
    for (int t = 0; t < in->added->taps && status == VLMP_OK; t++) {
        status = vlmp_activations_upload_act(
            in->features, (size_t)(1 + t) * every + in->feature_row, rows, ctx, p->features, err);
        if (status != VLMP_OK) break;
        vlmp_project(ctx, model, &in->taps[t], p->features, (int)rows, p->hidden, p->projected);
        status = ctx->ops->read_act(ctx, projected, p->projected, rows * hidden, err);
        if (status != VLMP_OK) break;
        for (size_t i = 0; i < tokens; i++)
            memcpy(placed + i * hidden, projected + (size_t)from[i] * hidden,
                   hidden * sizeof *placed);
        status = vlmp_activations_put(
            &in->added->rows, (size_t)t * in->added->count + in->added_row, tokens, placed, err);
    }
    in->added_row += tokens;
    free(projected);
    free(placed);
    free(from);
    return status;
}

/* Projects the pictures of one sequence into its rows of x, which begin at `first`. */
static int place_pictures(struct text_input *in, const vlmp_sequence *sequence, vlmp_f32 x,
                          int first, vlmp_error *err)
{
    const vlmp_model *model = in->sweep->model;
    const vlmp_projector *projector = in->projector;
    vlmp_activations *features = in->features;
    vlmp_ctx *ctx = in->sweep->ctx;
    int hidden = model->config.text.hidden;
    size_t rows = vlmp_sequence_picture_rows(sequence, &model->config);
    size_t tokens = picture_tokens(sequence);
    struct pictures p = {0};
    int status = create_pictures(ctx, &p, rows, tokens, features->dim, &model->config, err);
    if (status == VLMP_OK)
        status = vlmp_activations_upload_act(features, in->feature_row, rows, ctx, p.features, err);
    if (status == VLMP_OK)
        status = list_places(&model->config, sequence, first, ctx, &p, tokens, err);
    if (status == VLMP_OK) {
        vlmp_project(ctx, model, projector, p.features, (int)rows, p.hidden, p.projected);
        if (projector->newline != NULL)
            ctx->ops->write_act(ctx, vlmp_act_at(ctx, p.projected, rows * (size_t)hidden),
                                projector->newline, (size_t)hidden);
        for (int part = 0; part < p.parts; part++) {
            size_t at = (size_t)part * tokens;
            vlmp_f32 weights = p.weights.at != NULL ? vlmp_f32_at(p.weights, at) : p.weights;
            ctx->ops->scatter(ctx, x, p.to, p.projected, (vlmp_i32){p.from.at + at}, weights,
                              (int)tokens, hidden, part > 0);
        }
        if (in->added->taps > 0) status = place_taps(in, sequence, &p, err);
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

static int embed_ids(const struct text_input *in, struct embedding *e, const vlmp_batch *batch,
                     vlmp_error *err)
{
    vlmp_ctx *ctx = in->sweep->ctx;
    const vlmp_config *config = &in->sweep->model->config;
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_sequence *sequence;
        vlmp_sequence held;
        VLMP_TRY(vlmp_sweep_sequence(in->sweep, in->sequences, batch->first + s, false, &held,
                                     &sequence, err));
        int32_t *ids = e->ids + batch->segments[s].first_row;
        /* Rows of pictures are written over; the table may have none for their token. */
        for (int r = 0; r < sequence->length; r++)
            ids[r] = sequence->ids[r] == config->image_token ? 0 : sequence->ids[r];
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
        int status = place_pictures(in, sequence, e->x, batch->segments[s].first_row, err);
        in->feature_row += vlmp_sequence_picture_rows(sequence, &in->sweep->model->config);
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

static int place_tokens(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                        vlmp_batches *batches, vlmp_error *err)
{
    const vlmp_config *config = &sweep->model->config;
    vlmp_added_rows *added = &batches->added;
    int32_t *positions, row = 0;
    size_t pictures = 0;
    VLMP_TRY(vlmp_batches_place(batches, &positions, err));
    for (int i = 0; i < count && config->vision.tap_count > 0; i++)
        pictures += picture_tokens(&sequences[i]);
    added->places = vlmp_alloc(pictures, sizeof *added->places);
    if (added->places == NULL) return vlmp_fail_memory(err, "rows of pictures");
    for (int i = 0; i < count; i++) {
        const vlmp_sequence *sequence;
        vlmp_sequence held;
        VLMP_TRY(vlmp_sweep_sequence(sweep, sequences, i, false, &held, &sequence, err));
        vlmp_sequence_positions(sequence, &sweep->model->config, positions, batches->total_rows);
        positions += sequence->length;
        for (int r = 0; r < sequence->length; r++, row++)
            if (added->count < pictures && sequence->ids[r] == config->image_token)
                added->places[added->count++] = row;
        vlmp_sequence_free(&held);
    }
    return VLMP_OK;
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
    if (status == VLMP_OK && sweep->model->config.text.sections[0] > 0)
        status = place_tokens(sweep, sequences, count, batches, err);
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
    if (status == VLMP_OK) status = vlmp_sweep_create_added(sweep, batches, err);
    vlmp_loaded loaded = {.ctx = sweep->ctx};
    vlmp_projector projector, taps[VLMP_MAX_TAPS];
    vlmp_linear embed;
    if (sweep->resident != NULL) {
        projector = sweep->resident->projector;
        embed = sweep->resident->embed;
        memcpy(taps, sweep->resident->taps, sizeof taps);
    } else {
        if (status == VLMP_OK) status = vlmp_load_projector(&loaded, model, &projector, err);
        for (int t = 0; t < batches->added.taps && status == VLMP_OK; t++)
            status = vlmp_load_tap(&loaded, model, t, &taps[t], err);
        if (status == VLMP_OK) status = vlmp_load_text_embed(&loaded, model, &embed, err);
    }
    if (status == VLMP_OK)
        status = embed_sequences(&(struct text_input){.sweep = sweep,
                                                      .sequences = sequences,
                                                      .projector = &projector,
                                                      .taps = taps,
                                                      .added = &batches->added,
                                                      .embed = &embed,
                                                      .features = features},
                                 batches, x, err);
    vlmp_unload(&loaded);
    return status;
}
