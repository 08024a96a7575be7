#include "src/runtime/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/store/finite.h"

#define PREFILL_ROWS 512 /* of the prompt at a time: bounds the working memory */

struct vlmp_session {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    const vlmp_preprocess *preprocess;
    vlmp_resident resident;
    vlmp_block_work work;
    float *x;       /* [PREFILL_ROWS][hidden] */
    float *last;    /* [hidden]: the last row, normed */
    vlmp_kv *kv;    /* [text.layers] */
    int32_t *pages; /* of the sequence; pages are taken from the stores in order */
    int capacity;   /* rows the stores have room for */
    int position;   /* rows stored */
    int line;       /* of the sequence in its data file, for messages */
};

static void free_stores(vlmp_session *s)
{
    for (int i = 0; s->kv != NULL && i < s->model->text.layers; i++) {
        free(s->kv[i].k);
        free(s->kv[i].v);
        s->kv[i].k = s->kv[i].v = NULL;
    }
    free(s->pages);
    s->pages = NULL;
    s->capacity = 0;
}

void vlmp_session_free(vlmp_session *s)
{
    if (s == NULL) return;
    free_stores(s);
    free(s->kv);
    free(s->x);
    free(s->last);
    vlmp_block_work_free(&s->work);
    vlmp_resident_free(&s->resident);
    free(s);
}

static int allocate(vlmp_session *s, vlmp_error *err)
{
    const vlmp_stack *text = &s->model->text;
    size_t hidden = (size_t)text->shape.dim;
    s->kv = vlmp_calloc((size_t)text->layers, sizeof *s->kv);
    s->x = vlmp_alloc(PREFILL_ROWS * hidden, sizeof *s->x);
    s->last = vlmp_alloc(hidden, sizeof *s->last);
    if (s->kv == NULL || s->x == NULL || s->last == NULL) return vlmp_fail_memory(err, "session");
    VLMP_TRY(vlmp_ctx_reserve(s->ctx, PREFILL_ROWS, vlmp_widest_site(&text->shape), err));
    VLMP_TRY(vlmp_block_work_create(&s->work, &text->shape, PREFILL_ROWS, err));
    return vlmp_load_all(&s->resident, s->model, err);
}

int vlmp_session_create(vlmp_session **session, vlmp_ctx *ctx, const vlmp_model *model,
                        const vlmp_preprocess *preprocess, vlmp_error *err)
{
    *session = NULL;
    vlmp_session *s = vlmp_calloc(1, sizeof *s);
    if (s == NULL) return vlmp_fail_memory(err, "session");
    s->ctx = ctx;
    s->model = model;
    s->preprocess = preprocess;
    int status = allocate(s, err);
    if (status != VLMP_OK) {
        vlmp_session_free(s);
        return status;
    }
    *session = s;
    return VLMP_OK;
}

static int reserve_rows(vlmp_session *s, int rows, vlmp_error *err)
{
    if (rows <= s->capacity) return VLMP_OK;
    free_stores(s);
    const vlmp_block_shape *shape = &s->model->text.shape;
    int pages = (rows + VLMP_PAGE_ROWS - 1) / VLMP_PAGE_ROWS;
    size_t row = (size_t)shape->kv_heads * (size_t)shape->head_dim * sizeof(float);
    size_t total = (size_t)pages * VLMP_PAGE_ROWS;
    s->pages = vlmp_alloc((size_t)pages, sizeof *s->pages);
    if (s->pages == NULL) return vlmp_fail_memory(err, "page table");
    for (int i = 0; i < pages; i++)
        s->pages[i] = i;
    for (int i = 0; i < s->model->text.layers; i++) {
        s->kv[i] = (vlmp_kv){.k = vlmp_alloc(total, row),
                             .v = vlmp_alloc(total, row),
                             .page_rows = VLMP_PAGE_ROWS,
                             .kv_heads = shape->kv_heads,
                             .head_dim = shape->head_dim};
        if (s->kv[i].k == NULL || s->kv[i].v == NULL)
            return vlmp_fail_memory(err, "key/value store");
    }
    s->capacity = (int)total;
    return VLMP_OK;
}

/* rows of x through all blocks, appended to the stores. */
static int run_blocks(vlmp_session *s, float *x, int rows, vlmp_error *err)
{
    const vlmp_stack *text = &s->model->text;
    vlmp_segment segment = {.rows = rows, .position = s->position, .pages = s->pages};
    vlmp_block_run run = {.ctx = s->ctx,
                          .shape = &text->shape,
                          .work = &s->work,
                          .segments = &segment,
                          .segment_count = 1,
                          .rows = rows};
    for (int i = 0; i < text->layers; i++) {
        run.kv = s->kv[i];
        vlmp_block_forward(&run, &s->resident.text[i], x, NULL, NULL);
        size_t count = (size_t)rows * (size_t)text->shape.dim,
               bad = vlmp_first_not_finite(x, count);
        if (bad == count) continue;
        char place[VLMP_NAME_MAX];
        snprintf(place, sizeof place, "text.layers.%d", i);
        return vlmp_model_fail_not_finite(s->model, place, x[bad], NULL, s->line, err);
    }
    s->position += rows;
    return VLMP_OK;
}

static int compute_logits(vlmp_session *s, const float *row, float *logits, vlmp_error *err)
{
    const vlmp_block_shape *shape = &s->model->text.shape;
    s->ctx->ops->rms_norm(s->ctx, s->last, row, 1, shape->dim, s->resident.norm, shape->norm_eps);
    s->ctx->ops->linear(s->ctx, logits, s->last, 1, &s->resident.head);
    size_t count = (size_t)s->resident.head.n, bad = vlmp_first_not_finite(logits, count);
    if (bad == count) return VLMP_OK;
    return vlmp_model_fail_not_finite(s->model, "text.head", logits[bad], NULL, s->line, err);
}

static int embed_prompt(vlmp_session *s, const vlmp_sequence *sequence, int length,
                        vlmp_activations *x, vlmp_error *err)
{
    vlmp_sweep sweep = {.ctx = s->ctx,
                        .model = s->model,
                        .preprocess = s->preprocess,
                        .resident = &s->resident,
                        .sequences = sequence,
                        .work_folder = "/tmp",
                        .memory_limit = SIZE_MAX};
    vlmp_sequence prompt = *sequence;
    prompt.length = length;
    vlmp_activations pixels = {.fd = -1}, features = {.fd = -1};
    vlmp_batches tiles = {0}, rows = {0};
    int status = vlmp_sweep_vision_input(&sweep, &prompt, 1, &pixels, &tiles, err);
    if (status == VLMP_OK && tiles.count > 0)
        status = vlmp_sweep_vision(&sweep, &pixels, &tiles, NULL, NULL, &features, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_text_input(&sweep, &prompt, 1, &features, x, &rows, err);
    vlmp_activations_free(&pixels);
    vlmp_activations_free(&features);
    vlmp_batches_free(&tiles);
    vlmp_batches_free(&rows);
    return status;
}

int vlmp_session_prefill(vlmp_session *s, const vlmp_sequence *sequence, int length, int max_new,
                         float *logits, vlmp_error *err)
{
    int limit = s->model->config.text.max_positions;
    if (length > limit || max_new > limit - length)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%d prompt tokens and %d new ones exceed the model's %d positions; shorten "
            "the prompt or lower --max-new-tokens",
            length, max_new, limit);
    VLMP_TRY(reserve_rows(s, length + max_new, err));
    s->position = 0;
    s->line = sequence->line;
    vlmp_activations x = {.fd = -1};
    size_t hidden = (size_t)s->model->text.shape.dim;
    int rows = 0, status = embed_prompt(s, sequence, length, &x, err);
    for (int done = 0; done < length && status == VLMP_OK; done += rows) {
        rows = length - done < PREFILL_ROWS ? length - done : PREFILL_ROWS;
        memcpy(s->x, x.memory + (size_t)done * hidden, (size_t)rows * hidden * sizeof *s->x);
        status = run_blocks(s, s->x, rows, err);
    }
    vlmp_activations_free(&x);
    VLMP_TRY(status);
    return compute_logits(s, s->x + (size_t)(rows - 1) * hidden, logits, err);
}

int vlmp_session_step(vlmp_session *s, int32_t token, float *logits, vlmp_error *err)
{
    if (s->position >= s->capacity)
        return vlmp_fail(err, VLMP_ERR_INPUT, "the key/value store is full at %d tokens",
                         s->position);
    s->ctx->ops->embed(s->ctx, s->x, &token, 1, &s->resident.embed);
    VLMP_TRY(run_blocks(s, s->x, 1, err));
    return compute_logits(s, s->x, logits, err);
}

vlmp_session_memory vlmp_session_memory_used(const vlmp_session *s)
{
    vlmp_session_memory memory = {0};
    const vlmp_source *source = s->model->source;
    for (size_t i = 0; i < source->count(source); i++)
        if (!source->at(source, i)->unused) memory.weights_bytes += source->at(source, i)->bytes;
    const vlmp_block_shape *shape = &s->model->text.shape;
    memory.kv_bytes = 2 * (size_t)s->model->text.layers * (size_t)s->capacity *
                      (size_t)shape->kv_heads * (size_t)shape->head_dim * sizeof(float);
    return memory;
}
