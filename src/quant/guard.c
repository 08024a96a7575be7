#include "src/quant/guard.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/quant/linalg.h"
#include "src/quant/rtn.h"
#include "src/quant/tiles.h"

struct job {
    const vlmp_quantized *q;
    const float *w, *scales;
    float *error;
};

static void form_error(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    int row0 = task * VLMP_LANES, rows = vlmp_tile_rows(job->q->n, task), k = job->q->k;
    float *e = job->error + (size_t)row0 * (size_t)k;
    const float *w = job->w + (size_t)row0 * (size_t)k;
    vlmp_dequantize(job->q, row0, rows, e);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < k; c++) {
            size_t at = (size_t)r * (size_t)k + (size_t)c;
            e[at] = w[at] - (job->scales != NULL ? e[at] / job->scales[c] : e[at]);
        }
}

int vlmp_guard_error(double *error, vlmp_ctx *ctx, const vlmp_guard_linear *linear,
                     const float *gram, const float *scales, vlmp_error *err)
{
    const vlmp_quantized *q = linear->q;
    struct job job = {.q = q, .w = linear->w, .scales = scales};
    job.error = vlmp_alloc((size_t)q->n, (size_t)q->k * sizeof *job.error);
    if (job.error == NULL) return vlmp_fail_memory(err, "comparing a linear");
    vlmp_parallel_for(ctx->pool, vlmp_tile_count(q->n), form_error, &job);
    int status = vlmp_weighted_error(ctx, job.error, q->n, q->k, gram, linear->cross, error, err);
    free(job.error);
    return status;
}

static int nearest_error(double *error, vlmp_ctx *ctx, const vlmp_guard_linear *linear,
                         const float *gram, vlmp_error *err)
{
    const vlmp_quantized *like = linear->q;
    vlmp_scheme scheme = {.bits = like->bits, .group = like->group, .symmetric = like->symmetric};
    vlmp_quantized nearest;
    VLMP_TRY(vlmp_quantized_alloc(&nearest, like->n, like->k, &scheme, err));
    vlmp_guard_linear plain = *linear;
    plain.q = &nearest;
    int status = vlmp_rtn(&nearest, linear->w, ctx->pool, linear->name, err);
    if (status == VLMP_OK) status = vlmp_guard_error(error, ctx, &plain, gram, NULL, err);
    vlmp_quantized_free(&nearest);
    return status;
}

int vlmp_guard(vlmp_guard_result *result, vlmp_ctx *ctx, const vlmp_guard_linear *linears,
               int count, const float *gram, const float *scales, vlmp_error *err)
{
    *result = (vlmp_guard_result){0};
    for (int i = 0; i < count; i++) {
        double method, nearest;
        VLMP_TRY(vlmp_guard_error(&method, ctx, &linears[i], gram, scales, err));
        VLMP_TRY(nearest_error(&nearest, ctx, &linears[i], gram, err));
        result->method_error += method;
        result->rtn_error += nearest;
    }
    result->keep_rtn = !isfinite(result->method_error) || result->rtn_error < result->method_error;
    return VLMP_OK;
}
