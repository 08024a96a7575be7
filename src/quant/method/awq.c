#include "src/quant/method/awq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/linalg.h"
#include "src/quant/method/polish.h"
#include "src/quant/method/search.h"

#define SCALE_LOW 1e-4f

vlmp_awq_options vlmp_awq_defaults(void)
{
    return (vlmp_awq_options){
        .search = vlmp_search_defaults(), .steps = 10, .rows = 256, .refits = 3};
}

int vlmp_awq_quantize(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *w,
                      const vlmp_awq_options *options, const char *name, vlmp_error *err)
{
    float *weight = vlmp_alloc((size_t)q->k, sizeof *weight);
    if (weight == NULL) return vlmp_fail_memory(err, "rounding a linear");
    float most = 0.0f;
    for (int i = 0; i < q->k; i++)
        most = fmaxf(most, gram[(size_t)i * (size_t)q->k + (size_t)i]);
    /* a channel that never fired still counts a little, so that its weights stay in range */
    for (int i = 0; i < q->k; i++)
        weight[i] = most > 0.0f ? gram[(size_t)i * (size_t)q->k + (size_t)i] + 1e-6f * most : 1.0f;
    vlmp_coded coded = vlmp_coded_of(q);
    vlmp_grid grid;
    vlmp_grid_init(&grid, q, &options->search);
    ctx->ops->quant->search(ctx, &coded, &grid, &(vlmp_search_job){.w = w, .weight = weight});
    ctx->ops->quant->round(ctx, &coded, &grid, w, NULL);
    free(weight);
    VLMP_TRY(vlmp_quantized_check_scales(q, name, err));
    vlmp_polish_options refit = {.scales = true, .sweeps = options->refits, .converged = 0.01};
    vlmp_polish_report report;
    return vlmp_polish(q, ctx, gram, w, &refit, &report, err);
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
    float *error;           /* [total][k] */
    float *weight;          /* [k] */
    float *trial;           /* [k] */
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
    float most = 0.0f;
    for (int c = 0; c < k; c++) {
        float diagonal = s->site->gram[(size_t)c * (size_t)k + (size_t)c];
        s->weight[c] = diagonal / (s->trial[c] * s->trial[c]);
        most = fmaxf(most, s->weight[c]);
    }
    for (int c = 0; c < k; c++)
        s->weight[c] = most > 0.0f ? s->weight[c] + 1e-6f * most : 1.0f;
    const vlmp_quant_ops *ops = s->ctx->ops->quant;
    vlmp_coded coded = vlmp_coded_of(&s->rounded);
    vlmp_grid grid;
    vlmp_grid_init(&grid, &s->rounded, &s->options->search);
    ops->search(s->ctx, &coded, &grid,
                &(vlmp_search_job){.w = s->rows, .factor = s->trial, .weight = s->weight});
    ops->round(s->ctx, &coded, &grid, s->rows, s->trial);
    ops->error(s->ctx, &coded, &grid, s->rows, s->trial, s->error);
    return vlmp_weighted_error(s->ctx, s->error, s->total, k, s->site->gram, NULL, loss, err);
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
    free(s->x_mean);
    free(s->w_mean);
    free(s->rows);
    vlmp_quantized_free(&s->rounded);
    free(s->error);
    free(s->weight);
    free(s->trial);
}

int vlmp_awq_search(float *scales, vlmp_ctx *ctx, const vlmp_awq_site *site,
                    const vlmp_scheme *scheme, const vlmp_awq_options *options,
                    vlmp_awq_report *report, vlmp_error *err)
{
    *report = (vlmp_awq_report){0};
    struct search s = {.ctx = ctx, .site = site, .scheme = scheme, .options = options};
    size_t k = (size_t)site->k, count;
    for (int i = 0; i < site->count; i++)
        s.total += sampled(site->linears[i].n, options->rows);
    bool fits = vlmp_mul_size((size_t)s.total, k, &count);
    s.x_mean = vlmp_alloc(k, sizeof *s.x_mean);
    s.w_mean = vlmp_alloc(k, sizeof *s.w_mean);
    s.weight = vlmp_alloc(k, sizeof *s.weight);
    s.trial = vlmp_alloc(k, sizeof *s.trial);
    s.rows = fits ? vlmp_alloc(count, sizeof *s.rows) : NULL;
    s.error = fits ? vlmp_alloc(count, sizeof *s.error) : NULL;
    int status;
    if (s.x_mean == NULL || s.w_mean == NULL || s.weight == NULL || s.trial == NULL ||
        s.rows == NULL || s.error == NULL) {
        status = vlmp_fail_memory(err, "searching channel scales");
    } else {
        status = vlmp_quantized_alloc(&s.rounded, s.total, site->k, scheme, err);
    }
    if (status == VLMP_OK) {
        memcpy(s.x_mean, site->mean_abs, k * sizeof *s.x_mean);
        gather_rows(&s);
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

void vlmp_awq_scale_gram(float *gram, int k, const float *scales)
{
    for (int r = 0; r < k; r++)
        for (int c = 0; c < k; c++)
            gram[(size_t)r * (size_t)k + (size_t)c] /= scales[r] * scales[c];
}
