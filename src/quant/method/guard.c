#include "src/quant/method/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/lend.h"
#include "src/quant/method/rtn.h"

#define ROWS 16 /* of a task */

static const char what[] = "comparing a linear";

/* Rows of w [n][k] that an error is taken on. */
static int rows_taken(int n)
{
    return n < VLMP_GUARD_ROWS ? n : VLMP_GUARD_ROWS;
}

/* The row at a place of a sample. */
static size_t row_of(int place, int taken, int n)
{
    return (size_t)place * (size_t)n / (size_t)taken;
}

int vlmp_sample_rows(float *out, int most, const float *w, int n, int k)
{
    int taken = n < most ? n : most;
    for (int r = 0; r < taken; r++)
        memcpy(out + (size_t)r * (size_t)k, w + row_of(r, taken, n) * (size_t)k,
               (size_t)k * sizeof *out);
    return taken;
}

int vlmp_guard_sample(float *out, const float *w, int n, int k)
{
    return vlmp_sample_rows(out, VLMP_GUARD_ROWS, w, n, k);
}

struct job {
    const vlmp_guard_linear *linear;
    const float *scales;
    float *rows;  /* [taken][k] of w */
    float *error; /* [taken][k] */
    int taken;
};

static void form_error(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    const vlmp_quantized *q = job->linear->q;
    size_t k = (size_t)q->k;
    for (int r = task * ROWS; r < job->taken && r < (task + 1) * ROWS; r++) {
        size_t row = row_of(r, job->taken, q->n);
        float *w = job->rows + (size_t)r * k, *e = job->error + (size_t)r * k;
        memcpy(w, job->linear->w + row * k, k * sizeof *w);
        vlmp_dequantize(q, (int)row, 1, e);
        for (size_t c = 0; c < k; c++)
            e[c] = w[c] - (job->scales != NULL ? e[c] / job->scales[c] : e[c]);
    }
}

/* With e = W − ŵ: W·x₀ − ŵ·x = W·(x₀ − x) + e·x, and its square is what W misses, twice the product
 * of both, and what rounding adds. rows, error, product [taken][k]: in the context's memory, the
 * last for W·Σ (x₀ − x)·xᵀ. */
static int sum_error(double *out, vlmp_ctx *ctx, const struct job *job,
                     const vlmp_guard_tokens *tokens, const float *rows, const float *error,
                     float *product, vlmp_error *err)
{
    int k = job->linear->q->k;
    if (product != NULL)
        ctx->ops->gemm(ctx, false, false, job->taken, k, k, 1.0f, rows, k, tokens->cross, k, 0.0f,
                       product, k);
    VLMP_TRY(vlmp_weighted_error(ctx, error, job->taken, k, tokens->gram, product, out, err));
    int n = job->linear->sample_of > 0 ? job->linear->sample_of : job->linear->q->n;
    *out = (*out + job->linear->missed) * ((double)n / job->taken);
    return VLMP_OK;
}

static int lend_and_sum(double *out, vlmp_ctx *ctx, const struct job *job,
                        const vlmp_guard_tokens *tokens, vlmp_error *err)
{
    size_t bytes = (size_t)job->taken * (size_t)job->linear->q->k * sizeof(float);
    const float *rows = NULL, *error = NULL;
    float *product = NULL;
    int status = vlmp_lend(ctx, &error, job->error, bytes, what, err);
    if (status == VLMP_OK && tokens->cross != NULL)
        status = vlmp_lend(ctx, &rows, job->rows, bytes, what, err);
    if (status == VLMP_OK && tokens->cross != NULL)
        status = vlmp_ctx_alloc(ctx, &product, bytes, 1, what, err);
    if (status == VLMP_OK) status = sum_error(out, ctx, job, tokens, rows, error, product, err);
    vlmp_lend_end(ctx, error, job->error);
    vlmp_lend_end(ctx, rows, job->rows);
    vlmp_ctx_free_memory(ctx, product);
    return status;
}

int vlmp_guard_error(double *error, vlmp_ctx *ctx, const vlmp_guard_linear *linear,
                     const vlmp_guard_tokens *tokens, const float *scales, vlmp_error *err)
{
    const vlmp_quantized *q = linear->q;
    struct job job = {.linear = linear, .scales = scales, .taken = rows_taken(q->n)};
    size_t values = (size_t)job.taken * (size_t)q->k;
    job.rows = vlmp_alloc(values, sizeof(float));
    job.error = vlmp_alloc(values, sizeof(float));
    int status = VLMP_OK;
    if (job.rows == NULL || job.error == NULL) {
        status = vlmp_fail_memory(err, what);
    } else {
        vlmp_parallel_for(ctx->pool, (job.taken + ROWS - 1) / ROWS, form_error, &job);
        status = lend_and_sum(error, ctx, &job, tokens, err);
    }
    free(job.rows);
    free(job.error);
    return status;
}

int vlmp_guard_energy(double *energy, vlmp_ctx *ctx, const float *w, int n, int k,
                      const float *gram, vlmp_error *err)
{
    const float *lent = NULL;
    float *rows = vlmp_alloc((size_t)rows_taken(n), (size_t)k * sizeof *w);
    if (rows == NULL) return vlmp_fail_memory(err, what);
    int taken = vlmp_guard_sample(rows, w, n, k);
    int status = vlmp_lend(ctx, &lent, rows, (size_t)taken * (size_t)k * sizeof *rows, what, err);
    if (status == VLMP_OK)
        status = vlmp_weighted_error(ctx, lent, taken, k, gram, NULL, energy, err);
    vlmp_lend_end(ctx, lent, rows);
    free(rows);
    if (status == VLMP_OK) *energy *= (double)n / taken;
    return status;
}

static int nearest_error(double *error, vlmp_ctx *ctx, const vlmp_guard_linear *linear,
                         const vlmp_guard_tokens *tokens, vlmp_error *err)
{
    const vlmp_quantized *like = linear->q;
    vlmp_quantized nearest;
    VLMP_TRY(vlmp_quantized_alloc(&nearest, like->n, like->k, &like->scheme, err));
    vlmp_guard_linear plain = *linear;
    plain.q = &nearest;
    int status = vlmp_rtn(&nearest, linear->w, ctx->pool, linear->name, err);
    if (status == VLMP_OK) status = vlmp_guard_error(error, ctx, &plain, tokens, NULL, err);
    vlmp_quantized_free(&nearest);
    return status;
}

int vlmp_guard(vlmp_guard_result *result, vlmp_ctx *ctx, const vlmp_guard_linear *linears,
               int count, const vlmp_guard_tokens *tokens, const float *scales, vlmp_error *err)
{
    *result = (vlmp_guard_result){0};
    for (int i = 0; i < count; i++) {
        double method, nearest;
        VLMP_TRY(vlmp_guard_error(&method, ctx, &linears[i], tokens, scales, err));
        VLMP_TRY(nearest_error(&nearest, ctx, &linears[i], tokens, err));
        result->method_error += method;
        result->rtn_error += nearest;
    }
    result->keep_rtn = !isfinite(result->method_error) || result->rtn_error < result->method_error;
    return VLMP_OK;
}
