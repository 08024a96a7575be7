/* What quantizers compute, and general products. */
#include "kernels/ref/quant.h"
#include "kernels/ref/ref.h"
#include "tests/hostile/queue.h"

#define USE(name, count) vlmp_hostile_use(call, #name, a->name, (count) * sizeof *a->name)

/* Values between the first and the last of `rows` rows, a leading dimension apart. */
static size_t spanned(int rows, int columns, int ld)
{
    return rows > 0 && columns > 0 ? size(rows - 1, ld) + (size_t)columns : 0;
}

struct gemm {
    bool trans_a, trans_b;
    int m, n, k;
    float alpha;
    const float *a;
    int lda;
    const float *b;
    int ldb;
    float beta;
    float *c;
    int ldc;
};

RUN(gemm, vlmp_ref_gemm, a->trans_a, a->trans_b, a->m, a->n, a->k, a->alpha, a->a, a->lda, a->b,
    a->ldb, a->beta, a->c, a->ldc)

void vlmp_hostile_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                       const float *left, int lda, const float *b, int ldb, float beta, float *c,
                       int ldc)
{
    QUEUE(gemm, trans_a, trans_b, m, n, k, alpha, left, lda, b, ldb, beta, c, ldc);
    USE(a, spanned(trans_a ? k : m, trans_a ? m : k, lda));
    USE(b, spanned(trans_b ? n : k, trans_b ? k : n, ldb));
    USE(c, spanned(m, n, ldc));
}

static void use_coded(struct vlmp_hostile_call *call, const vlmp_coded *q)
{
    size_t groups = size(q->n, q->k / q->group);
    vlmp_hostile_use(call, "codes", q->codes, size(q->n, q->k));
    vlmp_hostile_use(call, "scales", q->scales, groups * sizeof *q->scales);
    vlmp_hostile_use(call, "zeros", q->zeros, groups);
}

struct error {
    vlmp_coded q;
    vlmp_grid grid;
    const float *target, *factor;
    float *error;
};

RUN(error, vlmp_ref_quant_error, &a->q, &a->grid, a->target, a->factor, a->error)

static void error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *target,
                  const float *factor, float *out)
{
    QUEUE(error, *q, *grid, target, factor, out);
    use_coded(call, q);
    USE(target, size(q->n, q->k));
    if (factor != NULL) USE(factor, (size_t)q->k);
    USE(error, size(q->n, q->k));
}

struct levels {
    vlmp_coded q;
    vlmp_grid grid;
    float *levels;
};

RUN(levels, vlmp_ref_quant_levels, &a->q, &a->grid, a->levels)

static void levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *out)
{
    QUEUE(levels, *q, *grid, out);
    use_coded(call, q);
    USE(levels, size(q->n, q->k));
}

struct search {
    vlmp_coded q;
    vlmp_grid grid;
    vlmp_search_job job;
};

RUN(search, vlmp_ref_quant_search, &a->q, &a->grid, &a->job)

static void search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                   const vlmp_search_job *job)
{
    QUEUE(search, *q, *grid, *job);
    use_coded(call, q);
    USE(job.w, size(q->n, q->k));
    USE(job.weight, (size_t)q->k);
    if (job->factor != NULL) USE(job.factor, (size_t)q->k);
    if (job->order != NULL) USE(job.order, (size_t)q->k);
}

struct round {
    vlmp_coded q;
    vlmp_grid grid;
    const float *w, *factor;
};

RUN(round, vlmp_ref_quant_round, &a->q, &a->grid, a->w, a->factor)

static void round_codes(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                        const float *factor)
{
    QUEUE(round, *q, *grid, w, factor);
    use_coded(call, q);
    USE(w, size(q->n, q->k));
    if (factor != NULL) USE(factor, (size_t)q->k);
}

struct propagate {
    vlmp_coded q;
    vlmp_grid grid;
    vlmp_propagate_job job;
};

RUN(propagate, vlmp_ref_quant_propagate, &a->q, &a->grid, &a->job)

static void propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                      const vlmp_propagate_job *job)
{
    QUEUE(propagate, *q, *grid, *job);
    use_coded(call, q);
    USE(job.order, (size_t)q->k);
    USE(job.target, size(q->n, q->k));
    USE(job.passed, size(q->n, VLMP_BLOCK));
    USE(job.factor, size(q->k, q->k));
    USE(job.pivot, (size_t)q->k);
    USE(job.error, size(q->n, q->k));
    USE(job.loss, (size_t)q->n);
}

struct descend {
    vlmp_coded q;
    vlmp_grid grid;
    vlmp_descend_job job;
};

RUN(descend, vlmp_ref_quant_descend, &a->q, &a->grid, &a->job)

static void descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                    const vlmp_descend_job *job)
{
    QUEUE(descend, *q, *grid, *job);
    use_coded(call, q);
    USE(job.gram, size(q->k, q->k));
    USE(job.error, size(q->n, q->k));
    USE(job.slope, size(q->n, VLMP_BLOCK));
    USE(job.gain, (size_t)q->n);
}

struct channel_sums {
    vlmp_coded q;
    vlmp_channel_sums_job job;
};

RUN(channel_sums, vlmp_ref_quant_channel_sums, &a->q, &a->job)

static void channel_sums(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_channel_sums_job *job)
{
    QUEUE(channel_sums, *q, *job);
    USE(job.levels, size(q->n, q->k));
    USE(job.curve, size(q->n, VLMP_BLOCK));
    USE(job.error, size(q->n, q->k));
    USE(job.linear, (size_t)q->n);
    USE(job.square, (size_t)q->n);
}

struct channel_move {
    vlmp_coded q;
    vlmp_grid grid;
    const float *levels;
    const double *linear, *square;
    float *error;
    double *gain;
};

RUN(channel_move, vlmp_ref_quant_channel_move, &a->q, &a->grid, a->levels, a->linear, a->square,
    a->error, a->gain)

static void channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                         const float *step, const double *linear, const double *square, float *left,
                         double *gain)
{
    QUEUE(channel_move, *q, *grid, step, linear, square, left, gain);
    use_coded(call, q);
    USE(levels, size(q->n, q->k));
    USE(linear, (size_t)q->n);
    USE(square, (size_t)q->n);
    USE(error, size(q->n, q->k));
    USE(gain, (size_t)q->n);
}

struct mirror {
    float *a;
    int k;
};

RUN(mirror, vlmp_ref_quant_mirror, a->a, a->k)

static void mirror(vlmp_ctx *ctx, float *matrix, int k)
{
    QUEUE(mirror, matrix, k);
    USE(a, size(k, k));
}

struct scale_both {
    float *a;
    int k;
    const float *s;
    bool divide;
};

RUN(scale_both, vlmp_ref_quant_scale_both, a->a, a->k, a->s, a->divide)

static void scale_both(vlmp_ctx *ctx, float *matrix, int k, const float *s, bool divide)
{
    QUEUE(scale_both, matrix, k, s, divide);
    USE(a, size(k, k));
    USE(s, (size_t)k);
}

struct diagonal {
    float *out;
    const float *a;
    int k;
};

RUN(diagonal, vlmp_ref_quant_diagonal, a->out, a->a, a->k)

static void diagonal(vlmp_ctx *ctx, float *out, const float *matrix, int k)
{
    QUEUE(diagonal, out, matrix, k);
    USE(out, (size_t)k);
    USE(a, size(k, k));
}

struct arrange {
    float *out;
    const float *a;
    int k;
    const int *order;
    float ridge;
};

RUN(arrange, vlmp_ref_quant_arrange, a->out, a->a, a->k, a->order, a->ridge)

static void arrange(vlmp_ctx *ctx, float *out, const float *matrix, int k, const int *order,
                    float ridge)
{
    QUEUE(arrange, out, matrix, k, order, ridge);
    USE(out, size(k, k));
    USE(a, size(k, k));
    USE(order, (size_t)k);
}

struct factor {
    float *a;
    int k;
    float *pivot;
    float least;
    float *room;
    int32_t *failed;
};

RUN(factor, vlmp_ref_quant_factor, a->a, a->k, a->pivot, a->least, a->room, a->failed)

static void factor(vlmp_ctx *ctx, float *matrix, int k, float *pivot, float least, float *room,
                   int32_t *failed)
{
    QUEUE(factor, matrix, k, pivot, least, room, failed);
    USE(a, size(k, k));
    USE(pivot, (size_t)k);
    USE(room, vlmp_factor_room(k));
    USE(failed, (size_t)1);
}

struct solve {
    const float *m, *pivot;
    int k;
    float *x;
    int n;
};

RUN(solve, vlmp_ref_quant_solve, a->m, a->pivot, a->k, a->x, a->n)

static void solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n)
{
    QUEUE(solve, m, pivot, k, x, n);
    USE(m, size(k, k));
    USE(pivot, (size_t)k);
    USE(x, size(n, k));
}

struct permute {
    float *out;
    const float *x;
    int n, k;
    const int *order;
    bool back;
};

RUN(permute, vlmp_ref_quant_permute, a->out, a->x, a->n, a->k, a->order, a->back)

static void permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k, const int *order,
                    bool back)
{
    QUEUE(permute, out, x, n, k, order, back);
    USE(out, size(n, k));
    USE(x, size(n, k));
    USE(order, (size_t)k);
}

struct sample_rows {
    float *out;
    int taken;
    const float *x;
    int n, k;
};

RUN(sample_rows, vlmp_ref_quant_sample_rows, a->out, a->taken, a->x, a->n, a->k)

static void sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k)
{
    QUEUE(sample_rows, out, taken, x, n, k);
    USE(out, size(taken, k));
    USE(x, size(n, k));
}

struct add_multiple {
    float *y;
    float by;
    const float *x;
    size_t count;
};

RUN(add_multiple, vlmp_ref_quant_add_multiple, a->y, a->by, a->x, a->count)

static void add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count)
{
    QUEUE(add_multiple, y, by, x, count);
    USE(y, count);
    USE(x, count);
}

struct dot {
    double *out;
    const float *a, *b;
    int n, k;
    void *room;
};

RUN(dot, vlmp_ref_quant_dot, a->out, a->a, a->b, a->n, a->k, a->room)

static void dot(vlmp_ctx *ctx, double *out, const float *left, const float *b, int n, int k,
                void *room)
{
    QUEUE(dot, out, left, b, n, k, room);
    USE(out, (size_t)1);
    USE(a, size(n, k));
    USE(b, size(n, k));
    vlmp_hostile_use(call, "room", room, vlmp_sum_room(n));
}

struct weighted_error {
    double *out;
    const float *e;
    int n, k;
    const float *gram, *cross;
    void *room;
};

RUN(weighted_error, vlmp_ref_quant_weighted_error, a->out, a->e, a->n, a->k, a->gram, a->cross,
    a->room)

static void weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                           const float *gram, const float *cross, void *room)
{
    QUEUE(weighted_error, out, e, n, k, gram, cross, room);
    USE(out, (size_t)1);
    USE(e, size(n, k));
    USE(gram, size(k, k));
    if (cross != NULL) USE(cross, size(n, k));
    vlmp_hostile_use(call, "room", room, vlmp_sum_room(n));
}

const vlmp_quant_ops vlmp_hostile_quant_ops = {
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
