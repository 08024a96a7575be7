#include "src/quant/run/block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/rtn.h"
#include "src/quant/run/block_job.h"
#include "src/quant/run/record.h"

static void list_linears(vlmp_block_job *b)
{
    vlmp_block *block = &b->block;
    vlmp_linear *const all[] = {&block->qkv, &block->q,    &block->k,  &block->v,
                                &block->o,   &block->gate, &block->up, &block->down};
    bool vision = b->stack == &b->job->sweep.model->vision;
    const vlmp_component component = vision ? VLMP_COMPONENT_VISION : VLMP_COMPONENT_TEXT;
    int next = 0;
    for (int i = 0; i < b->job->linear_count; i++) {
        const vlmp_linear_info *info = &b->job->linears[i];
        if (info->component != component || info->layer != b->layer) continue;
        while (all[next]->n == 0)
            next++; /* fused or apart, gated or not */
        b->linears[b->count++] =
            (vlmp_block_linear){info, &b->job->plan->entries[i], all[next], *all[next]};
        next++;
    }
}

/* Of all linears of a site with the codes of this one: engines fuse q, k and v, and gate and up,
 * under one global scale. */
static int form_global_scale(const vlmp_block_job *b, int index, float *scale, vlmp_error *err)
{
    const vlmp_block_linear *like = &b->linears[index];
    float largest = 0, *row = vlmp_alloc((size_t)like->info->k, sizeof *row);
    if (row == NULL) return vlmp_fail_memory(err, like->info->name);
    for (int i = 0; i < b->count; i++) {
        const vlmp_block_linear *l = &b->linears[i];
        if (l->info->site != like->info->site || l->entry->method == VLMP_METHOD_KEEP ||
            l->entry->scheme.codes != like->entry->scheme.codes)
            continue;
        size_t k = (size_t)l->info->k, bytes = k * vlmp_dtype_size(l->source.dtype);
        for (size_t r = 0; r < (size_t)l->info->n; r++) {
            vlmp_to_f32(row, (const unsigned char *)l->source.weight + r * bytes, l->source.dtype,
                        k);
            largest = fmaxf(largest, vlmp_largest(row, k));
        }
    }
    free(row);
    *scale = vlmp_global_scale_of(largest);
    return VLMP_OK;
}

/* The weights of a linear as they are now, and without its site's scales where it has any. */
static int form_target(const vlmp_block_job *b, int index, bool scaled, vlmp_target *target,
                       float **memory, vlmp_error *err)
{
    const vlmp_block_linear *l = &b->linears[index];
    size_t values = (size_t)l->info->n * (size_t)l->info->k;
    float *w = vlmp_alloc(values, (scaled ? 2 : 1) * sizeof *w);
    if (w == NULL) return vlmp_fail_memory(err, l->info->name);
    *memory = w;
    *target =
        (vlmp_target){.info = l->info, .entry = l->entry, .w = w, .plain = w, .global_scale = 1.0f};
    if (vlmp_scheme_has_global(&l->entry->scheme))
        VLMP_TRY(form_global_scale(b, index, &target->global_scale, err));
    vlmp_fold_weights(&b->fold, &b->stack->shape, &b->block, b->linears, b->count, index, true, w);
    if (!scaled) return VLMP_OK;
    vlmp_fold_weights(&b->fold, &b->stack->shape, &b->block, b->linears, b->count, index, false,
                      w + values);
    target->plain = w + values;
    return VLMP_OK;
}

int vlmp_block_add_missed(const vlmp_block_job *b, int index, vlmp_missed *missed, vlmp_error *err)
{
    vlmp_target target;
    float *memory = NULL;
    int status = form_target(b, index, false, &target, &memory, err);
    if (status == VLMP_OK) vlmp_missed_linear(missed, target.w, target.info->n);
    free(memory);
    return status;
}

static int take_targets(vlmp_block_job *b, const int *indices, int count, vlmp_moments *moments,
                        const float *scales, bool *reverted, vlmp_error *err)
{
    vlmp_target targets[VLMP_BLOCK_LINEARS];
    float *memory[VLMP_BLOCK_LINEARS] = {0};
    vlmp_packed_arrays packed[VLMP_BLOCK_LINEARS] = {0};
    int status = VLMP_OK;
    for (int t = 0; t < count && status == VLMP_OK; t++)
        status = form_target(b, indices[t], scales != NULL, &targets[t], &memory[t], err);
    for (int t = 0; t < count; t++)
        memcpy(targets[t].missed, b->missed[indices[t]], sizeof targets[t].missed);
    vlmp_target_group group = {
        .targets = targets, .count = count, .moments = moments, .scales = scales};
    if (status == VLMP_OK)
        status = vlmp_quantize_group(b->job, &group, packed, &b->results[b->result_count], reverted,
                                     err);
    for (int t = 0; t < count; t++) {
        const vlmp_block_linear *l = &b->linears[indices[t]];
        free(memory[t]);
        b->packed[indices[t]] = packed[t];
        if (status == VLMP_OK) vlmp_linear_use_packed(l->linear, &l->entry->scheme, &packed[t]);
    }
    if (status == VLMP_OK) b->result_count += count;
    return status;
}

/* Round to nearest of the weights as they were loaded. */
static int pack_nearest(vlmp_block_job *b, int index, vlmp_error *err)
{
    const vlmp_block_linear *l = &b->linears[index];
    int n = l->info->n, k = l->info->k;
    vlmp_packed_arrays *packed = &b->packed[index];
    vlmp_quantized q = {0};
    float *w = vlmp_alloc((size_t)n * (size_t)k, sizeof *w);
    int status = w != NULL ? vlmp_quantized_alloc(&q, n, k, &l->entry->scheme, err)
                           : vlmp_fail_memory(err, l->info->name);
    if (status == VLMP_OK) {
        vlmp_to_f32(w, l->source.weight, l->source.dtype, (size_t)n * (size_t)k);
        status = vlmp_rtn(&q, w, b->job->sweep.ctx->pool, l->info->name, err);
    }
    vlmp_packed_arrays_free(packed);
    if (status == VLMP_OK) status = vlmp_packed_arrays_fill(packed, &q, err);
    if (status == VLMP_OK) vlmp_linear_use_packed(l->linear, &l->entry->scheme, packed);
    vlmp_quantized_free(&q);
    free(w);
    return status;
}

/* Takes the inverse of a site's scales out of the rows of the linear before it, which is quantized
 * already: a factor of a row is one of its scales, and codes stay. What is rounded to nearest is
 * rounded anew, so that it has the bytes of a plain rounding. */
static int unfold_rows(vlmp_block_job *b, vlmp_site site, int before, vlmp_error *err)
{
    const vlmp_block_linear *l = &b->linears[before];
    vlmp_method method = l->entry->method;
    bool nearest = method == VLMP_METHOD_RTN || method == VLMP_METHOD_INT8;
    for (int i = 0; i < b->result_count; i++)
        if (strcmp(b->results[i].name, l->info->name) == 0) nearest |= b->results[i].kept_rtn;
    if (nearest) return pack_nearest(b, before, err);
    float *factors = vlmp_alloc((size_t)l->info->n, sizeof *factors);
    if (factors == NULL) return vlmp_fail_memory(err, l->info->name);
    for (int r = 0; r < l->info->n; r++) {
        int channel = vlmp_fold_channel(&b->stack->shape, site, r);
        factors[r] = channel < 0 ? 1.0f : b->fold.scales[site][channel];
    }
    int status = vlmp_packed_arrays_scale_rows(&b->packed[before], l->info->n, l->info->k,
                                               &l->entry->scheme, factors, l->info->name, err);
    free(factors);
    return status;
}

int vlmp_block_list_site(const vlmp_block_job *b, vlmp_site site, int indices[VLMP_BLOCK_LINEARS])
{
    int count = 0;
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site && b->linears[i].entry->method != VLMP_METHOD_KEEP)
            indices[count++] = i;
    return count;
}

/* Linears under AWQ's scales are one group; others are judged one by one. */
int vlmp_block_quantize_site(vlmp_block_job *b, vlmp_site site, vlmp_moments *moments, bool *again,
                             vlmp_error *err)
{
    int indices[VLMP_BLOCK_LINEARS], count = vlmp_block_list_site(b, site, indices);
    bool reverted = false;
    *again = false;
    const float *scales = b->fold.scales[site];
    if (scales == NULL) {
        for (int i = 0; i < count; i++)
            VLMP_TRY(take_targets(b, &indices[i], 1, moments, NULL, &reverted, err));
        return VLMP_OK;
    }
    VLMP_TRY(take_targets(b, indices, count, moments, scales, &reverted, err));
    if (!reverted) return VLMP_OK;
    int before = vlmp_fold_before(&b->block, b->linears, b->count, site);
    *again = before >= 0;
    if (*again) VLMP_TRY(unfold_rows(b, site, before, err));
    vlmp_fold_revert(&b->fold, &b->block, b->linears, b->count, site);
    return VLMP_OK;
}

static int quantize_weights_only(vlmp_block_job *b, vlmp_error *err)
{
    bool again;
    for (int site = 0; site < VLMP_SITES; site++)
        VLMP_TRY(vlmp_block_quantize_site(b, (vlmp_site)site, NULL, &again, err));
    return VLMP_OK;
}

/* What vlmp_fold_vectors names: part 0 the bias, 1 the weight of a norm. */
static const float *folded_vector(const vlmp_block_job *b, vlmp_site site, int part, int *length)
{
    const vlmp_block *block = &b->block;
    *length = b->stack->shape.dim;
    switch (site) {
    case VLMP_SITE_ATTN_IN:
        return (part == 0 ? &block->norm1_bias : &block->norm1)->values;
    case VLMP_SITE_MLP_IN:
        return (part == 0 ? &block->norm2_bias : &block->norm2)->values;
    case VLMP_SITE_ATTN_OUT:
        *length = block->qkv.n > 0 ? block->qkv.n : block->v.n;
        return block->qkv.n > 0 ? block->qkv.bias : block->v.bias;
    default:
        *length = block->up.n;
        return block->up.bias;
    }
}

/* Norms and biases of AWQ's sites, as F32. names gets those put. */
static int put_folded(vlmp_block_job *b, char (*names)[VLMP_NAME_MAX], int *count, vlmp_error *err)
{
    *count = 0;
    bool put[VLMP_SITES] = {false};
    for (int i = 0; i < b->count; i++) {
        char found[VLMP_FOLD_VECTORS][VLMP_NAME_MAX];
        vlmp_site site = b->linears[i].info->site;
        int parts = vlmp_fold_vectors(found, b->linears[i].info, b->linears[i].entry->method);
        if (put[site]) continue;
        for (int part = 0; part < parts; part++) {
            int length;
            const float *values = folded_vector(b, site, part, &length);
            put[site] = true;
            if (values == NULL) continue;
            vlmp_tensor tensor = {.name = found[part],
                                  .dtype = VLMP_F32,
                                  .rank = 1,
                                  .shape = {length},
                                  .data = (const void *)values,
                                  .bytes = (size_t)length * sizeof(float)};
            VLMP_TRY(b->job->sink->put(b->job->sink, &tensor, err));
            memcpy(names[(*count)++], found[part], VLMP_NAME_MAX);
        }
    }
    return VLMP_OK;
}

static int commit(vlmp_block_job *b, const char *step, vlmp_error *err)
{
    char names[VLMP_SITES * VLMP_FOLD_VECTORS][VLMP_NAME_MAX];
    const char *list[VLMP_SITES * VLMP_FOLD_VECTORS + 1] = {0};
    int count = 0;
    for (int i = 0; i < b->count; i++) {
        const vlmp_block_linear *l = &b->linears[i];
        if (l->entry->method != VLMP_METHOD_KEEP)
            VLMP_TRY(vlmp_put_packed(b->job->sink, l->info->name, l->info->n, l->info->k,
                                     &l->entry->scheme, &b->packed[i], err));
    }
    VLMP_TRY(put_folded(b, names, &count, err));
    for (int i = 0; i < count; i++)
        list[i] = names[i];
    return vlmp_commit_results(b->job, step, b->results, b->result_count, list, err);
}

static int run_block(vlmp_block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    char step[VLMP_NAME_MAX];
    vlmp_step_name(step, b->stack->prefix, b->layer);
    const char *record;
    VLMP_TRY(b->job->sink->record(b->job->sink, step, &record, err));
    if (record != NULL) return vlmp_block_run_finished(b, record, flow, err);
    if (flow->x == NULL)
        VLMP_TRY(quantize_weights_only(b, err));
    else if (b->job->sequential)
        VLMP_TRY(vlmp_block_run_sequential(b, flow, err));
    else
        VLMP_TRY(vlmp_block_run_original(b, flow, err));
    return commit(b, step, err);
}

int vlmp_quantize_block(const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                        const vlmp_block_flow *flow, vlmp_error *err)
{
    vlmp_block_job *b = vlmp_calloc(1, sizeof *b);
    if (b == NULL) return vlmp_fail_memory(err, "a block");
    b->job = job;
    b->stack = stack;
    b->layer = layer;
    vlmp_loaded loaded = {0};
    int status = vlmp_load_block(&loaded, job->sweep.model, stack, layer, &b->block, err);
    if (status == VLMP_OK) {
        char step[VLMP_NAME_MAX];
        vlmp_ctx *ctx = job->sweep.ctx;
        vlmp_step_name(step, stack->prefix, layer);
        b->original = b->block;
        list_linears(b);
        ctx->ops->range(ctx, step);
        status = run_block(b, flow, err);
        ctx->ops->range(ctx, NULL);
    }
    for (int i = 0; i < b->count; i++)
        vlmp_packed_arrays_free(&b->packed[i]);
    vlmp_fold_free(&b->fold);
    vlmp_unload(&loaded);
    free(b);
    if (job->sweep.progress != NULL)
        job->sweep.progress(job->sweep.progress_arg, stack->prefix, layer + 1, stack->layers);
    return status;
}
