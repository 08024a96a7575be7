#include <assert.h>

#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"
#include "src/base/half.h"

/* Fixed grids, anchored at the call's first row and output. Rows of a tile share one conversion of
 * its weights; COLUMNS × PANEL floats of them fit a core's L2 cache. */
enum {
    TILE_ROWS = 256,
    TILE_COLUMNS = 128,
    TILE_PANEL = 1024,
    OWN_TILE_ROWS = 512, /* of float_tile and int8_tile */
    FEW_BLOCK = 64,
    MAX_SHARED = 8, /* products of one input that run as one batch */
};

/* How a product is computed. Products of one batch have the same way and, where rows are prepared,
 * the same type of codes. */
enum way {
    DENSE_ROWS,  /* few rows */
    PACKED_ROWS, /* few rows; also int8 activations where tiles do not support the group */
    INT8_TILES,  /* many rows, int8 activations */
    FLOAT_TILES, /* many rows, F32 */
    BLAS_TILES,  /* the same where the level has no kernel of its own */
};

struct products {
    vlmp_ctx *ctx;
    const vlmp_cpu_kernels *kernels;
    enum way way;
    float *y[MAX_SHARED];
    const vlmp_linear *w[MAX_SHARED];
    int first_task[MAX_SHARED + 1];
    int count;
    const float *x;
    int rows;
    unsigned char *prepared; /* rows, stride apart */
    size_t stride;
};

static int ceil_div(int a, int b)
{
    return a / b + (a % b != 0);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

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

static unsigned char *thread_scratch(const vlmp_ctx *ctx, int thread)
{
    return ctx->thread_scratch + (size_t)thread * VLMP_THREAD_SCRATCH;
}

static void blas_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                      int thread)
{
    int rows = smaller(TILE_ROWS, p->rows - row0);
    int columns = smaller(TILE_COLUMNS, w->n - n0);
    float *tile = (float *)(void *)thread_scratch(p->ctx, thread);
    y += (size_t)row0 * (size_t)w->n;
    for (int k0 = 0; k0 < w->k; k0 += TILE_PANEL) {
        int depth = smaller(TILE_PANEL, w->k - k0);
        for (int n = 0; n < columns; n++)
            p->kernels->weights_to_f32(tile + (size_t)n * (size_t)depth, w, n0 + n, k0, k0 + depth);
        vlmp_sgemm(p->ctx->blas, false, true, rows, columns, depth, 1,
                   p->x + (size_t)row0 * (size_t)w->k + k0, w->k, tile, depth, k0 > 0, y + n0,
                   w->n);
    }
    add_bias(y, rows, w, n0, n0 + columns);
}

static void int8_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                      int thread)
{
    int rows = smaller(OWN_TILE_ROWS, p->rows - row0);
    int n1 = smaller(n0 + VLMP_TILE_COLUMNS, w->n);
    y += (size_t)row0 * (size_t)w->n;
    p->kernels->int8_tile(y, p->prepared + (size_t)row0 * p->stride, p->stride, rows, w, n0, n1,
                          thread_scratch(p->ctx, thread));
    add_bias(y, rows, w, n0, n1);
}

static void float_tile(const struct products *p, float *y, const vlmp_linear *w, int row0, int n0,
                       int thread)
{
    int rows = smaller(OWN_TILE_ROWS, p->rows - row0);
    int n1 = smaller(n0 + VLMP_TILE_COLUMNS, w->n);
    y += (size_t)row0 * (size_t)w->n;
    p->kernels->float_tile(y, p->x + (size_t)row0 * (size_t)w->k, rows, w, n0, n1,
                           thread_scratch(p->ctx, thread));
    add_bias(y, rows, w, n0, n1);
}

static int tile_rows(const struct products *p)
{
    if (p->way == BLAS_TILES) return TILE_ROWS;
    return p->way == INT8_TILES || p->way == FLOAT_TILES ? OWN_TILE_ROWS : p->rows;
}

static int tile_columns(const struct products *p)
{
    if (p->way == BLAS_TILES) return TILE_COLUMNS;
    return p->way == INT8_TILES || p->way == FLOAT_TILES ? VLMP_TILE_COLUMNS : FEW_BLOCK;
}

static void product_task(void *arg, int task, int thread)
{
    const struct products *p = arg;
    int i = 0;
    while (task >= p->first_task[i + 1])
        i++;
    task -= p->first_task[i];
    const vlmp_linear *w = p->w[i];
    int row_tiles = ceil_div(p->rows, tile_rows(p));
    int row0 = task % row_tiles * tile_rows(p);
    int n0 = task / row_tiles * tile_columns(p);
    int n1 = smaller(n0 + tile_columns(p), w->n);
    switch (p->way) {
    case BLAS_TILES:
        blas_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case FLOAT_TILES:
        float_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case INT8_TILES:
        int8_tile(p, p->y[i], w, row0, n0, thread);
        break;
    case DENSE_ROWS:
        p->kernels->dense_rows(p->y[i], p->x, p->rows, w, n0, n1);
        add_bias(p->y[i], p->rows, w, n0, n1);
        break;
    case PACKED_ROWS:
        p->kernels->packed_rows(p->y[i], p->prepared, p->stride, p->rows, w, n0, n1);
        add_bias(p->y[i], p->rows, w, n0, n1);
        break;
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
    else
        p->kernels->prepare_row(prepared, x, w);
}

static void run_products(struct products *p)
{
    if (p->way == PACKED_ROWS || p->way == INT8_TILES)
        vlmp_parallel_for(p->ctx->pool, p->rows, prepare_task, p);
    int row_tiles = ceil_div(p->rows, tile_rows(p));
    p->first_task[0] = 0;
    for (int i = 0; i < p->count; i++)
        p->first_task[i + 1] = p->first_task[i] + row_tiles * ceil_div(p->w[i]->n, tile_columns(p));
    vlmp_parallel_for(p->ctx->pool, p->first_task[p->count], product_task, p);
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
    if (p->stride == 0) {
        run_products(p);
        return;
    }
    assert(p->stride <= p->ctx->scratch_bytes);
    p->prepared = p->ctx->scratch;
    size_t fit = p->ctx->scratch_bytes / p->stride;
    int all = p->rows;
    int chunk = fit < (size_t)all ? (int)fit : all;
    if (p->way == PACKED_ROWS) chunk = smaller(chunk, VLMP_FEW_ROWS);
    for (int row = 0; row < all; row += chunk) {
        p->rows = smaller(chunk, all - row);
        run_products(p);
        p->x += (size_t)p->rows * (size_t)w->k;
        for (int i = 0; i < p->count; i++)
            p->y[i] += (size_t)p->rows * (size_t)p->w[i]->n;
    }
}

static enum way way_of(const vlmp_cpu_kernels *kernels, int rows, const vlmp_linear *w)
{
    if (rows > VLMP_FEW_ROWS && !vlmp_linear_int8(w))
        return kernels->float_tile != NULL ? FLOAT_TILES : BLAS_TILES;
    if (!vlmp_linear_quantized(w)) return DENSE_ROWS;
    if (rows > VLMP_FEW_ROWS && kernels->tile_supports != NULL && kernels->tile_supports(w))
        return INT8_TILES;
    return PACKED_ROWS;
}

static const vlmp_cpu_kernels *kernels_of(const vlmp_ctx *ctx, const vlmp_linear *w)
{
    if (!vlmp_linear_quantized(w) || ctx->kernels->packed_supports(w)) return ctx->kernels;
    return &vlmp_cpu_portable;
}

/* Whether w can share the prepared input of the batch. */
static bool joins(const struct products *p, const vlmp_linear *w)
{
    const vlmp_linear *first = p->w[0];
    if (p->count == MAX_SHARED || kernels_of(p->ctx, w) != p->kernels ||
        way_of(p->kernels, p->rows, w) != p->way)
        return false;
    if (p->way != PACKED_ROWS && p->way != INT8_TILES) return true;
    return w->scheme.codes == first->scheme.codes &&
           vlmp_linear_int8(w) == vlmp_linear_int8(first) &&
           (p->way != INT8_TILES || vlmp_linear_group(w) == vlmp_linear_group(first));
}

void vlmp_cpu_linear_shared(vlmp_ctx *ctx, float *const *y, const float *x, int rows,
                            const vlmp_linear *const *w, int count)
{
    if (rows <= 0) return;
    for (int next = 0; next < count;) {
        struct products p = {.ctx = ctx, .kernels = kernels_of(ctx, w[next]), .x = x, .rows = rows};
        p.way = way_of(p.kernels, rows, w[next]);
        do {
            assert(w[next]->k == w[0]->k);
            p.y[p.count] = y[next];
            p.w[p.count++] = w[next++];
        } while (next < count && joins(&p, w[next]));
        run_batch(&p);
    }
}

void vlmp_cpu_linear(vlmp_ctx *ctx, float *y, const float *x, int rows, const vlmp_linear *w)
{
    vlmp_cpu_linear_shared(ctx, &y, x, rows, &w, 1);
}

struct embed {
    vlmp_ctx *ctx;
    float *y;
    const int32_t *ids;
    const vlmp_linear *table;
};

static void embed_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct embed *e = arg;
    assert(e->ids[task] >= 0 && e->ids[task] < e->table->n);
    kernels_of(e->ctx, e->table)
        ->weights_to_f32(e->y + (size_t)task * (size_t)e->table->k, e->table, e->ids[task], 0,
                         e->table->k);
}

void vlmp_cpu_embed(vlmp_ctx *ctx, float *y, const int32_t *ids, int rows, const vlmp_linear *table)
{
    struct embed e = {ctx, y, ids, table};
    vlmp_parallel_for(ctx->pool, rows, embed_task, &e);
}
