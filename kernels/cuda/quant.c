/* What quantizers compute is on memory of the host, and the host computes it. */
#include "kernels/quant.h"
#include "kernels/cuda/cuda.h"

static vlmp_ctx *host_of(vlmp_ctx *ctx)
{
    return vlmp_cuda_of(ctx)->host;
}

static void error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *target,
                  const float *factor, float *out)
{
    host_of(ctx)->ops->quant->error(host_of(ctx), q, grid, target, factor, out);
}

static void levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *out)
{
    host_of(ctx)->ops->quant->levels(host_of(ctx), q, grid, out);
}

static void search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                   const vlmp_search_job *job)
{
    host_of(ctx)->ops->quant->search(host_of(ctx), q, grid, job);
}

static void round_to_codes(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const float *w, const float *factor)
{
    host_of(ctx)->ops->quant->round(host_of(ctx), q, grid, w, factor);
}

static void propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                      const vlmp_propagate_job *job)
{
    host_of(ctx)->ops->quant->propagate(host_of(ctx), q, grid, job);
}

static void descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                    const vlmp_descend_job *job)
{
    host_of(ctx)->ops->quant->descend(host_of(ctx), q, grid, job);
}

static void channel_sums(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_channel_sums_job *job)
{
    host_of(ctx)->ops->quant->channel_sums(host_of(ctx), q, job);
}

static void channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                         const float *step, const double *linear, const double *square, float *left,
                         double *gain)
{
    host_of(ctx)->ops->quant->channel_move(host_of(ctx), q, grid, step, linear, square, left, gain);
}

const vlmp_quant_ops vlmp_cuda_quant_ops = {
    .error = error,
    .levels = levels,
    .search = search,
    .round = round_to_codes,
    .propagate = propagate,
    .descend = descend,
    .channel_sums = channel_sums,
    .channel_move = channel_move,
};
