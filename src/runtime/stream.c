#include <stdlib.h>

#include "src/base/memory.h"
#include "src/runtime/runtime_internal.h"

int vlmp_stream_left(const vlmp_stream *stream)
{
    return stream->position < stream->length ? stream->length - stream->position : 0;
}

void vlmp_stream_close(vlmp_stream *stream)
{
    if (stream == NULL) return;
    vlmp_pages_drop(&stream->runtime->pages, stream->pages, stream->page_count);
    vlmp_activations_free(&stream->prompt);
    free(stream->pages);
    free(stream->positions);
    vlmp_added_rows_free(&stream->added);
    stream->runtime->open--;
    free(stream);
}

static int create_store(vlmp_runtime *r, int pages, vlmp_error *err)
{
    const vlmp_ops *ops = r->ctx->ops;
    vlmp_kv_shape shape = r->kv_shape;
    shape.pages = pages;
    VLMP_TRY(ops->kv_create(r->ctx, &r->kv, &shape, err));
    r->kv_shape = shape;
    ops->step_free(r->ctx, r->step);
    r->step = NULL;
    return ops->step_create(r->ctx, &r->step,
                            &(vlmp_step_size){vlmp_runtime_rows(r), r->streams, pages}, err);
}

/* A store of `pages` pages, while nobody holds any; after a failure there are none. */
static int resize_store(vlmp_runtime *r, int pages, vlmp_error *err)
{
    const vlmp_ops *ops = r->ctx->ops;
    ops->replay_free(r->ctx, r->replay);
    r->replay = NULL;
    ops->kv_free(r->ctx, r->kv);
    r->kv = NULL;
    vlmp_pages_free(&r->pages);
    r->kv_shape.pages = 0;
    VLMP_TRY(vlmp_pages_create(&r->pages, pages, err));
    int status = create_store(r, pages, err);
    if (status != VLMP_OK) vlmp_pages_free(&r->pages);
    return status;
}

/* Pages for as many streams of this size as may be open, as far as VLMP_KV_BYTES goes. */
static int wanted_pages(const vlmp_runtime *r, int pages)
{
    vlmp_kv_shape one = r->kv_shape;
    one.pages = pages;
    size_t fit = VLMP_KV_BYTES / r->ctx->ops->kv_bytes(&one);
    if (fit > (size_t)r->limit) fit = (size_t)r->limit;
    return pages * (fit > 1 ? (int)fit : 1);
}

/* *got: whether there are that many pages now. */
static int take_pages(vlmp_stream *s, int pages, bool *got, vlmp_error *err)
{
    vlmp_runtime *r = s->runtime;
    *got = false;
    if (r->open == 0 && wanted_pages(r, pages) > r->pages.count)
        VLMP_TRY(resize_store(r, wanted_pages(r, pages), err));
    if (pages > r->pages.free_count) return VLMP_OK;
    s->pages = vlmp_alloc((size_t)pages, sizeof *s->pages);
    if (s->pages == NULL) return vlmp_fail_memory(err, "page table");
    *got = vlmp_pages_take(&r->pages, s->pages, pages);
    s->page_count = pages;
    return VLMP_OK;
}

static int place_prompt(vlmp_stream *s, const vlmp_sequence *prompt, vlmp_error *err)
{
    const vlmp_runtime *r = s->runtime;
    size_t length = (size_t)prompt->length;
    if (r->positions == NULL) return VLMP_OK;
    s->positions = vlmp_alloc(VLMP_POSITION_AXES * length, sizeof *s->positions);
    if (s->positions == NULL) return vlmp_fail_memory(err, "positions of a prompt");
    s->behind = vlmp_sequence_positions(prompt, &r->model->config, s->positions, length);
    return VLMP_OK;
}

static int embed_prompt(vlmp_stream *s, const vlmp_sequence *sequence, int length, vlmp_error *err)
{
    const vlmp_runtime *r = s->runtime;
    vlmp_sweep sweep = {.ctx = r->ctx,
                        .model = r->model,
                        .preprocess = r->preprocess,
                        .resident = &r->resident,
                        .sequences = sequence,
                        .data = r->data,
                        .work_folder = "/tmp",
                        .memory_limit = SIZE_MAX};
    vlmp_sequence prompt = *sequence;
    prompt.length = length;
    vlmp_activations pixels = {.fd = -1}, features = {.fd = -1};
    vlmp_batches tiles = {0}, rows = {0};
    VLMP_TRY(place_prompt(s, &prompt, err));
    r->ctx->ops->range(r->ctx, "encode");
    int status = vlmp_sweep_vision_input(&sweep, &prompt, 1, &pixels, &tiles, err);
    if (status == VLMP_OK && tiles.count > 0)
        status = vlmp_sweep_vision(&sweep, &pixels, &tiles, NULL, NULL, &features, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_text_input(&sweep, &prompt, 1, &features, &s->prompt, &rows, err);
    r->ctx->ops->range(r->ctx, NULL);
    vlmp_activations_free(&pixels);
    vlmp_activations_free(&features);
    vlmp_batches_free(&tiles);
    s->added = rows.added;
    rows.added = (vlmp_added_rows){0};
    vlmp_batches_free(&rows);
    return status;
}

int vlmp_stream_open(vlmp_runtime *r, const vlmp_sequence *sequence, int length, int max_new,
                     vlmp_stream **out, vlmp_error *err)
{
    int limit = r->model->config.text.max_positions;
    *out = NULL;
    if (length > limit || max_new > limit - length)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%d prompt tokens and %d new ones exceed the model's %d positions; shorten "
            "the prompt or lower --max-new-tokens",
            length, max_new, limit);
    int heads = r->model->text.shape.heads / r->model->text.shape.kv_heads;
    if (length + max_new > VLMP_MOST_SCORES / heads)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%d prompt tokens and %d new ones are more than the %d that are supported "
                         "where %d attention heads share a key; shorten the prompt or lower "
                         "--max-new-tokens",
                         length, max_new, VLMP_MOST_SCORES / heads, heads);
    if (r->open == r->limit) return VLMP_OK;
    vlmp_stream *s = vlmp_calloc(1, sizeof *s);
    if (s == NULL) return vlmp_fail_memory(err, "a sequence");
    *s = (vlmp_stream){.runtime = r, .prompt.fd = -1, .length = length, .line = sequence->line};
    bool got;
    int pages = (length + max_new + VLMP_PAGE_ROWS - 1) / VLMP_PAGE_ROWS;
    int status = take_pages(s, pages, &got, err);
    r->open++;
    if (status == VLMP_OK && got) status = embed_prompt(s, sequence, length, err);
    if (status != VLMP_OK || !got) {
        if (!got) s->page_count = 0;
        vlmp_stream_close(s);
        return status;
    }
    *out = s;
    return VLMP_OK;
}
