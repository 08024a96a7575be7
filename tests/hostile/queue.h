/* How an operation of the hostile implementation is written: it checks its arguments, is queued
 * with copies of them, and runs with the reference's. */
#pragma once

#include "tests/hostile/internal.h"

static inline size_t size(int rows, int dim)
{
    return (size_t)rows * (size_t)dim;
}

/* Defines how a queued operation runs: what computes it, and its arguments out of its struct. */
#define RUN(op, function, ...)                      \
    static void run_##op(vlmp_ctx *ctx, void *args) \
    {                                               \
        struct op *a = args;                        \
        function(ctx, __VA_ARGS__);                 \
    }

/* Queues an operation with its struct's values; declares call, and a for the queued struct. */
#define QUEUE(op, ...)                                                                        \
    struct vlmp_hostile_call *call =                                                          \
        vlmp_hostile_queue(ctx, #op, run_##op, &(struct op){__VA_ARGS__}, sizeof(struct op)); \
    struct op *a = call->args

#define ACT(name, count)   vlmp_hostile_use_act(call, #name, &a->name, count)
#define PLAIN(name, count) vlmp_hostile_use(call, #name, name.at, (count) * sizeof *name.at)

/* Those of tests/hostile/measures.c. */
void vlmp_hostile_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count);
void vlmp_hostile_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count);
void vlmp_hostile_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                               vlmp_act x, int rows, int dim, vlmp_i32 kinds);
void vlmp_hostile_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                                   vlmp_f32 x, int rows, int dim, vlmp_i32 kinds);
void vlmp_hostile_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                          size_t p_stride, int vocab, vlmp_i32 targets, int rows);
void vlmp_hostile_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n);
void vlmp_hostile_gram(vlmp_ctx *ctx, vlmp_f32 sum, vlmp_act x, int rows, int k);
void vlmp_hostile_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act left, vlmp_act b, int rows, int k);

/* Those of tests/hostile/quant.c. */
extern const struct vlmp_quant_ops vlmp_hostile_quant_ops;
void vlmp_hostile_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                       const float *left, int lda, const float *b, int ldb, float beta, float *c,
                       int ldc);
