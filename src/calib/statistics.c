#include "src/calib/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

const char *vlmp_site_name(vlmp_site site)
{
    static const char *const names[VLMP_SITES] = {"attn_in", "attn_out", "mlp_in", "mlp_out"};
    return names[site];
}

static int create_stack(vlmp_site_statistics *sites, const vlmp_stack *stack, vlmp_error *err)
{
    for (int layer = 0; layer < stack->layers; layer++) {
        for (int site = 0; site < VLMP_SITES; site++, sites++) {
            snprintf(sites->name, sizeof sites->name, "%s.layers.%d.%s", stack->prefix, layer,
                     vlmp_site_name((vlmp_site)site));
            sites->dim = vlmp_site_dim(&stack->shape, (vlmp_site)site);
            size_t values = (size_t)VLMP_TOKEN_KINDS * (size_t)sites->dim;
            sites->mean_abs = vlmp_calloc(values, sizeof(float));
            sites->rms = vlmp_calloc(values, sizeof(float));
            sites->max_abs = vlmp_calloc(values, sizeof(float));
            if (sites->mean_abs == NULL || sites->rms == NULL || sites->max_abs == NULL)
                return vlmp_fail_memory(err, "activation statistics");
        }
    }
    return VLMP_OK;
}

int vlmp_statistics_create(vlmp_statistics *statistics, const vlmp_model *model, vlmp_error *err)
{
    int count = VLMP_SITES * (model->vision.layers + model->text.layers);
    *statistics = (vlmp_statistics){.sites = vlmp_calloc((size_t)count, sizeof *statistics->sites)};
    if (statistics->sites == NULL) return vlmp_fail_memory(err, "activation statistics");
    statistics->count = count;
    VLMP_TRY(create_stack(statistics->sites, &model->vision, err));
    return create_stack(statistics->sites + VLMP_SITES * model->vision.layers, &model->text, err);
}

void vlmp_statistics_free(vlmp_statistics *statistics)
{
    for (int i = 0; i < statistics->count; i++) {
        free(statistics->sites[i].mean_abs);
        free(statistics->sites[i].rms);
        free(statistics->sites[i].max_abs);
    }
    free(statistics->sites);
    *statistics = (vlmp_statistics){0};
}

static size_t site_index(const vlmp_model *model, const vlmp_stack *stack, int layer,
                         vlmp_site site)
{
    int before = stack == &model->text ? model->vision.layers : 0;
    return (size_t)VLMP_SITES * (size_t)(before + layer) + (size_t)site;
}

static int create_sums(vlmp_collector *c, vlmp_error *err)
{
    static const char what[] = "activation statistics";
    size_t values = (size_t)VLMP_TOKEN_KINDS * c->stride;
    for (int i = 0; i < VLMP_SITES; i++) {
        VLMP_TRY(vlmp_ctx_alloc(c->ctx, &c->sums[i], values, sizeof(double), what, err));
        VLMP_TRY(vlmp_ctx_alloc(c->ctx, &c->squares[i], values, sizeof(double), what, err));
        VLMP_TRY(vlmp_ctx_alloc(c->ctx, &c->largest[i], values, sizeof(float), what, err));
    }
    c->host_sums = vlmp_calloc(values, sizeof *c->host_sums);
    return c->host_sums != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
}

int vlmp_collector_create(vlmp_collector *c, vlmp_ctx *ctx, const vlmp_model *model,
                          const vlmp_sequence *sequences, vlmp_statistics *statistics,
                          vlmp_error *err)
{
    size_t stride = 0;
    for (int i = 0; i < statistics->count; i++)
        if ((size_t)statistics->sites[i].dim > stride) stride = (size_t)statistics->sites[i].dim;
    *c = (vlmp_collector){.ctx = ctx,
                          .model = model,
                          .sequences = sequences,
                          .statistics = statistics,
                          .stride = stride,
                          .err = err};
    return create_sums(c, err);
}

/* host_sums over the tokens of their kind. */
static int read_means(vlmp_collector *c, const vlmp_site_statistics *stats, vlmp_f64 sums)
{
    size_t dim = (size_t)stats->dim, values = VLMP_TOKEN_KINDS * dim;
    VLMP_TRY(vlmp_ctx_read(c->ctx, c->host_sums, sums.at, values * sizeof(double), c->err));
    for (size_t j = 0; j < values; j++)
        if (stats->count[j / dim] > 0) c->host_sums[j] /= (double)stats->count[j / dim];
    return VLMP_OK;
}

/* Reads the sums of the layer at work into its sites' means, and begins anew. */
static int finish_layer(vlmp_collector *c)
{
    for (size_t i = 0; i < VLMP_SITES; i++) {
        vlmp_site_statistics *stats = &c->statistics->sites[c->first + i];
        size_t dim = (size_t)stats->dim, values = VLMP_TOKEN_KINDS * dim;
        VLMP_TRY(vlmp_ctx_read(c->ctx, stats->max_abs, c->largest[i].at, values * sizeof(float),
                               c->err));
        VLMP_TRY(read_means(c, stats, c->sums[i]));
        for (size_t j = 0; j < values; j++)
            stats->mean_abs[j] = (float)c->host_sums[j];
        VLMP_TRY(read_means(c, stats, c->squares[i]));
        for (size_t j = 0; j < values; j++)
            stats->rms[j] = (float)sqrt(c->host_sums[j]);
        /* A kind's zeros, of which there are enough for the largest values too. */
        memset(c->host_sums, 0, values * sizeof(double));
        vlmp_ctx_write(c->ctx, c->sums[i].at, c->host_sums, values * sizeof(double));
        vlmp_ctx_write(c->ctx, c->squares[i].at, c->host_sums, values * sizeof(double));
        vlmp_ctx_write(c->ctx, c->largest[i].at, c->host_sums, values * sizeof(float));
    }
    return VLMP_OK;
}

static int set_kinds(vlmp_collector *c, const vlmp_stack *stack, const vlmp_batch *batch,
                     vlmp_site_statistics *stats)
{
    bool tower = stack == &c->model->vision;
    if (batch->rows > c->kinds_capacity) {
        free(c->host_kinds);
        vlmp_ctx_free_memory(c->ctx, c->kinds.at);
        c->kinds.at = NULL, c->kinds_capacity = 0;
        c->host_kinds = vlmp_alloc((size_t)batch->rows, sizeof *c->host_kinds);
        if (c->host_kinds == NULL) return vlmp_fail_memory(c->err, "activation statistics");
        VLMP_TRY(vlmp_ctx_alloc(c->ctx, &c->kinds, (size_t)batch->rows, sizeof *c->host_kinds,
                                "activation statistics", c->err));
        c->kinds_capacity = batch->rows;
    }
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_segment *segment = &batch->segments[s];
        for (int r = 0; r < segment->rows; r++) {
            bool picture =
                tower || c->sequences[batch->first + s].ids[r] == c->model->config.image_token;
            int32_t kind = picture ? VLMP_TOKEN_PICTURE : VLMP_TOKEN_TEXT;
            stats->count[kind]++;
            c->host_kinds[segment->first_row + r] = kind;
        }
    }
    vlmp_ctx_write(c->ctx, c->kinds.at, c->host_kinds, (size_t)batch->rows * sizeof(int32_t));
    return VLMP_OK;
}

void vlmp_collect(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                  const vlmp_batch *batch, vlmp_act input, int dim)
{
    vlmp_collector *c = arg;
    size_t index = site_index(c->model, stack, layer, site), first = index - (size_t)site;
    if (c->status == VLMP_OK && first != c->first) {
        c->status = finish_layer(c);
        c->first = first;
    }
    if (c->status == VLMP_OK) c->status = set_kinds(c, stack, batch, &c->statistics->sites[index]);
    if (c->status != VLMP_OK) return;
    c->ctx->ops->column_sizes(c->ctx, c->sums[site], c->squares[site], c->largest[site], input,
                              batch->rows, dim, c->kinds);
}

int vlmp_collector_finish(vlmp_collector *c)
{
    if (c->status == VLMP_OK && c->host_sums != NULL) c->status = finish_layer(c);
    for (int i = 0; i < VLMP_SITES; i++) {
        vlmp_ctx_free_memory(c->ctx, c->sums[i].at);
        vlmp_ctx_free_memory(c->ctx, c->squares[i].at);
        vlmp_ctx_free_memory(c->ctx, c->largest[i].at);
    }
    vlmp_ctx_free_memory(c->ctx, c->kinds.at);
    free(c->host_sums);
    free(c->host_kinds);
    c->host_sums = NULL;
    return c->status;
}
