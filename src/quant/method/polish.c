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
    vlmp_descend_job pass;   /* error [n][k], slope, gain [n] */
    float *slope;            /* [n][VLMP_BLOCK] error·gram of the pass's block */
    float *levels;           /* [n][k] per channel; NULL */
    double *linear, *square; /* [n] per channel: error·H·levels, levels·H·levels */
};

static bool per_channel(const struct job *job)
{
    return job->q.group > VLMP_BLOCK;
}

/* out [n][VLMP_BLOCK] = rows [n][k]·gram of the pass's block of columns. */
static void block_product(vlmp_ctx *ctx, const struct job *job, const float *rows, float *out)
{
    int k = job->q.k;
    ctx->ops->gemm(ctx, false, false, job->q.n, job->pass.cols, k, 1.0f, rows, k,
                   job->pass.gram + job->pass.first, k, 0.0f, out, VLMP_BLOCK);
}

/* One scale for more inputs than a block holds: its sums run over all blocks. The moments are
 * symmetric, so that levels·H serves error·H·levels too. */
static void refit_channels(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_quant_ops *ops = ctx->ops->quant;
    vlmp_descend_job *pass = &job->pass;
    int k = job->q.k;
    float *levels = job->levels, *curve = job->slope;
    ops->levels(ctx, &job->q, &job->grid, levels);
    memset(job->linear, 0, (size_t)job->q.n * sizeof *job->linear);
    memset(job->square, 0, (size_t)job->q.n * sizeof *job->square);
    for (pass->first = 0; pass->first < k; pass->first += VLMP_BLOCK) {
        pass->cols = k - pass->first < VLMP_BLOCK ? k - pass->first : VLMP_BLOCK;
        block_product(ctx, job, levels, curve);
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

static void sweep(vlmp_ctx *ctx, struct job *job)
{
    vlmp_descend_job *pass = &job->pass;
    int k = job->q.k, group = job->q.group;
    int width = per_channel(job) ? VLMP_BLOCK : VLMP_BLOCK / group * group;
    for (pass->first = 0; pass->first < k; pass->first += width) {
        pass->cols = k - pass->first < width ? k - pass->first : width;
        block_product(ctx, job, pass->error, job->slope);
        ctx->ops->quant->descend(ctx, &job->q, &job->grid, pass);
    }
}

static void free_job(struct job *job)
{
    free(job->pass.error);

    free(job->pass.gain);
    free(job->slope);
    free(job->levels);
    free(job->linear);
    free(job->square);
}

static int alloc_job(struct job *job, vlmp_error *err)
{
    size_t n = (size_t)job->q.n, k = (size_t)job->q.k;
    bool ok = true;
    ok = (job->pass.error = vlmp_alloc(n, k * sizeof(float))) != NULL && ok;
    ok = (job->pass.gain = vlmp_calloc(n, sizeof(double))) != NULL && ok;
    ok = (job->slope = vlmp_alloc(n, VLMP_BLOCK * sizeof(float))) != NULL && ok;
    if (per_channel(job)) ok = (job->levels = vlmp_alloc(n, k * sizeof(float))) != NULL && ok;
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
    double first = 0.0;
    ctx->ops->quant->error(ctx, &job->q, &job->grid, job->target, NULL, job->pass.error);
    while (report->sweeps < options->sweeps) {
        double before = report->gain;
        sweep(ctx, job);
        if (options->scales && per_channel(job)) refit_channels(ctx, job);
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
    job.pass.scales = options->scales && !per_channel(&job);
    vlmp_grid_init(&job.grid, q, NULL);
    VLMP_TRY(alloc_job(&job, err));
    job.pass.slope = job.slope;
    run_sweeps(ctx, &job, report);
    free_job(&job);
    return VLMP_OK;
}
