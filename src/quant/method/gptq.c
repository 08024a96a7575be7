#include "src/quant/method/gptq.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/polish.h"
#include "src/quant/method/rtn.h"
#include "src/quant/method/tiles.h"

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
    vlmp_quantized *q;
    const vlmp_hessian *h;
    const float *target;
    const vlmp_tile_ops *ops;
    vlmp_grid grid;
    float *error;    /* [n][k] by position */
    float *passed;   /* [n][VLMP_BLOCK]: compensation of the block's columns */
    float *wide;     /* threads × [k][LANES], per channel only */
    double *loss;    /* one a tile */
    int first, cols; /* of the block, positions */
};

/* Per channel: one search over the whole row before anything is rounded. */
static void search_channel(void *arg, int task, int thread)
{
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    int row0 = task * VLMP_LANES, rows = vlmp_tile_rows(q->n, task);
    float *x = job->wide + (size_t)thread * (size_t)q->k * VLMP_LANES;
    float scale[VLMP_LANES], zero[VLMP_LANES];
    vlmp_tile_load(x, job->target, q->k, row0, rows, 0, q->k, job->h->order);
    job->ops->search(&job->grid, q->k, x, job->h->pivot, scale, zero);
    vlmp_tile_put_scales(q, row0, rows, 0, scale, zero);
}

static void put_codes(vlmp_quantized *q, const uint8_t *tile, int row0, int rows, int cols,
                      const int *order)
{
    for (int r = 0; r < rows; r++) {
        uint8_t *out = q->codes + (size_t)(row0 + r) * (size_t)q->k;
        for (int c = 0; c < cols; c++)
            out[order[c]] = tile[c * VLMP_LANES + r];
    }
}

static void quantize_tile(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    const vlmp_hessian *h = job->h;
    int row0 = task * VLMP_LANES, rows = vlmp_tile_rows(q->n, task);
    int first = job->first, cols = job->cols, group = q->group < cols ? q->group : cols;
    float live[VLMP_BLOCK * VLMP_LANES], target[VLMP_BLOCK * VLMP_LANES];
    float error[VLMP_BLOCK * VLMP_LANES], settled[VLMP_BLOCK * VLMP_LANES];
    float scale[VLMP_LANES], zero[VLMP_LANES];
    float loss[VLMP_LANES] = {0};
    uint8_t codes[VLMP_BLOCK * VLMP_LANES];
    const float *factor = h->factor + (size_t)first * (size_t)q->k + (size_t)first;
    vlmp_tile_load(target, job->target, q->k, row0, rows, first, cols, h->order);
    vlmp_tile_load(live, job->passed, VLMP_BLOCK, row0, rows, 0, cols, NULL);
    for (int i = 0; i < cols * VLMP_LANES; i++)
        live[i] += target[i];
    for (int from = cols - group; from >= 0; from -= group) {
        int g = h->order[first + from] / q->group;
        if (q->groups > 1 || q->k <= VLMP_BLOCK) {
            job->ops->settle(from, from + group - 1, live, target, factor, q->k, settled);
            job->ops->search(&job->grid, group, settled, h->pivot + first + from, scale, zero);
            vlmp_tile_put_scales(q, row0, rows, g, scale, zero);
        }
        vlmp_tile_scales(q, row0, rows, g, scale, zero);
        job->ops->propagate(&job->grid, from, from + group - 1, live, target, factor, q->k,
                            h->pivot + first, scale, zero, error, codes, loss);
    }
    put_codes(q, codes, row0, rows, cols, h->order + first);
    vlmp_tile_store(error, job->error, q->k, row0, rows, first, cols);
    for (int r = 0; r < rows; r++)
        job->loss[task] += (double)loss[r];
}

/* Blocks of whole groups from the last position to the first. */
static void propagate_all(vlmp_ctx *ctx, struct job *job)
{
    vlmp_quantized *q = job->q;
    int k = q->k, tiles = vlmp_tile_count(q->n);
    bool channel = q->groups == 1 && k > VLMP_BLOCK;
    int width = channel ? VLMP_BLOCK : VLMP_BLOCK / q->group * q->group;
    if (q->groups == 1 && !channel) width = k;
    if (channel) vlmp_parallel_for(ctx->pool, tiles, search_channel, job);
    for (int end = k; end > 0; end = job->first) {
        job->cols = end < width ? end : width;
        job->first = end - job->cols;
        if (end == k)
            memset(job->passed, 0, (size_t)q->n * VLMP_BLOCK * sizeof *job->passed);
        else
            ctx->ops->gemm(ctx, false, false, q->n, job->cols, k - end, 1.0f, job->error + end, k,
                           job->h->factor + (size_t)end * (size_t)k + (size_t)job->first, k, 0.0f,
                           job->passed, VLMP_BLOCK);
        vlmp_parallel_for(ctx->pool, tiles, quantize_tile, job);
    }
}

static int run_job(vlmp_ctx *ctx, struct job *job, vlmp_gptq_report *report, vlmp_error *err)
{
    const vlmp_quantized *q = job->q;
    size_t wide = q->groups == 1 && q->k > VLMP_BLOCK ? (size_t)q->k * VLMP_LANES : 0;
    job->error = vlmp_alloc((size_t)q->n, (size_t)q->k * sizeof *job->error);
    job->passed = vlmp_alloc((size_t)q->n, VLMP_BLOCK * sizeof *job->passed);
    job->loss = vlmp_calloc((size_t)vlmp_tile_count(q->n), sizeof *job->loss);
    job->wide = vlmp_alloc((size_t)vlmp_pool_threads(ctx->pool), wide * sizeof *job->wide);
    int status = VLMP_OK;
    if (job->error == NULL || job->passed == NULL || job->loss == NULL || job->wide == NULL)
        status = vlmp_fail_memory(err, "quantizing a linear");
    else
        propagate_all(ctx, job);
    for (int i = 0; status == VLMP_OK && i < vlmp_tile_count(q->n); i++)
        report->propagated += job->loss[i];
    free(job->error);
    free(job->passed);
    free(job->loss);
    free(job->wide);
    return status;
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
    if (h->failed) return vlmp_rtn(q, target, ctx->pool, name, err);
    struct job job = {.q = q, .h = h, .target = target, .ops = vlmp_tile_ops_get()};
    vlmp_grid_init(&job.grid, q, &options->search);
    VLMP_TRY(run_job(ctx, &job, report, err));
    VLMP_TRY(vlmp_quantized_check_scales(q, name, err));
    if (options->sweeps == 0) return VLMP_OK;
    vlmp_polish_options polish = {.codes = true,
                                  .scales = true,
                                  .sweeps = options->sweeps,
                                  .ridge = options->ridge,
                                  .converged = options->converged};
    vlmp_polish_report polished;
    VLMP_TRY(vlmp_polish(q, ctx, gram, target, &polish, &polished, err));
    report->gain = polished.gain;
    report->sweeps = polished.sweeps;
    return VLMP_OK;
}
