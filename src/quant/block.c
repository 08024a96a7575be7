#include "src/quant/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/fold.h"
#include "src/quant/record.h"
#include "src/quant/walk.h"

struct block_job {
    const vlmp_quantize_job *job;
    const vlmp_stack *stack;
    int layer;
    vlmp_block block;    /* linears become packed one after another */
    vlmp_block original; /* as loaded, then folded */
    vlmp_fold fold;
    int count;
    vlmp_block_linear linears[VLMP_BLOCK_LINEARS];
    vlmp_packed_arrays packed[VLMP_BLOCK_LINEARS];
    vlmp_linear_result results[VLMP_BLOCK_LINEARS];
    int result_count;
};

static void list_linears(struct block_job *b)
{
    vlmp_block *block = &b->block;
    vlmp_linear *const all[] = {&block->q,    &block->k,  &block->v,   &block->o,
                                &block->gate, &block->up, &block->down};
    bool vision = b->stack == &b->job->sweep.model->vision;
    const vlmp_component component = vision ? VLMP_COMPONENT_VISION : VLMP_COMPONENT_TEXT;
    int next = 0;
    for (int i = 0; i < b->job->linear_count; i++) {
        const vlmp_linear_info *info = &b->job->linears[i];
        if (info->component != component || info->layer != b->layer) continue;
        while (all[next]->n == 0)
            next++; /* no gate */
        b->linears[b->count++] = (vlmp_block_linear){info, &b->job->plan->entries[i], all[next++]};
    }
}

static int take_targets(struct block_job *b, const int *indices, int count,
                        const vlmp_moments *moments, const float *scales, bool can_revert,
                        bool *reverted, vlmp_error *err)
{
    vlmp_target targets[VLMP_BLOCK_LINEARS];
    float *copies[VLMP_BLOCK_LINEARS] = {0};
    vlmp_packed_arrays packed[VLMP_BLOCK_LINEARS] = {0};
    int status = VLMP_OK;
    for (int t = 0; t < count && status == VLMP_OK; t++) {
        const vlmp_block_linear *l = &b->linears[indices[t]];
        size_t values = (size_t)l->info->n * (size_t)l->info->k;
        copies[t] = vlmp_alloc(values, sizeof(float));
        if (copies[t] == NULL)
            status = vlmp_fail_memory(err, l->info->name);
        else
            vlmp_to_f32(copies[t], l->linear->weight, l->linear->dtype, values);
        targets[t] = (vlmp_target){.info = l->info, .entry = l->entry, .w = copies[t]};
    }
    vlmp_target_group group = {.targets = targets,
                               .count = count,
                               .moments = moments,
                               .scales = scales,
                               .can_revert = can_revert};
    if (status == VLMP_OK)
        status = vlmp_quantize_group(b->job, &group, packed, &b->results[b->result_count], reverted,
                                     err);
    for (int t = 0; t < count; t++) {
        const vlmp_block_linear *l = &b->linears[indices[t]];
        free(copies[t]);
        b->packed[indices[t]] = packed[t];
        if (status != VLMP_OK) continue;
        vlmp_linear_use_packed(l->linear, &l->entry->scheme, &packed[t]);
        status = vlmp_put_packed(b->job->sink, l->info->name, l->info->n, l->info->k,
                                 &l->entry->scheme, &packed[t], err);
    }
    if (status == VLMP_OK) b->result_count += count;
    return status;
}

/* Linears under AWQ's scales are one group; others are judged one by one. */
static int quantize_site(struct block_job *b, vlmp_site site, const vlmp_moments *moments,
                         vlmp_error *err)
{
    int indices[VLMP_BLOCK_LINEARS], count = 0;
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site && b->linears[i].entry->method != VLMP_METHOD_KEEP)
            indices[count++] = i;
    bool reverted = false;
    const float *scales = b->fold.scales[site];
    if (scales == NULL) {
        for (int i = 0; i < count; i++)
            VLMP_TRY(take_targets(b, &indices[i], 1, moments, NULL, false, &reverted, err));
        return VLMP_OK;
    }
    bool norm = site == VLMP_SITE_ATTN_IN || site == VLMP_SITE_MLP_IN;
    VLMP_TRY(take_targets(b, indices, count, moments, scales, norm, &reverted, err));
    if (reverted) vlmp_fold_revert(&b->fold, b->linears, b->count, site);
    return VLMP_OK;
}

static bool site_needs_moments(const struct block_job *b, vlmp_site site)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site &&
            vlmp_method_needs_calibration(b->linears[i].entry->method))
            return true;
    return false;
}

static bool site_needs_cross(const struct block_job *b, vlmp_site site)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].info->site == site && b->linears[i].entry->method == VLMP_METHOD_AWQ_GPTQ)
            return true;
    return false;
}

/* cross += (x₀ − x)ᵀ·x over a batch; original is overwritten. */
static void add_cross(vlmp_ctx *ctx, float *cross, float *original, const float *input, int rows,
                      int k)
{
    for (size_t i = 0; i < (size_t)rows * (size_t)k; i++)
        original[i] -= input[i];
    ctx->ops->gemm(ctx, true, false, k, k, rows, 1.0f, original, k, input, k, 1.0f, cross, k);
}

struct walks {
    vlmp_walk quantized;
    vlmp_walk original; /* only with a flow of the original model */
    bool two;
    float *difference; /* [max rows][widest site] */
};

static int advance(struct block_job *b, struct walks *walks, vlmp_site site, vlmp_moments *moments,
                   vlmp_error *err)
{
    vlmp_ctx *ctx = b->job->sweep.ctx;
    const vlmp_batches *batches = walks->quantized.batches;
    const volatile sig_atomic_t *interrupted = b->job->sweep.interrupted;
    for (int i = 0; i < batches->count; i++) {
        const float *input, *original = NULL;
        int rows = batches->batches[i].rows;
        if (interrupted != NULL && *interrupted)
            return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        VLMP_TRY(vlmp_walk_to(&walks->quantized, i, site, &input, err));
        if (walks->two) VLMP_TRY(vlmp_walk_to(&walks->original, i, site, &original, err));
        if (moments == NULL) continue;
        bool seen = i < batches->break_batch;
        ctx->ops->gram(ctx, seen ? moments->gram : moments->held, input, rows, moments->k);
        if (moments->cross == NULL) continue;
        memcpy(walks->difference, original, (size_t)rows * (size_t)moments->k * sizeof *original);
        add_cross(ctx, seen ? moments->cross : moments->held_cross, walks->difference, input, rows,
                  moments->k);
    }
    return VLMP_OK;
}

static int walk_sites(struct block_job *b, struct walks *walks, vlmp_error *err)
{
    const vlmp_batches *batches = walks->quantized.batches;
    bool held = batches->break_batch < batches->count;
    for (int site = 0; site < VLMP_SITES; site++) {
        vlmp_moments moments = {0};
        bool needed = site_needs_moments(b, (vlmp_site)site);
        int status = VLMP_OK;
        if (needed)
            status =
                vlmp_moments_create(&moments, vlmp_site_dim(&b->stack->shape, (vlmp_site)site),
                                    held, walks->two && site_needs_cross(b, (vlmp_site)site), err);
        if (status == VLMP_OK)
            status = advance(b, walks, (vlmp_site)site, needed ? &moments : NULL, err);
        if (status == VLMP_OK)
            status = quantize_site(b, (vlmp_site)site, needed ? &moments : NULL, err);
        vlmp_moments_free(&moments);
        VLMP_TRY(status);
    }
    for (int i = 0; i < batches->count; i++) {
        VLMP_TRY(vlmp_walk_finish(&walks->quantized, i, err));
        if (walks->two) VLMP_TRY(vlmp_walk_finish(&walks->original, i, err));
    }
    return VLMP_OK;
}

/* Site by site on inputs that the quantized linears before it produce: one forward pass, and one of
 * the original block beside it where its outputs are the target. */
static int run_sequential(struct block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    struct walks walks = {.two = flow->original != NULL};
    const vlmp_sweep *sweep = &b->job->sweep;
    int status = vlmp_fold_block(&b->fold, b->job, b->stack, &b->block, b->linears, b->count,
                                 flow->x, flow->batches, err);
    b->original = b->block;
    if (status == VLMP_OK)
        status = vlmp_walk_create(&walks.quantized, sweep, b->stack, b->layer, &b->block, flow->x,
                                  flow->batches, err);
    if (status == VLMP_OK && walks.two)
        status = vlmp_walk_create(&walks.original, sweep, b->stack, b->layer, &b->original,
                                  flow->original, flow->batches, err);
    if (status == VLMP_OK && walks.two) {
        const vlmp_block_shape *shape = &b->stack->shape;
        int attention = shape->heads * shape->head_dim,
            widest = shape->intermediate > shape->dim ? shape->intermediate : shape->dim;
        walks.difference = vlmp_alloc((size_t)flow->batches->max_rows *
                                          (size_t)(attention > widest ? attention : widest),
                                      sizeof(float));
        if (walks.difference == NULL) status = vlmp_fail_memory(err, "a batch of activations");
    }
    if (status == VLMP_OK) status = walk_sites(b, &walks, err);
    free(walks.difference);
    vlmp_walk_free(&walks.quantized);
    vlmp_walk_free(&walks.original);
    return status;
}

struct all_moments {
    vlmp_ctx *ctx;
    const vlmp_batches *batches;
    vlmp_moments sites[VLMP_SITES];
};

static void collect_moments(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                            const vlmp_batch *batch, const float *input, int dim)
{
    (void)stack;
    (void)layer;
    struct all_moments *all = arg;
    vlmp_moments *moments = &all->sites[site];
    if (moments->gram == NULL) return;
    bool seen = batch < all->batches->batches + all->batches->break_batch;
    all->ctx->ops->gram(all->ctx, seen ? moments->gram : moments->held, input, batch->rows, dim);
}

/* All sites on the original model's inputs; x advances with the original weights. */
static int run_original(struct block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    struct all_moments all = {.ctx = b->job->sweep.ctx, .batches = flow->batches};
    bool held = flow->batches->break_batch < flow->batches->count;
    int status = vlmp_fold_block(&b->fold, b->job, b->stack, &b->block, b->linears, b->count,
                                 flow->x, flow->batches, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        if (site_needs_moments(b, (vlmp_site)site))
            status = vlmp_moments_create(&all.sites[site],
                                         vlmp_site_dim(&b->stack->shape, (vlmp_site)site), held,
                                         false, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_block(&b->job->sweep, b->stack, b->layer, &b->block, flow->x,
                                  flow->batches, collect_moments, &all, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        status = quantize_site(b, (vlmp_site)site,
                               all.sites[site].gram != NULL ? &all.sites[site] : NULL, err);
    for (int site = 0; site < VLMP_SITES; site++)
        vlmp_moments_free(&all.sites[site]);
    return status;
}

static int quantize_weights_only(struct block_job *b, vlmp_error *err)
{
    for (int site = 0; site < VLMP_SITES; site++)
        VLMP_TRY(quantize_site(b, (vlmp_site)site, NULL, err));
    return VLMP_OK;
}

/* What vlmp_fold_vectors names: part 0 the bias, 1 the weight of a norm. */
static const float *folded_vector(const struct block_job *b, vlmp_site site, int part, int *length)
{
    const vlmp_block *block = &b->block;
    *length = b->stack->shape.dim;
    switch (site) {
    case VLMP_SITE_ATTN_IN:
        return part == 0 ? block->norm1_bias : block->norm1;
    case VLMP_SITE_MLP_IN:
        return part == 0 ? block->norm2_bias : block->norm2;
    case VLMP_SITE_ATTN_OUT:
        *length = block->v.n;
        return block->v.bias;
    default:
        *length = block->up.n;
        return block->up.bias;
    }
}

/* Norms and biases of AWQ's sites, as F32. names gets those put. */
static int put_folded(struct block_job *b, char (*names)[VLMP_NAME_MAX], int *count,
                      vlmp_error *err)
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

static int commit(struct block_job *b, const char *step, vlmp_error *err)
{
    char names[VLMP_SITES * VLMP_FOLD_VECTORS][VLMP_NAME_MAX];
    const char *list[VLMP_SITES * VLMP_FOLD_VECTORS + 1] = {0};
    int count = 0;
    VLMP_TRY(put_folded(b, names, &count, err));
    for (int i = 0; i < count; i++)
        list[i] = names[i];
    return vlmp_commit_results(b->job, step, b->results, b->result_count, list, err);
}

/* One F32 tensor that a finished step replaced; *target stays as it is when the sink has none. */
static int restore_vector(struct block_job *b, const char *name, const cJSON *replaced,
                          float **memory, const float **target, vlmp_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, replaced)
    {
        if (!cJSON_IsString(item) || strcmp(item->valuestring, name) != 0) continue;
        vlmp_tensor tensor;
        void *data;
        VLMP_TRY(b->job->sink->get(b->job->sink, name, &tensor, &data, err));
        *memory = data;
        *target = data;
    }
    return VLMP_OK;
}

static int restore_folded(struct block_job *b, const cJSON *replaced, vlmp_error *err)
{
    bool vision = b->stack == &b->job->sweep.model->vision;
    const char *const norms[] = {vision ? "norm1" : "attn_norm", vision ? "norm2" : "mlp_norm"};
    const float **const weights[] = {&b->block.norm1, &b->block.norm2},
                        **const biases[] = {&b->block.norm1_bias, &b->block.norm2_bias};
    char name[VLMP_NAME_MAX];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.layers.%d.%s.weight", b->stack->prefix, b->layer, norms[i]);
        VLMP_TRY(restore_vector(b, name, replaced, &b->fold.norm[i], weights[i], err));
        snprintf(name, sizeof name, "%s.layers.%d.%s.bias", b->stack->prefix, b->layer, norms[i]);
        VLMP_TRY(restore_vector(b, name, replaced, &b->fold.norm_bias[i], biases[i], err));
    }
    for (int i = 0; i < b->count; i++) {
        snprintf(name, sizeof name, "%.80s.bias", b->linears[i].info->name);
        VLMP_TRY(
            restore_vector(b, name, replaced, &b->fold.bias[i], &b->linears[i].linear->bias, err));
    }
    return VLMP_OK;
}

static int restore_linear(struct block_job *b, int index, vlmp_error *err)
{
    static const char *const parts[] = {"codes", "scales", "zeros"};
    const vlmp_block_linear *l = &b->linears[index];
    const vlmp_scheme *scheme = &l->entry->scheme;
    void *memory[3] = {0};
    int status = VLMP_OK;
    for (int p = 0; p < (scheme->symmetric ? 2 : 3) && status == VLMP_OK; p++) {
        char name[VLMP_NAME_MAX + 16];
        vlmp_tensor tensor;
        snprintf(name, sizeof name, "%s.%s", l->info->name, parts[p]);
        status = b->job->sink->get(b->job->sink, name, &tensor, &memory[p], err);
    }
    b->packed[index] =
        (vlmp_packed_arrays){.codes = memory[0], .scales = memory[1], .zeros = memory[2]};
    if (status == VLMP_OK) vlmp_linear_use_packed(l->linear, scheme, &b->packed[index]);
    return status;
}

/* A finished block comes back from the sink. */
static int restore(struct block_job *b, const char *record, vlmp_error *err)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].entry->method != VLMP_METHOD_KEEP) VLMP_TRY(restore_linear(b, i, err));
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, record, strlen(record), "journal", err));
    int status = restore_folded(b, vlmp_json_get(root, "replaced"), err);
    cJSON_Delete(root);
    return status;
}

static int run_finished(struct block_job *b, const char *record, const vlmp_block_flow *flow,
                        vlmp_error *err)
{
    const vlmp_sweep *sweep = &b->job->sweep;
    if (flow->x == NULL) return VLMP_OK;
    if (flow->original != NULL)
        VLMP_TRY(vlmp_sweep_block(sweep, b->stack, b->layer, &b->block, flow->original,
                                  flow->batches, NULL, NULL, err));
    if (b->job->sequential) VLMP_TRY(restore(b, record, err));
    return vlmp_sweep_block(sweep, b->stack, b->layer, &b->block, flow->x, flow->batches, NULL,
                            NULL, err);
}

static int run_block(struct block_job *b, const vlmp_block_flow *flow, vlmp_error *err)
{
    char step[VLMP_NAME_MAX];
    vlmp_step_name(step, b->stack->prefix, b->layer);
    const char *record = b->job->sink->record(b->job->sink, step);
    if (record != NULL) return run_finished(b, record, flow, err);
    if (flow->x == NULL)
        VLMP_TRY(quantize_weights_only(b, err));
    else if (b->job->sequential)
        VLMP_TRY(run_sequential(b, flow, err));
    else
        VLMP_TRY(run_original(b, flow, err));
    return commit(b, step, err);
}

int vlmp_quantize_block(const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                        const vlmp_block_flow *flow, vlmp_error *err)
{
    struct block_job *b = vlmp_calloc(1, sizeof *b);
    if (b == NULL) return vlmp_fail_memory(err, "a block");
    b->job = job;
    b->stack = stack;
    b->layer = layer;
    vlmp_loaded loaded = {0};
    int status = vlmp_load_block(&loaded, job->sweep.model, stack, layer, &b->block, err);
    if (status == VLMP_OK) {
        list_linears(b);
        status = run_block(b, flow, err);
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
