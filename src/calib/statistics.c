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
            sites->max_abs = vlmp_calloc(values, sizeof(float));
            if (sites->mean_abs == NULL || sites->max_abs == NULL)
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

vlmp_site_statistics *vlmp_statistics_at(const vlmp_statistics *statistics, const vlmp_model *model,
                                         const vlmp_stack *stack, int layer, vlmp_site site)
{
    return &statistics->sites[site_index(model, stack, layer, site)];
}

int vlmp_collector_create(vlmp_collector *collector, const vlmp_model *model,
                          const vlmp_sequence *sequences, vlmp_statistics *statistics,
                          vlmp_error *err)
{
    size_t stride = 0;
    for (int i = 0; i < statistics->count; i++)
        if ((size_t)statistics->sites[i].dim > stride) stride = (size_t)statistics->sites[i].dim;
    *collector = (vlmp_collector){
        .model = model, .sequences = sequences, .statistics = statistics, .stride = stride};
    collector->sums = vlmp_calloc((size_t)VLMP_SITES * VLMP_TOKEN_KINDS * stride, sizeof(double));
    return collector->sums != NULL ? VLMP_OK : vlmp_fail_memory(err, "activation statistics");
}

/* Sums of the layer at work into means. */
static void finish_layer(vlmp_collector *c)
{
    for (size_t i = 0; i < VLMP_SITES; i++) {
        vlmp_site_statistics *stats = &c->statistics->sites[c->first + i];
        for (size_t kind = 0; kind < VLMP_TOKEN_KINDS; kind++) {
            const double *sum = c->sums + (i * VLMP_TOKEN_KINDS + kind) * c->stride;
            for (size_t j = 0; j < (size_t)stats->dim && stats->count[kind] > 0; j++)
                stats->mean_abs[kind * (size_t)stats->dim + j] =
                    (float)(sum[j] / (double)stats->count[kind]);
        }
    }
}

static void collect_row(const float *row, int dim, double *sum, float *max)
{
    for (int j = 0; j < dim; j++) {
        float magnitude = fabsf(row[j]);
        sum[j] += (double)magnitude;
        if (magnitude > max[j]) max[j] = magnitude;
    }
}

void vlmp_collect(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                  const vlmp_batch *batch, const float *input, int dim)
{
    vlmp_collector *c = arg;
    size_t index = site_index(c->model, stack, layer, site);
    vlmp_site_statistics *stats = &c->statistics->sites[index];
    size_t first = index - (size_t)site;
    if (first != c->first) {
        finish_layer(c);
        memset(c->sums, 0, VLMP_SITES * VLMP_TOKEN_KINDS * c->stride * sizeof *c->sums);
        c->first = first;
    }
    bool tower = stack == &c->model->vision;
    for (int s = 0; s < batch->segment_count; s++) {
        const vlmp_segment *segment = &batch->segments[s];
        for (int r = 0; r < segment->rows; r++) {
            bool picture =
                tower || c->sequences[batch->first + s].ids[r] == c->model->config.image_token;
            size_t kind = picture ? VLMP_TOKEN_PICTURE : VLMP_TOKEN_TEXT;
            stats->count[kind]++;
            collect_row(input + (size_t)(segment->first_row + r) * (size_t)dim, dim,
                        c->sums + ((size_t)site * VLMP_TOKEN_KINDS + kind) * c->stride,
                        stats->max_abs + kind * (size_t)dim);
        }
    }
}

void vlmp_collector_finish(vlmp_collector *c)
{
    finish_layer(c);
    free(c->sums);
    c->sums = NULL;
}
