/* What implementations on the host's processor share: memory, steps, stores of keys and values. An
 * address is a pointer, an activation an F32, and nothing is deferred. */
#pragma once

#include <math.h>

#include "kernels/ops.h"

struct vlmp_step {
    vlmp_step_size size; /* that there is room for */
    int rows;
    int segment_count;
    vlmp_segment *segments;                 /* [size.segments] whose pages point into the step's */
    int32_t *pages;                         /* [size.pages] */
    int32_t *ids;                           /* [size.rows] */
    int32_t *positions[VLMP_POSITION_AXES]; /* [size.rows] */
};

/* Layer l, page p, row r of K and V start at ((l·pages + p)·page_rows + r)·kv_heads·head_dim. Of
 * 16-bit integers it holds what they stand for. */
struct vlmp_kv {
    vlmp_kv_shape shape;
    float *k, *v;
};

/* The scale of a row of 16-bit integers from its largest |x|, and what x is multiplied by before it
 * is rounded to even; NaN and 0 for a row that is not finite. */
static inline float vlmp_int16_scale(float largest, float *inverse)
{
    if (largest < 0x1p-100f) largest = 0x1p-100f; /* both are normal numbers */
    bool finite = largest <= 0x1.fffffep127f;
    *inverse = finite ? 32767 / largest : 0;
    return finite ? largest / 32767 : NAN;
}

/* The part of a layer in the store. */
static inline size_t vlmp_host_kv_layer(const vlmp_kv *kv, int layer)
{
    return (size_t)layer * (size_t)kv->shape.pages * (size_t)kv->shape.page_rows *
           (size_t)kv->shape.kv_heads * (size_t)kv->shape.head_dim;
}

/* The slot of a layer that holds row `row` of a sequence. */
static inline size_t vlmp_host_kv_slot(const vlmp_kv_shape *shape, const vlmp_segment *segment,
                                       int row)
{
    int page = row / shape->page_rows;
    size_t number = (size_t)(segment->pages != NULL ? segment->pages[page] : page);
    return number * (size_t)shape->page_rows + (size_t)(row % shape->page_rows);
}

/* Entries of vlmp_ops, with the contracts there. */
int vlmp_host_alloc(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err);
void vlmp_host_free(vlmp_ctx *ctx, void *at);
void vlmp_host_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes);
int vlmp_host_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err);
void vlmp_host_range(vlmp_ctx *ctx, const char *name); /* nobody watches */
int vlmp_host_sync(vlmp_ctx *ctx, vlmp_error *err);
void vlmp_host_write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count);
int vlmp_host_read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err);

/* Weights are read where they lie. */
int vlmp_host_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err);
void vlmp_host_release(vlmp_ctx *ctx, void *own);

int vlmp_host_step_create(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                          vlmp_error *err);
void vlmp_host_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows);
void vlmp_host_step_free(vlmp_ctx *ctx, vlmp_step *step);

/* Calls are made again. */
bool vlmp_host_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step);
void vlmp_host_replay_end(vlmp_ctx *ctx, vlmp_replay *replay);

int vlmp_host_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err);
void vlmp_host_kv_free(vlmp_ctx *ctx, vlmp_kv *kv);
size_t vlmp_host_kv_bytes(const vlmp_kv_shape *shape);
void vlmp_host_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                        const vlmp_step *step);

void vlmp_host_patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                        vlmp_f32 levels);
void vlmp_host_columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column,
                       int dim);
void vlmp_host_repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim);
void vlmp_host_gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                      vlmp_i32 from, int rows);
void vlmp_host_scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from,
                       vlmp_f32 w, int rows, int dim, bool add);

/* The entries above but for those of the store, for a table. */
#define VLMP_HOST_OPS                                                                         \
    .alloc = vlmp_host_alloc, .free = vlmp_host_free, .write = vlmp_host_write,               \
    .read = vlmp_host_read, .sync = vlmp_host_sync, .host = true, .range = vlmp_host_range,   \
    .write_act = vlmp_host_write_act, .read_act = vlmp_host_read_act,                         \
    .prepare = vlmp_host_prepare, .release = vlmp_host_release,                               \
    .step_create = vlmp_host_step_create, .step_set = vlmp_host_step_set,                     \
    .step_free = vlmp_host_step_free, .replay = vlmp_host_replay,                             \
    .replay_end = vlmp_host_replay_end, .replay_free = vlmp_host_replay_end,                  \
    .patchify = vlmp_host_patchify, .repeat = vlmp_host_repeat, .columns = vlmp_host_columns, \
    .gather = vlmp_host_gather, .scatter = vlmp_host_scatter
