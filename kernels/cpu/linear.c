#include <assert.h>
#include <string.h>

#include "kernels/cpu/bf16.h"
#include "src/base/half.h"

enum {
    SHARE_UNIT = 16, /* outputs: a cache line of one row of them has one writer */
    MAX_SHARED = 8,  /* products of one input that run as one batch */
};

/* How a product is computed. Many rows run on fixed grids, anchored at the call's first row and
 * output; rows of a tile share one conversion of its weights. Few rows run as one share of the
 * outputs a thread, so that each reads long streams of weights. Products of one batch have the same
 * way and, where rows are prepared, the same type of codes. */
enum way {
    DENSE_ROWS,  /* few rows */
    PACKED_ROWS, /* few rows; also int8 activations where tiles do not support the group */
    INT8_TILES,  /* many rows, int8 activations */
    FLOAT_TILES, /* many rows, F32 */
    BF16_TILES,  /* the same, rounded to BF16 */
};

struct products {
    const vlmp_cpu_ctx *cpu;
    const vlmp_cpu_kernels *kernels;
    enum way way;
    float *y[MAX_SHARED];
    const vlmp_linear *w[MAX_SHARED];
    int first_task[MAX_SHARED + 1]; /* or unit of outputs */
    int count;
    const float *x;
    int rows;
    bool add;                /* to what y holds */
    unsigned char *prepared; /* rows, stride apart */
    size_t stride;
};

/* A prepared row takes at most 4.5 bytes an input (8-bit codes with float activations), int8 rows
 * at most 2.5 with their sums (groups of 8). Chunks of rows use what there is, so the total is for
 * speed only: all rows at once. */
size_t vlmp_cpu_scratch_bytes(int rows, int k)
{
    size_t row = (size_t)k * 5 / 2 + 1024;
    size_t few = ((size_t)k * 9 / 2 + 1024) * VLMP_FEW_ROWS;
    size_t many = (size_t)rows * row;
    return (many > few ? many : few) + ((size_t)4 << 20);
}

static void add_bias(float *y, int rows, const vlmp_linear *w, int n0, int n1)
{
    if (w->bias == NULL) return;
    for (int row = 0; row < rows; row++)
        for (int n = n0; n < n1; n++)
            y[(size_t)row * (size_t)w->n + (size_t)n] += w->bias[n];
}

static void int8_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                      int thread)
{
    int rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows - row0);
    int n1 = vlmp_smaller(n0 + VLMP_TILE_COLUMNS, w->n);
    y += (size_t)row0 * (size_t)w->n;
    p->kernels->int8_tile(y, p->prepared + (size_t)row0 * p->stride, p->stride, rows, w, n0, n1,
                          vlmp_cpu_scratch_of(p->cpu, thread));
    add_bias(y, rows, w, n0, n1);
}

static void float_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                       int thread)
{
    int rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows - row0);
    int n1 = vlmp_smaller(n0 + VLMP_TILE_COLUMNS, w->n);
    y += (size_t)row0 * (size_t)w->n;
    p->kernels->float_tile(y, p->x + (size_t)row0 * (size_t)w->k, rows, w, n0, n1,
                           vlmp_cpu_scratch_of(p->cpu, thread));
    add_bias(y, rows, w, n0, n1);
}

static void bf16_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                      int thread)
{
    int rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows - row0);
    int n1 = vlmp_smaller(n0 + VLMP_TILE_COLUMNS, w->n);
    const void *pairs = p->prepared + (size_t)row0 * p->stride;
    y += (size_t)row0 * (size_t)w->n;
    p->cpu->bf16->linear_tile(y, pairs, p->stride / sizeof(uint32_t), rows, w, n0, n1, p->kernels,
                              vlmp_cpu_scratch_of(p->cpu, thread));
    add_bias(y, rows, w, n0, n1);
}

/* Of dense or prepared rows; few on each call, but the kernels take any number. */
static void few_rows(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                     int n1)
{
    int rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows - row0);
    y += (size_t)row0 * (size_t)w->n;
    if (p->way == DENSE_ROWS)
        p->kernels->dense_rows(y, p->x + (size_t)row0 * (size_t)w->k, rows, w, n0, n1);
    else
        p->kernels->packed_rows(y, p->prepared + (size_t)row0 * p->stride, p->stride, rows, w, n0,
                                n1);
    add_bias(y, rows, w, n0, n1);
}

static bool few(const struct products *p)
{
    return p->way == DENSE_ROWS || p->way == PACKED_ROWS;
}

/* Outputs n0 … n1−1 of a task's rows, which a product is about to replace. */
struct target {
    float *y;
    size_t stride;
    int rows, columns;
};

static void keep_tile(const struct target *t, float *kept)
{
    for (int row = 0; row < t->rows; row++)
        memcpy(kept + (size_t)row * (size_t)t->columns, t->y + (size_t)row * t->stride,
               (size_t)t->columns * sizeof *kept);
}

static void add_tile(const vlmp_cpu_kernels *kernels, const struct target *t, const float *kept)
{
    for (int row = 0; row < t->rows; row++)
        kernels->add(t->y + (size_t)row * t->stride, kept + (size_t)row * (size_t)t->columns,
                     t->columns);
}

static void run_tile(const struct products *p, int i, int row0, int n0, int n1, int thread)
{
    const vlmp_linear *w = p->w[i];
    switch (p->way) {
    case FLOAT_TILES:
        float_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case BF16_TILES:
        bf16_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case INT8_TILES:
        int8_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case DENSE_ROWS:
    case PACKED_ROWS:
        few_rows(p, p->y[i], w, row0, n0, n1);
        break;
    }
}

/* Rows row0 … of outputs n0 … n1−1, at most VLMP_THREAD_TILE bytes of them. */
static void run_outputs(const struct products *p, int i, int row0, int n0, int n1, int thread)
{
    size_t stride = (size_t)p->w[i]->n;
    struct target target = {.y = p->y[i] + (size_t)row0 * stride + (size_t)n0,
                            .stride = stride,
                            .rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows - row0),
                            .columns = n1 - n0};
    float *kept = vlmp_cpu_tile_of(p->cpu, thread);
    if (p->add) keep_tile(&target, kept);
    run_tile(p, i, row0, n0, n1, thread);
    if (p->add) add_tile(p->kernels, &target, kept);
}

static void tile_task(void *arg, int task, int thread)
{
    const struct products *p = arg;
    int i = 0;
    while (task >= p->first_task[i + 1])
        i++;
    task -= p->first_task[i];
    int row_tiles = vlmp_ceil_div(p->rows, VLMP_TILE_ROWS);
    int n0 = task / row_tiles * VLMP_TILE_COLUMNS;
    run_outputs(p, i, task % row_tiles * VLMP_TILE_ROWS, n0,
                vlmp_smaller(n0 + VLMP_TILE_COLUMNS, p->w[i]->n), thread);
}

/* Units first … end−1 of the batch's outputs. */
static void few_share(void *arg, int first, int end, int thread)
{
    const struct products *p = arg;
    int tile_rows = vlmp_smaller(VLMP_TILE_ROWS, p->rows);
    int columns = (int)(VLMP_THREAD_TILE / sizeof(float)) / tile_rows;
    for (int i = 0; i < p->count; i++) {
        int n = first > p->first_task[i] ? (first - p->first_task[i]) * SHARE_UNIT : 0;
        int n1 = vlmp_smaller((end - p->first_task[i]) * SHARE_UNIT, p->w[i]->n);
        for (; n < n1; n += columns)
            for (int row0 = 0; row0 < p->rows; row0 += VLMP_TILE_ROWS)
                run_outputs(p, i, row0, n, vlmp_smaller(n + columns, n1), thread);
    }
}

static void prepare_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct products *p = arg;
    const vlmp_linear *w = p->w[0];
    unsigned char *prepared = p->prepared + (size_t)task * p->stride;
    const float *x = p->x + (size_t)task * (size_t)w->k;
    if (p->way == INT8_TILES)
        p->kernels->tile_prepare_row(prepared, x, w);
    else if (p->way == BF16_TILES)
        p->cpu->bf16->pair_row((uint32_t *)(void *)prepared, x, w->k);
    else
        p->kernels->prepare_row(prepared, x, w);
}

static void run_products(struct products *p)
{
    if (p->stride > 0) vlmp_parallel_for(p->cpu->ctx.pool, p->rows, prepare_task, p);
    int row_tiles = few(p) ? 1 : vlmp_ceil_div(p->rows, VLMP_TILE_ROWS);
    int columns = few(p) ? SHARE_UNIT : VLMP_TILE_COLUMNS;
    p->first_task[0] = 0;
    for (int i = 0; i < p->count; i++)
        p->first_task[i + 1] = p->first_task[i] + row_tiles * vlmp_ceil_div(p->w[i]->n, columns);
    if (few(p))
        vlmp_parallel_shares(p->cpu->ctx.pool, p->first_task[p->count], few_share, p);
    else
        vlmp_parallel_for(p->cpu->ctx.pool, p->first_task[p->count], tile_task, p);
}

/* Runs a batch in chunks of rows that the scratch holds. Rows do not influence one another in these
 * ways, so chunks change no bit. */
static void run_batch(struct products *p)
{
    const vlmp_linear *w = p->w[0];
    if (p->way == INT8_TILES)
        p->stride = p->kernels->tile_prepared_bytes(w);
    else if (p->way == PACKED_ROWS)
        p->stride = p->kernels->prepared_bytes(w);
    else if (p->way == BF16_TILES)
        p->stride = ((size_t)w->k * 2 + 63) / 64 * 64;
    if (p->stride == 0) {
        run_products(p);
        return;
    }
    assert(p->stride <= p->cpu->scratch_bytes);
    p->prepared = p->cpu->scratch;
    size_t fit = p->cpu->scratch_bytes / p->stride;
    int all = p->rows;
    int chunk = fit < (size_t)all ? (int)fit : all;
    if (p->way == PACKED_ROWS) chunk = vlmp_smaller(chunk, VLMP_FEW_ROWS);
    for (int row = 0; row < all; row += chunk) {
        p->rows = vlmp_smaller(chunk, all - row);
        run_products(p);
        p->x += (size_t)p->rows * (size_t)w->k;
        for (int i = 0; i < p->count; i++)
            p->y[i] += (size_t)p->rows * (size_t)p->w[i]->n;
    }
}

/* Codes that stand for floats become F32 where they are read. */
static bool reads_as_dense(const vlmp_linear *w)
{
    return !vlmp_linear_quantized(w) ||
           (vlmp_codes_are_floats(w->scheme.codes) && !vlmp_linear_int8(w));
}

static enum way way_of(const vlmp_cpu_ctx *cpu, const vlmp_cpu_kernels *kernels, bool decode,
                       const vlmp_linear *w)
{
    if (!decode && !vlmp_linear_int8(w)) return cpu->bf16 != NULL ? BF16_TILES : FLOAT_TILES;
    if (reads_as_dense(w)) return DENSE_ROWS;
    if (!decode && kernels->tile_supports != NULL && kernels->tile_supports(w)) return INT8_TILES;
    return PACKED_ROWS;
}

static const vlmp_cpu_kernels *kernels_of(const vlmp_cpu_ctx *cpu, const vlmp_linear *w)
{
    if (reads_as_dense(w) || cpu->kernels->packed_supports(w)) return cpu->kernels;
    return &vlmp_cpu_portable;
}

/* Whether w can share the prepared input of the batch. */
static bool joins(const struct products *p, bool decode, const vlmp_linear *w)
{
    const vlmp_linear *first = p->w[0];
    if (p->count == MAX_SHARED || kernels_of(p->cpu, w) != p->kernels ||
        way_of(p->cpu, p->kernels, decode, w) != p->way)
        return false;
    if (p->way != PACKED_ROWS && p->way != INT8_TILES) return true;
    return w->scheme.codes == first->scheme.codes &&
           vlmp_linear_int8(w) == vlmp_linear_int8(first) &&
           (p->way != INT8_TILES || vlmp_linear_group(w) == vlmp_linear_group(first));
}

static void run_shared(const vlmp_cpu_ctx *cpu, float *const *y, const float *x, vlmp_rows rows,
                       const vlmp_linear *const *w, int count, bool add)
{
    if (rows.count <= 0) return;
    for (int next = 0; next < count;) {
        struct products p = {.cpu = cpu,
                             .kernels = kernels_of(cpu, w[next]),
                             .x = x,
                             .rows = rows.count,
                             .add = add};
        p.way = way_of(cpu, p.kernels, rows.decode, w[next]);
        do {
            assert(w[next]->k == w[0]->k);
            p.y[p.count] = y[next];
            p.w[p.count++] = w[next++];
        } while (next < count && joins(&p, rows.decode, w[next]));
        run_batch(&p);
    }
}

void vlmp_cpu_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                            const vlmp_linear *const *w, int count)
{
    float *outputs[MAX_SHARED];
    for (int first = 0; first < count; first += MAX_SHARED) {
        int some = vlmp_smaller(MAX_SHARED, count - first);
        for (int i = 0; i < some; i++)
            outputs[i] = y[first + i].at;
        run_shared(vlmp_cpu_of(ctx), outputs, x.at, rows, w + first, some, false);
    }
}

void vlmp_cpu_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    float *output = y.at;
    run_shared(vlmp_cpu_of(ctx), &output, x.at, rows, &w, 1, false);
}

void vlmp_cpu_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                         const vlmp_linear *w, bool add)
{
    run_shared(vlmp_cpu_of(ctx), &y.at, x.at, rows, &w, 1, add);
}

struct embed {
    const vlmp_cpu_ctx *cpu;
    float *y;
    const int32_t *ids;
    const vlmp_linear *table;
};

static void embed_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct embed *e = arg;
    assert(e->ids[task] >= 0 && e->ids[task] < e->table->n);
    kernels_of(e->cpu, e->table)
        ->weights_to_f32(e->y + (size_t)task * (size_t)e->table->k, e->table, e->ids[task], 0,
                         e->table->k);
}

void vlmp_cpu_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table)
{
    struct embed e = {vlmp_cpu_of(ctx), y.at, step->ids, table};
    vlmp_parallel_for(ctx->pool, step->rows, embed_task, &e);
}
