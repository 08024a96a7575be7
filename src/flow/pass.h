/* What a pass over a stack's batches works with, in a context's memory: the residual stream of one
 * batch, its step, the blocks' working memory, and a store for one layer's keys and values. */
#pragma once

#include "src/flow/batch.h"
#include "src/model/block.h"

typedef struct {
    vlmp_ctx *ctx;
    const vlmp_block_shape *shape;
    vlmp_f32 x; /* [max rows][dim] */
    vlmp_step *step;
    vlmp_kv *kv;
    vlmp_i32 found; /* one number that an operation answers with */
    vlmp_block_work work;
} vlmp_pass;

/* Reserves the context's scratch. Free with vlmp_pass_free, after a failure too. */
int vlmp_pass_create(vlmp_pass *pass, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                     const vlmp_batches *batches, vlmp_error *err);
void vlmp_pass_free(vlmp_pass *pass);

/* Makes the step the batch's, in its windows or whole. */
vlmp_block_run vlmp_pass_set(vlmp_pass *pass, const vlmp_batch *batch, bool windowed);

/* The first of count values that is NaN or infinite, or count; then *value is that value. */
int vlmp_first_bad(vlmp_ctx *ctx, vlmp_i32 found, vlmp_f32 x, size_t count, size_t *at,
                   float *value, vlmp_error *err);
int vlmp_first_bad_act(vlmp_ctx *ctx, vlmp_i32 found, vlmp_act x, size_t count, size_t *at,
                       float *value, vlmp_error *err);
