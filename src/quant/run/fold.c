#include "src/quant/run/fold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/awq.h"
#include "src/quant/method/guard.h"
#include "src/quant/run/selection.h"
#include "src/quant/run/site.h"

void vlmp_fold_free(vlmp_fold *fold)
{
    for (int i = 0; i < VLMP_SITES; i++)
        free(fold->scales[i]);
    for (int i = 0; i < VLMP_BLOCK_LINEARS; i++)
        free(fold->bias[i]);
    for (int i = 0; i < 2; i++) {
        free(fold->norm[i]);
        free(fold->norm_bias[i]);
    }
    *fold = (vlmp_fold){0};
}

/* What a search needs to know of one site, from the block's original weights. */
struct site_data {
    vlmp_moments moments;
    double *sum_abs; /* [k] over the samples that the search sees; becomes the mean */
    double rows;
};

/* A pass of the original block over its inputs, whose result is dropped: it ends at the last site
 * that is looked at. */
struct look {
    const vlmp_quantize_job *job;
    const vlmp_stack *stack;
    int layer;
    const vlmp_block *block; /* as it was loaded */
    const vlmp_batches *batches;
    struct site_data sites[VLMP_SITES]; /* those with moments are looked at */
    vlmp_site last;
};

static int look_at(struct look *l, vlmp_site site, const vlmp_batch *batch, const float *input,
                   vlmp_error *err)
{
    struct site_data *data = &l->sites[site];
    size_t dim = (size_t)data->moments.k;
    if (data->moments.gram == NULL) return VLMP_OK;
    VLMP_TRY(
        vlmp_sweep_check_layer(&l->job->sweep, l->stack, l->layer, batch, input, (int)dim, err));
    bool seen = batch < l->batches->batches + l->batches->break_batch;
    VLMP_TRY(vlmp_selection_add(l->job, &data->moments, l->stack == &l->job->sweep.model->vision,
                                batch, seen ? VLMP_GRAM : VLMP_HELD, input, NULL, err));
    if (!seen) return VLMP_OK;
    for (size_t r = 0; r < (size_t)batch->rows; r++)
        for (size_t j = 0; j < dim; j++)
            data->sum_abs[j] += (double)fabsf(input[r * dim + j]);
    data->rows += batch->rows;
    return VLMP_OK;
}

/* x: the batch's rows, which change. */
static int look_at_batch(struct look *l, const vlmp_block_run *run, const vlmp_batch *batch,
                         float *x, vlmp_error *err)
{
    const vlmp_block_work *work = run->work;
    vlmp_block_attn_in(run, l->block, x, work->h);
    VLMP_TRY(look_at(l, VLMP_SITE_ATTN_IN, batch, work->h, err));
    if (l->last == VLMP_SITE_ATTN_IN) return VLMP_OK;
    vlmp_block_attn_out(run, l->block, work->h, work->a);
    VLMP_TRY(look_at(l, VLMP_SITE_ATTN_OUT, batch, work->a, err));
    if (l->last == VLMP_SITE_ATTN_OUT) return VLMP_OK;
    vlmp_block_add_attention(run, l->block, work->a, x);
    vlmp_block_mlp_in(run, l->block, x, work->h);
    VLMP_TRY(look_at(l, VLMP_SITE_MLP_IN, batch, work->h, err));
    if (l->last == VLMP_SITE_MLP_IN) return VLMP_OK;
    vlmp_block_mlp_out(run, l->block, work->h, work->m);
    return look_at(l, VLMP_SITE_MLP_OUT, batch, work->m, err);
}

static int look(struct look *l, const vlmp_activations *x, vlmp_error *err)
{
    const vlmp_sweep *sweep = &l->job->sweep;
    const vlmp_block_shape *shape = &l->stack->shape;
    const vlmp_batches *batches = l->batches;
    size_t values = (size_t)batches->max_rows * (size_t)shape->dim;
    vlmp_block_work work = {0};
    vlmp_kv kv = {0};
    float *rows = vlmp_alloc(values, sizeof *rows), *scratch = vlmp_alloc(values, sizeof *scratch);
    int status =
        rows != NULL && scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, "a batch of activations");
    if (status == VLMP_OK)
        status = vlmp_ctx_reserve(sweep->ctx, batches->max_rows, vlmp_widest_site(shape), err);
    if (status == VLMP_OK) status = vlmp_block_work_create(&work, shape, batches->max_rows, err);
    if (status == VLMP_OK)
        status = vlmp_batch_kv_create(&kv, batches, shape->kv_heads, shape->head_dim, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        float *from;
        if (sweep->interrupted != NULL && *sweep->interrupted)
            status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK)
            status =
                vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, scratch, &from, err);
        if (status != VLMP_OK) break;
        memcpy(rows, from, (size_t)batch->rows * (size_t)shape->dim * sizeof *rows);
        vlmp_block_run run = {.ctx = sweep->ctx,
                              .shape = shape,
                              .work = &work,
                              .kv = kv,
                              .segments = batch->segments,
                              .segment_count = batch->segment_count,
                              .rows = batch->rows};
        status = look_at_batch(l, &run, batch, rows, err);
    }
    free(rows);
    free(scratch);
    vlmp_batch_kv_free(&kv);
    vlmp_block_work_free(&work);
    return status;
}

static bool is_awq(vlmp_method method)
{
    return method == VLMP_METHOD_AWQ || method == VLMP_METHOD_AWQ_GPTQ;
}

int vlmp_fold_vectors(char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX], const vlmp_linear_info *info,
                      vlmp_method method)
{
    bool vision = info->component == VLMP_COMPONENT_VISION;
    if (!is_awq(method) || (!vision && info->component != VLMP_COMPONENT_TEXT)) return 0;
    const char *stack = vision ? "vision" : "text", *norm = NULL, *bias = NULL;
    if (info->site == VLMP_SITE_ATTN_IN)
        norm = vision ? "norm1" : "attn_norm";
    else if (info->site == VLMP_SITE_MLP_IN)
        norm = vision ? "norm2" : "mlp_norm";
    else if (info->site == VLMP_SITE_ATTN_OUT)
        bias = "attn.v";
    else if (!vision)
        bias = "mlp.up";
    else
        return 0;
    const char *of = norm != NULL ? norm : bias;
    snprintf(names[0], VLMP_NAME_MAX, "%s.layers.%d.%s.bias", stack, info->layer, of);
    if (norm == NULL) return 1;
    snprintf(names[1], VLMP_NAME_MAX, "%s.layers.%d.%s.weight", stack, info->layer, of);
    return 2;
}

/* A site takes scales when all its linears are quantized by one of AWQ's methods in one format, and
 * what precedes it can take their inverse: a norm, or a linear that is quantized anyway. What an
 * activation precedes (fc2) cannot. */
static bool can_fold(const vlmp_block_shape *shape, const vlmp_block *block,
                     const vlmp_block_linear *linears, int count, vlmp_site site)
{
    const vlmp_plan_entry *first = NULL;
    for (int i = 0; i < count; i++) {
        if (linears[i].info->site != site) continue;
        const vlmp_plan_entry *entry = linears[i].entry;
        if (!is_awq(entry->method)) return false;
        if (first != NULL &&
            (first->method != entry->method || first->scheme.bits != entry->scheme.bits ||
             first->scheme.group != entry->scheme.group ||
             first->scheme.symmetric != entry->scheme.symmetric))
            return false;
        first = entry;
    }
    if (first == NULL) return false;
    if (site == VLMP_SITE_ATTN_IN || site == VLMP_SITE_MLP_IN) return true;
    if (site == VLMP_SITE_MLP_OUT && !shape->gated) return false;
    return linears[vlmp_fold_before(block, linears, count, site)].entry->method != VLMP_METHOD_KEEP;
}

/* Whether the scales help on held-out samples: AWQ's rounding against plain rounding. Uses up the
 * moments of the samples seen. weights: of the site's linears, F32. */
static int helps(bool *out, vlmp_ctx *ctx, struct site_data *data, const vlmp_awq_options *options,
                 const vlmp_block_linear *const *linears, float *const *weights, int count,
                 const float *scales, vlmp_error *err)
{
    vlmp_guard_linear judged[VLMP_BLOCK_LINEARS];
    vlmp_quantized q[VLMP_BLOCK_LINEARS] = {0};
    const vlmp_guard_tokens tokens = {.gram = data->moments.held};
    int k = data->moments.k, status = VLMP_OK;
    vlmp_awq_scale_gram(data->moments.gram, k, scales);
    for (int i = 0; i < count && status == VLMP_OK; i++) {
        const vlmp_linear_info *info = linears[i]->info;
        size_t size = (size_t)info->n * (size_t)k;
        float *scaled = vlmp_alloc(size, sizeof *scaled);
        status = scaled != NULL
                     ? vlmp_quantized_alloc(&q[i], info->n, k, &linears[i]->entry->scheme, err)
                     : vlmp_fail_memory(err, info->name);
        if (status == VLMP_OK) {
            memcpy(scaled, weights[i], size * sizeof *scaled);
            vlmp_awq_scale_columns(scaled, info->n, k, scales);
            status =
                vlmp_awq_quantize(&q[i], ctx, data->moments.gram, scaled, options, info->name, err);
        }
        free(scaled);
        judged[i] = (vlmp_guard_linear){.name = info->name, .w = weights[i], .q = &q[i]};
    }
    vlmp_guard_result result = {0};
    if (status == VLMP_OK) status = vlmp_guard(&result, ctx, judged, count, &tokens, scales, err);
    *out = !result.keep_rtn;
    for (int i = 0; i < count; i++)
        vlmp_quantized_free(&q[i]);
    return status;
}

/* The best scales of a site for its linears' weights; NULL in *found where none help. */
static int search_scales(float **found, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                         struct site_data *data, vlmp_site site,
                         const vlmp_block_linear *const *linears, float *const *weights, int count,
                         vlmp_error *err)
{
    int k = data->moments.k;
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report = {0};
    vlmp_awq_linear readers[VLMP_BLOCK_LINEARS];
    for (int i = 0; i < count; i++)
        readers[i] = (vlmp_awq_linear){.w = weights[i], .n = linears[i]->info->n};
    float *mean_abs = vlmp_alloc((size_t)k, sizeof *mean_abs),
          *scales = vlmp_alloc((size_t)k, sizeof *scales);
    int *shared = vlmp_alloc((size_t)k, sizeof *shared);
    int status = mean_abs != NULL && scales != NULL && shared != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "AWQ scales");
    for (int j = 0; j < k && status == VLMP_OK; j++) {
        int head = j / shape->head_dim / (shape->heads / shape->kv_heads);
        mean_abs[j] = (float)(data->sum_abs[j] / (data->rows > 0 ? data->rows : 1));
        shared[j] = head * shape->head_dim + j % shape->head_dim;
    }
    vlmp_awq_site awq = {.k = k,
                         .gram = data->moments.gram,
                         .mean_abs = mean_abs,
                         .linears = readers,
                         .count = count,
                         .shared = site == VLMP_SITE_ATTN_OUT ? shared : NULL,
                         .shared_count = shape->kv_heads * shape->head_dim};
    if (status == VLMP_OK)
        status =
            vlmp_awq_search(scales, ctx, &awq, &linears[0]->entry->scheme, &options, &report, err);
    bool use = !report.identity;
    if (status == VLMP_OK && use && data->moments.held != NULL)
        status = helps(&use, ctx, data, &options, linears, weights, count, scales, err);
    if (status == VLMP_OK && use) {
        *found = scales;
        scales = NULL;
    }
    free(scales);
    free(mean_abs);
    free(shared);
    return status;
}

static int search_site(vlmp_fold *fold, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                       struct site_data *data, const vlmp_block_linear *linears, int count,
                       vlmp_site site, vlmp_error *err)
{
    const vlmp_block_linear *readers[VLMP_BLOCK_LINEARS];
    float *weights[VLMP_BLOCK_LINEARS] = {0};
    int n = 0, status = VLMP_OK;
    for (int i = 0; i < count && status == VLMP_OK; i++) {
        const vlmp_linear *from = &linears[i].source;
        size_t values = (size_t)from->n * (size_t)from->k;
        if (linears[i].info->site != site) continue;
        readers[n] = &linears[i];
        weights[n] = vlmp_alloc(values, sizeof(float));
        if (weights[n] == NULL)
            status = vlmp_fail_memory(err, linears[i].info->name);
        else
            vlmp_to_f32(weights[n++], from->weight, from->dtype, values);
    }
    if (status == VLMP_OK)
        status =
            search_scales(&fold->scales[site], ctx, shape, data, site, readers, weights, n, err);
    for (int i = 0; i < n; i++)
        free(weights[i]);
    return status;
}

static int fold_norm(vlmp_fold *fold, int which, const float **weight, const float **bias, int dim,
                     const float *scales, vlmp_error *err)
{
    fold->was_norm[which] = *weight;
    fold->was_norm_bias[which] = *bias;
    fold->norm[which] = vlmp_alloc((size_t)dim, sizeof(float));
    if (*bias != NULL) fold->norm_bias[which] = vlmp_alloc((size_t)dim, sizeof(float));
    if (fold->norm[which] == NULL || (*bias != NULL && fold->norm_bias[which] == NULL))
        return vlmp_fail_memory(err, "a norm");
    for (int j = 0; j < dim; j++) {
        fold->norm[which][j] = (*weight)[j] / scales[j];
        if (*bias != NULL) fold->norm_bias[which][j] = (*bias)[j] / scales[j];
    }
    *weight = fold->norm[which];
    if (*bias != NULL) *bias = fold->norm_bias[which];
    return VLMP_OK;
}

int vlmp_fold_channel(const vlmp_block_shape *shape, vlmp_site site, int row)
{
    int repeat = site == VLMP_SITE_ATTN_OUT ? shape->heads / shape->kv_heads : 1;
    return repeat == 1 ? row
                       : row / shape->head_dim * repeat * shape->head_dim + row % shape->head_dim;
}

/* The bias of the linear before the site divided by the scales of the channels it produces; its
 * rows are by vlmp_fold_weights. */
static int fold_bias(vlmp_fold *fold, const vlmp_block_shape *shape,
                     const vlmp_block_linear *linears, int before, vlmp_site site,
                     const float *scales, vlmp_error *err)
{
    vlmp_linear *linear = linears[before].linear;
    if (linear->bias == NULL) return VLMP_OK;
    fold->bias[before] = vlmp_alloc((size_t)linear->n, sizeof(float));
    if (fold->bias[before] == NULL) return vlmp_fail_memory(err, linears[before].info->name);
    for (int r = 0; r < linear->n; r++)
        fold->bias[before][r] = linear->bias[r] / scales[vlmp_fold_channel(shape, site, r)];
    linear->bias = fold->bias[before];
    return VLMP_OK;
}

static int apply(vlmp_fold *fold, const vlmp_stack *stack, vlmp_block *block,
                 const vlmp_block_linear *linears, int count, vlmp_error *err)
{
    const vlmp_block_shape *shape = &stack->shape;
    for (int site = 0; site < VLMP_SITES; site++) {
        const float *scales = fold->scales[site];
        if (scales == NULL) continue;
        if (site == VLMP_SITE_ATTN_IN)
            VLMP_TRY(
                fold_norm(fold, 0, &block->norm1, &block->norm1_bias, shape->dim, scales, err));
        else if (site == VLMP_SITE_MLP_IN)
            VLMP_TRY(
                fold_norm(fold, 1, &block->norm2, &block->norm2_bias, shape->dim, scales, err));
        else
            VLMP_TRY(fold_bias(fold, shape, linears,
                               vlmp_fold_before(block, linears, count, (vlmp_site)site),
                               (vlmp_site)site, scales, err));
    }
    return VLMP_OK;
}

static int create_site(struct site_data *data, int k, bool held, vlmp_error *err)
{
    VLMP_TRY(vlmp_moments_create(&data->moments, k, held, false, NULL, err));
    data->sum_abs = vlmp_calloc((size_t)k, sizeof(double));
    return data->sum_abs != NULL ? VLMP_OK : vlmp_fail_memory(err, "AWQ statistics");
}

/* Looks at sites first … end − 1 that have inputs, and searches their scales. */
static int search_pass(struct look *l, vlmp_fold *fold, const int inputs[VLMP_SITES], int first,
                       int end, const vlmp_block_linear *linears, int count,
                       const vlmp_activations *x, vlmp_error *err)
{
    bool held = l->batches->break_batch < l->batches->count, any = false;
    int status = VLMP_OK;
    for (int site = first; site < end && status == VLMP_OK; site++) {
        if (inputs[site] == 0) continue;
        any = true;
        l->last = (vlmp_site)site;
        status = create_site(&l->sites[site], inputs[site], held, err);
    }
    if (status == VLMP_OK && any) status = look(l, x, err);
    for (int site = first; site < end; site++) {
        struct site_data *data = &l->sites[site];
        if (status == VLMP_OK && inputs[site] > 0)
            status = search_site(fold, l->job->sweep.ctx, &l->stack->shape, data, linears, count,
                                 (vlmp_site)site, err);
        vlmp_moments_free(&data->moments);
        free(data->sum_abs);
        *data = (struct site_data){0};
    }
    return status;
}

/* Behind the sites from `first` on whose moments together are no larger than those of the widest
 * site: a pass for each site would run most of the block again, one for all would need as much
 * memory as four. */
static int end_of_pass(const int inputs[VLMP_SITES], int first)
{
    double widest = 0, sum = 0;
    for (int site = 0; site < VLMP_SITES; site++)
        widest = fmax(widest, (double)inputs[site] * inputs[site]);
    int end = first;
    while (end < VLMP_SITES && sum + (double)inputs[end] * inputs[end] <= widest) {
        sum += (double)inputs[end] * inputs[end];
        end++;
    }
    return end;
}

int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    const vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    struct look l = {.job = job,
                     .stack = stack,
                     .layer = linears[0].info->layer,
                     .block = block,
                     .batches = batches};
    int inputs[VLMP_SITES] = {0}; /* of the sites that may take scales */
    *fold = (vlmp_fold){0};
    for (int site = 0; site < VLMP_SITES; site++)
        if (can_fold(&stack->shape, block, linears, count, (vlmp_site)site))
            inputs[site] = vlmp_site_dim(&stack->shape, (vlmp_site)site);
    for (int site = 0, end; site < VLMP_SITES; site = end) {
        end = end_of_pass(inputs, site);
        VLMP_TRY(search_pass(&l, fold, inputs, site, end, linears, count, x, err));
    }
    return apply(fold, stack, block, linears, count, err);
}

int vlmp_fold_before(const vlmp_block *block, const vlmp_block_linear *linears, int count,
                     vlmp_site site)
{
    const vlmp_linear *before = site == VLMP_SITE_ATTN_OUT  ? &block->v
                                : site == VLMP_SITE_MLP_OUT ? &block->up
                                                            : NULL;
    for (int i = 0; i < count; i++)
        if (linears[i].linear == before) return i;
    return -1;
}

void vlmp_fold_weights(const vlmp_fold *fold, const vlmp_block_shape *shape,
                       const vlmp_block *block, const vlmp_block_linear *linears, int count,
                       int index, bool scaled, float *out)
{
    const vlmp_linear *from = &linears[index].source;
    const float *own = fold->scales[linears[index].info->site];
    size_t k = (size_t)from->k;
    vlmp_to_f32(out, from->weight, from->dtype, (size_t)from->n * k);
    if (scaled && own != NULL) vlmp_awq_scale_columns(out, from->n, from->k, own);
    for (int site = 0; site < VLMP_SITES; site++) {
        const float *scales = fold->scales[site];
        if (scales == NULL || vlmp_fold_before(block, linears, count, (vlmp_site)site) != index)
            continue;
        for (int r = 0; r < from->n; r++)
            for (size_t j = 0; j < k; j++)
                out[(size_t)r * k + j] /= scales[vlmp_fold_channel(shape, (vlmp_site)site, r)];
    }
}

void vlmp_fold_revert(vlmp_fold *fold, vlmp_block *block, const vlmp_block_linear *linears,
                      int count, vlmp_site site)
{
    int before = vlmp_fold_before(block, linears, count, site);
    if (before >= 0)
        linears[before].linear->bias = linears[before].source.bias;
    else if (site == VLMP_SITE_ATTN_IN)
        block->norm1 = fold->was_norm[0], block->norm1_bias = fold->was_norm_bias[0];
    else
        block->norm2 = fold->was_norm[1], block->norm2_bias = fold->was_norm_bias[1];
    free(fold->scales[site]);
    fold->scales[site] = NULL;
}
