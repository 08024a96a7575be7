#include "src/quant/method/awq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/lend.h"
#include "src/quant/method/polish.h"
#include "src/quant/method/search.h"

#define SCALE_LOW 1e-4f

static const char what[] = "searching channel scales";

vlmp_awq_options vlmp_awq_defaults(void)
{
    return (vlmp_awq_options){
        .search = vlmp_search_defaults(), .steps = 10, .rows = 256, .refits = 3};
}

/* Searches and refits on weights w and what a channel weighs, both in the context's memory. */
static int quantize(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *w,
                    const float *weight, const vlmp_awq_options *options, vlmp_error *err)
{
    vlmp_coded coded;
    vlmp_grid grid;
    vlmp_polish_options refit = {.scales = true, .sweeps = options->refits, .converged = 0.01};
    vlmp_polish_report report;
    vlmp_grid_init(&grid, q, &options->search);
    VLMP_TRY(vlmp_lend_coded(ctx, &coded, q, err));
    ctx->ops->quant->search(ctx, &coded, &grid, &(vlmp_search_job){.w = w, .weight = weight});
    ctx->ops->quant->round(ctx, &coded, &grid, w, NULL);
    int status = vlmp_polish(&coded, q, ctx, gram, w, &refit, &report, err);
    return vlmp_lend_coded_end(ctx, &coded, q, status, err);
}

int vlmp_awq_quantize(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *w,
                      const vlmp_awq_options *options, const char *name, vlmp_error *err)
{
    static const char rounding[] = "rounding a linear";
    size_t row = (size_t)q->k * sizeof *w;
    const float *lent = NULL, *weights = NULL;
    float most = 0.0f, *weight = vlmp_alloc(row, 1);
    if (weight == NULL) return vlmp_fail_memory(err, rounding);
    int status = vlmp_read_diagonal(ctx, weight, gram, q->k, err);
    for (int i = 0; i < q->k && status == VLMP_OK; i++)
        most = fmaxf(most, weight[i]);
    /* a channel that never fired still counts a little, so that its weights stay in range */
    for (int i = 0; i < q->k && status == VLMP_OK; i++)
        weight[i] = most > 0.0f ? weight[i] + 1e-6f * most : 1.0f;
    if (status == VLMP_OK) status = vlmp_lend(ctx, &weights, weight, row, rounding, err);
    if (status == VLMP_OK) status = vlmp_lend(ctx, &lent, w, (size_t)q->n * row, rounding, err);
    if (status == VLMP_OK) status = quantize(q, ctx, gram, lent, weights, options, err);
    vlmp_lend_end(ctx, weights, weight);
    vlmp_lend_end(ctx, lent, w);
    free(weight);
    return status == VLMP_OK ? vlmp_quantized_check_scales(q, name, err) : status;
}

/* The search over scales of one site. */
struct search {
    vlmp_ctx *ctx;
    const vlmp_awq_site *site;
    const vlmp_scheme *scheme;
    const vlmp_awq_options *options;
    float *x_mean; /* [k] mean |x|, pooled where channels share */
    float *w_mean; /* [k] mean of |w| over the group's largest, pooled likewise */
    float *rows;   /* the sampled rows of all linears, [total][k] */
    int total;
    vlmp_quantized rounded; /* the same, under the trial scales */
    float *diagonal;        /* [k] of the second moments */
    float *weight;          /* [k] */
    float *trial;           /* [k] */
    struct {                /* in the context's memory */
        vlmp_coded coded;
        const float *rows;
        float *error; /* [total][k] */
        float *weight, *trial;
    } lent;
};

static int sampled(int n, int rows)
{
    return n < rows ? n : rows;
}

static void pool_shared(const vlmp_awq_site *site, float *values)
{
    if (site->shared == NULL) return;
    for (int v = 0; v < site->shared_count; v++) {
        double sum = 0.0;
        int count = 0;
        for (int c = 0; c < site->k; c++)
            if (site->shared[c] == v) {
                sum += (double)values[c];
                count++;
            }
        for (int c = 0; c < site->k; c++)
            if (site->shared[c] == v) values[c] = (float)(sum / count);
    }
}

/* A channel that never fired is treated as an average one: scaled down, its weights would be
 * rounded to nothing. */
static void revive_dead(float *values, int k)
{
    double sum = 0.0;
    int live = 0;
    for (int c = 0; c < k; c++)
        if (values[c] > 0.0f) {
            sum += (double)values[c];
            live++;
        }
    for (int c = 0; c < k; c++)
        if (!(values[c] > 0.0f)) values[c] = live > 0 ? (float)(sum / live) : 1.0f;
}

static void gather_rows(struct search *s)
{
    const vlmp_awq_site *site = s->site;
    size_t k = (size_t)site->k;
    float *out = s->rows;
    for (int i = 0; i < site->count; i++) {
        int take = sampled(site->linears[i].n, s->options->rows);
        for (int r = 0; r < take; r++, out += k) {
            size_t row = (size_t)r * (size_t)site->linears[i].n / (size_t)take;
            memcpy(out, site->linears[i].w + row * k, k * sizeof *out);
        }
    }
}

static void mean_weights(struct search *s, int group)
{
    int k = s->site->k;
    for (int c = 0; c < k; c++)
        s->w_mean[c] = 0.0f;
    for (int r = 0; r < s->total; r++)
        for (int g = 0; g < k; g += group) {
            const float *w = s->rows + (size_t)r * (size_t)k + (size_t)g;
            float most = 0.0f;
            for (int c = 0; c < group; c++)
                most = fmaxf(most, fabsf(w[c]));
            for (int c = 0; c < group && most > 0.0f; c++)
                s->w_mean[g + c] += fabsf(w[c]) / most / (float)s->total;
        }
}

/* The trial scales of an exponent; false when they are not usable. */
static bool form_trial(struct search *s, double exponent, bool weight_term)
{
    float low = INFINITY, high = 0.0f;
    int k = s->site->k;
    for (int c = 0; c < k; c++) {
        double v = pow((double)s->x_mean[c], exponent);
        if (weight_term) v /= pow((double)s->w_mean[c], 1.0 - exponent) + 1e-4;
        s->trial[c] = fmaxf((float)v, SCALE_LOW);
        low = fminf(low, s->trial[c]);
        high = fmaxf(high, s->trial[c]);
    }
    float unit = sqrtf(low * high);
    if (!isfinite(unit) || !(unit > 0.0f)) return false;
    for (int c = 0; c < k; c++)
        s->trial[c] /= unit;
    return true;
}

static int trial_loss(struct search *s, double *loss, vlmp_error *err)
{
    int k = s->site->k;
    size_t row = (size_t)k * sizeof(float);
    float most = 0.0f;
    for (int c = 0; c < k; c++) {
        s->weight[c] = s->diagonal[c] / (s->trial[c] * s->trial[c]);
        most = fmaxf(most, s->weight[c]);
    }
    for (int c = 0; c < k; c++)
        s->weight[c] = most > 0.0f ? s->weight[c] + 1e-6f * most : 1.0f;
    vlmp_ctx *ctx = s->ctx;
    const vlmp_quant_ops *ops = ctx->ops->quant;
    vlmp_grid grid;
    vlmp_ctx_write(ctx, s->lent.weight, s->weight, row);
    vlmp_ctx_write(ctx, s->lent.trial, s->trial, row);
    vlmp_grid_init(&grid, &s->rounded, &s->options->search);
    ops->search(
        ctx, &s->lent.coded, &grid,
        &(vlmp_search_job){.w = s->lent.rows, .factor = s->lent.trial, .weight = s->lent.weight});
    ops->round(ctx, &s->lent.coded, &grid, s->lent.rows, s->lent.trial);
    ops->error(ctx, &s->lent.coded, &grid, s->lent.rows, s->lent.trial, s->lent.error);
    return vlmp_weighted_error(ctx, s->lent.error, s->total, k, s->site->gram, NULL, loss, err);
}

static int try_all(struct search *s, float *scales, vlmp_awq_report *report, vlmp_error *err)
{
    int k = s->site->k;
    for (int c = 0; c < k; c++)
        s->trial[c] = scales[c] = 1.0f;
    VLMP_TRY(trial_loss(s, &report->identity_error, err));
    report->error = report->identity_error;
    report->identity = true;
    for (int variant = 0; variant < 2; variant++)
        for (int step = 1 - variant; step <= s->options->steps - variant; step++) {
            /* exponent 1 has no weight term, exponent 0 without it is the identity */
            double loss, exponent = (double)step / s->options->steps;
            if (!form_trial(s, exponent, variant == 1)) continue;
            VLMP_TRY(trial_loss(s, &loss, err));
            if (!(loss < report->error)) continue;
            report->error = loss;
            report->identity = false;
            report->exponent = exponent;
            report->weight_term = variant == 1;
            memcpy(scales, s->trial, (size_t)k * sizeof *scales);
        }
    return VLMP_OK;
}

static void free_search(struct search *s)
{
    vlmp_lend_coded_end(s->ctx, &s->lent.coded, &s->rounded, VLMP_ERR_SYSTEM, NULL);
    vlmp_lend_end(s->ctx, s->lent.rows, s->rows);
    vlmp_ctx_free_memory(s->ctx, s->lent.error);
    vlmp_ctx_free_memory(s->ctx, s->lent.weight);
    vlmp_ctx_free_memory(s->ctx, s->lent.trial);
    free(s->x_mean);
    free(s->w_mean);
    free(s->rows);
    vlmp_quantized_free(&s->rounded);
    free(s->diagonal);
    free(s->weight);
    free(s->trial);
}

/* Memory of the host and of the context, and what lies there throughout. */
static int prepare(struct search *s, vlmp_error *err)
{
    vlmp_ctx *ctx = s->ctx;
    size_t k = (size_t)s->site->k, total = (size_t)s->total;
    size_t row = k * sizeof(float), bytes = 0;
    float **const vectors[] = {&s->x_mean, &s->w_mean, &s->diagonal, &s->weight, &s->trial};
    bool there = vlmp_mul_size(total, row, &bytes);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        there = (*vectors[i] = vlmp_alloc(row, 1)) != NULL && there;
    s->rows = there ? vlmp_alloc(bytes, 1) : NULL;
    if (s->rows == NULL) return vlmp_fail_memory(err, what);
    gather_rows(s);
    VLMP_TRY(vlmp_quantized_alloc(&s->rounded, s->total, s->site->k, s->scheme, err));
    VLMP_TRY(vlmp_lend_coded(ctx, &s->lent.coded, &s->rounded, err));
    VLMP_TRY(vlmp_lend(ctx, &s->lent.rows, s->rows, bytes, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &s->lent.error, total, row, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &s->lent.weight, row, 1, what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &s->lent.trial, row, 1, what, err));
    return vlmp_read_diagonal(ctx, s->diagonal, s->site->gram, s->site->k, err);
}

int vlmp_awq_search(float *scales, vlmp_ctx *ctx, const vlmp_awq_site *site,
                    const vlmp_scheme *scheme, const vlmp_awq_options *options,
                    vlmp_awq_report *report, vlmp_error *err)
{
    *report = (vlmp_awq_report){0};
    struct search s = {.ctx = ctx, .site = site, .scheme = scheme, .options = options};
    for (int i = 0; i < site->count; i++)
        s.total += sampled(site->linears[i].n, options->rows);
    int status = prepare(&s, err);
    if (status == VLMP_OK) {
        memcpy(s.x_mean, site->mean_abs, (size_t)site->k * sizeof *s.x_mean);
        mean_weights(&s, vlmp_scheme_group(scheme, site->k));
        pool_shared(site, s.x_mean);
        revive_dead(s.x_mean, site->k);
        pool_shared(site, s.w_mean);
        status = try_all(&s, scales, report, err);
    }
    free_search(&s);
    return status;
}

void vlmp_awq_scale_columns(float *w, int n, int k, const float *scales)
{
    for (int r = 0; r < n; r++)
        for (int c = 0; c < k; c++)
            w[(size_t)r * (size_t)k + (size_t)c] *= scales[c];
}

int vlmp_awq_scale_gram(vlmp_ctx *ctx, float *gram, int k, const float *scales, vlmp_error *err)
{
    const float *lent;
    VLMP_TRY(vlmp_lend(ctx, &lent, scales, (size_t)k * sizeof *scales, what, err));
    ctx->ops->quant->scale_both(ctx, gram, k, lent, true);
    vlmp_lend_end(ctx, lent, scales);
    return VLMP_OK;
}
