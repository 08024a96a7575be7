/* Drivers of norms, activations and rotary embedding: fixed blocks of rows or elements. */
#include <math.h>

#include "kernels/cpu/cpu.h"

/* Work of a task, large against handing it out (about a microsecond). */
enum { BLOCK_ELEMENTS = 8192 };

static int block_rows(int dim)
{
    return dim >= BLOCK_ELEMENTS ? 1 : BLOCK_ELEMENTS / (dim > 0 ? dim : 1);
}

static int ceil_div(int a, int b)
{
    return a / b + (a % b != 0);
}

struct norm {
    vlmp_ctx *ctx;
    float *y;
    const float *x;
    int rows;
    int dim;
    const float *weight;
    const float *bias; /* NULL: RMS norm */
    float eps;
};

static void norm_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct norm *n = arg;
    const vlmp_cpu_kernels *kernels = n->ctx->kernels;
    int block = block_rows(n->dim);
    for (int row = task * block; row < n->rows && row < (task + 1) * block; row++) {
        size_t offset = (size_t)row * (size_t)n->dim;
        if (n->bias != NULL)
            kernels->layer_norm(n->y + offset, n->x + offset, n->dim, n->weight, n->bias, n->eps);
        else
            kernels->rms_norm(n->y + offset, n->x + offset, n->dim, n->weight, n->eps);
    }
}

void vlmp_cpu_rms_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                       const float *weight, float eps)
{
    struct norm n = {ctx, y, x, rows, dim, weight, NULL, eps};
    vlmp_parallel_for(ctx->pool, ceil_div(rows, block_rows(dim)), norm_task, &n);
}

void vlmp_cpu_layer_norm(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                         const float *weight, const float *bias, float eps)
{
    struct norm n = {ctx, y, x, rows, dim, weight, bias, eps};
    vlmp_parallel_for(ctx->pool, ceil_div(rows, block_rows(dim)), norm_task, &n);
}

struct elements {
    vlmp_ctx *ctx;
    float *y;
    const float *x; /* NULL: activate */
    size_t count;
    vlmp_activation act;
};

/* The elements of a block; sets *length. */
static size_t block_of(const struct elements *e, int task, int *length)
{
    size_t first = (size_t)task * BLOCK_ELEMENTS;
    size_t left = e->count - first;
    *length = left < BLOCK_ELEMENTS ? (int)left : BLOCK_ELEMENTS;
    return first;
}

static int element_blocks(size_t count)
{
    return (int)((count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS);
}

static void activate_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct elements *e = arg;
    int length;
    size_t first = block_of(e, task, &length);
    e->ctx->kernels->activate(e->y + first, length, e->act);
}

static void gated_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct elements *e = arg;
    int length;
    size_t first = block_of(e, task, &length);
    e->ctx->kernels->gated(e->y + first, e->x + first, length, e->act);
}

static void add_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct elements *e = arg;
    int length;
    size_t first = block_of(e, task, &length);
    e->ctx->kernels->add(e->y + first, e->x + first, length);
}

void vlmp_cpu_activate(vlmp_ctx *ctx, float *x, size_t count, vlmp_activation act)
{
    struct elements e = {ctx, x, NULL, count, act};
    vlmp_parallel_for(ctx->pool, element_blocks(count), activate_task, &e);
}

void vlmp_cpu_gated(vlmp_ctx *ctx, float *gate, const float *up, size_t count, vlmp_activation act)
{
    struct elements e = {ctx, gate, up, count, act};
    vlmp_parallel_for(ctx->pool, element_blocks(count), gated_task, &e);
}

void vlmp_cpu_add(vlmp_ctx *ctx, float *y, const float *x, size_t count)
{
    struct elements e = {ctx, y, x, count, VLMP_RELU};
    vlmp_parallel_for(ctx->pool, element_blocks(count), add_task, &e);
}

struct rope {
    vlmp_ctx *ctx;
    float *x;
    int rows;
    int heads;
    int head_dim;
    const int32_t *positions;
    const float *inv_freq;
    float scaling;
};

static void rope_row(const struct rope *r, int row, float *cosine, float *sine)
{
    int half = r->head_dim / 2;
    for (int j = 0; j < half; j++) {
        float angle = (float)r->positions[row] * r->inv_freq[j];
        cosine[j] = cosf(angle) * r->scaling;
        sine[j] = sinf(angle) * r->scaling;
    }
    float *x = r->x + (size_t)row * (size_t)r->heads * (size_t)r->head_dim;
    for (int head = 0; head < r->heads; head++, x += r->head_dim) {
        for (int j = 0; j < half; j++) {
            float a = x[j];
            float b = x[j + half];
            x[j] = a * cosine[j] - b * sine[j];
            x[j + half] = b * cosine[j] + a * sine[j];
        }
    }
}

static void rope_task(void *arg, int task, int thread)
{
    const struct rope *r = arg;
    float *cosine =
        (float *)(void *)(r->ctx->thread_scratch + (size_t)thread * VLMP_THREAD_SCRATCH);
    int block = block_rows(r->heads * r->head_dim);
    for (int row = task * block; row < r->rows && row < (task + 1) * block; row++)
        rope_row(r, row, cosine, cosine + r->head_dim / 2);
}

void vlmp_cpu_rope(vlmp_ctx *ctx, float *x, int rows, int heads, int head_dim,
                   const int32_t *positions, const float *inv_freq, float scaling)
{
    struct rope r = {ctx, x, rows, heads, head_dim, positions, inv_freq, scaling};
    int block = block_rows(heads * head_dim);
    vlmp_parallel_for(ctx->pool, ceil_div(rows, block), rope_task, &r);
}
