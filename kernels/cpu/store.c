#include "kernels/cpu/store.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

static int width_of(const vlmp_kv_shape *shape)
{
    return vlmp_ceil_div(shape->head_dim, VLMP_INT16_UNIT) * VLMP_INT16_UNIT;
}

static size_t rows_of(const vlmp_kv_shape *shape)
{
    return (size_t)shape->layers * (size_t)shape->pages * (size_t)shape->kv_heads *
           vlmp_int16_page(shape);
}

size_t vlmp_cpu_kv_bytes(const vlmp_kv_shape *shape)
{
    if (!shape->int16) return vlmp_host_kv_bytes(shape);
    return 2 * rows_of(shape) * ((size_t)width_of(shape) * sizeof(int16_t) + sizeof(float));
}

static bool create_rows(vlmp_int16_rows *out, const vlmp_kv_shape *shape)
{
    out->rows = vlmp_alloc_large(rows_of(shape), (size_t)width_of(shape) * sizeof *out->rows);
    out->scales = vlmp_alloc(rows_of(shape), sizeof *out->scales);
    return out->rows != NULL && out->scales != NULL;
}

int vlmp_cpu_kv_create(vlmp_ctx *ctx, vlmp_kv **out, const vlmp_kv_shape *shape, vlmp_error *err)
{
    if (!shape->int16) return vlmp_host_kv_create(ctx, out, shape, err);
    vlmp_cpu_kv *kv = vlmp_calloc(1, sizeof *kv);
    *out = NULL;
    if (kv == NULL) return vlmp_fail_memory(err, "key/value store");
    kv->host.shape = *shape;
    kv->width = width_of(shape);
    if (!create_rows(&kv->k, shape) || !create_rows(&kv->v, shape)) {
        vlmp_cpu_kv_free(ctx, &kv->host);
        return vlmp_fail_memory(err, "key/value store");
    }
    *out = &kv->host;
    return VLMP_OK;
}

void vlmp_cpu_kv_free(vlmp_ctx *ctx, vlmp_kv *kv)
{
    if (kv != NULL && kv->shape.int16) {
        const vlmp_cpu_kv *own = vlmp_cpu_kv_of(kv);
        free(own->k.rows);
        free(own->k.scales);
        free(own->v.rows);
        free(own->v.scales);
    }
    vlmp_host_kv_free(ctx, kv);
}

struct write {
    const vlmp_cpu_ctx *cpu;
    const vlmp_kv *kv;
    int layer;
    const float *k, *v;
    const vlmp_step *step;
    int block; /* rows of a task */
};

/* scratch [width] */
static void write_int16(const struct write *w, const float *k, const float *v,
                        const vlmp_segment *segment, int row, int16_t *scratch)
{
    const vlmp_cpu_kv *kv = vlmp_cpu_kv_of(w->kv);
    const vlmp_cpu_kernels *kernels = w->cpu->kernels;
    int heads = kv->host.shape.kv_heads, dim = kv->host.shape.head_dim, width = kv->width;
    for (int head = 0; head < heads; head++, k += dim, v += dim) {
        size_t slot = vlmp_int16_slot(&kv->host.shape, w->layer, segment, head, row);
        int16_t *key = vlmp_int16_key(kv, slot), *value = kv->v.rows + slot * (size_t)width;
        kv->v.scales[slot] = kernels->to_int16(value, v, dim, width);
        kv->k.scales[slot] = kernels->to_int16(scratch, k, dim, width);
        for (int i = 0; i < dim; i++)
            key[i * VLMP_INT16_UNIT] = scratch[i];
    }
}

static void write_row(const struct write *w, const vlmp_segment *segment, int row, void *scratch)
{
    const vlmp_kv_shape *shape = &w->kv->shape;
    size_t width = (size_t)shape->kv_heads * (size_t)shape->head_dim;
    size_t from = (size_t)row * width;
    int stored = segment->position + row - segment->first_row;
    if (shape->int16) {
        write_int16(w, w->k + from, w->v + from, segment, stored, scratch);
        return;
    }
    size_t to =
        vlmp_host_kv_layer(w->kv, w->layer) + vlmp_host_kv_slot(shape, segment, stored) * width;
    memcpy(w->kv->k + to, w->k + from, width * sizeof *w->k);
    memcpy(w->kv->v + to, w->v + from, width * sizeof *w->v);
}

static void write_task(void *arg, int task, int thread)
{
    const struct write *w = arg;
    void *scratch = vlmp_cpu_scratch_of(w->cpu, thread);
    const vlmp_segment *segment = w->step->segments;
    int end = vlmp_smaller((task + 1) * w->block, w->step->rows);
    for (int row = task * w->block; row < end; row++) {
        while (row >= segment->first_row + segment->rows)
            segment++;
        write_row(w, segment, row, scratch);
    }
}

void vlmp_cpu_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                       const vlmp_step *step)
{
    int block = vlmp_block_rows(kv->shape.kv_heads * kv->shape.head_dim);
    struct write w = {vlmp_cpu_of(ctx), kv, layer, k.at, v.at, step, block};
    vlmp_parallel_for(ctx->pool, vlmp_ceil_div(step->rows, block), write_task, &w);
}
