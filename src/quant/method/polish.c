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
    /* [n][k]: in the first sweep target − ŵ; then what each column's last sweep changed of that,
     * which is mostly 0 */
    float *error;
    float *slope; /* [n][ld]: error·(gram + ridge) of all columns, or of the block's */
    int ld;
    float *change; /* [n][VLMP_BLOCK]: what the first sweep changed of the block's errors; while
                    * channels are refitted, levels·gram of the block's columns */
    double *linear, *square; /* [n]: error·gram·levels and levels·gram·levels, wide groups only */
    double *gain;            /* one a tile */
    float sums[VLMP_BLOCK]; /* column sums of the group's square of gram, for each group of the
                               block */
    int first, cols;
    bool scales; /* this sweep refits scales */
    bool later;  /* a sweep after the first */
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
                         : (float)(1 << (q->bits - 1));
}

static void store_codes(const float *tile, vlmp_quantized *q, int row0, int rows, int first,
                        int cols)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            q->codes[(size_t)(row0 + r) * (size_t)q->k + (size_t)(first + c)] =
                (uint8_t)(int)tile[c * LANES + r];
}

/* One group of a tile: codes, then scale and zero, then what that does to the other groups. */
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
    if (job->scales) {
        changes += job->ops->refit(&job->grid, group, h, q->k, job->sums + from, job->ridge, scale,
                                   zero, e, s, codes + from * LANES, gain);
        vlmp_tile_put_scales(q, row0, rows, g, scale, zero);
    }
    if (changes == 0) return;
    for (int i = 0; i < group * LANES; i++)
        before[i] = e[i] - before[i];
    job->ops->spread(group, left, h + group, q->k, before, s + group * LANES);
    job->ops->spread(group, from, h - from, q->k, before, slope);
}

static void sweep_tile(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task), cols = job->cols;
    int group = q->group < cols ? q->group : cols, at = job->ld == q->k ? job->first : 0;
    float error[VLMP_BLOCK * LANES] = {0}, slope[VLMP_BLOCK * LANES], codes[VLMP_BLOCK * LANES];
    float before[VLMP_BLOCK * LANES];
    double gain[LANES] = {0};
    if (!job->later) vlmp_tile_load(error, job->error, q->k, row0, rows, job->first, cols, NULL);
    vlmp_tile_load(slope, job->slope, job->ld, row0, rows, at, cols, NULL);
    load_codes(codes, q, row0, rows, job->first, cols);
    memcpy(before, error, (size_t)cols * LANES * sizeof *error);
    for (int i = 0; i < cols * LANES && !job->later; i++)
        slope[i] += job->ridge * error[i];
    for (int from = 0; from < cols; from += group)
        sweep_group(job, task, from, group, error, slope, codes, gain);
    vlmp_tile_store(error, job->error, q->k, row0, rows, job->first, cols);
    vlmp_tile_store(slope, job->slope, job->ld, row0, rows, at, cols);
    for (int i = 0; i < cols * LANES; i++)
        before[i] = error[i] - before[i];
    vlmp_tile_store(before, job->change, VLMP_BLOCK, row0, rows, 0, cols);
    if (job->options.codes) store_codes(codes, q, row0, rows, job->first, cols);
    for (int r = 0; r < rows; r++)
        job->gain[task] += gain[r];
}

/* What the columns beside the block have changed since the block's slope was current. */
static void catch_up(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->q;
    int row0 = task * LANES, rows = vlmp_tile_rows(q->n, task), k = q->k;
    int end = job->first + job->cols;
    const float *h = job->gram + job->first;
    float *step = job->error + (size_t)row0 * (size_t)k;
    float *slope = job->slope + (size_t)row0 * (size_t)k + (size_t)job->first;
    job->ops->apply(rows, job->first, job->cols, step, k, h, k, slope, k);
    job->ops->apply(rows, k - end, job->cols, step + end, k, h + (size_t)end * (size_t)k, k, slope,
                    k);
}

static void form_levels(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->q;
    for (int row = task * LANES; row < task * LANES + vlmp_tile_rows(q->n, task); row++) {
        const uint8_t *codes = q->codes + (size_t)row * (size_t)q->k;
        for (int i = 0; i < q->k; i++)
            job->slope[(size_t)row * (size_t)q->k + (size_t)i] = (float)(codes[i] - q->zeros[row]);
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
            double level = (double)job->slope[at + (size_t)i];
            double curve = (double)job->change[(size_t)row * VLMP_BLOCK + (size_t)i] +
                           (double)job->ridge * level;
            job->linear[row] += curve * (double)job->error[at + (size_t)i];
            job->square[row] += curve * level;
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
        float next = vlmp_scale_stored((float)wish, job->grid.half);
        double change = (double)q->scales[row] - (double)next;
        double fall = -change * (2.0 * job->linear[row] + change * job->square[row]);
        if (!(fall > 0.0) || !(next <= VLMP_SCALE_MAX)) continue;
        q->scales[row] = next;
        job->gain[task] += fall;
        for (int i = 0; i < q->k; i++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)i;
            job->error[at] += (float)change * job->slope[at];
        }
    }
}

/* One scale for more inputs than a block holds: its sums run over all blocks. The slope's room
 * holds the levels (codes − zeros). */
static void refit_channels(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quantized *q = job->q;
    int tiles = vlmp_tile_count(q->n), k = q->k;
    vlmp_parallel_for(ctx->pool, tiles, form_levels, job);
    for (job->first = 0; job->first < k; job->first += VLMP_BLOCK) {
        job->cols = k - job->first < VLMP_BLOCK ? k - job->first : VLMP_BLOCK;
        ctx->ops->gemm(ctx, false, false, q->n, job->cols, k, 1.0f, job->slope, k,
                       job->gram + job->first, k, 0.0f, job->change, VLMP_BLOCK);
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

/* The first sweep changes whole groups where it refits: dense products bring each block up to date
 * when it is entered, and the blocks before it when it is left. */
static void sweep_densely(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quantized *q = job->q;
    int k = q->k;
    float *slope = job->ld == k ? job->slope + job->first : job->slope;
    ctx->ops->gemm(ctx, false, false, q->n, job->cols, k, 1.0f, job->error, k,
                   job->gram + job->first, k, 0.0f, slope, job->ld);
    vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), sweep_tile, job);
    if (job->ld == k && job->first > 0 && job->options.sweeps > 1)
        ctx->ops->gemm(ctx, false, false, q->n, job->first, job->cols, 1.0f, job->change,
                       VLMP_BLOCK, job->gram + (size_t)job->first * (size_t)k, k, 1.0f, job->slope,
                       k);
}

static void sweep(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quantized *q = job->q;
    int width = q->group > VLMP_BLOCK ? VLMP_BLOCK : VLMP_BLOCK / q->group * q->group;
    for (job->first = 0; job->first < q->k; job->first += width) {
        job->cols = q->k - job->first < width ? q->k - job->first : width;
        if (job->scales) sum_columns(job);
        if (job->later) {
            vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), catch_up, job);
            vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), sweep_tile, job);
        } else {
            sweep_densely(ctx, job);
        }
    }
}

static void free_job(struct job *job)
{
    free(job->error);
    free(job->slope);
    free(job->change);
    free(job->linear);
    free(job->square);
    free(job->gain);
}

static int alloc_job(struct job *job, vlmp_error *err)
{
    const vlmp_quantized *q = job->q;
    size_t n = (size_t)q->n, k = (size_t)q->k, tiles = (size_t)vlmp_tile_count(q->n);
    bool ok = true;
    ok = (job->error = vlmp_alloc(n, k * sizeof *job->error)) != NULL && ok;
    ok = (job->slope = vlmp_alloc(n, (size_t)job->ld * sizeof *job->slope)) != NULL && ok;
    ok = (job->change = vlmp_alloc(n, VLMP_BLOCK * sizeof *job->change)) != NULL && ok;
    ok = (job->gain = vlmp_calloc(tiles, sizeof *job->gain)) != NULL && ok;
    ok = (job->linear = vlmp_alloc(n, sizeof *job->linear)) != NULL && ok;
    ok = (job->square = vlmp_alloc(n, sizeof *job->square)) != NULL && ok;
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

static void run_sweeps(vlmp_ctx *ctx, struct job *job, vlmp_polish_report *report)
{
    const vlmp_quantized *q = job->q;
    const vlmp_polish_options *options = &job->options;
    int tiles = vlmp_tile_count(q->n);
    double first = 0.0;
    vlmp_parallel_for(ctx->pool, tiles, form_error, job);
    if (options->scales && q->group > VLMP_BLOCK) refit_channels(ctx, job);
    while (report->sweeps < options->sweeps) {
        double before = report->gain;
        job->later = options->codes && report->sweeps > 0;
        job->scales = options->scales && q->group <= VLMP_BLOCK && !job->later;
        if (report->sweeps == 1 && options->codes)
            memset(job->error, 0, (size_t)q->n * (size_t)q->k * sizeof *job->error);
        sweep(ctx, job);
        report->gain = total(job->gain, tiles);
        report->sweeps++;
        if (first == 0.0) first = report->gain;
        if (report->gain - before <= options->converged * first) break;
    }
}

int vlmp_polish(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *target,
                const vlmp_polish_options *options, vlmp_polish_report *report, vlmp_error *err)
{
    *report = (vlmp_polish_report){0};
    bool wide = q->group > VLMP_BLOCK;
    if (options->sweeps == 0) return VLMP_OK;
    struct job job = {.q = q,
                      .target = target,
                      .gram = gram,
                      .ops = vlmp_tile_ops_get(),
                      .options = *options,
                      .ridge = (float)(options->ridge * mean_diagonal(gram, q->k)),
                      .ld = options->codes || wide ? q->k : VLMP_BLOCK};
    vlmp_grid_init(&job.grid, q, NULL);
    VLMP_TRY(alloc_job(&job, err));
    run_sweeps(ctx, &job, report);
    free_job(&job);
    return VLMP_OK;
}
