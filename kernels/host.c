#include "kernels/host.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

int vlmp_host_alloc(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err)
{
    (void)ctx;
    *at = vlmp_calloc(bytes, 1);
    return *at != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
}

void vlmp_host_free(vlmp_ctx *ctx, void *at)
{
    (void)ctx;
    free(at);
}

void vlmp_host_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes)
{
    (void)ctx;
    if (bytes > 0) memcpy(to, from, bytes);
}

int vlmp_host_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err)
{
    (void)ctx, (void)err;
    if (bytes > 0) memcpy(to, from, bytes);
    return VLMP_OK;
}

void vlmp_host_range(vlmp_ctx *ctx, const char *name)
{
    (void)ctx, (void)name;
}

int vlmp_host_sync(vlmp_ctx *ctx, vlmp_error *err)
{
    (void)ctx, (void)err;
    return VLMP_OK;
}

void vlmp_host_write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count)
{
    vlmp_host_write(ctx, to.at, from, count * sizeof *from);
}

int vlmp_host_read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err)
{
    return vlmp_host_read(ctx, to, from.at, count * sizeof *to, err);
}

int vlmp_host_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err)
{
    (void)ctx, (void)w, (void)err;
    return VLMP_OK;
}

void vlmp_host_release(vlmp_ctx *ctx, void *own)
{
    (void)ctx, (void)own;
}

int vlmp_host_step_create(vlmp_ctx *ctx, vlmp_step **out, const vlmp_step_size *size,
                          vlmp_error *err)
{
    size_t rows = (size_t)size->rows;
    vlmp_step *step = vlmp_calloc(1, sizeof *step);
    *out = NULL;
    if (step == NULL) return vlmp_fail_memory(err, "a step");
    step->size = *size;
    step->segments = vlmp_alloc((size_t)size->segments, sizeof *step->segments);
    step->pages = vlmp_alloc((size_t)size->pages, sizeof *step->pages);
    step->ids = vlmp_alloc(rows, (1 + VLMP_POSITION_AXES) * sizeof *step->ids);
    for (size_t axis = 0; axis < VLMP_POSITION_AXES && step->ids != NULL; axis++)
        step->positions[axis] = step->ids + (1 + axis) * rows;
    if (step->segments == NULL || step->pages == NULL || step->ids == NULL) {
        vlmp_host_step_free(ctx, step);
        return vlmp_fail_memory(err, "a step");
    }
    *out = step;
    return VLMP_OK;
}

void vlmp_host_step_free(vlmp_ctx *ctx, vlmp_step *step)
{
    (void)ctx;
    if (step == NULL) return;
    free(step->segments);
    free(step->pages);
    free(step->ids);
    free(step);
}

bool vlmp_host_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step)
{
    (void)ctx, (void)replay, (void)step;
    return false;
}

void vlmp_host_replay_end(vlmp_ctx *ctx, vlmp_replay *replay)
{
    (void)ctx, (void)replay;
}

void vlmp_host_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *from)
{
    (void)ctx;
    size_t rows = (size_t)from->rows;
    int32_t *pages = step->pages;
    assert(from->rows <= step->size.rows && from->segment_count <= step->size.segments);
    step->rows = from->rows;
    step->segment_count = from->segment_count;
    for (int s = 0; s < from->segment_count; s++) {
        vlmp_segment *segment = &step->segments[s];
        *segment = from->segments[s];
        for (int r = 0; r < segment->rows; r++)
            step->positions[0][segment->first_row + r] = segment->position + r;
        if (segment->pages == NULL) continue;
        int count = segment->page_count;
        assert(pages + count <= step->pages + step->size.pages);
        memcpy(pages, segment->pages, (size_t)count * sizeof *pages);
        segment->pages = pages;
        pages += count;
    }
    for (int axis = 0; axis < VLMP_POSITION_AXES; axis++) {
        const int32_t *given = from->positions[axis];
        if (given == NULL) given = step->positions[0];
        if (given != step->positions[axis])
            memcpy(step->positions[axis], given, rows * sizeof *given);
    }
    if (from->ids != NULL) memcpy(step->ids, from->ids, rows * sizeof *step->ids);
}

size_t vlmp_host_kv_bytes(const vlmp_kv_shape *shape)
{
    return 2 * (size_t)shape->layers * (size_t)shape->pages * (size_t)shape->page_rows *
           (size_t)shape->kv_heads * (size_t)shape->head_dim * sizeof(float);
}

int vlmp_host_kv_create(vlmp_ctx *ctx, vlmp_kv **out, const vlmp_kv_shape *shape, vlmp_error *err)
{
    vlmp_kv *kv = vlmp_calloc(1, sizeof *kv);
    *out = NULL;
    if (kv == NULL) return vlmp_fail_memory(err, "key/value store");
    size_t half = vlmp_host_kv_bytes(shape) / 2;
    kv->shape = *shape;
    kv->k = vlmp_alloc(half, 1);
    kv->v = vlmp_alloc(half, 1);
    if (kv->k == NULL || kv->v == NULL) {
        vlmp_host_kv_free(ctx, kv);
        return vlmp_fail_memory(err, "key/value store");
    }
    *out = kv;
    return VLMP_OK;
}

void vlmp_host_kv_free(vlmp_ctx *ctx, vlmp_kv *kv)
{
    (void)ctx;
    if (kv == NULL) return;
    free(kv->k);
    free(kv->v);
    free(kv);
}

/* What 16-bit integers make of a row of a head. */
static void round_row(float *x, int dim)
{
    float largest = 0, inverse;
    for (int i = 0; i < dim; i++)
        if (!(fabsf(x[i]) <= largest) && !isnan(largest)) largest = fabsf(x[i]);
    float scale = vlmp_int16_scale(largest, &inverse);
    for (int i = 0; i < dim; i++)
        x[i] = rintf(x[i] * inverse) * scale;
}

void vlmp_host_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                        const vlmp_step *step)
{
    (void)ctx;
    size_t width = (size_t)kv->shape.kv_heads * (size_t)kv->shape.head_dim;
    const float *keys = k.at, *values = v.at;
    float *to_k = kv->k + vlmp_host_kv_layer(kv, layer);
    float *to_v = kv->v + vlmp_host_kv_layer(kv, layer);
    for (int s = 0; s < step->segment_count; s++) {
        const vlmp_segment *segment = &step->segments[s];
        for (int row = 0; row < segment->rows; row++) {
            size_t from = (size_t)(segment->first_row + row) * width;
            size_t to = vlmp_host_kv_slot(&kv->shape, segment, segment->position + row) * width;
            memcpy(to_k + to, keys + from, width * sizeof *keys);
            memcpy(to_v + to, values + from, width * sizeof *values);
            for (size_t i = 0; kv->shape.int16 && i < width; i += (size_t)kv->shape.head_dim) {
                round_row(to_k + to + i, kv->shape.head_dim);
                round_row(to_v + to + i, kv->shape.head_dim);
            }
        }
    }
}

void vlmp_host_patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                        vlmp_f32 levels)
{
    (void)ctx;
    size_t size = (size_t)patch, row_pixels = (size_t)width, across = row_pixels / size;
    float *out = y.at;
    for (size_t row = 0; row < (size_t)height / size * across; row++) {
        const uint8_t *corner =
            pixels.at + (row / across * size * row_pixels + row % across * size) * 3;
        for (size_t c = 0; c < 3; c++)
            for (size_t i = 0; i < size * size; i++)
                *out++ = levels.at[c * 256 + corner[(i / size * row_pixels + i % size) * 3 + c]];
    }
}

void vlmp_host_columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column,
                       int dim)
{
    (void)ctx;
    const float *in = (const float *)x.at + column;
    float *out = y.at;
    for (size_t i = 0; i < (size_t)rows; i++)
        memcpy(out + i * (size_t)dim, in + i * (size_t)x_dim, (size_t)dim * sizeof *out);
}

void vlmp_host_repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim)
{
    (void)ctx;
    size_t width = (size_t)dim;
    for (size_t i = 0; i < (size_t)rows; i++)
        memcpy(y.at + i * width, table.at + i % (size_t)period * width, width * sizeof *y.at);
}

void vlmp_host_gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                      vlmp_i32 from, int rows)
{
    (void)ctx;
    float *out = (float *)y.at + column;
    for (size_t i = 0; i < (size_t)rows; i++)
        memcpy(out + i * (size_t)y_dim, x.at + (size_t)from.at[i] * (size_t)x_dim,
               (size_t)x_dim * sizeof *out);
}

void vlmp_host_scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from,
                       vlmp_f32 w, int rows, int dim, bool add)
{
    (void)ctx;
    for (int i = 0; i < rows; i++) {
        const float *in = (const float *)x.at + (size_t)from.at[i] * (size_t)dim;
        float *out = y.at + (size_t)to.at[i] * (size_t)dim;
        float weight = w.at != NULL ? w.at[i] : 1.0f;
        for (int j = 0; j < dim; j++)
            out[j] = add ? out[j] + weight * in[j] : weight * in[j];
    }
}
