#include "src/quant/method/awq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/linalg.h"
#include "src/quant/method/polish.h"
#include "src/quant/method/tiles.h"

#define LANES     VLMP_LANES
#define SCALE_LOW 1e-4f

vlmp_awq_options vlmp_awq_defaults(void)
{
    return (vlmp_awq_options){
        .search = vlmp_search_defaults(), .steps = 10, .rows = 256, .refits = 3};
}

/* Rounding w·s with searched scales, for the loss (error set) and for the result (q's arrays). */
struct job {
    vlmp_quantized *q;   /* shape and scheme; its arrays are written when error is NULL */
    const float *w;      /* [n][k] */
    const float *scales; /* [k]; NULL: 1 */
    const float *weight; /* [k]: diagonal of the scaled Gram matrix */
    float *error;        /* [n][k]: W − ŵ/s */
    float *room;         /* threads × 3 × [group][LANES] */
    const vlmp_tile_ops *ops;
    vlmp_grid grid;
};

static void keep_codes(const struct job *job, const float *codes, int row0, int rows, int first)
{
    vlmp_quantized *q = job->q;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < q->group; c++)
            q->codes[(size_t)(row0 + r) * (size_t)q->k + (size_t)(first + c)] =
                (uint8_t)(int)codes[c * LANES + r];
}

static void keep_error(const struct job *job, const float *values, int row0, int rows, int first)
{
    const vlmp_quantized *q = job->q;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < q->group; c++) {
            size_t at = (size_t)(row0 + r) * (size_t)q->k + (size_t)(first + c);
            job->error[at] = job->w[at] - values[c * LANES + r] / job->scales[first + c];
        }
}

static void round_rows(void *arg, int task, int thread)
{
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task);
    size_t size = (size_t)q->group * LANES;
    float *x = job->room + (size_t)thread * 3 * size, *codes = x + size, *values = codes + size;
    float scale[LANES], zero[LANES];
    for (int g = 0; g < q->groups; g++) {
        int first = g * q->group;
        vlmp_tile_load(x, job->w, q->k, row0, rows, first, q->group, NULL);
        for (int c = 0; c < q->group && job->scales != NULL; c++)
            for (int r = 0; r < LANES; r++)
                x[c * LANES + r] *= job->scales[first + c];
        job->ops->search(&job->grid, q->group, x, job->weight + first, scale, zero);
        job->ops->round(&job->grid, q->group, x, scale, zero, codes, values);
        if (job->error != NULL) {
            keep_error(job, values, row0, rows, first);
            continue;
        }
        keep_codes(job, codes, row0, rows, first);
        vlmp_tile_put_scales(q, row0, rows, g, scale, zero);
    }
}

static float *alloc_room(const vlmp_ctx *ctx, const vlmp_quantized *q)
{
    return vlmp_alloc((size_t)vlmp_pool_threads(ctx->pool),
                      3 * (size_t)q->group * LANES * sizeof(float));
}

int vlmp_awq_quantize(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *w,
                      const vlmp_awq_options *options, const char *name, vlmp_error *err)
{
    struct job job = {.q = q, .w = w, .ops = vlmp_tile_ops_get()};
    float *weight = vlmp_alloc((size_t)q->k, sizeof *weight);
    job.room = alloc_room(ctx, q);
    if (weight == NULL || job.room == NULL) {
        free(weight);
        free(job.room);
        return vlmp_fail_memory(err, "rounding a linear");
    }
    float most = 0.0f;
    for (int i = 0; i < q->k; i++)
        most = fmaxf(most, gram[(size_t)i * (size_t)q->k + (size_t)i]);
    /* a channel that never fired still counts a little, so that its weights stay in range */
    for (int i = 0; i < q->k; i++)
        weight[i] = most > 0.0f ? gram[(size_t)i * (size_t)q->k + (size_t)i] + 1e-6f * most : 1.0f;
    job.weight = weight;
    vlmp_grid_init(&job.grid, q, &options->search);
    vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), round_rows, &job);
    free(weight);
    free(job.room);
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
    float *error;  /* [total][k] */
    float *weight; /* [k] */
    float *trial;  /* [k] */
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
    vlmp_quantized shape;
    vlmp_quantized_shape(&shape, s->total, k, s->scheme);
    struct job job = {.q = &shape,
                      .w = s->rows,
                      .scales = s->trial,
                      .weight = s->weight,
                      .error = s->error,
                      .ops = vlmp_tile_ops_get(),
                      .room = alloc_room(s->ctx, &shape)};
    if (job.room == NULL) return vlmp_fail_memory(err, "searching channel scales");
    float most = 0.0f;
    for (int c = 0; c < k; c++) {
        float diagonal = s->site->gram[(size_t)c * (size_t)k + (size_t)c];
        s->weight[c] = diagonal / (s->trial[c] * s->trial[c]);
        most = fmaxf(most, s->weight[c]);
    }
    for (int c = 0; c < k; c++)
        s->weight[c] = most > 0.0f ? s->weight[c] + 1e-6f * most : 1.0f;
    vlmp_grid_init(&job.grid, &shape, &s->options->search);
    vlmp_parallel_for(s->ctx->pool, vlmp_tile_count(shape.n), round_rows, &job);
    free(job.room);
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
        memcpy(s.x_mean, site->mean_abs, k * sizeof *s.x_mean);
        gather_rows(&s);
        mean_weights(&s, scheme->group == 0 ? site->k : scheme->group);
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
