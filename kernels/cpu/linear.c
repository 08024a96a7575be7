#include <assert.h>

#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"
#include "src/base/half.h"

/* The grid of tiles, anchored at the call's first row and output. Rows of a tile share one
 * conversion of its weights, COLUMNS × PANEL floats of which fit a core's L2 cache. */
enum { TILE_ROWS = 256, TILE_COLUMNS = 128, TILE_PANEL = 1024, FEW_BLOCK = 32 };

#define MAX_SHARED 8 /* products of one call of linear_shared that run as one batch */

static int ceil_div(int a, int b)
{
    return a / b + (a % b != 0);
}

static size_t padded_k(int k)
{
    return ((size_t)k + 63) / 64 * 64;
}

size_t vlmp_cpu_scratch_bytes(int rows, int k)
{
    return (size_t)rows * (padded_k(k) + sizeof(float)) + ((size_t)4 << 20);
}

struct products {
    vlmp_ctx *ctx;
    float *y[MAX_SHARED];
    const vlmp_linear *w[MAX_SHARED];
    int first_task[MAX_SHARED + 1];
    int count;
    const float *x;
    int rows;
    int k;
    int8_t *codes;
    float *scales;
    vlmp_int8_rows quantized;
};

static void add_bias(float *y, int rows, const vlmp_linear *w, int n0, int n1)
{
    if (w->bias == NULL) return;
    for (int row = 0; row < rows; row++)
        for (int n = n0; n < n1; n++)
            y[(size_t)row * (size_t)w->n + (size_t)n] += w->bias[n];
}

/* Which product a task belongs to; *index becomes its number in that product. */
static int product_of(const struct products *p, int *index)
{
    int i = 0;
    while (*index >= p->first_task[i + 1])
        i++;
    *index -= p->first_task[i];
    return i;
}

static void few_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct products *p = arg;
    int i = product_of(p, &task);
    const vlmp_linear *w = p->w[i];
    int n0 = task * FEW_BLOCK;
    int n1 = n0 + FEW_BLOCK < w->n ? n0 + FEW_BLOCK : w->n;
    if (p->codes != NULL)
        p->ctx->kernels->int8_rows(p->y[i], &p->quantized, p->rows, w, n0, n1);
    else
        p->ctx->kernels->few_rows(p->y[i], p->x, p->rows, w, n0, n1);
    add_bias(p->y[i], p->rows, w, n0, n1);
}

static void tile_task(void *arg, int task, int thread)
{
    const struct products *p = arg;
    int i = product_of(p, &task);
    const vlmp_linear *w = p->w[i];
    int row_tiles = ceil_div(p->rows, TILE_ROWS);
    int row0 = task % row_tiles * TILE_ROWS;
    int n0 = task / row_tiles * TILE_COLUMNS;
    int rows = p->rows - row0 < TILE_ROWS ? p->rows - row0 : TILE_ROWS;
    int columns = w->n - n0 < TILE_COLUMNS ? w->n - n0 : TILE_COLUMNS;
    float *tile = (float *)(void *)(p->ctx->thread_scratch + (size_t)thread * VLMP_THREAD_SCRATCH);
    float *y = p->y[i] + (size_t)row0 * (size_t)w->n;
    for (int k0 = 0; k0 < w->k; k0 += TILE_PANEL) {
        int depth = w->k - k0 < TILE_PANEL ? w->k - k0 : TILE_PANEL;
        for (int n = 0; n < columns; n++)
            p->ctx->kernels->weights_to_f32(tile + (size_t)n * (size_t)depth, w, n0 + n, k0,
                                            k0 + depth);
        vlmp_sgemm(p->ctx->blas, false, true, rows, columns, depth, 1,
                   p->x + (size_t)row0 * (size_t)w->k + k0, w->k, tile, depth, k0 > 0, y + n0,
                   w->n);
    }
    add_bias(y, rows, w, n0, n0 + columns);
}

static void quantize_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct products *p = arg;
    size_t row = (size_t)task;
    int padded = (int)padded_k(p->k);
    p->scales[row] = p->ctx->kernels->quantize_row(p->codes + row * (size_t)padded,
                                                   p->x + row * (size_t)p->k, p->k, padded);
}

static void run_products(struct products *p, bool int8)
{
    bool direct = int8 || p->rows <= VLMP_FEW_ROWS;
    p->first_task[0] = 0;
    for (int i = 0; i < p->count; i++) {
        int n = p->w[i]->n;
        int tasks = direct ? ceil_div(n, FEW_BLOCK)
                           : ceil_div(n, TILE_COLUMNS) * ceil_div(p->rows, TILE_ROWS);
        p->first_task[i + 1] = p->first_task[i] + tasks;
    }
    if (int8) {
        size_t padded = padded_k(p->k);
        assert((size_t)p->rows * (padded + sizeof(float)) <= p->ctx->scratch_bytes);
        p->codes = (int8_t *)p->ctx->scratch;
        p->scales = (float *)(void *)(p->ctx->scratch + (size_t)p->rows * padded);
        p->quantized = (vlmp_int8_rows){p->codes, padded, p->scales};
        vlmp_parallel_for(p->ctx->pool, p->rows, quantize_task, p);
    }
    vlmp_parallel_for(p->ctx->pool, p->first_task[p->count], direct ? few_task : tile_task, p);
}

static bool uses_int8(const vlmp_linear *w)
{
    return w->bits != 0 && w->int8_activations;
}

void vlmp_cpu_linear_shared(vlmp_ctx *ctx, float *const *y, const float *x, int rows,
                            const vlmp_linear *const *w, int count)
{
    if (rows <= 0) return;
    for (int first = 0; first < count;) {
        struct products p = {.ctx = ctx, .x = x, .rows = rows, .k = w[first]->k};
        bool int8 = uses_int8(w[first]);
        while (first + p.count < count && p.count < MAX_SHARED &&
               uses_int8(w[first + p.count]) == int8) {
            assert(w[first + p.count]->k == p.k);
            p.y[p.count] = y[first + p.count];
            p.w[p.count] = w[first + p.count];
            p.count++;
        }
        run_products(&p, int8);
        first += p.count;
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
    e->ctx->kernels->weights_to_f32(e->y + (size_t)task * (size_t)e->table->k, e->table,
                                    e->ids[task], 0, e->table->k);
}

void vlmp_cpu_embed(vlmp_ctx *ctx, float *y, const int32_t *ids, int rows, const vlmp_linear *table)
{
    struct embed e = {ctx, y, ids, table};
    vlmp_parallel_for(ctx->pool, rows, embed_task, &e);
}
