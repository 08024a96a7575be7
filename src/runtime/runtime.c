#include <stdio.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/runtime/runtime_internal.h"

void vlmp_runtime_free(vlmp_runtime *r)
{
    if (r == NULL) return;
    vlmp_ctx *ctx = r->ctx;
    void *const memory[] = {r->x.at,     r->last.at,  r->logits.at, r->best.at,
                            r->found.at, r->added.at, r->from.at,   r->to.at};
    ctx->ops->replay_free(ctx, r->replay); /* before what it names */
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        vlmp_ctx_free_memory(ctx, memory[i]);
    ctx->ops->kv_free(ctx, r->kv);
    ctx->ops->step_free(ctx, r->step);
    vlmp_block_work_free(&r->work);
    vlmp_resident_free(&r->resident);
    vlmp_pages_free(&r->pages);
    free(r->ids);
    free(r->segments);
    free(r->positions);
    free(r->items);
    free(r);
}

static int allocate(vlmp_runtime *r, vlmp_error *err)
{
    static const char what[] = "generation";
    const vlmp_block_shape *shape = &r->model->text.shape;
    vlmp_ctx *ctx = r->ctx;
    int rows = vlmp_runtime_rows(r);
    size_t streams = (size_t)r->streams, hidden = (size_t)shape->dim;
    size_t vocab = (size_t)r->model->config.text.vocab;
    r->ids = vlmp_alloc(streams, sizeof *r->ids);
    r->segments = vlmp_alloc(streams, sizeof *r->segments);
    r->items = vlmp_alloc(streams, sizeof *r->items);
    if (r->ids == NULL || r->segments == NULL || r->items == NULL)
        return vlmp_fail_memory(err, what);
    if (shape->axes != NULL) {
        r->positions = vlmp_alloc(VLMP_POSITION_AXES * (size_t)rows, sizeof *r->positions);
        if (r->positions == NULL) return vlmp_fail_memory(err, what);
    }
    VLMP_TRY(vlmp_ctx_reserve(ctx, rows, vlmp_widest_site(shape), err));
    VLMP_TRY(vlmp_block_work_create(&r->work, ctx, shape, rows, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &r->x, (size_t)rows, hidden * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &r->last, streams, hidden * ctx->ops->act_bytes, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &r->logits, streams, vocab * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &r->best, streams, sizeof(int32_t), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &r->found, 1, sizeof(int32_t), what, err));
    if (r->model->config.vision.tap_count > 0) {
        VLMP_TRY(
            vlmp_ctx_alloc(ctx, &r->added, (size_t)rows, hidden * ctx->ops->act_bytes, what, err));
        VLMP_TRY(vlmp_ctx_alloc(ctx, &r->from, (size_t)rows, sizeof(int32_t), what, err));
        VLMP_TRY(vlmp_ctx_alloc(ctx, &r->to, (size_t)rows, sizeof(int32_t), what, err));
        for (int32_t i = 0; i < rows; i++)
            vlmp_ctx_write(ctx, r->from.at + i, &i, sizeof i);
    }
    return vlmp_load_all(&r->resident, ctx, r->model, err);
}

int vlmp_runtime_create(vlmp_runtime **runtime, vlmp_ctx *ctx, const vlmp_model *model,
                        const vlmp_preprocess *preprocess, const char *data, int streams,
                        vlmp_error *err)
{
    *runtime = NULL;
    vlmp_runtime *r = vlmp_calloc(1, sizeof *r);
    if (r == NULL) return vlmp_fail_memory(err, "generation");
    r->ctx = ctx;
    r->model = model;
    r->preprocess = preprocess;
    r->data = data;
    r->streams = r->limit = streams;
    const vlmp_block_shape *shape = &model->text.shape;
    r->kv_shape = (vlmp_kv_shape){.layers = model->text.layers,
                                  .page_rows = VLMP_PAGE_ROWS,
                                  .kv_heads = shape->kv_heads,
                                  .head_dim = shape->head_dim,
                                  .int16 = true};
    int status = allocate(r, err);
    if (status != VLMP_OK) {
        vlmp_runtime_free(r);
        return status;
    }
    *runtime = r;
    return VLMP_OK;
}

vlmp_runtime_memory vlmp_runtime_memory_used(const vlmp_runtime *r)
{
    vlmp_runtime_memory memory = {.kv_bytes = r->ctx->ops->kv_bytes(&r->kv_shape)};
    const vlmp_source *source = r->model->source;
    for (size_t i = 0; i < source->count(source); i++)
        if (!source->at(source, i)->unused) memory.weights_bytes += source->at(source, i)->bytes;
    return memory;
}

/* One pass over all layers. */
struct pass {
    vlmp_runtime *r;
    int count; /* of r->items and r->segments */
    vlmp_rows rows;
};

/* Behind a layer: what its tap gives for the pass's rows of prompts. */
static int add_tap(const struct pass *p, int layer, vlmp_error *err)
{
    vlmp_runtime *r = p->r;
    vlmp_ctx *ctx = r->ctx;
    int dim = r->model->text.shape.dim;
    for (int s = 0; s < p->count; s++) {
        vlmp_added_rows *added = &r->items[s]->stream->added;
        const vlmp_segment *segment = &r->segments[s];
        size_t first = (size_t)segment->position, from;
        size_t count = vlmp_added_rows_in(added, first, first + (size_t)segment->rows, &from);
        if (count == 0) continue;
        VLMP_TRY(vlmp_activations_upload_act(&added->rows, (size_t)layer * added->count + from,
                                             count, ctx, r->added, err));
        for (size_t i = 0; i < count; i++) {
            int32_t row = segment->first_row + added->places[from + i] - segment->position;
            vlmp_ctx_write(ctx, r->to.at + i, &row, sizeof row);
        }
        ctx->ops->scatter(ctx, r->x, r->to, r->added, r->from, (vlmp_f32){NULL}, (int)count, dim,
                          true);
    }
    return VLMP_OK;
}

/* Layers over what x holds; each: a layer whose output is not finite is named. */
static int run_layers(const struct pass *p, bool each, vlmp_error *err)
{
    vlmp_runtime *r = p->r;
    const vlmp_stack *text = &r->model->text;
    size_t dim = (size_t)text->shape.dim, count = (size_t)p->rows.count * dim, at = count;
    float value = 0;
    vlmp_block_run run = {.ctx = r->ctx,
                          .shape = &text->shape,
                          .work = &r->work,
                          .step = r->step,
                          .rows = p->rows,
                          .kv = r->kv};
    for (run.layer = 0; run.layer < text->layers && at == count; run.layer++) {
        vlmp_block_forward(&run, &r->resident.text[run.layer], r->x, NULL, NULL);
        if (run.layer < r->model->config.vision.tap_count && !p->rows.decode)
            VLMP_TRY(add_tap(p, run.layer, err));
        if (each) VLMP_TRY(vlmp_first_bad(r->ctx, r->found, r->x, count, &at, &value, err));
    }
    if (!each || at == count) return VLMP_OK;
    int row = (int)(at / dim), s = 0;
    while (row >= r->segments[s].first_row + r->segments[s].rows)
        s++;
    char place[VLMP_NAME_MAX];
    snprintf(place, sizeof place, "text.layers.%d", run.layer - 1);
    return vlmp_model_fail_not_finite(r->model, place, value, r->data, r->items[s]->stream->line,
                                      err);
}

/* The input of the first layer. */
static int fill(const struct pass *p, vlmp_error *err)
{
    vlmp_runtime *r = p->r;
    size_t dim = (size_t)r->model->text.shape.dim;
    if (p->rows.decode) {
        r->ctx->ops->embed(r->ctx, r->x, r->step, &r->resident.embed);
        return VLMP_OK;
    }
    for (int i = 0; i < p->count; i++) {
        vlmp_f32 to = vlmp_f32_at(r->x, (size_t)r->segments[i].first_row * dim);
        VLMP_TRY(vlmp_activations_upload(&r->items[i]->stream->prompt,
                                         (size_t)r->segments[i].position,
                                         (size_t)r->segments[i].rows, r->ctx, to, err));
    }
    return VLMP_OK;
}

/* Of the pass's rows, by axes. */
static void place_rows(const struct pass *p, vlmp_step_rows *rows)
{
    const vlmp_runtime *r = p->r;
    size_t stride = (size_t)vlmp_runtime_rows(r);
    for (size_t axis = 0; axis < VLMP_POSITION_AXES; axis++) {
        int32_t *out = r->positions + axis * stride;
        rows->positions[axis] = out;
        for (int s = 0; s < p->count; s++) {
            const vlmp_stream *stream = r->items[s]->stream;
            const int32_t *prompt = stream->positions + axis * (size_t)stream->length;
            for (int i = 0; i < r->segments[s].rows; i++) {
                int row = r->segments[s].position + i;
                *out++ = row < stream->length ? prompt[row] : row + stream->behind;
            }
        }
    }
}

/* A pass computes the same again, so that a layer is looked for only when there is one to find. */
static int run_pass(const struct pass *p, vlmp_error *err)
{
    vlmp_runtime *r = p->r;
    size_t count = (size_t)p->rows.count * (size_t)r->model->text.shape.dim, at;
    float value;
    vlmp_step_rows rows = {.rows = p->rows.count,
                           .segment_count = p->count,
                           .segments = r->segments,
                           .ids = p->rows.decode ? r->ids : NULL};
    if (r->positions != NULL) place_rows(p, &rows);
    r->ctx->ops->step_set(r->ctx, r->step, &rows);
    if (!p->rows.decode || !r->ctx->ops->replay(r->ctx, &r->replay, r->step)) {
        int status = fill(p, err);
        if (status == VLMP_OK) status = run_layers(p, false, err);
        if (p->rows.decode) r->ctx->ops->replay_end(r->ctx, r->replay);
        VLMP_TRY(status);
    }
    VLMP_TRY(vlmp_first_bad(r->ctx, r->found, r->x, count, &at, &value, err));
    if (at == count) return VLMP_OK;
    VLMP_TRY(fill(p, err));
    return run_layers(p, true, err);
}

static int check_logits(vlmp_runtime *r, int wanted, vlmp_step_item *const *items, vlmp_error *err)
{
    size_t vocab = (size_t)r->resident.head.n, count = (size_t)wanted * vocab, at;
    float value;
    VLMP_TRY(vlmp_first_bad(r->ctx, r->found, r->logits, count, &at, &value, err));
    if (at == count) return VLMP_OK;
    return vlmp_model_fail_not_finite(r->model, "text.head", value, r->data,
                                      items[at / vocab]->stream->line, err);
}

/* What follows the last row of each stream whose prompt is computed. */
static int predict(const struct pass *p, vlmp_error *err)
{
    vlmp_runtime *r = p->r;
    vlmp_ctx *ctx = r->ctx;
    const vlmp_block_shape *shape = &r->model->text.shape;
    size_t dim = (size_t)shape->dim, vocab = (size_t)r->resident.head.n;
    int wanted = 0;
    for (int i = 0; i < p->count; i++) {
        const vlmp_segment *segment = &r->segments[i];
        if (vlmp_stream_left(r->items[i]->stream) > 0) continue;
        vlmp_f32 row = vlmp_f32_at(r->x, (size_t)(segment->first_row + segment->rows - 1) * dim);
        ctx->ops->rms_norm(ctx, vlmp_act_at(ctx, r->last, (size_t)wanted * dim), row, 1, shape->dim,
                           r->resident.norm.own, shape->norm_eps);
        r->items[wanted++] = r->items[i];
    }
    if (wanted == 0) return VLMP_OK;
    ctx->ops->linear_f32(ctx, r->logits, r->last, (vlmp_rows){wanted, true}, &r->resident.head,
                         false);
    VLMP_TRY(check_logits(r, wanted, r->items, err));
    ctx->ops->argmax(ctx, r->best, r->logits, wanted, (int)vocab);
    VLMP_TRY(vlmp_ctx_read(ctx, r->ids, r->best.at, (size_t)wanted * sizeof *r->ids, err));
    for (int i = 0; i < wanted; i++) {
        r->items[i]->best = r->ids[i];
        if (r->items[i]->logits == NULL) continue;
        VLMP_TRY(vlmp_ctx_read(ctx, r->items[i]->logits, r->logits.at + (size_t)i * vocab,
                               vocab * sizeof(float), err));
    }
    return VLMP_OK;
}

static void add_item(struct pass *p, vlmp_step_item *item, int rows)
{
    const vlmp_stream *stream = item->stream;
    vlmp_runtime *r = p->r;
    r->ids[p->count] = item->token;
    r->items[p->count] = item;
    r->segments[p->count++] = (vlmp_segment){.first_row = p->rows.count,
                                             .rows = rows,
                                             .position = stream->position,
                                             .pages = stream->pages,
                                             .page_count = stream->page_count};
    p->rows.count += rows;
}

/* The pass's rows are stored, and what follows them is known. */
static int finish(struct pass *p, vlmp_error *err)
{
    vlmp_ctx *ctx = p->r->ctx;
    if (p->count == 0) return VLMP_OK;
    ctx->ops->range(ctx, p->rows.decode ? "decode" : "prefill");
    int status = run_pass(p, err);
    ctx->ops->range(ctx, NULL);
    VLMP_TRY(status);
    for (int i = 0; i < p->count; i++) {
        vlmp_stream *stream = p->r->items[i]->stream;
        stream->position += p->r->segments[i].rows;
        if (vlmp_stream_left(stream) > 0) continue;
        vlmp_activations_free(&stream->prompt);
        vlmp_added_rows_free(&stream->added);
    }
    ctx->ops->range(ctx, "sample");
    status = predict(p, err);
    ctx->ops->range(ctx, NULL);
    VLMP_TRY(status);
    p->count = p->rows.count = 0;
    return VLMP_OK;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

int vlmp_runtime_step(vlmp_runtime *r, vlmp_step_item *items, int count, vlmp_error *err)
{
    struct pass decode = {.r = r, .rows.decode = true}, prefill = {.r = r};
    for (int i = 0; i < count; i++)
        if (vlmp_stream_left(items[i].stream) == 0) add_item(&decode, &items[i], 1);
    for (int i = 0; i < decode.count; i++) {
        const vlmp_stream *stream = r->items[i]->stream;
        if (stream->position >= stream->page_count * VLMP_PAGE_ROWS)
            return vlmp_fail(err, VLMP_ERR_INPUT, "the key/value store is full at %d tokens",
                             stream->position);
    }
    int decoded = decode.count;
    VLMP_TRY(finish(&decode, err));
    if (decoded == count) return VLMP_OK;
    for (int i = 0; i < count; i++) {
        /* What a stream has decoded in this step leaves nothing of its prompt. */
        int rows = smaller(vlmp_stream_left(items[i].stream), VLMP_STEP_ROWS);
        if (rows == 0) continue;
        if (prefill.rows.count + rows > vlmp_runtime_rows(r)) VLMP_TRY(finish(&prefill, err));
        add_item(&prefill, &items[i], rows);
    }
    return finish(&prefill, err);
}
