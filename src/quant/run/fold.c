#include "src/quant/run/fold.h"

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
    vlmp_f64 sum_abs; /* [k] over the samples that the search sees */
    vlmp_f32 max_abs; /* [k] not used */
    double rows;      /* of them */
};

struct collect {
    vlmp_ctx *ctx;
    const vlmp_batches *batches;
    vlmp_i32 kinds; /* [max rows] all 0 */
    struct site_data sites[VLMP_SITES];
};

static void collect(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                    const vlmp_batch *batch, vlmp_act input, int dim)
{
    (void)stack, (void)layer;
    struct collect *c = arg;
    struct site_data *data = &c->sites[site];
    if (data->moments.sums[0].at == NULL) return;
    bool seen = batch < c->batches->batches + c->batches->break_batch;
    vlmp_moments_add(&data->moments, seen, input, batch->rows);
    if (!seen) return;
    c->ctx->ops->column_sizes(c->ctx, data->sum_abs, data->max_abs, input, batch->rows, dim,
                              c->kinds);
    data->rows += batch->rows;
}

/* One pass of the original block over x, whose result is dropped. */
static int look(struct collect *c, const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                const vlmp_block *block, vlmp_activations *x, vlmp_error *err)
{
    VLMP_TRY(vlmp_ctx_alloc(c->ctx, &c->kinds, (size_t)c->batches->max_rows, sizeof(int32_t),
                            "AWQ statistics", err));
    return vlmp_sweep_look(&job->sweep, stack, layer, block, x, c->batches, collect, c, err);
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
    free(sum_abs);
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
            VLMP_TRY(fold_norm(fold, 0, &block->norm1.values, &block->norm1_bias.values, shape->dim,
                               scales, err));
        else if (site == VLMP_SITE_MLP_IN)
            VLMP_TRY(fold_norm(fold, 1, &block->norm2.values, &block->norm2_bias.values, shape->dim,
                               scales, err));
        else
            VLMP_TRY(fold_rows(fold, shape, linears,
                               vlmp_fold_before(block, linears, count, (vlmp_site)site),
                               (vlmp_site)site, scales, err));
    }
    return VLMP_OK;
}

static int create_site(struct site_data *data, vlmp_ctx *ctx, int k, bool held, vlmp_error *err)
{
    static const char what[] = "AWQ statistics";
    VLMP_TRY(vlmp_moments_create(&data->moments, ctx, k, held, false, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &data->sum_abs, (size_t)k, sizeof(double), what, err));
    return vlmp_ctx_alloc(ctx, &data->max_abs, (size_t)k, sizeof(float), what, err);
}

static void free_sites(struct collect *c)
{
    for (int site = 0; site < VLMP_SITES; site++) {
        vlmp_moments_free(&c->sites[site].moments);
        vlmp_ctx_free_memory(c->ctx, c->sites[site].sum_abs.at);
        vlmp_ctx_free_memory(c->ctx, c->sites[site].max_abs.at);
    }
    vlmp_ctx_free_memory(c->ctx, c->kinds.at);
}

int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err)
{
    struct collect c = {.ctx = job->sweep.ctx, .batches = batches};
    bool held = batches->break_batch < batches->count, any = false;
    int status = VLMP_OK;
    *fold = (vlmp_fold){0};
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        if (!can_fold(&stack->shape, block, linears, count, (vlmp_site)site)) continue;
        any = true;
        status = create_site(&c.sites[site], c.ctx, vlmp_site_dim(&stack->shape, (vlmp_site)site),
                             held, err);
    }
    if (status == VLMP_OK && any)
        status = look(&c, job, stack, linears[0].info->layer, block, x, err);
    for (int site = 0; site < VLMP_SITES && status == VLMP_OK; site++) {
        struct site_data *data = &c.sites[site];
        if (data->sum_abs.at == NULL) continue;
        status = vlmp_moments_finish(&data->moments, err);
        if (status == VLMP_OK)
            status =
                search_site(fold, c.ctx, &stack->shape, data, linears, count, (vlmp_site)site, err);
    }
    free_sites(&c);
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
        block->norm1.values = fold->was_norm[0], block->norm1_bias.values = fold->was_norm_bias[0];
    else
        block->norm2.values = fold->was_norm[1], block->norm2_bias.values = fold->was_norm_bias[1];
    free(fold->scales[site]);
    fold->scales[site] = NULL;
}
