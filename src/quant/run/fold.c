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
    vlmp_f64 sum_abs; /* [k] over the samples that the search sees */
    double rows;      /* of them */
};

/* A pass of the original block over its inputs, whose result is dropped. */
struct collect {
    const vlmp_quantize_job *job;
    const vlmp_stack *stack;
    int layer;
    const vlmp_block *block; /* as it was loaded */
    const vlmp_batches *batches;
    vlmp_i32 kinds;                     /* [max rows] all 0 */
    struct site_data sites[VLMP_SITES]; /* those with moments are looked at */
    int status;
    vlmp_error *err;
};

static void collect(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                    const vlmp_batch *batch, vlmp_act input, int dim)
{
    (void)layer;
    struct collect *c = arg;
    struct site_data *data = &c->sites[site];
    vlmp_ctx *ctx = c->job->sweep.ctx;
    if (data->moments.ctx == NULL || c->status != VLMP_OK) return;
    bool seen = batch < c->batches->batches + c->batches->break_batch;
    c->status =
        vlmp_selection_add(c->job, &data->moments, stack == &c->job->sweep.model->vision, batch,
                           seen ? VLMP_GRAM : VLMP_HELD, input, (vlmp_act){NULL}, c->err);
    if (!seen) return;
    ctx->ops->column_sizes(ctx, data->sum_abs, (vlmp_f64){NULL}, (vlmp_f32){NULL}, input,
                           batch->rows, dim, c->kinds);
    data->rows += batch->rows;
}

static bool is_awq(vlmp_method method)
{
    return method == VLMP_METHOD_AWQ || method == VLMP_METHOD_AWQ_GPTQ;
}

int vlmp_fold_vectors(char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX], const vlmp_linear_info *info,
                      vlmp_method method)
{
    if (!is_awq(method) || info->before == NULL) return 0;
    const char *stack = info->component == VLMP_COMPONENT_VISION ? "vision" : "text";
    snprintf(names[0], VLMP_NAME_MAX, "%s.layers.%d.%s.bias", stack, info->layer, info->before);
    if (!info->before_is_norm) return 1;
    snprintf(names[1], VLMP_NAME_MAX, "%s.layers.%d.%s.weight", stack, info->layer, info->before);
    return 2;
}

/* A site takes scales when all its linears are quantized by one of AWQ's methods in one format, and
 * what precedes it can take their inverse: a norm, or a linear that is quantized anyway, under
 * scales fine enough to take it back. What an activation precedes (fc2) cannot. */
static bool can_fold(const vlmp_block *block, const vlmp_block_linear *linears, int count,
                     vlmp_site site)
{
    const vlmp_plan_entry *first = NULL;
    const vlmp_linear_info *info = NULL;
    for (int i = 0; i < count; i++) {
        if (linears[i].info->site != site) continue;
        const vlmp_plan_entry *entry = linears[i].entry;
        info = linears[i].info;
        if (!is_awq(entry->method)) return false;
        if (first != NULL &&
            (first->method != entry->method || first->scheme.codes != entry->scheme.codes ||
             first->scheme.group != entry->scheme.group ||
             first->scheme.zeros != entry->scheme.zeros))
            return false;
        first = entry;
    }
    if (first == NULL || info->before == NULL) return false;
    if (info->before_is_norm) return true;
    const vlmp_plan_entry *before = linears[vlmp_fold_before(block, linears, count, site)].entry;
    return before->method != VLMP_METHOD_KEEP && !vlmp_codes_are_floats(before->scheme.codes);
}

/* The rows of one linear that the guard looks at, plain and with scales, and these quantized. */
struct checked {
    float *plain, *scaled; /* [VLMP_GUARD_ROWS][k] */
    vlmp_quantized q;
};

static void free_checked(struct checked *c)
{
    free(c->plain);
    free(c->scaled);
    vlmp_quantized_free(&c->q);
}

static int quantize_checked(struct checked *c, vlmp_ctx *ctx, const vlmp_block_linear *linear,
                            const float *w, const float *gram, const vlmp_awq_options *options,
                            const float *scales, vlmp_error *err)
{
    const vlmp_linear_info *info = linear->info;
    size_t values = VLMP_GUARD_ROWS * (size_t)info->k;
    c->plain = vlmp_alloc(values, sizeof *c->plain);
    c->scaled = vlmp_alloc(values, sizeof *c->scaled);
    if (c->plain == NULL || c->scaled == NULL) return vlmp_fail_memory(err, info->name);
    int rows = vlmp_guard_sample(c->plain, w, info->n, info->k);
    VLMP_TRY(vlmp_quantized_alloc(&c->q, rows, info->k, &linear->entry->scheme, err));
    memcpy(c->scaled, c->plain, (size_t)rows * (size_t)info->k * sizeof *c->scaled);
    vlmp_awq_scale_columns(c->scaled, rows, info->k, scales);
    return vlmp_awq_quantize(&c->q, ctx, gram, c->scaled, options, info->name, err);
}

/* Whether the scales help on held-out samples: AWQ's rounding against plain rounding. Uses up the
 * moments of the samples seen. weights: of the site's linears, F32. */
static int helps(bool *out, vlmp_ctx *ctx, struct site_data *data, const vlmp_awq_options *options,
                 const vlmp_block_linear *const *linears, float *const *weights, int count,
                 const float *scales, vlmp_error *err)
{
    vlmp_guard_linear judged[VLMP_BLOCK_LINEARS];
    struct checked checked[VLMP_BLOCK_LINEARS] = {0};
    const vlmp_guard_tokens tokens = {.gram = data->moments.held};
    int status = vlmp_awq_scale_gram(ctx, data->moments.gram, data->moments.k, scales, err);
    for (int i = 0; i < count && status == VLMP_OK; i++) {
        status = quantize_checked(&checked[i], ctx, linears[i], weights[i], data->moments.gram,
                                  options, scales, err);
        judged[i] = (vlmp_guard_linear){.name = linears[i]->info->name,
                                        .w = checked[i].plain,
                                        .q = &checked[i].q,
                                        .sample_of = linears[i]->info->n};
    }
    vlmp_guard_result result = {0};
    if (status == VLMP_OK) status = vlmp_guard(&result, ctx, judged, count, &tokens, scales, err);
    *out = !result.keep_rtn;
    for (int i = 0; i < count; i++)
        free_checked(&checked[i]);
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
    double *sum_abs = vlmp_alloc((size_t)k, sizeof *sum_abs);
    int *shared = vlmp_alloc((size_t)k, sizeof *shared);
    int status =
        mean_abs != NULL && scales != NULL && sum_abs != NULL && shared != NULL
            ? vlmp_ctx_read(ctx, sum_abs, data->sum_abs.at, (size_t)k * sizeof *sum_abs, err)
            : vlmp_fail_memory(err, "AWQ scales");
    for (int j = 0; j < k && status == VLMP_OK; j++) {
        int head = j / shape->head_dim / (shape->heads / shape->kv_heads);
        mean_abs[j] = (float)(sum_abs[j] / (data->rows > 0 ? data->rows : 1));
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
    free(sum_abs);
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
    if (site == VLMP_SITE_ATTN_OUT && shape->fused_qkv)
        row -= (shape->heads + shape->kv_heads) * shape->head_dim;
    if (row < 0) return -1;
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
    for (int r = 0; r < linear->n; r++) {
        int channel = vlmp_fold_channel(shape, site, r);
        fold->bias[before][r] = channel < 0 ? linear->bias[r] : linear->bias[r] / scales[channel];
    }
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
            VLMP_TRY(fold_norm(fold, 0, &block->norm1.values, &block->norm1_bias.values, shape->dim,
                               scales, err));
        else if (site == VLMP_SITE_MLP_IN)
            VLMP_TRY(fold_norm(fold, 1, &block->norm2.values, &block->norm2_bias.values, shape->dim,
                               scales, err));
        else
            VLMP_TRY(fold_bias(fold, shape, linears,
                               vlmp_fold_before(block, linears, count, (vlmp_site)site),
                               (vlmp_site)site, scales, err));
    }
    return VLMP_OK;
}

static int create_site(struct site_data *data, vlmp_ctx *ctx, int k, bool held, vlmp_error *err)
{
    VLMP_TRY(vlmp_moments_create(&data->moments, ctx, k, held, false, NULL, err));
    return vlmp_ctx_alloc(ctx, &data->sum_abs, (size_t)k, sizeof(double), "AWQ statistics", err);
}

static void free_site(struct site_data *data, vlmp_ctx *ctx)
{
    vlmp_moments_free(&data->moments);
    vlmp_ctx_free_memory(ctx, data->sum_abs.at);
    *data = (struct site_data){0};
}

/* Looks at sites first … end − 1 that have inputs, and searches their scales. */
static int search_pass(struct collect *c, vlmp_fold *fold, const int inputs[VLMP_SITES], int first,
                       int end, const vlmp_block_linear *linears, int count, vlmp_activations *x,
                       vlmp_error *err)
{
    vlmp_ctx *ctx = c->job->sweep.ctx;
    bool held = c->batches->break_batch < c->batches->count, any = false;
    int status = VLMP_OK;
    for (int site = first; site < end && status == VLMP_OK; site++) {
        if (inputs[site] == 0) continue;
        any = true;
        status = create_site(&c->sites[site], ctx, inputs[site], held, err);
    }
    if (status == VLMP_OK && any)
        status = vlmp_sweep_look(&c->job->sweep, c->stack, c->layer, c->block, x, c->batches,
                                 collect, c, err);
    if (status == VLMP_OK) status = c->status;
    for (int site = first; site < end; site++) {
        struct site_data *data = &c->sites[site];
        bool looked = status == VLMP_OK && inputs[site] > 0;
        if (looked) status = vlmp_moments_finish(&data->moments, err);
        if (looked && status == VLMP_OK)
            status = search_site(fold, ctx, &c->stack->shape, data, linears, count, (vlmp_site)site,
                                 err);
        free_site(data, ctx);
    }
    return status;
}

/* Bytes of the moments of a site of k inputs, seen and held out. */
static double moments_bytes(int k)
{
    return 2.0 * sizeof(float) * k * k;
}

/* Behind the sites from `first` on whose moments fit `limit` bytes together or are no larger than
 * those of the widest site: a pass for each site would run the block four times, one for all would
 * need the memory of four. */
static int end_of_pass(const int inputs[VLMP_SITES], int first, size_t limit)
{
    double most = (double)limit, sum = 0;
    for (int site = 0; site < VLMP_SITES; site++)
        most = fmax(most, moments_bytes(inputs[site]));
    int end = first;
    while (end < VLMP_SITES && sum + moments_bytes(inputs[end]) <= most)
        sum += moments_bytes(inputs[end]), end++;
    return end;
}

int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    struct collect c = {.job = job,
                        .stack = stack,
                        .layer = linears[0].info->layer,
                        .block = block,
                        .batches = batches,
                        .err = err};
    int inputs[VLMP_SITES] = {0}; /* of the sites that may take scales */
    *fold = (vlmp_fold){0};
    for (int site = 0; site < VLMP_SITES; site++)
        if (can_fold(block, linears, count, (vlmp_site)site))
            inputs[site] = vlmp_site_dim(&stack->shape, (vlmp_site)site);
    int status = vlmp_ctx_alloc(ctx, &c.kinds, (size_t)batches->max_rows, sizeof(int32_t),
                                "AWQ statistics", err);
    for (int site = 0, end; site < VLMP_SITES && status == VLMP_OK; site = end) {
        end = end_of_pass(inputs, site, job->sweep.memory_limit);
        status = search_pass(&c, fold, inputs, site, end, linears, count, x, err);
    }
    vlmp_ctx_free_memory(ctx, c.kinds.at);
    return status == VLMP_OK ? apply(fold, stack, block, linears, count, err) : status;
}

int vlmp_fold_before(const vlmp_block *block, const vlmp_block_linear *linears, int count,
                     vlmp_site site)
{
    const vlmp_linear *v = block->qkv.n > 0 ? &block->qkv : &block->v;
    const vlmp_linear *before = site == VLMP_SITE_ATTN_OUT  ? v
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
        for (int r = 0; r < from->n; r++) {
            int channel = vlmp_fold_channel(shape, (vlmp_site)site, r);
            for (size_t j = 0; j < k && channel >= 0; j++)
                out[(size_t)r * k + j] /= scales[channel];
        }
    }
}

void vlmp_fold_revert(vlmp_fold *fold, vlmp_block *block, const vlmp_block_linear *linears,
                      int count, vlmp_site site)
{
    int before = vlmp_fold_before(block, linears, count, site);
    if (before >= 0)
        linears[before].linear->bias = linears[before].source.bias;
    else if (site == VLMP_SITE_ATTN_IN)
        block->norm1.values = fold->was_norm[0], block->norm1_bias.values = fold->was_norm_bias[0];
    else
        block->norm2.values = fold->was_norm[1], block->norm2_bias.values = fold->was_norm_bias[1];
    free(fold->scales[site]);
    fold->scales[site] = NULL;
}
