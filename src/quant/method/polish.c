#include "src/quant/method/polish.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/tiles.h"

#define LANES VLMP_LANES

struct job {
    vlmp_quantized *q;
    const float *target;
    const float *gram;
    const vlmp_tile_ops *ops;
    vlmp_polish_options options;
    vlmp_grid grid;
    float ridge;
    float *error;  /* [n][k] = target − ŵ */
    float *slope;  /* [n][VLMP_BLOCK]: error·gram of the block's columns */
    float *levels; /* [n][k] codes − zeros, wide groups only */
    float *curve;  /* [n][VLMP_BLOCK]: levels·gram of the block's columns, wide groups only */
    double *linear, *square; /* [n]: levels·slope and levels·curve, wide groups only */
    double *gain;            /* one a tile */
    float sums[VLMP_BLOCK];  /* column sums of the group's square of gram, for each group of the
                                block */
    int first, cols;
};

static void form_error(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task);
    size_t at = (size_t)row0 * (size_t)q->k, count = (size_t)rows * (size_t)q->k;
    vlmp_dequantize(q, row0, rows, job->error + at);
    for (size_t i = at; i < at + count; i++)
        job->error[i] = job->target[i] - job->error[i];
}

static void load_codes(float *tile, const vlmp_quantized *q, int row0, int rows, int first,
                       int cols)
{
    for (int r = 0; r < LANES; r++)
        for (int c = 0; c < cols; c++)
            tile[c * LANES + r] =
                r < rows ? (float)q->codes[(size_t)(row0 + r) * (size_t)q->k + (size_t)(first + c)]
                         : (float)q->grid.middle;
}

static void store_codes(const float *tile, vlmp_quantized *q, int row0, int rows, int first,
                        int cols)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            q->codes[(size_t)(row0 + r) * (size_t)q->k + (size_t)(first + c)] =
                (uint8_t)(int)tile[c * LANES + r];
}

/* One group of a tile: codes, then scale and zero, then what that does to the groups after it. */
static void sweep_group(struct job *job, int task, int from, int group, float *error, float *slope,
                        float *codes, double *gain)
{
    vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task), left = job->cols - from - group;
    int g = (job->first + from) / q->group;
    float before[VLMP_BLOCK * LANES], scale[LANES], zero[LANES];
    float *e = error + from * LANES, *s = slope + from * LANES;
    const float *h = job->gram + (size_t)(job->first + from) * ((size_t)q->k + 1);
    int changes = 0;
    memcpy(before, e, (size_t)group * LANES * sizeof *e);
    vlmp_tile_scales(q, row0, rows, g, scale, zero);
    if (job->options.codes)
        changes += job->ops->descend(&job->grid, group, h, q->k, job->ridge, scale, e, s,
                                     codes + from * LANES, gain);
    if (job->options.scales && job->levels == NULL) {
        changes += job->ops->refit(&job->grid, group, h, q->k, job->sums + from, job->ridge, scale,
                                   zero, e, s, codes + from * LANES, gain);
        vlmp_tile_put_scales(q, row0, rows, g, scale, zero);
    }
    if (changes == 0 || left == 0) return;
    for (int i = 0; i < group * LANES; i++)
        before[i] = e[i] - before[i];
    job->ops->spread(group, left, h + group, q->k, before, s + group * LANES);
}

static void sweep_tile(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task), cols = job->cols;
    int group = q->group < cols ? q->group : cols;
    float error[VLMP_BLOCK * LANES], slope[VLMP_BLOCK * LANES], codes[VLMP_BLOCK * LANES];
    double gain[LANES] = {0};
    vlmp_tile_load(error, job->error, q->k, row0, rows, job->first, cols, NULL);
    vlmp_tile_load(slope, job->slope, VLMP_BLOCK, row0, rows, 0, cols, NULL);
    load_codes(codes, q, row0, rows, job->first, cols);
    for (int i = 0; i < cols * LANES; i++)
        slope[i] += job->ridge * error[i];
    for (int from = 0; from < cols; from += group)
        sweep_group(job, task, from, group, error, slope, codes, gain);
    vlmp_tile_store(error, job->error, q->k, row0, rows, job->first, cols);
    if (job->options.codes) store_codes(codes, q, row0, rows, job->first, cols);
    for (int r = 0; r < rows; r++)
        job->gain[task] += gain[r];
}

static void form_levels(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->q;
    for (int row = task * LANES; row < task * LANES + vlmp_tile_rows(q->n, task); row++) {
        const uint8_t *codes = q->codes + (size_t)row * (size_t)q->k;
        for (int i = 0; i < q->k; i++)
            job->levels[(size_t)row * (size_t)q->k + (size_t)i] = (float)(codes[i] - q->zeros[row]);
        job->linear[row] = job->square[row] = 0.0;
    }
}

static void sum_channel(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->q;
    for (int row = task * LANES; row < task * LANES + vlmp_tile_rows(q->n, task); row++) {
        size_t at = (size_t)row * (size_t)q->k + (size_t)job->first;
        for (int i = 0; i < job->cols; i++) {
            size_t in = (size_t)row * VLMP_BLOCK + (size_t)i;
            double level = (double)job->levels[at + (size_t)i];
            job->linear[row] += level * ((double)job->slope[in] +
                                         (double)job->ridge * (double)job->error[at + (size_t)i]);
            job->square[row] += level * ((double)job->curve[in] + (double)job->ridge * level);
        }
    }
}

static void move_channel(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    for (int row = task * LANES; row < task * LANES + vlmp_tile_rows(q->n, task); row++) {
        if (!(job->square[row] > 0.0)) continue;
        double wish = (double)q->scales[row] + job->linear[row] / job->square[row];
        float next = vlmp_scale_stored((float)wish, job->grid.scales);
        double change = (double)q->scales[row] - (double)next;
        double fall = -change * (2.0 * job->linear[row] + change * job->square[row]);
        if (!(fall > 0.0) || !(next <= VLMP_SCALE_MAX)) continue;
        q->scales[row] = next;
        job->gain[task] += fall;
        for (int i = 0; i < q->k; i++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)i;
            job->error[at] += (float)change * job->levels[at];
        }
    }
}

static void block_product(vlmp_ctx *ctx, const struct job *job, const float *rows, float *out)
{
    int k = job->q->k;
    ctx->ops->gemm(ctx, false, false, job->q->n, job->cols, k, 1.0f, rows, k,
                   job->gram + job->first, k, 0.0f, out, VLMP_BLOCK);
}

/* One scale for more inputs than a block holds: its sums run over all blocks. */
static void refit_channels(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quantized *q = job->q;
    int tiles = vlmp_tile_count(q->n);
    vlmp_parallel_for(ctx->pool, tiles, form_levels, job);
    for (job->first = 0; job->first < q->k; job->first += VLMP_BLOCK) {
        job->cols = q->k - job->first < VLMP_BLOCK ? q->k - job->first : VLMP_BLOCK;
        block_product(ctx, job, job->error, job->slope);
        block_product(ctx, job, job->levels, job->curve);
        vlmp_parallel_for(ctx->pool, tiles, sum_channel, job);
    }
    vlmp_parallel_for(ctx->pool, tiles, move_channel, job);
}

static void sum_columns(struct job *job)
{
    int group = job->q->group < job->cols ? job->q->group : job->cols;
    for (int i = 0; i < job->cols; i++) {
        int from = job->first + i / group * group;
        job->sums[i] = 0.0f;
        for (int c = from; c < from + group; c++)
            job->sums[i] += job->gram[(size_t)c * (size_t)job->q->k + (size_t)(job->first + i)];
    }
}

static void sweep(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quantized *q = job->q;
    int width = q->group > VLMP_BLOCK ? VLMP_BLOCK : VLMP_BLOCK / q->group * q->group;
    for (job->first = 0; job->first < q->k; job->first += width) {
        job->cols = q->k - job->first < width ? q->k - job->first : width;
        sum_columns(job);
        block_product(ctx, job, job->error, job->slope);
        vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), sweep_tile, job);
    }
    if (job->levels != NULL && job->options.scales) refit_channels(ctx, job);
}

static void free_job(struct job *job)
{
    free(job->error);
    free(job->slope);
    free(job->levels);
    free(job->curve);
    free(job->linear);
    free(job->square);
    free(job->gain);
}

static int alloc_job(struct job *job, vlmp_error *err)
{
    const vlmp_quantized *q = job->q;
    size_t n = (size_t)q->n, k = (size_t)q->k, tiles = (size_t)vlmp_tile_count(q->n);
    bool wide = q->group > VLMP_BLOCK, ok = true;
    ok = (job->error = vlmp_alloc(n, k * sizeof *job->error)) != NULL && ok;
    ok = (job->slope = vlmp_alloc(n, VLMP_BLOCK * sizeof *job->slope)) != NULL && ok;
    ok = (job->gain = vlmp_calloc(tiles, sizeof *job->gain)) != NULL && ok;
    if (wide && job->options.scales) {
        ok = (job->levels = vlmp_alloc(n, k * sizeof *job->levels)) != NULL && ok;
        ok = (job->curve = vlmp_alloc(n, VLMP_BLOCK * sizeof *job->curve)) != NULL && ok;
        ok = (job->linear = vlmp_alloc(n, sizeof *job->linear)) != NULL && ok;
        ok = (job->square = vlmp_alloc(n, sizeof *job->square)) != NULL && ok;
    }
    if (ok) return VLMP_OK;
    free_job(job);
    return vlmp_fail_memory(err, "polishing a linear");
}

static double mean_diagonal(const float *gram, int k)
{
    double mean = 0.0;
    for (int i = 0; i < k; i++)
        mean += (double)gram[(size_t)i * (size_t)k + (size_t)i] / k;
    return mean;
}

static double total(const double *part, int count)
{
    double sum = 0.0;
    for (int i = 0; i < count; i++)
        sum += part[i];
    return sum;
}

int vlmp_polish(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *target,
                const vlmp_polish_options *options, vlmp_polish_report *report, vlmp_error *err)
{
    *report = (vlmp_polish_report){0};
    struct job job = {.q = q,
                      .target = target,
                      .gram = gram,
                      .ops = vlmp_tile_ops_get(),
                      .options = *options,
                      .ridge = (float)(options->ridge * mean_diagonal(gram, q->k))};
    vlmp_grid_init(&job.grid, q, NULL);
    VLMP_TRY(alloc_job(&job, err));
    int tiles = vlmp_tile_count(q->n);
    vlmp_parallel_for(ctx->pool, tiles, form_error, &job);
    double first = 0.0;
    while (report->sweeps < options->sweeps) {
        double before = report->gain;
        sweep(ctx, &job);
        report->gain = total(job.gain, tiles);
        report->sweeps++;
        if (first == 0.0) first = report->gain;
        if (report->gain - before <= options->converged * first) break;
    }
    free_job(&job);
    return VLMP_OK;
}
