/* Attention of single rows (decoding) over pages of 16-bit integers. A task is a chunk of stored
 * rows of one key/value head, read once for all query heads of the group; what the chunks of a row
 * say is joined in their order. Chunks depend on the row's position alone. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/store.h"

enum {
    CHUNK_ROWS = 256, /* of stored rows, more where there would be too many chunks */
    MAX_CHUNKS = 32,
    /* Heads of a group from which on computing with a row takes longer than reading it. */
    BUSY_HEADS = 4,
};

struct rows {
    const vlmp_cpu_ctx *cpu;
    const vlmp_cpu_kv *kv;
    int layer;
    const vlmp_attention *a;
    const vlmp_segment *segments; /* first … end-1 of which are at work */
    int first, end;
    const float *q;
    float *y;
    int tasks;
    int group;       /* query heads of a key/value head */
    float *partials; /* of each segment in turn: [kv head][chunk][group]{sums[width]}, then as many
                      * {largest, total} */
};

/* The stored rows that a segment sees, in chunks. */
struct view {
    int first, end; /* rows */
    int chunk_rows;
    int first_chunk, chunks;
};

static struct view view_of(const vlmp_attention *a, const vlmp_segment *segment)
{
    struct view v = {.end = segment->position + 1};
    if (a->causal && a->window > 0 && v.end > a->window) v.first = v.end - a->window;
    v.chunk_rows = CHUNK_ROWS * vlmp_ceil_div(v.end, CHUNK_ROWS * MAX_CHUNKS);
    v.first_chunk = v.first / v.chunk_rows;
    v.chunks = vlmp_ceil_div(v.end, v.chunk_rows) - v.first_chunk;
    return v;
}

/* What chunk `chunk` of a key/value head says: Σ e^(s − largest)·v and Σ e^(s − largest) for each
 * head of its group. */
struct partial {
    float *sums;            /* [group][width] */
    float *largest, *total; /* [group] */
};

static size_t partial_floats(const struct rows *r)
{
    return (size_t)r->group * ((size_t)r->kv->width + 2);
}

static size_t segment_floats(const struct rows *r, const vlmp_segment *segment)
{
    int chunks = view_of(r->a, segment).chunks;
    return (size_t)(r->kv->host.shape.kv_heads * chunks) * partial_floats(r);
}

static struct partial partial_of(const struct rows *r, float *of_segment, const struct view *view,
                                 int kv_head, int chunk)
{
    size_t index = (size_t)kv_head * (size_t)view->chunks + (size_t)chunk;
    float *sums = of_segment + index * partial_floats(r);
    float *largest = sums + (size_t)r->group * (size_t)r->kv->width;
    return (struct partial){sums, largest, largest + r->group};
}

/* Stored rows of a head that lie on one page. */
struct run {
    size_t slot;
    int count;
};

/* The rows from `row` to the end of its page or to `end`. */
static struct run run_of(const struct rows *r, const vlmp_segment *segment, int kv_head, int row,
                         int end)
{
    const vlmp_kv_shape *shape = &r->kv->host.shape;
    int page_end = (row / shape->page_rows + 1) * shape->page_rows;
    return (struct run){vlmp_int16_slot(shape, r->layer, segment, kv_head, row),
                        vlmp_smaller(page_end, end) - row};
}

/* The block of keys, or its rows of values, that holds row `slot`. */
static const int16_t *block_at(const struct rows *r, const vlmp_int16_rows *rows, size_t slot)
{
    return rows->rows + (slot - slot % VLMP_INT16_UNIT) * (size_t)r->kv->width;
}

static vlmp_int16_keys keys_of(const struct rows *r, const struct run *run)
{
    size_t skip = run->slot % VLMP_INT16_UNIT;
    return (vlmp_int16_keys){.rows = block_at(r, &r->kv->k, run->slot),
                             .scales = r->kv->k.scales + (run->slot - skip),
                             .skip = (int)skip,
                             .count = run->count,
                             .dim = r->kv->host.shape.head_dim,
                             .width = r->kv->width};
}

/* A task: chunk `chunk` of a key/value head. */
struct chunk {
    int task;
    const vlmp_segment *segment;
    struct view view;
    int kv_head;
    int start;      /* its first row, were all visible */
    int first, end; /* visible rows */
};

/* The chunk with number `index` among those of a segment, head after head. */
static struct chunk chunk_of(const struct rows *r, const vlmp_segment *segment, int index)
{
    struct chunk c = {.segment = segment, .view = view_of(r->a, segment)};
    c.kv_head = index / c.view.chunks;
    c.start = (c.view.first_chunk + index % c.view.chunks) * c.view.chunk_rows;
    c.first = c.start > c.view.first ? c.start : c.view.first;
    c.end = vlmp_smaller(c.start + c.view.chunk_rows, c.view.end);
    return c;
}

/* Keys of the chunk that this thread is likely to get next, beside the values from `row` of this
 * one; NULL where they are not as many. */
static const int16_t *keys_ahead(const struct rows *r, const struct chunk *c,
                                 const struct chunk *next, int row, int count)
{
    int from = next->start + (row - c->start);
    if (next->kv_head >= r->kv->host.shape.kv_heads || from < next->first ||
        from + count > next->end)
        return NULL;
    struct run run = run_of(r, c->segment, next->kv_head, from, from + count);
    return run.count == count ? block_at(r, &r->kv->k, run.slot) : NULL;
}

/* The codes of a weight or their first plane, or itself. */
static const unsigned char *bytes_of(const vlmp_linear *w, size_t *bytes)
{
    bool quantized = vlmp_linear_quantized(w);
    *bytes =
        (size_t)w->n * (quantized ? vlmp_codes_row_bytes(w->k, vlmp_code_low_bits(w->scheme.codes))
                                  : (size_t)w->k * vlmp_dtype_size(w->dtype));
    return quantized ? w->codes : w->weight;
}

/* The part of the weights behind attention that arrives while scores (or sums) from row `row` of
 * the chunk are computed: memory would idle. All parts together cover the weights, or are spread
 * evenly over them. */
static const void *weights_ahead(const struct rows *r, const struct chunk *c, int row, bool sums)
{
    if (r->group < BUSY_HEADS || r->a->next == NULL) return NULL;
    size_t bytes, row_bytes = (size_t)r->kv->width * sizeof(int16_t);
    const unsigned char *weights = bytes_of(r->a->next, &bytes);
    size_t all = (size_t)r->tasks * CHUNK_ROWS * row_bytes;
    size_t at = ((size_t)c->task * CHUNK_ROWS + (size_t)(row - c->start)) * row_bytes;
    if (sums) at += all;
    if (bytes > 2 * all) at *= bytes / (2 * all);
    return at < bytes ? weights + at : NULL;
}

_Static_assert(VLMP_MOST_SCORES / MAX_CHUNKS * sizeof(float) <= VLMP_THREAD_SCRATCH,
               "a chunk's scores fit a thread's scratch");

static void attend_chunk(const struct rows *r, const struct chunk *c, const struct chunk *next,
                         const struct partial *out, float *scratch)
{
    const vlmp_cpu_kernels *kernels = r->cpu->kernels;
    const vlmp_int16_rows *v = &r->kv->v;
    size_t first_head = (size_t)(c->segment->first_row * r->a->heads + c->kv_head * r->group);
    const float *q = r->q + first_head * (size_t)r->kv->host.shape.head_dim;
    int width = r->kv->width, count = c->end - c->first;
    size_t stride = (size_t)c->view.chunk_rows, floats = (size_t)r->group * (size_t)width;
    float *scores = scratch;
    struct run run;
    assert((size_t)r->group * stride * sizeof *scores <= VLMP_THREAD_SCRATCH);
    for (int row = c->first; row < c->end; row += run.count) {
        run = run_of(r, c->segment, c->kv_head, row, c->end);
        vlmp_int16_keys keys = keys_of(r, &run);
        const vlmp_ahead ahead = {block_at(r, v, run.slot), weights_ahead(r, c, row, false)};
        kernels->int16_scores(scores + (row - c->first), stride, r->a->scale, q, r->group, &keys,
                              &ahead);
    }
    for (int h = 0; h < r->group; h++) {
        float *s = scores + (size_t)h * stride;
        out->largest[h] = kernels->largest(s, count);
        out->total[h] = kernels->exp_sum(s, out->largest[h], count);
    }
    memset(out->sums, 0, floats * sizeof *out->sums);
    for (int row = c->first; row < c->end; row += run.count) {
        run = run_of(r, c->segment, c->kv_head, row, c->end);
        const vlmp_ahead ahead = {keys_ahead(r, c, next, row, run.count),
                                  weights_ahead(r, c, row, true)};
        kernels->int16_sums(out->sums, scores + (row - c->first), stride, r->group,
                            v->rows + run.slot * (size_t)width, v->scales + run.slot, run.count,
                            width, &ahead);
    }
}

static void chunk_task(void *arg, int task, int thread)
{
    const struct rows *r = arg;
    float *partials = r->partials;
    int number = task;
    for (int s = r->first;; s++) {
        const vlmp_segment *segment = &r->segments[s];
        if (segment->rows != 1) continue;
        int chunks = view_of(r->a, segment).chunks;
        int tasks = chunks * r->kv->host.shape.kv_heads;
        if (task < tasks) {
            struct chunk c = chunk_of(r, segment, task);
            c.task = number;
            struct chunk next = chunk_of(r, segment, task + vlmp_pool_threads(r->cpu->ctx.pool));
            struct partial out = partial_of(r, partials, &c.view, task / chunks, task % chunks);
            attend_chunk(r, &c, &next, &out, vlmp_cpu_scratch_of(r->cpu, thread));
            return;
        }
        task -= tasks;
        partials += segment_floats(r, segment);
    }
}

/* y of one head from its chunks. */
static void join_head(const struct rows *r, float *y, const struct view *view, float *of_segment,
                      int head)
{
    const vlmp_cpu_kernels *kernels = r->cpu->kernels;
    int dim = r->kv->host.shape.head_dim, kv_head = head / r->group, h = head % r->group;
    float weights[MAX_CHUNKS], largest = -INFINITY, total = 0;
    for (int chunk = 0; chunk < view->chunks; chunk++)
        largest = fmaxf(largest, partial_of(r, of_segment, view, kv_head, chunk).largest[h]);
    for (int chunk = 0; chunk < view->chunks; chunk++) {
        struct partial p = partial_of(r, of_segment, view, kv_head, chunk);
        weights[chunk] = expf(p.largest[h] - largest);
        total += weights[chunk] * p.total[h];
    }
    const float *sums = partial_of(r, of_segment, view, kv_head, 0).sums;
    memset(y, 0, (size_t)dim * sizeof *y);
    kernels->weighted_sum(y, 0, weights, sums + (size_t)h * (size_t)r->kv->width, partial_floats(r),
                          view->chunks, dim);
    kernels->scale(y, 1 / total, dim);
}

static void join_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct rows *r = arg;
    float *partials = r->partials;
    int s = r->first, kv_heads = r->kv->host.shape.kv_heads;
    int segment = task / kv_heads, kv_head = task % kv_heads;
    for (; r->segments[s].rows != 1 || segment-- > 0; s++)
        if (r->segments[s].rows == 1) partials += segment_floats(r, &r->segments[s]);
    struct view view = view_of(r->a, &r->segments[s]);
    size_t dim = (size_t)r->kv->host.shape.head_dim;
    float *y = r->y + (size_t)r->segments[s].first_row * (size_t)r->a->heads * dim;
    for (int head = kv_head * r->group; head < (kv_head + 1) * r->group; head++)
        join_head(r, y + (size_t)head * dim, &view, partials, head);
}

/* Segments from r->first on as far as the scratch goes: sets r->end and r->tasks, returns how many
 * they are. Segments do not influence one another. */
static int gather(struct rows *r, int segment_count)
{
    size_t room = r->cpu->scratch_bytes / sizeof(float);
    int count = 0;
    r->tasks = 0;
    for (r->end = r->first; r->end < segment_count; r->end++) {
        const vlmp_segment *segment = &r->segments[r->end];
        if (segment->rows != 1) continue;
        size_t floats = segment_floats(r, segment);
        if (floats > room) break;
        room -= floats;
        r->tasks += view_of(r->a, segment).chunks * r->kv->host.shape.kv_heads;
        count++;
    }
    return count;
}

void vlmp_cpu_attend_rows(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv, int layer,
                          const vlmp_attention *a, const vlmp_step *step)
{
    const vlmp_cpu_ctx *cpu = vlmp_cpu_of(ctx);
    struct rows r = {.cpu = cpu,
                     .kv = vlmp_cpu_kv_of(kv),
                     .layer = layer,
                     .a = a,
                     .segments = step->segments,
                     .q = q,
                     .y = y,
                     .group = a->heads / kv->shape.kv_heads,
                     .partials = (float *)(void *)cpu->scratch};
    for (; r.first < step->segment_count; r.first = r.end) {
        int count = gather(&r, step->segment_count);
        assert(r.end > r.first);
        vlmp_parallel_for(ctx->pool, r.tasks, chunk_task, &r);
        vlmp_parallel_for(ctx->pool, count * kv->shape.kv_heads, join_task, &r);
    }
}
