#include "src/quant/method/polish.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/search.h"

struct job {
    vlmp_coded q;
    const float *target;
    vlmp_grid grid;
    vlmp_polish_options options;
    vlmp_descend_job pass; /* error [n][k], slope, change [n][VLMP_BLOCK], gain [n] */
    float *slope; /* error·(gram + ridge·I) of all columns [n][k] where codes move, else of a block;
                   * levels [n][k] while channels are refitted */
    int slope_ld;
    double *linear, *square; /* [n] per channel: error·H·levels, levels·H·levels */
};

static bool per_channel(const struct job *job)
{
    return job->q.group > VLMP_BLOCK;
}

/* out [n][out_ld] = rows [n][k]·gram of the pass's block of columns. */
static void block_product(vlmp_ctx *ctx, const struct job *job, const float *rows, float *out,
                          int out_ld)
{
    int k = job->q.k;
    ctx->ops->gemm(ctx, false, false, job->q.n, job->pass.cols, k, 1.0f, rows, k,
                   job->pass.gram + job->pass.first, k, 0.0f, out, out_ld);
}

/* One scale for more inputs than a block holds: its sums run over all blocks. The moments are
 * symmetric, so that levels·H serves error·H·levels too. */
static void refit_channels(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quant_ops *ops = ctx->ops->quant;
    vlmp_descend_job *pass = &job->pass;
    int k = job->q.k;
    float *levels = job->slope, *curve = pass->change;
    ops->levels(ctx, &job->q, levels);
    for (pass->first = 0; pass->first < k; pass->first += VLMP_BLOCK) {
        pass->cols = k - pass->first < VLMP_BLOCK ? k - pass->first : VLMP_BLOCK;
        block_product(ctx, job, levels, curve, VLMP_BLOCK);
        ops->channel_sums(ctx, &job->q,
                          &(vlmp_channel_sums_job){.first = pass->first,
                                                   .cols = pass->cols,
                                                   .ridge = pass->ridge,
                                                   .levels = levels,
                                                   .curve = curve,
                                                   .error = pass->error,
                                                   .linear = job->linear,
                                                   .square = job->square});
    }
    ops->channel_move(ctx, &job->q, &job->grid, levels, job->linear, job->square, pass->error,
                      pass->gain);
}

/* The block's slope before the pass: dense products while the error is whole; afterwards it is
 * known, and few steps of other columns bring it up to date. */
static void enter_block(vlmp_ctx *ctx, struct job *job)
{
    vlmp_descend_job *pass = &job->pass;
    pass->slope = job->slope + (job->slope_ld == job->q.k ? pass->first : 0);
    if (pass->fresh)
        block_product(ctx, job, pass->error, pass->slope, job->slope_ld);
    else
        ctx->ops->quant->catch_up(ctx, &(vlmp_catch_up_job){.n = job->q.n,
                                                            .k = job->q.k,
                                                            .first = pass->first,
                                                            .cols = pass->cols,
                                                            .gram = pass->gram,
                                                            .steps = pass->error,
                                                            .slope = pass->slope,
                                                            .slope_ld = job->slope_ld});
}

/* What a first sweep, which changes whole groups where it refits, does to the blocks before. */
static void leave_block(vlmp_ctx *ctx, const struct job *job)
{
    const vlmp_descend_job *pass = &job->pass;
    int k = job->q.k;
    if (!pass->fresh || !pass->codes || job->options.sweeps == 1 || pass->first == 0) return;
    ctx->ops->gemm(ctx, false, false, job->q.n, pass->first, pass->cols, 1.0f, pass->change,
                   VLMP_BLOCK, pass->gram + (size_t)pass->first * (size_t)k, k, 1.0f, job->slope,
                   job->slope_ld);
}

static void sweep(vlmp_ctx *ctx, struct job *job)
{
    vlmp_descend_job *pass = &job->pass;
    int k = job->q.k, group = job->q.group;
    int width = per_channel(job) ? VLMP_BLOCK : VLMP_BLOCK / group * group;
    for (pass->first = 0; pass->first < k; pass->first += width) {
        pass->cols = k - pass->first < width ? k - pass->first : width;
        enter_block(ctx, job);
        ctx->ops->quant->descend(ctx, &job->q, &job->grid, pass);
        leave_block(ctx, job);
    }
}

static void free_job(struct job *job)
{
    free(job->pass.error);
    free(job->pass.change);
    free(job->pass.gain);
    free(job->slope);
    free(job->linear);
    free(job->square);
}

static int alloc_job(struct job *job, vlmp_error *err)
{
    size_t n = (size_t)job->q.n, k = (size_t)job->q.k;
    bool ok = true;
    ok = (job->pass.error = vlmp_alloc(n, k * sizeof(float))) != NULL && ok;
    ok = (job->pass.change = vlmp_alloc(n, VLMP_BLOCK * sizeof(float))) != NULL && ok;
    ok = (job->pass.gain = vlmp_calloc(n, sizeof(double))) != NULL && ok;
    ok = (job->slope = vlmp_alloc(n, (size_t)job->slope_ld * sizeof(float))) != NULL && ok;
    ok = (job->linear = vlmp_calloc(n, sizeof(double))) != NULL && ok;
    ok = (job->square = vlmp_calloc(n, sizeof(double))) != NULL && ok;
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
    const vlmp_polish_options *options = &job->options;
    size_t n = (size_t)job->q.n, k = (size_t)job->q.k;
    double first = 0.0;
    ctx->ops->quant->error(ctx, &job->q, job->target, NULL, job->pass.error);
    if (options->scales && per_channel(job)) refit_channels(ctx, job);
    while (report->sweeps < options->sweeps) {
        double before = report->gain;
        job->pass.fresh = report->sweeps == 0 || !options->codes;
        job->pass.scales = options->scales && job->pass.fresh && !per_channel(job);
        if (report->sweeps == 1 && options->codes)
            memset(job->pass.error, 0, n * k * sizeof *job->pass.error);
        sweep(ctx, job);
        report->gain = total(job->pass.gain, job->q.n);
        report->sweeps++;
        if (first == 0.0) first = report->gain;
        if (report->gain - before <= options->converged * first) break;
    }
}

int vlmp_polish(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *target,
                const vlmp_polish_options *options, vlmp_polish_report *report, vlmp_error *err)
{
    *report = (vlmp_polish_report){0};
    if (options->sweeps == 0) return VLMP_OK;
    struct job job = {.q = vlmp_coded_of(q), .target = target, .options = *options};
    job.pass.gram = gram;
    job.pass.ridge = (float)(options->ridge * mean_diagonal(gram, q->k));
    job.pass.codes = options->codes;
    job.slope_ld = options->codes || per_channel(&job) ? q->k : VLMP_BLOCK;
    job.pass.slope_ld = job.slope_ld;
    vlmp_grid_init(&job.grid, q, NULL);
    VLMP_TRY(alloc_job(&job, err));
    run_sweeps(ctx, &job, report);
    free_job(&job);
    return VLMP_OK;
}
