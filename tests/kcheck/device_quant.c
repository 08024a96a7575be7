/* Quantizers' operations on a device behind the host's memory. */
#include "tests/kcheck/device.h"

#define IN(at, count)  kc_device_place(d, at, (count) * sizeof *(at), false)
#define OUT(at, count) kc_device_place(d, at, (count) * sizeof *(at), true)

/* Starts an operation: d, its device, and inner, the device's own context. */
#define BEGIN                             \
    struct device *d = kc_device_of(ctx); \
    vlmp_ctx *inner = d->inner

static size_t size(int rows, int columns)
{
    return (size_t)rows * (size_t)columns;
}

static size_t spanned(int rows, int columns, int ld)
{
    return rows > 0 && columns > 0 ? size(rows - 1, ld) + (size_t)columns : 0;
}

void kc_device_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    BEGIN;
    const float *left = IN(a, spanned(trans_a ? k : m, trans_a ? m : k, lda));
    const float *right = IN(b, spanned(trans_b ? n : k, trans_b ? k : n, ldb));
    inner->ops->gemm(inner, trans_a, trans_b, m, n, k, alpha, left, lda, right, ldb, beta,
                     OUT(c, spanned(m, n, ldc)), ldc);
    kc_device_finish(d);
}

static vlmp_coded coded(struct device *d, const vlmp_coded *q)
{
    vlmp_coded there = *q;
    size_t groups = size(q->n, q->k / q->group);
    there.codes = OUT(q->codes, size(q->n, q->k));
    there.scales = OUT(q->scales, groups);
    there.zeros = OUT(q->zeros, groups);
    return there;
}

static void error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *target,
                  const float *factor, float *out)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    const float *wanted = IN(target, size(q->n, q->k));
    inner->ops->quant->error(inner, &there, grid, wanted, IN(factor, (size_t)q->k),
                             OUT(out, size(q->n, q->k)));
    kc_device_finish(d);
}

static void levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *out)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    inner->ops->quant->levels(inner, &there, grid, OUT(out, size(q->n, q->k)));
    kc_device_finish(d);
}

static void search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                   const vlmp_search_job *job)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    vlmp_search_job on = {.w = IN(job->w, size(q->n, q->k)),
                          .factor = IN(job->factor, (size_t)q->k),
                          .weight = IN(job->weight, (size_t)q->k),
                          .order = IN(job->order, (size_t)q->k)};
    inner->ops->quant->search(inner, &there, grid, &on);
    kc_device_finish(d);
}

static void round_codes(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                        const float *factor)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    const float *weights = IN(w, size(q->n, q->k));
    inner->ops->quant->round(inner, &there, grid, weights, IN(factor, (size_t)q->k));
    kc_device_finish(d);
}

static void propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                      const vlmp_propagate_job *job)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    vlmp_propagate_job on = *job;
    on.order = IN(job->order, (size_t)q->k);
    on.target = IN(job->target, size(q->n, q->k));
    on.passed = IN(job->passed, size(q->n, VLMP_BLOCK));
    on.factor = IN(job->factor, size(q->k, q->k));
    on.pivot = IN(job->pivot, (size_t)q->k);
    on.error = OUT(job->error, size(q->n, q->k));
    on.loss = OUT(job->loss, (size_t)q->n);
    inner->ops->quant->propagate(inner, &there, grid, &on);
    kc_device_finish(d);
}

static void descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                    const vlmp_descend_job *job)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    vlmp_descend_job on = *job;
    on.gram = IN(job->gram, size(q->k, q->k));
    on.error = OUT(job->error, size(q->n, q->k));
    on.slope = OUT(job->slope, size(q->n, VLMP_BLOCK));
    on.gain = OUT(job->gain, (size_t)q->n);
    inner->ops->quant->descend(inner, &there, grid, &on);
    kc_device_finish(d);
}

static void channel_sums(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_channel_sums_job *job)
{
    BEGIN;
    vlmp_channel_sums_job on = *job;
    on.levels = IN(job->levels, size(q->n, q->k));
    on.curve = IN(job->curve, size(q->n, VLMP_BLOCK));
    on.error = IN(job->error, size(q->n, q->k));
    on.linear = OUT(job->linear, (size_t)q->n);
    on.square = OUT(job->square, (size_t)q->n);
    inner->ops->quant->channel_sums(inner, q, &on);
    kc_device_finish(d);
}

static void channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                         const float *step, const double *linear, const double *square, float *left,
                         double *gain)
{
    BEGIN;
    vlmp_coded there = coded(d, q);
    const float *steps = IN(step, size(q->n, q->k));
    const double *along = IN(linear, (size_t)q->n), *curve = IN(square, (size_t)q->n);
    float *errors = OUT(left, size(q->n, q->k));
    inner->ops->quant->channel_move(inner, &there, grid, steps, along, curve, errors,
                                    OUT(gain, (size_t)q->n));
    kc_device_finish(d);
}

static void mirror(vlmp_ctx *ctx, float *a, int k)
{
    BEGIN;
    inner->ops->quant->mirror(inner, OUT(a, size(k, k)), k);
    kc_device_finish(d);
}

static void scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide)
{
    BEGIN;
    float *matrix = OUT(a, size(k, k));
    inner->ops->quant->scale_both(inner, matrix, k, IN(s, (size_t)k), divide);
    kc_device_finish(d);
}

static void diagonal(vlmp_ctx *ctx, float *out, const float *a, int k)
{
    BEGIN;
    float *values = OUT(out, (size_t)k);
    inner->ops->quant->diagonal(inner, values, IN(a, size(k, k)), k);
    kc_device_finish(d);
}

static void arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order, float ridge)
{
    BEGIN;
    float *to = OUT(out, size(k, k));
    const float *from = IN(a, size(k, k));
    inner->ops->quant->arrange(inner, to, from, k, IN(order, (size_t)k), ridge);
    kc_device_finish(d);
}

static void factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                   int32_t *failed)
{
    BEGIN;
    float *matrix = OUT(a, size(k, k)), *pivots = OUT(pivot, (size_t)k);
    float *scratch = OUT(room, vlmp_factor_room(k));
    inner->ops->quant->factor(inner, matrix, k, pivots, least, scratch, OUT(failed, (size_t)1));
    kc_device_finish(d);
}

static void solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n)
{
    BEGIN;
    const float *matrix = IN(m, size(k, k)), *pivots = IN(pivot, (size_t)k);
    inner->ops->quant->solve(inner, matrix, pivots, k, OUT(x, size(n, k)), n);
    kc_device_finish(d);
}

static void permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k, const int *order,
                    bool back)
{
    BEGIN;
    float *to = OUT(out, size(n, k));
    const float *from = IN(x, size(n, k));
    inner->ops->quant->permute(inner, to, from, n, k, IN(order, (size_t)k), back);
    kc_device_finish(d);
}

static void sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k)
{
    BEGIN;
    float *to = OUT(out, size(taken, k));
    inner->ops->quant->sample_rows(inner, to, taken, IN(x, size(n, k)), n, k);
    kc_device_finish(d);
}

static void add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count)
{
    BEGIN;
    float *to = OUT(y, count);
    inner->ops->quant->add_multiple(inner, to, by, IN(x, count), count);
    kc_device_finish(d);
}

static void dot(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                void *room)
{
    BEGIN;
    double *to = OUT(out, (size_t)1);
    const float *left = IN(a, size(n, k)), *right = IN(b, size(n, k));
    inner->ops->quant->dot(inner, to, left, right, n, k,
                           kc_device_place(d, room, vlmp_sum_room(n), true));
    kc_device_finish(d);
}

static void weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                           const float *gram, const float *cross, void *room)
{
    BEGIN;
    double *to = OUT(out, (size_t)1);
    const float *errors = IN(e, size(n, k)), *moments = IN(gram, size(k, k));
    const float *with = IN(cross, size(n, k));
    inner->ops->quant->weighted_error(inner, to, errors, n, k, moments, with,
                                      kc_device_place(d, room, vlmp_sum_room(n), true));
    kc_device_finish(d);
}

const vlmp_quant_ops kc_device_quant_ops = {
    .error = error,
    .levels = levels,
    .search = search,
    .round = round_codes,
    .propagate = propagate,
    .descend = descend,
    .channel_sums = channel_sums,
    .channel_move = channel_move,
    .mirror = mirror,
    .scale_both = scale_both,
    .diagonal = diagonal,
    .arrange = arrange,
    .factor = factor,
    .solve = solve,
    .permute = permute,
    .sample_rows = sample_rows,
    .add_multiple = add_multiple,
    .dot = dot,
    .weighted_error = weighted_error,
};
