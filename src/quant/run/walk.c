#include "src/quant/run/walk.h"

#include <stdlib.h>

#include "src/base/memory.h"

static float *batch_scratch(const vlmp_walk *walk, const vlmp_activations *store)
{
    return vlmp_alloc((size_t)walk->batches->max_rows * (size_t)store->dim, sizeof(float));
}

int vlmp_walk_create(vlmp_walk *walk, const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                     const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                     vlmp_error *err)
{
    const vlmp_block_shape *shape = &stack->shape;
    *walk = (vlmp_walk){.sweep = sweep,
                        .stack = stack,
                        .layer = layer,
                        .batches = batches,
                        .block = block,
                        .x = x,
                        .a.fd = -1,
                        .m.fd = -1};
    size_t limit = sweep->memory_limit;
    VLMP_TRY(vlmp_ctx_reserve(sweep->ctx, batches->max_rows, vlmp_widest_site(shape), err));
    VLMP_TRY(vlmp_activations_create(&walk->a, batches->total_rows, shape->heads * shape->head_dim,
                                     limit, sweep->work_folder, err));
    VLMP_TRY(vlmp_activations_create(&walk->m, batches->total_rows, shape->intermediate, limit,
                                     sweep->work_folder, err));
    VLMP_TRY(vlmp_block_work_create(&walk->work, shape, batches->max_rows, err));
    VLMP_TRY(vlmp_batch_kv_create(&walk->kv, batches, shape->kv_heads, shape->head_dim, err));
    walk->scratch_x = batch_scratch(walk, x);
    walk->scratch_a = batch_scratch(walk, &walk->a);
    walk->scratch_m = batch_scratch(walk, &walk->m);
    if (walk->scratch_x != NULL && walk->scratch_a != NULL && walk->scratch_m != NULL)
        return VLMP_OK;
    return vlmp_fail_memory(err, "a batch of activations");
}

void vlmp_walk_free(vlmp_walk *walk)
{
    if (walk->sweep == NULL) return;
    vlmp_activations_free(&walk->a);
    vlmp_activations_free(&walk->m);
    vlmp_block_work_free(&walk->work);
    vlmp_batch_kv_free(&walk->kv);
    free(walk->scratch_x);
    free(walk->scratch_a);
    free(walk->scratch_m);
    *walk = (vlmp_walk){0};
}

static vlmp_block_run run_of(vlmp_walk *walk, const vlmp_batch *batch)
{
    return (vlmp_block_run){.ctx = walk->sweep->ctx,
                            .shape = &walk->stack->shape,
                            .work = &walk->work,
                            .segments = batch->segments,
                            .segment_count = batch->segment_count,
                            .rows = batch->rows,
                            .kv = walk->kv};
}

static int get(const vlmp_activations *store, const vlmp_batch *batch, float *scratch, float **out,
               vlmp_error *err)
{
    return vlmp_activations_get(store, batch->first_row, (size_t)batch->rows, scratch, out, err);
}

static int put(vlmp_activations *store, const vlmp_batch *batch, const float *values,
               vlmp_error *err)
{
    return vlmp_activations_put(store, batch->first_row, (size_t)batch->rows, values, err);
}

/* Where values that are about to be computed go: no need to read what is there. */
static float *place(const vlmp_activations *store, const vlmp_batch *batch, float *scratch)
{
    return store->memory != NULL ? store->memory + batch->first_row * (size_t)store->dim : scratch;
}

static int advance(vlmp_walk *walk, int index, vlmp_site site, const float **input, vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    vlmp_block_run run = run_of(walk, batch);
    float *h = walk->work.h, *x, *a, *m;
    VLMP_TRY(get(walk->x, batch, walk->scratch_x, &x, err));
    switch (site) {
    case VLMP_SITE_ATTN_IN:
        vlmp_block_attn_in(&run, walk->block, x, h);
        *input = h;
        return VLMP_OK;
    case VLMP_SITE_ATTN_OUT:
        a = place(&walk->a, batch, walk->scratch_a);
        vlmp_block_attn_in(&run, walk->block, x, h);
        vlmp_block_attn_out(&run, walk->block, h, a);
        *input = a;
        return put(&walk->a, batch, a, err);
    case VLMP_SITE_MLP_IN:
        VLMP_TRY(get(&walk->a, batch, walk->scratch_a, &a, err));
        vlmp_block_add_attention(&run, walk->block, a, x);
        VLMP_TRY(put(walk->x, batch, x, err));
        vlmp_block_mlp_in(&run, walk->block, x, h);
        *input = h;
        return VLMP_OK;
    default:
        m = place(&walk->m, batch, walk->scratch_m);
        vlmp_block_mlp_in(&run, walk->block, x, h);
        vlmp_block_mlp_out(&run, walk->block, h, m);
        *input = m;
        return put(&walk->m, batch, m, err);
    }
}

/* Moments of what is not finite would make weights of it, so each site's input is looked at. */
static int check(const vlmp_walk *walk, int index, const float *rows, int dim, vlmp_error *err)
{
    return vlmp_sweep_check_layer(walk->sweep, walk->stack, walk->layer,
                                  &walk->batches->batches[index], rows, dim, err);
}

int vlmp_walk_to(vlmp_walk *walk, int index, vlmp_site site, const float **input, vlmp_error *err)
{
    VLMP_TRY(advance(walk, index, site, input, err));
    return check(walk, index, *input, vlmp_site_dim(&walk->stack->shape, site), err);
}

int vlmp_walk_again(vlmp_walk *walk, int index, vlmp_site site, const float **input,
                    vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    vlmp_block_run run = run_of(walk, batch);
    float *x, *kept;
    if (site == VLMP_SITE_ATTN_OUT || site == VLMP_SITE_MLP_OUT) {
        bool attention = site == VLMP_SITE_ATTN_OUT;
        VLMP_TRY(get(attention ? &walk->a : &walk->m, batch,
                     attention ? walk->scratch_a : walk->scratch_m, &kept, err));
        *input = kept;
        return VLMP_OK;
    }
    VLMP_TRY(get(walk->x, batch, walk->scratch_x, &x, err));
    if (site == VLMP_SITE_ATTN_IN)
        vlmp_block_attn_in(&run, walk->block, x, walk->work.h);
    else
        vlmp_block_mlp_in(&run, walk->block, x, walk->work.h);
    *input = walk->work.h;
    return VLMP_OK;
}

int vlmp_walk_finish(vlmp_walk *walk, int index, vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    vlmp_block_run run = run_of(walk, batch);
    float *x, *m;
    VLMP_TRY(get(walk->x, batch, walk->scratch_x, &x, err));
    VLMP_TRY(get(&walk->m, batch, walk->scratch_m, &m, err));
    vlmp_block_add_mlp(&run, walk->block, m, x);
    VLMP_TRY(check(walk, index, x, walk->stack->shape.dim, err));
    return put(walk->x, batch, x, err);
}
