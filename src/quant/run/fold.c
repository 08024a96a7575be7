#include "src/quant/run/fold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/awq.h"
#include "src/quant/method/guard.h"
#include "src/quant/run/site.h"

void vlmp_fold_free(vlmp_fold *fold)
{
    for (int i = 0; i < VLMP_SITES; i++)
        free(fold->scales[i]);
    for (int i = 0; i < VLMP_BLOCK_LINEARS; i++) {
        free(fold->weights[i]);
        free(fold->bias[i]);
    }
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

struct collect {
    vlmp_ctx *ctx;
    const vlmp_batches *batches;
    struct site_data sites[VLMP_SITES];
};

static void collect(void *arg, vlmp_site site, const vlmp_batch *batch, const float *input, int dim)
{
    struct collect *c = arg;
    struct site_data *data = &c->sites[site];
    if (data->moments.gram == NULL) return;
    bool seen = batch < c->batches->batches + c->batches->break_batch;
    vlmp_moments_add(&data->moments, c->ctx, seen, input, batch->rows);
    if (!seen) return;
    for (int r = 0; r < batch->rows; r++)
        for (int j = 0; j < dim; j++)
            data->sum_abs[j] += (double)fabsf(input[(size_t)r * (size_t)dim + (size_t)j]);
    data->rows += batch->rows;
}

struct batch_tap {
    struct collect *collect;
    const vlmp_batch *batch;
};

static void block_tap(void *arg, vlmp_site site, const float *input, int rows, int dim)
{
    (void)rows;
    const struct batch_tap *t = arg;
    collect(t->collect, site, t->batch, input, dim);
}

/* One pass of the original block over x, whose result is dropped. */
static int look(struct collect *c, const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                const vlmp_block *block, const vlmp_activations *x, vlmp_error *err)
{
    const vlmp_block_shape *shape = &stack->shape;
    const vlmp_batches *batches = c->batches;
    size_t values = (size_t)batches->max_rows * (size_t)shape->dim;
    vlmp_block_work work = {0};
    vlmp_kv kv = {0};
    float *rows = vlmp_alloc(values, sizeof *rows), *scratch = vlmp_alloc(values, sizeof *scratch);
    int widest = shape->intermediate > shape->dim ? shape->intermediate : shape->dim;
    int status =
        rows != NULL && scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, "a batch of activations");
    if (status == VLMP_OK) status = vlmp_ctx_reserve(c->ctx, batches->max_rows, widest, err);
    if (status == VLMP_OK) status = vlmp_block_work_create(&work, shape, batches->max_rows, err);
    if (status == VLMP_OK)
        status = vlmp_batch_kv_create(&kv, batches, shape->kv_heads, shape->head_dim, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        float *from;
        if (job->sweep.interrupted != NULL && *job->sweep.interrupted)
            status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK)
            status =
                vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, scratch, &from, err);
        if (status != VLMP_OK) break;
        memcpy(rows, from, (size_t)batch->rows * (size_t)shape->dim * sizeof *rows);
        vlmp_block_run run = {.ctx = c->ctx,
                              .shape = shape,
                              .work = &work,
                              .kv = kv,
                              .segments = batch->segments,
                              .segment_count = batch->segment_count,
                              .rows = batch->rows};
        struct batch_tap tap = {.collect = c, .batch = batch};
        vlmp_block_forward(&run, block, rows, block_tap, &tap);
        status = vlmp_sweep_check_layer(&job->sweep, stack, layer, batch, rows, shape->dim, err);
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
            (first->method != entry->method || first->scheme.codes != entry->scheme.codes ||
             first->scheme.group != entry->scheme.group ||
             first->scheme.zeros != entry->scheme.zeros))
            return false;
        first = entry;
    }
    if (first == NULL) return false;
    if (site == VLMP_SITE_ATTN_IN || site == VLMP_SITE_MLP_IN) return true;
    if (site == VLMP_SITE_MLP_OUT && !shape->gated) return false;
    return linears[vlmp_fold_before(block, linears, count, site)].entry->method != VLMP_METHOD_KEEP;
}

/* F32 copy of a linear's weights, made once. */
static int own_weights(vlmp_fold *fold, const vlmp_block_linear *linears, int i, vlmp_error *err)
{
    vlmp_linear *linear = linears[i].linear;
    size_t count = (size_t)linear->n * (size_t)linear->k;
    if (fold->weights[i] != NULL) return VLMP_OK;
    fold->weights[i] = vlmp_alloc(count, sizeof(float));
    if (fold->weights[i] == NULL) return vlmp_fail_memory(err, linears[i].info->name);
    vlmp_to_f32(fold->weights[i], linear->weight, linear->dtype, count);
    linear->weight = fold->weights[i];
    linear->dtype = VLMP_F32;
    return VLMP_OK;
}

/* Whether the scales help on held-out samples: AWQ's rounding against plain rounding. */
static int helps(bool *out, vlmp_ctx *ctx, const struct site_data *data,
                 const vlmp_awq_options *options, const vlmp_block_linear *linears, int count,
                 vlmp_site site, float *const *weights, const float *scales, vlmp_error *err)
{
    vlmp_guard_linear judged[VLMP_BLOCK_LINEARS];
    vlmp_quantized q[VLMP_BLOCK_LINEARS] = {0};
    const vlmp_guard_tokens tokens = {data->moments.held, NULL, NULL};
    int k = data->moments.k, n = 0, status = VLMP_OK;
    size_t values = (size_t)k * (size_t)k;
    float *gram = vlmp_alloc(values, sizeof *gram);
    if (gram == NULL) return vlmp_fail_memory(err, "second moments");
    memcpy(gram, data->moments.gram, values * sizeof *gram);
    vlmp_awq_scale_gram(gram, k, scales);
    for (int i = 0; i < count && status == VLMP_OK; i++) {
        if (linears[i].info->site != site) continue;
        size_t size = (size_t)linears[i].info->n * (size_t)k;
        float *scaled = vlmp_alloc(size, sizeof *scaled);
        status = scaled != NULL ? vlmp_quantized_alloc(&q[n], linears[i].info->n, k,
                                                       &linears[i].entry->scheme, err)
                                : vlmp_fail_memory(err, linears[i].info->name);
        if (status == VLMP_OK) {
            memcpy(scaled, weights[i], size * sizeof *scaled);
            vlmp_awq_scale_columns(scaled, linears[i].info->n, k, scales);
            status =
                vlmp_awq_quantize(&q[n], ctx, gram, scaled, options, linears[i].info->name, err);
        }
        free(scaled);
        judged[n] = (vlmp_guard_linear){.name = linears[i].info->name, .w = weights[i], .q = &q[n]};
        n++;
    }
    vlmp_guard_result result = {0};
    if (status == VLMP_OK) status = vlmp_guard(&result, ctx, judged, n, &tokens, scales, err);
    *out = !result.keep_rtn;
    for (int i = 0; i < n; i++)
        vlmp_quantized_free(&q[i]);
    free(gram);
    return status;
}

static int search_site(vlmp_fold *fold, vlmp_ctx *ctx, const vlmp_block_shape *shape,
                       const struct site_data *data, const vlmp_block_linear *linears, int count,
                       vlmp_site site, vlmp_error *err)
{
    int k = data->moments.k, n = 0;
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report = {0};
    vlmp_awq_linear readers[VLMP_BLOCK_LINEARS];
    const vlmp_scheme *scheme = NULL;
    for (int i = 0; i < count; i++) {
        if (linears[i].info->site != site) continue;
        VLMP_TRY(own_weights(fold, linears, i, err));
        readers[n++] = (vlmp_awq_linear){.w = fold->weights[i], .n = linears[i].info->n};
        scheme = &linears[i].entry->scheme;
    }
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
                         .count = n,
                         .shared = site == VLMP_SITE_ATTN_OUT ? shared : NULL,
                         .shared_count = shape->kv_heads * shape->head_dim};
    if (status == VLMP_OK)
        status = vlmp_awq_search(scales, ctx, &awq, scheme, &options, &report, err);
    bool use = !report.identity;
    if (status == VLMP_OK && use && data->moments.held != NULL)
        status = helps(&use, ctx, data, &options, linears, count, site, fold->weights, scales, err);
    if (status == VLMP_OK && use) {
        fold->scales[site] = scales;
        scales = NULL;
    }
    free(scales);
    free(mean_abs);
    free(shared);
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

/* Rows of the linear before the site divided by the scales of the channels they produce. */
static int fold_rows(vlmp_fold *fold, const vlmp_block_shape *shape,
                     const vlmp_block_linear *linears, int before, vlmp_site site,
                     const float *scales, vlmp_error *err)
{
    vlmp_linear *linear = linears[before].linear;
    VLMP_TRY(own_weights(fold, linears, before, err));
    if (linear->bias != NULL) {
        fold->bias[before] = vlmp_alloc((size_t)linear->n, sizeof(float));
        if (fold->bias[before] == NULL) return vlmp_fail_memory(err, linears[before].info->name);
    }
    for (int r = 0; r < linear->n; r++) {
        int channel = vlmp_fold_channel(shape, site, r);
        float *row = fold->weights[before] + (size_t)r * (size_t)linear->k;
        for (int j = 0; j < linear->k; j++)
            row[j] /= scales[channel];
        if (linear->bias != NULL) fold->bias[before][r] = linear->bias[r] / scales[channel];
    }
    if (linear->bias != NULL) linear->bias = fold->bias[before];
    return VLMP_OK;
}

static int apply(vlmp_fold *fold, const vlmp_stack *stack, vlmp_block *block,
                 const vlmp_block_linear *linears, int count, vlmp_error *err)
{
    const vlmp_block_shape *shape = &stack->shape;
    for (int site = 0; site < VLMP_SITES; site++) {
        const float *scales = fold->scales[site];
        if (scales == NULL) continue;
        for (int i = 0; i < count; i++)
            if ((int)linears[i].info->site == site)
                vlmp_awq_scale_columns(fold->weights[i], linears[i].info->n, linears[i].info->k,
                                       scales);
        if (site == VLMP_SITE_ATTN_IN)
            VLMP_TRY(
                fold_norm(fold, 0, &block->norm1, &block->norm1_bias, shape->dim, scales, err));
        else if (site == VLMP_SITE_MLP_IN)
            VLMP_TRY(
                fold_norm(fold, 1, &block->norm2, &block->norm2_bias, shape->dim, scales, err));
        else
            VLMP_TRY(fold_rows(fold, shape, linears,
                               vlmp_fold_before(block, linears, count, (vlmp_site)site),
                               (vlmp_site)site, scales, err));
    }
    return VLMP_OK;
}

int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    const vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    struct collect c = {.ctx = job->sweep.ctx, .batches = batches};
    bool held = batches->break_batch < batches->count, any = false;
    int status = VLMP_OK;
    *fold = (vlmp_fold){0};
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        if (!can_fold(&stack->shape, block, linears, count, (vlmp_site)site)) continue;
        int k = vlmp_site_dim(&stack->shape, (vlmp_site)site);
        any = true;
        status = vlmp_moments_create(&c.sites[site].moments, k, held, false, err);
        c.sites[site].sum_abs = vlmp_calloc((size_t)k, sizeof(double));
        if (status == VLMP_OK && c.sites[site].sum_abs == NULL)
            status = vlmp_fail_memory(err, "AWQ statistics");
    }
    if (status == VLMP_OK && any)
        status = look(&c, job, stack, linears[0].info->layer, block, x, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++)
        if (c.sites[site].moments.gram != NULL)
            status = search_site(fold, job->sweep.ctx, &stack->shape, &c.sites[site], linears,
                                 count, (vlmp_site)site, err);
    for (int site = 0; site < VLMP_SITES; site++) {
        vlmp_moments_free(&c.sites[site].moments);
        free(c.sites[site].sum_abs);
    }
    if (status == VLMP_OK) status = apply(fold, stack, block, linears, count, err);
    return status;
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

void vlmp_fold_plain(const vlmp_fold *fold, const vlmp_block_shape *shape, const vlmp_block *block,
                     const vlmp_block_linear *linears, int count, int index, float *out)
{
    const vlmp_linear *from = &linears[index].source;
    size_t k = (size_t)from->k;
    vlmp_to_f32(out, from->weight, from->dtype, (size_t)from->n * k);
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
