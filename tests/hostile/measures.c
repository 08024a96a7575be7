/* The operations that look through rows and add them up. */
#include "kernels/ref/ref.h"
#include "tests/hostile/queue.h"

struct first_not_finite {
    vlmp_i32 at;
    vlmp_act x;
    size_t count;
};

RUN(first_not_finite, vlmp_ref_first_not_finite, a->at, a->x, a->count)

void vlmp_hostile_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count)
{
    QUEUE(first_not_finite, at, x, count);
    PLAIN(at, (size_t)1);
    ACT(x, count);
}

struct first_not_finite_f32 {
    vlmp_i32 at;
    vlmp_f32 x;
    size_t count;
};

RUN(first_not_finite_f32, vlmp_ref_first_not_finite_f32, a->at, a->x, a->count)

void vlmp_hostile_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count)
{
    QUEUE(first_not_finite_f32, at, x, count);
    (void)a;
    PLAIN(at, (size_t)1);
    PLAIN(x, count);
}

struct column_sizes {
    vlmp_f64 sum, squares;
    vlmp_f32 largest;
    vlmp_act x;
    int rows, dim;
    vlmp_i32 kinds;
};

RUN(column_sizes, vlmp_ref_column_sizes, a->sum, a->squares, a->largest, a->x, a->rows, a->dim,
    a->kinds)

void vlmp_hostile_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                               vlmp_act x, int rows, int dim, vlmp_i32 kinds)
{
    QUEUE(column_sizes, sum, squares, largest, x, rows, dim, kinds);
    vlmp_hostile_use(call, "sum", sum.at, VLMP_HOSTILE_REST);
    if (squares.at != NULL) vlmp_hostile_use(call, "squares", squares.at, VLMP_HOSTILE_REST);
    if (largest.at != NULL) vlmp_hostile_use(call, "largest", largest.at, VLMP_HOSTILE_REST);
    ACT(x, size(rows, dim));
    PLAIN(kinds, (size_t)rows);
}

struct column_sizes_f32 {
    vlmp_f64 sum, squares;
    vlmp_f32 largest, x;
    int rows, dim;
    vlmp_i32 kinds;
};

RUN(column_sizes_f32, vlmp_ref_column_sizes_f32, a->sum, a->squares, a->largest, a->x, a->rows,
    a->dim, a->kinds)

void vlmp_hostile_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                                   vlmp_f32 x, int rows, int dim, vlmp_i32 kinds)
{
    QUEUE(column_sizes_f32, sum, squares, largest, x, rows, dim, kinds);
    (void)a;
    vlmp_hostile_use(call, "sum", sum.at, VLMP_HOSTILE_REST);
    if (squares.at != NULL) vlmp_hostile_use(call, "squares", squares.at, VLMP_HOSTILE_REST);
    if (largest.at != NULL) vlmp_hostile_use(call, "largest", largest.at, VLMP_HOSTILE_REST);
    PLAIN(x, size(rows, dim));
    PLAIN(kinds, (size_t)rows);
}

struct measure {
    vlmp_measures out;
    vlmp_f32 q;
    size_t q_stride;
    vlmp_f32 p;
    size_t p_stride;
    int vocab;
    vlmp_i32 targets;
    int rows;
};

RUN(measure, vlmp_ref_measure, a->out, a->q, a->q_stride, a->p, a->p_stride, a->vocab, a->targets,
    a->rows)

void vlmp_hostile_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                          size_t p_stride, int vocab, vlmp_i32 targets, int rows)
{
    QUEUE(measure, out, q, q_stride, p, p_stride, vocab, targets, rows);
    (void)a;
    size_t before = rows > 0 ? (size_t)rows - 1 : 0, last = rows > 0 ? (size_t)vocab : 0;
    PLAIN(out, (size_t)rows);
    PLAIN(q, before * q_stride + last);
    if (p.at != NULL) PLAIN(p, before * p_stride + last);
    PLAIN(targets, (size_t)rows);
}

struct argmax {
    vlmp_i32 best;
    vlmp_f32 x;
    int rows, n;
};

RUN(argmax, vlmp_ref_argmax, a->best, a->x, a->rows, a->n)

void vlmp_hostile_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n)
{
    QUEUE(argmax, best, x, rows, n);
    (void)a;
    PLAIN(best, (size_t)rows);
    PLAIN(x, size(rows, n));
}

struct gram {
    vlmp_f32 gram;
    vlmp_act x;
    int rows, k;
};

RUN(gram, vlmp_ref_gram, a->gram, a->x, a->rows, a->k)

void vlmp_hostile_gram(vlmp_ctx *ctx, vlmp_f32 sum, vlmp_act x, int rows, int k)
{
    QUEUE(gram, sum, x, rows, k);
    PLAIN(sum, size(k, k));
    ACT(x, size(rows, k));
}

struct cross {
    vlmp_f32 c;
    vlmp_act a, b;
    int rows, k;
};

RUN(cross, vlmp_ref_cross, a->c, a->a, a->b, a->rows, a->k)

void vlmp_hostile_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act left, vlmp_act b, int rows, int k)
{
    QUEUE(cross, c, left, b, rows, k);
    PLAIN(c, size(k, k));
    ACT(a, size(rows, k));
    ACT(b, size(rows, k));
}
