/* What stands behind the handles of weights, steps and stores of keys and values. */
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/internal.h"

static void free_weight(struct vlmp_hostile_weight *w)
{
    const void *const parts[] = {w->copy.weight, w->copy.codes, w->copy.high,
                                 w->copy.scales, w->copy.zeros, w->copy.bias};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        free((void *)(uintptr_t)parts[i]);
    free(w);
}

static void free_rows(vlmp_step_rows *rows)
{
    for (int s = 0; s < rows->segment_count; s++)
        free((void *)(uintptr_t)rows->segments[s].pages);
    for (int axis = 0; axis < VLMP_POSITION_AXES; axis++)
        free((void *)(uintptr_t)rows->positions[axis]);
    free((void *)(uintptr_t)rows->segments);
    free((void *)(uintptr_t)rows->ids);
    *rows = (vlmp_step_rows){0};
}

void vlmp_hostile_free_hidden(vlmp_ctx *ctx, const struct vlmp_hostile_area *area)
{
    if (area->kind == VLMP_HOSTILE_STORE) vlmp_host_kv_free(ctx, area->hidden);
    if (area->kind == VLMP_HOSTILE_WEIGHT) free_weight(area->hidden);
    if (area->kind != VLMP_HOSTILE_STEP) return;
    struct vlmp_hostile_step *step = area->hidden;
    vlmp_host_step_free(ctx, step->step);
    free_rows(&step->rows);
    free(step);
}

/* The parts of a weight that a context reads, and their bytes. */
enum { PARTS = 6 };

struct part {
    const void *at;
    size_t bytes;
};

static void list_parts(const vlmp_linear *w, struct part parts[PARTS])
{
    size_t n = (size_t)w->n;
    vlmp_packed_shape shape = {0};
    memset(parts, 0, PARTS * sizeof *parts);
    if (vlmp_linear_quantized(w))
        vlmp_packed_shape_of(&shape, w->n, w->k, &w->scheme);
    else
        parts[0] = (struct part){w->weight, n * (size_t)w->k * vlmp_dtype_size(w->dtype)};
    parts[1] = (struct part){w->codes, shape.parts[VLMP_PACKED_CODES].bytes};
    parts[2] = (struct part){w->scales, shape.parts[VLMP_PACKED_SCALES].bytes};
    parts[3] = (struct part){w->zeros, shape.parts[VLMP_PACKED_ZEROS].bytes};
    parts[4] = (struct part){w->bias, n * sizeof *w->bias};
    parts[5] = (struct part){w->high, shape.parts[VLMP_PACKED_HIGH].bytes};
}

int vlmp_hostile_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err)
{
    struct vlmp_hostile_weight *weight = vlmp_hostile_must(calloc(1, sizeof *weight));
    struct part parts[PARTS];
    vlmp_hostile_outside_replay(ctx, "prepare");
    list_parts(w, parts);
    weight->given = weight->copy = *w;
    for (int i = 0; i < PARTS; i++)
        if (parts[i].at != NULL) parts[i].at = vlmp_hostile_copy(parts[i].at, parts[i].bytes);
    weight->copy.weight = parts[0].at;
    weight->copy.codes = parts[1].at;
    weight->copy.scales = parts[2].at;
    weight->copy.zeros = parts[3].at;
    weight->copy.bias = parts[4].at;
    weight->copy.high = parts[5].at;
    w->own = vlmp_hostile_add_area(ctx, VLMP_HOSTILE_WEIGHT, 1, weight);
    if (w->own != NULL) return VLMP_OK;
    free_weight(weight);
    return vlmp_fail_memory(err, "a prepared weight");
}

const vlmp_linear *vlmp_hostile_weight(struct vlmp_hostile_call *call, const vlmp_linear *w)
{
    if (call->refused) return NULL;
    if (w->own == NULL) {
        vlmp_hostile_refuse(call, "a weight that was not prepared");
        return NULL;
    }
    const struct vlmp_hostile_area *area = vlmp_hostile_handle(call, VLMP_HOSTILE_WEIGHT, w->own);
    if (area == NULL) return NULL;
    const struct vlmp_hostile_weight *weight = area->hidden;
    if (w->n == weight->copy.n && w->k == weight->copy.k) return &weight->copy;
    vlmp_hostile_refuse(call, "a weight of %d × %d that was prepared as %d × %d", w->n, w->k,
                        weight->copy.n, weight->copy.k);
    return NULL;
}

/* The memory that was given must have stayed until now, for implementations that read it. */
void vlmp_hostile_release(vlmp_ctx *ctx, void *own)
{
    struct vlmp_hostile_call check = {.ctx = ctx, .name = "release"};
    const struct vlmp_hostile_area *area = vlmp_hostile_handle(&check, VLMP_HOSTILE_WEIGHT, own);
    struct part given[PARTS], copied[PARTS];
    if (area == NULL) return;
    const struct vlmp_hostile_weight *weight = area->hidden;
    list_parts(&weight->given, given);
    list_parts(&weight->copy, copied);
    for (int i = 0; i < PARTS; i++)
        if (given[i].at != NULL && memcmp(given[i].at, copied[i].at, given[i].bytes) != 0)
            vlmp_hostile_refuse(&check, "the weight's memory has changed since it was prepared");
    vlmp_hostile_drop(ctx, "release", VLMP_HOSTILE_WEIGHT, own);
}

int vlmp_hostile_step_create(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                             vlmp_error *err)
{
    struct vlmp_hostile_step *hidden = vlmp_hostile_must(calloc(1, sizeof *hidden));
    *step = NULL;
    hidden->size = *size;
    int status = vlmp_host_step_create(ctx, &hidden->step, size, err);
    if (status == VLMP_OK) *step = vlmp_hostile_add_area(ctx, VLMP_HOSTILE_STEP, 1, hidden);
    if (*step != NULL) return VLMP_OK;
    vlmp_host_step_free(ctx, hidden->step);
    free(hidden);
    return vlmp_fail_memory(err, "a step");
}

struct vlmp_hostile_step *vlmp_hostile_step(struct vlmp_hostile_call *call, const vlmp_step *step)
{
    const struct vlmp_hostile_area *area =
        call->refused ? NULL : vlmp_hostile_handle(call, VLMP_HOSTILE_STEP, step);
    return area != NULL ? area->hidden : NULL;
}

static vlmp_step_rows copy_rows(const vlmp_step_rows *from)
{
    vlmp_step_rows rows = *from;
    size_t bytes = (size_t)rows.rows * sizeof(int32_t);
    vlmp_segment *segments =
        vlmp_hostile_copy(from->segments, (size_t)rows.segment_count * sizeof *segments);
    for (int s = 0; s < rows.segment_count; s++)
        if (segments[s].pages != NULL)
            segments[s].pages = vlmp_hostile_copy(segments[s].pages,
                                                  (size_t)segments[s].page_count * sizeof(int32_t));
    rows.segments = segments;
    if (rows.ids != NULL) rows.ids = vlmp_hostile_copy(rows.ids, bytes);
    for (int axis = 0; axis < VLMP_POSITION_AXES; axis++)
        if (rows.positions[axis] != NULL)
            rows.positions[axis] = vlmp_hostile_copy(rows.positions[axis], bytes);
    return rows;
}

struct step_set {
    vlmp_step *step;
    vlmp_step_rows rows;
};

static void run_step_set(vlmp_ctx *ctx, void *args)
{
    struct step_set *a = args;
    vlmp_host_step_set(ctx, a->step, &a->rows);
    free_rows(&a->rows);
}

static void check_rows(struct vlmp_hostile_call *call, const vlmp_step_size *size,
                       const vlmp_step_rows *rows)
{
    int next = 0, pages = 0;
    for (int s = 0; s < rows->segment_count; s++) {
        const vlmp_segment *segment = &rows->segments[s];
        if (segment->first_row != next || segment->rows <= 0)
            vlmp_hostile_refuse(call, "segment %d does not begin where the one before ends", s);
        next += segment->rows;
        pages += segment->pages != NULL ? segment->page_count : 0;
    }
    if (next != rows->rows)
        vlmp_hostile_refuse(call, "segments of %d rows of %d", next, rows->rows);
    if (rows->rows > size->rows || rows->segment_count > size->segments || pages > size->pages)
        vlmp_hostile_refuse(call, "%d rows, %d segments, %d pages for a step of %d, %d, %d",
                            rows->rows, rows->segment_count, pages, size->rows, size->segments,
                            size->pages);
}

void vlmp_hostile_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows)
{
    struct vlmp_hostile_call *call = vlmp_hostile_queue(
        ctx, "step_set", run_step_set, &(struct step_set){0}, sizeof(struct step_set));
    struct vlmp_hostile_step *hidden = vlmp_hostile_step(call, step);
    struct step_set *a = call->args;
    vlmp_hostile_outside_replay(ctx, "step_set");
    if (hidden == NULL) return;
    check_rows(call, &hidden->size, rows);
    if (call->refused) return;
    *a = (struct step_set){hidden->step, copy_rows(rows)};
    free_rows(&hidden->rows);
    hidden->rows = copy_rows(rows);
}

void vlmp_hostile_step_free(vlmp_ctx *ctx, vlmp_step *step)
{
    if (step != NULL) vlmp_hostile_drop(ctx, "step_free", VLMP_HOSTILE_STEP, step);
}

int vlmp_hostile_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err)
{
    vlmp_kv *hidden;
    *kv = NULL;
    VLMP_TRY(vlmp_host_kv_create(ctx, &hidden, shape, err));
    /* Not-a-numbers, which a row that is read before it is written gives. */
    memset(hidden->k, 0xff, vlmp_host_kv_bytes(shape) / 2);
    memset(hidden->v, 0xff, vlmp_host_kv_bytes(shape) / 2);
    *kv = vlmp_hostile_add_area(ctx, VLMP_HOSTILE_STORE, 1, hidden);
    if (*kv != NULL) return VLMP_OK;
    vlmp_host_kv_free(ctx, hidden);
    return vlmp_fail_memory(err, "key/value store");
}

vlmp_kv *vlmp_hostile_store(struct vlmp_hostile_call *call, const vlmp_kv *kv)
{
    const struct vlmp_hostile_area *area =
        call->refused ? NULL : vlmp_hostile_handle(call, VLMP_HOSTILE_STORE, kv);
    return area != NULL ? area->hidden : NULL;
}

void vlmp_hostile_kv_free(vlmp_ctx *ctx, vlmp_kv *kv)
{
    if (kv != NULL) vlmp_hostile_drop(ctx, "kv_free", VLMP_HOSTILE_STORE, kv);
}
