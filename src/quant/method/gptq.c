#include "src/quant/method/gptq.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/lend.h"
#include "src/quant/method/polish.h"
#include "src/quant/method/rtn.h"
#include "src/quant/method/search.h"

vlmp_gptq_options vlmp_gptq_defaults(void)
{
    return (vlmp_gptq_options){
        .search = vlmp_search_defaults(), .sweeps = 3, .ridge = 0.05, .converged = 0.1};
}

double vlmp_gptq_damping(void)
{
    return 0.01;
}

struct job {
    vlmp_coded q;
    const vlmp_hessian *h;
    const float *target;
    vlmp_grid grid;
    bool blocks;   /* scales are there: those of rows that share them are not searched */
    float *error;  /* [n][k] by position */
    float *passed; /* [n][VLMP_BLOCK]: compensation of the block's columns */
    double *loss;  /* [n] */
};

/* Blocks of whole groups from the last position to the first. */
static void propagate_all(vlmp_ctx *ctx, struct job *job)
{
    const vlmp_coded *q = &job->q;
    const vlmp_hessian *h = job->h;
    int k = q->k;
    bool channel = q->group == k && k > VLMP_BLOCK;
    int width = channel ? VLMP_BLOCK : VLMP_BLOCK / q->group * q->group;
    vlmp_propagate_job block = {.order = h->order,
                                .target = job->target,
                                .passed = job->passed,
                                .factor = h->factor,
                                .pivot = h->pivot,
                                .searched = channel || job->blocks,
                                .error = job->error,
                                .loss = job->loss};
    if (channel && !job->blocks) /* one search over the whole row before anything is rounded */
        ctx->ops->quant->search(
            ctx, q, &job->grid,
            &(vlmp_search_job){.w = job->target, .weight = h->pivot, .order = h->order});
    for (int end = k; end > 0; end = block.first) {
        block.cols = end < width ? end : width;
        block.first = end - block.cols;
        if (end < k) /* passed is zero at first */
            ctx->ops->gemm(ctx, false, false, q->n, block.cols, k - end, 1.0f, job->error + end, k,
                           h->factor + (size_t)end * (size_t)k + (size_t)block.first, k, 0.0f,
                           job->passed, VLMP_BLOCK);
        ctx->ops->quant->propagate(ctx, q, &job->grid, &block);
    }
}

static int run_job(vlmp_ctx *ctx, struct job *job, vlmp_gptq_report *report, vlmp_error *err)
{
    static const char what[] = "quantizing a linear";
    size_t n = (size_t)job->q.n, k = (size_t)job->q.k;
    const double *loss;
    int status = vlmp_ctx_alloc(ctx, &job->error, n, k * sizeof *job->error, what, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &job->passed, n, VLMP_BLOCK * sizeof *job->passed, what, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &job->loss, n, sizeof *loss, what, err);
    if (status == VLMP_OK) {
        propagate_all(ctx, job);
        status = vlmp_fetch(ctx, &loss, job->loss, n * sizeof *loss, what, err);
    }
    if (status == VLMP_OK) {
        for (size_t row = 0; row < n; row++)
            report->propagated += loss[row];
        vlmp_fetch_end(ctx, loss, job->loss);
    }
    vlmp_ctx_free_memory(ctx, job->error);
    vlmp_ctx_free_memory(ctx, job->passed);
    vlmp_ctx_free_memory(ctx, job->loss);
    return status;
}

/* What the host does: round to nearest, or the scales of it. */
static int run_nearest(vlmp_quantized *q, vlmp_ctx *ctx, const float *target, bool scales,
                       const char *name, vlmp_error *err)
{
    const float *host;
    size_t bytes = (size_t)q->n * (size_t)q->k * sizeof *host;
    VLMP_TRY(vlmp_fetch(ctx, &host, target, bytes, name, err));
    int status = (scales ? vlmp_rtn_scales : vlmp_rtn)(q, host, ctx->pool, name, err);
    vlmp_fetch_end(ctx, host, target);
    return status;
}

static int propagate_and_polish(vlmp_ctx *ctx, struct job *job, const vlmp_quantized *q,
                                const float *gram, const vlmp_gptq_options *options,
                                vlmp_gptq_report *report, vlmp_error *err)
{
    VLMP_TRY(run_job(ctx, job, report, err));
    if (options->sweeps == 0) return VLMP_OK;
    vlmp_polish_options polish = {.codes = true,
                                  .scales = !job->blocks,
                                  .sweeps = options->sweeps,
                                  .ridge = options->ridge,
                                  .converged = options->converged};
    vlmp_polish_report polished;
    VLMP_TRY(vlmp_polish(&job->q, q, ctx, gram, job->target, &polish, &polished, err));
    report->gain = polished.gain;
    report->sweeps = polished.sweeps;
    return VLMP_OK;
}

int vlmp_gptq(vlmp_quantized *q, vlmp_ctx *ctx, const vlmp_hessian *h, const float *gram,
              const float *target, const vlmp_gptq_options *options, const char *name,
              vlmp_gptq_report *report, vlmp_error *err)
{
    *report = (vlmp_gptq_report){.damping = h->damping, .fallback = h->failed};
    if (h->k != q->k || h->group != q->group || (q->group > VLMP_BLOCK && q->groups > 1))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: groups of %d of %d inputs do not suit GPTQ; use a group of at most "
                         "%d, or one scale per channel",
                         name, q->group, q->k, VLMP_BLOCK);
    if (h->failed) return run_nearest(q, ctx, target, false, name, err);
    struct job job = {.h = h, .target = target, .blocks = q->scheme.blocks};
    vlmp_grid_init(&job.grid, q, &options->search);
    if (job.blocks) VLMP_TRY(run_nearest(q, ctx, target, true, name, err));
    VLMP_TRY(vlmp_lend_coded(ctx, &job.q, q, err));
    int status = propagate_and_polish(ctx, &job, q, gram, options, report, err);
    VLMP_TRY(vlmp_lend_coded_end(ctx, &job.q, q, status, err));
    return vlmp_quantized_check_scales(q, name, err);
}
