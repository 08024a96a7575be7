/* Attention by tiles with online softmax. A tile is TILE_QUERIES rows of one segment and one head;
 * it walks over blocks of BLOCK_KEYS stored rows, which start at multiples of BLOCK_KEYS whatever
 * the page layout, so results do not depend on pages either. Segments of one row over 16-bit
 * integers are attend_rows.c's. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/cpu/store.h"

enum { TILE_QUERIES = 64, BLOCK_KEYS = 128, FEW_QUERIES = 4 };

struct attention {
    const vlmp_cpu_ctx *cpu;
    float *y;
    const float *q;
    const vlmp_kv *store;
    const vlmp_kv_shape *kv;
    int layer;
    const vlmp_attention *a;
    const vlmp_segment *segments;
};

/* One tile's state; score and sums live in the thread's scratch. */
struct tile {
    const struct attention *args;
    const vlmp_segment *segment;
    int head;
    int row0; /* in the segment */
    int rows;
    float *sums;     /* [rows][head_dim] */
    float *scores;   /* [rows][BLOCK_KEYS] */
    float *gathered; /* 2·[BLOCK_KEYS][head_dim] */
    float largest[TILE_QUERIES];
    float total[TILE_QUERIES];
};

static int kv_head_of(const struct tile *t)
{
    return t->head / (t->args->a->heads / t->args->kv->kv_heads);
}

/* Rows of a store of 16-bit integers. */
static void expand_values(const struct tile *t, int first, int count, float *out)
{
    const struct attention *args = t->args;
    const vlmp_cpu_kv *kv = vlmp_cpu_kv_of(args->store);
    for (int i = 0; i < count; i++, out += args->kv->head_dim) {
        size_t slot = vlmp_int16_slot(args->kv, args->layer, t->segment, kv_head_of(t), first + i);
        args->cpu->kernels->from_int16(out, kv->v.rows + slot * (size_t)kv->width,
                                       kv->v.scales[slot], args->kv->head_dim);
    }
}

static void expand_keys(const struct tile *t, int first, int count, float *out)
{
    const struct attention *args = t->args;
    const vlmp_cpu_kv *kv = vlmp_cpu_kv_of(args->store);
    int dim = args->kv->head_dim, page_rows = args->kv->page_rows;
    for (int i = 0, block; i < count; i += block, out += block * dim) {
        int row = first + i;
        size_t slot = vlmp_int16_slot(args->kv, args->layer, t->segment, kv_head_of(t), row);
        const int16_t *key = vlmp_int16_key(kv, slot);
        int left = vlmp_smaller(count - i, page_rows - row % page_rows);
        bool whole = slot % VLMP_INT16_UNIT == 0 && left >= VLMP_INT16_UNIT;
        block = whole ? VLMP_INT16_UNIT : 1;
        if (whole)
            args->cpu->kernels->keys_to_f32(out, key, kv->k.scales + slot, dim);
        else
            for (int j = 0; j < dim; j++)
                out[j] = (float)key[j * VLMP_INT16_UNIT] * kv->k.scales[slot];
    }
}

/* Keys or values of stored rows first … of the tile's head: a pointer into the store where they are
 * consecutive there (sets *stride), else a copy. */
static const float *rows_of(const struct tile *t, bool values, int first, int count, float *copy,
                            size_t *stride)
{
    const vlmp_kv_shape *kv = t->args->kv;
    size_t width = (size_t)kv->kv_heads * (size_t)kv->head_dim;
    if (kv->int16) {
        *stride = (size_t)kv->head_dim;
        (values ? expand_values : expand_keys)(t, first, count, copy);
        return copy;
    }
    const float *base = (values ? t->args->store->v : t->args->store->k) +
                        vlmp_host_kv_layer(t->args->store, t->args->layer) +
                        (size_t)kv_head_of(t) * (size_t)kv->head_dim;
    size_t slot = vlmp_host_kv_slot(kv, t->segment, first);
    bool consecutive = true;
    for (int row = first / kv->page_rows * kv->page_rows + kv->page_rows; row < first + count;
         row += kv->page_rows)
        consecutive &= vlmp_host_kv_slot(kv, t->segment, row) == slot + (size_t)(row - first);
    *stride = width;
    if (consecutive) return base + slot * width;
    *stride = (size_t)kv->head_dim;
    for (int i = 0; i < count; i++)
        memcpy(copy + (size_t)i * *stride,
               base + vlmp_host_kv_slot(kv, t->segment, first + i) * width, *stride * sizeof *copy);
    return copy;
}

/* The stored rows first ≤ j < end that a row of the segment sees. */
static void visible(const struct attention *args, const vlmp_segment *segment, int row, int *first,
                    int *end)
{
    int position = segment->position + row;
    int window = args->a->causal ? args->a->window : 0;
    *end = args->a->causal ? position + 1 : segment->position + segment->rows;
    *first = window > 0 && position >= window ? position - window + 1 : 0;
}

/* Turns a row of scores for stored rows block … block+keys-1 into weights; returns the factor for
 * what was summed before. */
static float soften(struct tile *t, int i, int block, int keys)
{
    const vlmp_cpu_kernels *kernels = t->args->cpu->kernels;
    float *scores = t->scores + (size_t)i * BLOCK_KEYS;
    int first, end;
    visible(t->args, t->segment, t->row0 + i, &first, &end);
    first = first > block ? first - block : 0;
    end = end < block + keys ? end - block : keys;
    if (first >= end) {
        memset(scores, 0, (size_t)keys * sizeof *scores);
        return 1;
    }
    float largest = fmaxf(t->largest[i], kernels->largest(scores + first, end - first));
    float factor = t->total[i] == 0 ? 0 : expf(t->largest[i] - largest);
    float sum = kernels->exp_sum(scores + first, largest, end - first);
    memset(scores, 0, (size_t)first * sizeof *scores);
    memset(scores + end, 0, (size_t)(keys - end) * sizeof *scores);
    t->largest[i] = largest;
    t->total[i] = t->total[i] * factor + sum;
    return factor;
}

static void add_block(struct tile *t, int block, int keys)
{
    const struct attention *args = t->args;
    const vlmp_cpu_kernels *kernels = args->cpu->kernels;
    int dim = args->kv->head_dim;
    int width = args->a->heads * dim;
    const float *q = args->q + (size_t)(t->segment->first_row + t->row0) * (size_t)width +
                     (size_t)t->head * (size_t)dim;
    size_t k_stride, v_stride;
    const float *k = rows_of(t, false, block, keys, t->gathered, &k_stride);
    const float *v =
        rows_of(t, true, block, keys, t->gathered + (size_t)BLOCK_KEYS * (size_t)dim, &v_stride);
    if (t->rows <= FEW_QUERIES) {
        for (int i = 0; i < t->rows; i++) {
            float *scores = t->scores + (size_t)i * BLOCK_KEYS;
            kernels->dots(scores, args->a->scale, q + (size_t)i * (size_t)width, k, k_stride, keys,
                          dim);
            float factor = soften(t, i, block, keys);
            kernels->weighted_sum(t->sums + (size_t)i * (size_t)dim, factor, scores, v, v_stride,
                                  keys, dim);
        }
        return;
    }
    vlmp_sgemm(args->cpu->blas, false, true, t->rows, keys, dim, args->a->scale, q, width, k,
               (int)k_stride, 0, t->scores, BLOCK_KEYS);
    for (int i = 0; i < t->rows; i++) {
        float factor = soften(t, i, block, keys);
        if (factor != 1) kernels->scale(t->sums + (size_t)i * (size_t)dim, factor, dim);
    }
    vlmp_sgemm(args->cpu->blas, false, false, t->rows, dim, keys, 1, t->scores, BLOCK_KEYS, v,
               (int)v_stride, 1, t->sums, dim);
}

static void run_tile(struct tile *t)
{
    const struct attention *args = t->args;
    size_t dim = (size_t)args->kv->head_dim;
    memset(t->sums, 0, (size_t)t->rows * dim * sizeof *t->sums);
    for (int i = 0; i < t->rows; i++) {
        t->largest[i] = -INFINITY;
        t->total[i] = 0;
    }
    int first, end, unused;
    visible(args, t->segment, t->row0, &first, &unused);
    visible(args, t->segment, t->row0 + t->rows - 1, &unused, &end);
    for (int block = first / BLOCK_KEYS * BLOCK_KEYS; block < end; block += BLOCK_KEYS)
        add_block(t, block, end - block < BLOCK_KEYS ? end - block : BLOCK_KEYS);
    for (int i = 0; i < t->rows; i++) {
        size_t row = (size_t)(t->segment->first_row + t->row0 + i);
        float *y = args->y + (row * (size_t)args->a->heads + (size_t)t->head) * dim;
        memcpy(y, t->sums + (size_t)i * dim, dim * sizeof *y);
        args->cpu->kernels->scale(y, 1 / t->total[i], (int)dim);
    }
}

static int tiles_of(const struct attention *args, const vlmp_segment *segment)
{
    if (args->kv->int16 && segment->rows == 1) return 0;
    return (segment->rows + TILE_QUERIES - 1) / TILE_QUERIES;
}

static void attention_task(void *arg, int task, int thread)
{
    const struct attention *args = arg;
    int s = 0;
    while (task >= tiles_of(args, &args->segments[s]) * args->a->heads)
        task -= tiles_of(args, &args->segments[s++]) * args->a->heads;
    const vlmp_segment *segment = &args->segments[s];
    size_t dim = (size_t)args->kv->head_dim;
    float *scratch = vlmp_cpu_scratch_of(args->cpu, thread);
    /* The last tiles of a causal segment see the most rows: they go first. */
    int tile = tiles_of(args, segment) - 1 - task / args->a->heads;
    struct tile t = {
        .args = args,
        .segment = segment,
        .head = task % args->a->heads,
        .row0 = tile * TILE_QUERIES,
        .scores = scratch,
        .sums = scratch + TILE_QUERIES * BLOCK_KEYS,
        .gathered = scratch + TILE_QUERIES * BLOCK_KEYS + TILE_QUERIES * dim,
    };
    t.rows = segment->rows - t.row0 < TILE_QUERIES ? segment->rows - t.row0 : TILE_QUERIES;
    run_tile(&t);
}

void vlmp_cpu_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                        const vlmp_attention *a, const vlmp_step *step)
{
    assert(a->heads % kv->shape.kv_heads == 0);
    assert(
        (TILE_QUERIES * BLOCK_KEYS + (TILE_QUERIES + 2 * BLOCK_KEYS) * (size_t)kv->shape.head_dim) *
            sizeof(float) <=
        VLMP_THREAD_SCRATCH);
    struct attention args = {vlmp_cpu_of(ctx), y.at,  q.at, kv,
                             &kv->shape,       layer, a,    step->segments};
    int tasks = 0;
    for (int s = 0; s < step->segment_count; s++)
        tasks += tiles_of(&args, &step->segments[s]) * a->heads;
    if (kv->shape.int16) vlmp_cpu_attend_rows(ctx, y.at, q.at, kv, layer, a, step);
    vlmp_parallel_for(ctx->pool, tasks, attention_task, &args);
}
