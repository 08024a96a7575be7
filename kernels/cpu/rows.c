/* Drivers of norms, activations, rotary embedding and measures: fixed blocks of rows or elements.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

struct norm {
    const vlmp_cpu_ctx *cpu;
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
    const vlmp_cpu_kernels *kernels = n->cpu->kernels;
    int block = vlmp_block_rows(n->dim);
    for (int row = task * block; row < n->rows && row < (task + 1) * block; row++) {
        size_t offset = (size_t)row * (size_t)n->dim;
        if (n->bias != NULL)
            kernels->layer_norm(n->y + offset, n->x + offset, n->dim, n->weight, n->bias, n->eps);
        else
            kernels->rms_norm(n->y + offset, n->x + offset, n->dim, n->weight, n->eps);
    }
}

static void run_norm(vlmp_ctx *ctx, const struct norm *norm)
{
    struct norm n = *norm;
    n.cpu = vlmp_cpu_of(ctx);
    vlmp_parallel_for(ctx->pool, vlmp_ceil_div(n.rows, vlmp_block_rows(n.dim)), norm_task, &n);
}

void vlmp_cpu_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       float eps)
{
    run_norm(ctx, &(struct norm){NULL, y.at, x.at, rows, dim, weight.at, NULL, eps});
}

void vlmp_cpu_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                         vlmp_f32 bias, float eps)
{
    run_norm(ctx, &(struct norm){NULL, y.at, x.at, rows, dim, weight.at, bias.at, eps});
}

void vlmp_cpu_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                             vlmp_f32 bias, float eps)
{
    run_norm(ctx, &(struct norm){NULL, x.at, x.at, rows, dim, weight.at, bias.at, eps});
}

struct elements {
    const vlmp_cpu_ctx *cpu;
    float *y;
    const float *x; /* NULL: activate */
    size_t count;
    vlmp_activation act;
};

/* The elements of a block; sets *length. */
static size_t block_of(const struct elements *e, int task, int *length)
{
    size_t first = (size_t)task * VLMP_BLOCK_ELEMENTS;
    size_t left = e->count - first;
    *length = left < VLMP_BLOCK_ELEMENTS ? (int)left : VLMP_BLOCK_ELEMENTS;
    return first;
}

static int element_blocks(size_t count)
{
    return (int)((count + VLMP_BLOCK_ELEMENTS - 1) / VLMP_BLOCK_ELEMENTS);
}

static void activate_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct elements *e = arg;
    int length;
    size_t first = block_of(e, task, &length);
    e->cpu->kernels->activate(e->y + first, length, e->act);
}

static void gated_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct elements *e = arg;
    int length;
    size_t first = block_of(e, task, &length);
    e->cpu->kernels->gated(e->y + first, e->x + first, length, e->act);
}

void vlmp_cpu_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act)
{
    struct elements e = {vlmp_cpu_of(ctx), x.at, NULL, count, act};
    vlmp_parallel_for(ctx->pool, element_blocks(count), activate_task, &e);
}

void vlmp_cpu_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act)
{
    struct elements e = {vlmp_cpu_of(ctx), gate.at, up.at, count, act};
    vlmp_parallel_for(ctx->pool, element_blocks(count), gated_task, &e);
}

struct rope {
    const vlmp_cpu_ctx *cpu;
    float *x;
    const vlmp_step *step;
    int heads;
    int head_dim;
    const float *inv_freq;
    const int32_t *axes; /* NULL: the first for all */
    float scaling;
};

static void rope_row(const struct rope *r, int row, float *cosine, float *sine)
{
    int half = r->head_dim / 2;
    for (int j = 0; j < half; j++) {
        int axis = r->axes != NULL ? r->axes[j] : 0;
        float angle = (float)r->step->positions[axis][row] * r->inv_freq[j];
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
    float *cosine = vlmp_cpu_scratch_of(r->cpu, thread);
    int block = vlmp_block_rows(r->heads * r->head_dim);
    for (int row = task * block; row < r->step->rows && row < (task + 1) * block; row++)
        rope_row(r, row, cosine, cosine + r->head_dim / 2);
}

void vlmp_cpu_rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                   vlmp_f32 inv_freq, vlmp_i32 axes, float scaling)
{
    struct rope r = {vlmp_cpu_of(ctx), x.at, step, heads, head_dim, inv_freq.at, axes.at, scaling};
    int block = vlmp_block_rows(heads * head_dim);
    vlmp_parallel_for(ctx->pool, vlmp_ceil_div(step->rows, block), rope_task, &r);
}

struct measure {
    vlmp_token_measure *out;
    const float *q, *p;
    size_t q_stride, p_stride;
    int vocab;
    const int32_t *targets;
};

static void measure_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct measure *m = arg;
    size_t row = (size_t)task;
    m->out[row] = vlmp_ref_measure_row(m->q + row * m->q_stride,
                                       m->p != NULL ? m->p + row * m->p_stride : NULL, m->vocab,
                                       m->targets[row]);
}

void vlmp_cpu_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                      size_t p_stride, int vocab, vlmp_i32 targets, int rows)
{
    struct measure m = {out.at, q.at, p.at, q_stride, p_stride, vocab, targets.at};
    vlmp_parallel_for(ctx->pool, rows, measure_task, &m);
}

void vlmp_cpu_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count)
{
    (void)ctx;
    *at.at = (int32_t)vlmp_first_not_finite(x.at, VLMP_F32, count);
}

void vlmp_cpu_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count)
{
    vlmp_cpu_first_not_finite(ctx, at, (vlmp_act){x.at}, count);
}
