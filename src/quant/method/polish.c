#include "src/quant/method/polish.h"

#include <stdlib.h>

#include "src/base/memory.h"
#include "src/quant/method/lend.h"
#include "src/quant/method/search.h"

static const char what[] = "polishing a linear";

/* Arrays in the context's memory. */
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

static void free_job(vlmp_ctx *ctx, struct job *job)
{
    vlmp_ctx_free_memory(ctx, job->pass.error);
    vlmp_ctx_free_memory(ctx, job->pass.gain);
    vlmp_ctx_free_memory(ctx, job->slope);
    vlmp_ctx_free_memory(ctx, job->levels);
    vlmp_ctx_free_memory(ctx, job->linear);
    vlmp_ctx_free_memory(ctx, job->square);
}

static int alloc_job(vlmp_ctx *ctx, struct job *job, vlmp_error *err)
{
    size_t n = (size_t)job->q.n, k = (size_t)job->q.k;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &job->pass.error, n, k * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &job->pass.gain, n, sizeof(double), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &job->slope, n, VLMP_BLOCK * sizeof(float), what, err));
    job->pass.slope = job->slope;
    if (!per_channel(job)) return VLMP_OK;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &job->levels, n, k * sizeof(float), what, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &job->linear, n, sizeof(double), what, err));
    return vlmp_ctx_alloc(ctx, &job->square, n, sizeof(double), what, err);
}

static int mean_diagonal(double *mean, vlmp_ctx *ctx, const float *gram, int k, vlmp_error *err)
{
    float *diagonal = vlmp_alloc((size_t)k, sizeof *diagonal);
    int status = diagonal != NULL ? vlmp_read_diagonal(ctx, diagonal, gram, k, err)
                                  : vlmp_fail_memory(err, what);
    *mean = 0.0;
    for (int i = 0; i < k && status == VLMP_OK; i++)
        *mean += (double)diagonal[i] / k;
    free(diagonal);
    return status;
}

static int total(double *sum, vlmp_ctx *ctx, const double *part, int count, vlmp_error *err)
{
    const double *host;
    VLMP_TRY(vlmp_fetch(ctx, &host, part, (size_t)count * sizeof *host, what, err));
    *sum = 0.0;
    for (int i = 0; i < count; i++)
        *sum += host[i];
    vlmp_fetch_end(ctx, host, part);
    return VLMP_OK;
}

static int run_sweeps(vlmp_ctx *ctx, struct job *job, vlmp_polish_report *report, vlmp_error *err)
{
    const vlmp_polish_options *options = &job->options;
    double first = 0.0;
    ctx->ops->quant->error(ctx, &job->q, &job->grid, job->target, NULL, job->pass.error);
    while (report->sweeps < options->sweeps) {
        double before = report->gain;
        sweep(ctx, job);
        if (options->scales && per_channel(job)) refit_channels(ctx, job);
        VLMP_TRY(total(&report->gain, ctx, job->pass.gain, job->q.n, err));
        report->sweeps++;
        if (first == 0.0) first = report->gain;
        if (report->gain - before <= options->converged * first) break;
    }
    return VLMP_OK;
}

int vlmp_polish(const vlmp_coded *codes, const vlmp_quantized *q, vlmp_ctx *ctx, const float *gram,
                const float *target, const vlmp_polish_options *options, vlmp_polish_report *report,
                vlmp_error *err)
{
    *report = (vlmp_polish_report){0};
    if (options->sweeps == 0) return VLMP_OK;
    struct job job = {.q = *codes, .target = target, .options = *options};
    double mean;
    VLMP_TRY(mean_diagonal(&mean, ctx, gram, q->k, err));
    job.pass.gram = gram;
    job.pass.ridge = (float)(options->ridge * mean);
    job.pass.codes = options->codes;
    job.pass.scales = options->scales && !per_channel(&job);
    vlmp_grid_init(&job.grid, q, NULL);
    int status = alloc_job(ctx, &job, err);
    if (status == VLMP_OK) status = run_sweeps(ctx, &job, report, err);
    free_job(ctx, &job);
    return status;
}
