#include "src/quant/run/walk.h"

#include <stdio.h>

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
    VLMP_TRY(vlmp_activations_create(&walk->a, batches->total_rows, shape->heads * shape->head_dim,
                                     limit, sweep->work_folder, err));
    VLMP_TRY(vlmp_activations_create(&walk->m, batches->total_rows, shape->intermediate, limit,
                                     sweep->work_folder, err));
    return vlmp_pass_create(&walk->pass, sweep->ctx, shape, batches, err);
}

void vlmp_walk_free(vlmp_walk *walk)
{
    if (walk->sweep == NULL) return;
    vlmp_block_release(&walk->prepared, walk->sweep->ctx);
    vlmp_activations_free(&walk->a);
    vlmp_activations_free(&walk->m);
    vlmp_pass_free(&walk->pass);
    *walk = (vlmp_walk){0};
}

static int get_x(vlmp_walk *walk, const vlmp_batch *batch, vlmp_error *err)
{
    return vlmp_activations_upload(walk->x, batch->first_row, (size_t)batch->rows, walk->pass.ctx,
                                   walk->pass.x, err);
}

static int put_x(vlmp_walk *walk, const vlmp_batch *batch, vlmp_error *err)
{
    return vlmp_activations_download(walk->x, batch->first_row, (size_t)batch->rows, walk->pass.ctx,
                                     walk->pass.x, err);
}

static int get(vlmp_walk *walk, vlmp_activations *store, const vlmp_batch *batch, vlmp_act to,
               vlmp_error *err)
{
    return vlmp_activations_upload_act(store, batch->first_row, (size_t)batch->rows, walk->pass.ctx,
                                       to, err);
}

static int put(vlmp_walk *walk, vlmp_activations *store, const vlmp_batch *batch, vlmp_act from,
               vlmp_error *err)
{
    return vlmp_activations_download_act(store, batch->first_row, (size_t)batch->rows,
                                         walk->pass.ctx, from, err);
}

void vlmp_walk_rest(vlmp_walk *walk)
{
    vlmp_block_release(&walk->prepared, walk->pass.ctx);
}

static int begin(vlmp_walk *walk, int index, vlmp_error *err)
{
    if (index > 0) return VLMP_OK;
    vlmp_walk_rest(walk);
    return vlmp_block_prepare(&walk->prepared, walk->pass.ctx, walk->block, err);
}

static int advance(vlmp_walk *walk, int index, vlmp_site site, vlmp_act *input, vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    const vlmp_block *block = &walk->prepared;
    const vlmp_block_work *work = &walk->pass.work;
    vlmp_f32 x = walk->pass.x;
    vlmp_block_run run = vlmp_pass_set(&walk->pass, batch, walk->block->windowed);
    VLMP_TRY(get_x(walk, batch, err));
    switch (site) {
    case VLMP_SITE_ATTN_IN:
        vlmp_block_attn_in(&run, block, x, work->h);
        *input = work->h;
        return VLMP_OK;
    case VLMP_SITE_ATTN_OUT:
        vlmp_block_attn_in(&run, block, x, work->h);
        vlmp_block_attn_out(&run, block, work->h, work->a);
        *input = work->a;
        return put(walk, &walk->a, batch, work->a, err);
    case VLMP_SITE_MLP_IN:
        VLMP_TRY(get(walk, &walk->a, batch, work->a, err));
        vlmp_block_add_attention(&run, block, work->a, x);
        VLMP_TRY(put_x(walk, batch, err));
        vlmp_block_mlp_in(&run, block, x, work->h);
        *input = work->h;
        return VLMP_OK;
    default:
        vlmp_block_mlp_in(&run, block, x, work->h);
        vlmp_block_mlp_out(&run, block, work->h, work->m);
        *input = work->m;
        return put(walk, &walk->m, batch, work->m, err);
    }
}

int vlmp_walk_to(vlmp_walk *walk, int index, vlmp_site site, vlmp_act *input, vlmp_error *err)
{
    char place[VLMP_NAME_MAX];
    snprintf(place, sizeof place, "%s.layers.%d", walk->stack->prefix, walk->layer);
    VLMP_TRY(begin(walk, index, err));
    VLMP_TRY(advance(walk, index, site, input, err));
    /* Moments of what is not finite would make weights of it. */
    return vlmp_sweep_check_act(walk->sweep, place, walk->stack == &walk->sweep->model->vision,
                                &walk->batches->batches[index], walk->pass.found, *input,
                                vlmp_site_dim(&walk->stack->shape, site), err);
}

int vlmp_walk_again(vlmp_walk *walk, int index, vlmp_site site, vlmp_act *input, vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    const vlmp_block_work *work = &walk->pass.work;
    vlmp_block_run run = vlmp_pass_set(&walk->pass, batch, walk->block->windowed);
    if (site == VLMP_SITE_ATTN_OUT || site == VLMP_SITE_MLP_OUT) {
        bool attention = site == VLMP_SITE_ATTN_OUT;
        *input = attention ? work->a : work->m;
        return get(walk, attention ? &walk->a : &walk->m, batch, *input, err);
    }
    VLMP_TRY(get_x(walk, batch, err));
    *input = work->h;
    if (site == VLMP_SITE_ATTN_IN)
        vlmp_block_attn_in(&run, &walk->prepared, walk->pass.x, work->h);
    else
        vlmp_block_mlp_in(&run, &walk->prepared, walk->pass.x, work->h);
    return VLMP_OK;
}

int vlmp_walk_finish(vlmp_walk *walk, int index, vlmp_error *err)
{
    const vlmp_batch *batch = &walk->batches->batches[index];
    VLMP_TRY(begin(walk, index, err));
    vlmp_block_run run = vlmp_pass_set(&walk->pass, batch, walk->block->windowed);
    VLMP_TRY(get_x(walk, batch, err));
    VLMP_TRY(get(walk, &walk->m, batch, walk->pass.work.m, err));
    vlmp_block_add_mlp(&run, &walk->prepared, walk->pass.work.m, walk->pass.x);
    VLMP_TRY(
        vlmp_sweep_check_layer(walk->sweep, walk->stack, walk->layer, batch, &walk->pass, err));
    return put_x(walk, batch, err);
}
