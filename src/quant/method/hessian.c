#include "src/quant/method/hessian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/lend.h"

#define DAMPING_MAX 1.0

static const char what[] = "the factor of a Gram matrix";

struct ranked {
    float rank; /* of the group */
    float own;
    int group;
    int input;
};

static int weakest_first(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    if (a->group != b->group) return a->group < b->group ? -1 : 1;
    if (a->own != b->own) return a->own < b->own ? -1 : 1;
    return a->input < b->input ? -1 : a->input > b->input;
}

/* Groups by their strongest input, inputs within their group by strength. */
static int order_inputs(vlmp_hessian *h, const float *diagonal, vlmp_error *err)
{
    struct ranked *list = vlmp_alloc((size_t)h->k, sizeof *list);
    int *order = vlmp_alloc((size_t)h->k, sizeof *order);
    for (int g = 0; list != NULL && g < h->k / h->group; g++) {
        float most = 0.0f;
        for (int i = g * h->group; i < (g + 1) * h->group; i++)
            most = fmaxf(most, diagonal[i]);
        for (int i = g * h->group; i < (g + 1) * h->group; i++)
            list[i] = (struct ranked){most, diagonal[i], g, i};
    }
    if (list != NULL && order != NULL) {
        qsort(list, (size_t)h->k, sizeof *list, weakest_first);
        for (int i = 0; i < h->k; i++)
            order[i] = list[i].input;
        vlmp_ctx_write(h->ctx, h->order, order, (size_t)h->k * sizeof *order);
    }
    int status = list != NULL && order != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
    free(list);
    free(order);
    return status;
}

/* Memory of the context is zero at first. */
static int identity(vlmp_hessian *h, vlmp_error *err)
{
    float *ones = vlmp_alloc((size_t)h->k, sizeof *ones);
    if (ones == NULL) return vlmp_fail_memory(err, what);
    for (int i = 0; i < h->k; i++)
        ones[i] = 1.0f;
    vlmp_ctx_write(h->ctx, h->pivot, ones, (size_t)h->k * sizeof *ones);
    free(ones);
    vlmp_ctx_free_memory(h->ctx, h->factor);
    return vlmp_ctx_alloc(h->ctx, &h->factor, (size_t)h->k, (size_t)h->k * sizeof *h->factor, what,
                          err);
}

/* h->failed: no damping factored. */
static int factor_with_ladder(vlmp_hessian *h, const float *gram, double mean, double damping,
                              float *room, int32_t *state, vlmp_error *err)
{
    const vlmp_quant_ops *ops = h->ctx->ops->quant;
    for (double d = damping;; d = d * 2.0 > DAMPING_MAX ? DAMPING_MAX : d * 2.0) {
        int32_t failed;
        h->attempts++;
        h->damping = d;
        h->ridge = (float)(d * mean);
        ops->arrange(h->ctx, h->factor, gram, h->k, h->order, h->ridge);
        /* a Schur complement of H + ridge·I is at least ridge; half of it leaves room for rounding
         */
        ops->factor(h->ctx, h->factor, h->k, h->pivot, 0.5f * h->ridge, room, state);
        VLMP_TRY(vlmp_ctx_read(h->ctx, &failed, state, sizeof failed, err));
        h->failed = failed != 0;
        if (!h->failed || d >= DAMPING_MAX) return VLMP_OK;
    }
}

/* diagonal [k] of the host is filled. */
static int fill(vlmp_hessian *h, const float *gram, double damping, float *diagonal, float *room,
                int32_t *state, vlmp_error *err)
{
    double mean = 0.0;
    VLMP_TRY(vlmp_read_diagonal(h->ctx, diagonal, gram, h->k, err));
    VLMP_TRY(order_inputs(h, diagonal, err));
    for (int i = 0; i < h->k; i++)
        mean += (double)diagonal[i] / h->k;
    h->failed = !isfinite(mean);
    if (mean != 0.0 && !h->failed)
        VLMP_TRY(factor_with_ladder(h, gram, mean, damping, room, state, err));
    return mean == 0.0 || h->failed ? identity(h, err) : VLMP_OK;
}

int vlmp_hessian_create(vlmp_hessian *h, vlmp_ctx *ctx, const float *gram, int k, int group,
                        double damping, vlmp_error *err)
{
    *h = (vlmp_hessian){.ctx = ctx, .k = k, .group = group};
    float *room = NULL, *diagonal = vlmp_alloc((size_t)k, sizeof *diagonal);
    int32_t *state = NULL;
    int status = diagonal != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
    const struct {
        void *out;
        size_t count, size;
    } parts[] = {{&h->order, (size_t)k, sizeof *h->order},
                 {&h->pivot, (size_t)k, sizeof *h->pivot},
                 {&h->factor, (size_t)k, (size_t)k * sizeof *h->factor},
                 {&room, vlmp_factor_room(k), sizeof *room},
                 {&state, 1, sizeof *state}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == VLMP_OK; i++)
        status = vlmp_ctx_alloc(ctx, parts[i].out, parts[i].count, parts[i].size, what, err);
    if (status == VLMP_OK) status = fill(h, gram, damping, diagonal, room, state, err);
    free(diagonal);
    vlmp_ctx_free_memory(ctx, room);
    vlmp_ctx_free_memory(ctx, state);
    if (status != VLMP_OK) vlmp_hessian_free(h);
    return status;
}

void vlmp_hessian_free(vlmp_hessian *h)
{
    if (h->ctx != NULL) {
        vlmp_ctx_free_memory(h->ctx, h->order);
        vlmp_ctx_free_memory(h->ctx, h->factor);
        vlmp_ctx_free_memory(h->ctx, h->pivot);
    }
    *h = (vlmp_hessian){0};
}

static const char corrected[] = "the corrected target of a linear";

/* The step along x [n][k] that lowers Σ |y − (W + step·x)·input|² most on the held-back tokens: the
 * minimum of step²·tr(x·gram·xᵀ) − 2·step·Σ cross∘x, on a sample of rows. */
static int best_step(const vlmp_hessian *h, const float *x, int n, const vlmp_held_back *held,
                     double most, double *step, vlmp_error *err)
{
    vlmp_ctx *ctx = h->ctx;
    int taken = n < VLMP_HELD_ROWS ? n : VLMP_HELD_ROWS;
    double square, linear, *sum = NULL;
    float *rows = NULL;
    void *room = NULL;
    int status =
        vlmp_ctx_alloc(ctx, &rows, (size_t)taken, (size_t)h->k * sizeof *rows, corrected, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &sum, 1, sizeof *sum, corrected, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &room, vlmp_sum_room(taken), 1, corrected, err);
    if (status == VLMP_OK) {
        ctx->ops->quant->sample_rows(ctx, rows, taken, x, n, h->k);
        ctx->ops->quant->dot(ctx, sum, held->cross, rows, taken, h->k, room);
        status = vlmp_ctx_read(ctx, &linear, sum, sizeof linear, err);
    }
    if (status == VLMP_OK)
        status = vlmp_weighted_error(ctx, rows, taken, h->k, held->gram, NULL, &square, err);
    if (status == VLMP_OK) *step = square > 0.0 ? fmin(fmax(linear / square, 0.0), most) : 0.0;
    vlmp_ctx_free_memory(ctx, rows);
    vlmp_ctx_free_memory(ctx, sum);
    vlmp_ctx_free_memory(ctx, room);
    return status;
}

int vlmp_hessian_correct(const vlmp_hessian *h, vlmp_ctx *ctx, const float *cross,
                         const vlmp_held_back *held, double alpha, float *w, int n, double *used,
                         vlmp_error *err)
{
    const vlmp_quant_ops *ops = ctx->ops->quant;
    float *solved = NULL, *x = NULL; /* [n][k], by position and by input */
    size_t row = (size_t)h->k * sizeof *x;
    *used = 0.0;
    if (h->failed || h->ridge == 0.0f || alpha == 0.0) return VLMP_OK;
    int status = vlmp_ctx_alloc(ctx, &x, (size_t)n, row, corrected, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &solved, (size_t)n, row, corrected, err);
    if (status == VLMP_OK) {
        ops->permute(ctx, solved, cross, n, h->k, h->order, false);
        ops->solve(ctx, h->factor, h->pivot, h->k, solved, n);
        ops->permute(ctx, x, solved, n, h->k, h->order, true);
        *used = alpha;
        if (held != NULL) status = best_step(h, x, n, held, alpha, used, err);
    }
    if (status == VLMP_OK) ops->add_multiple(ctx, w, (float)*used, x, (size_t)n * (size_t)h->k);
    vlmp_ctx_free_memory(ctx, x);
    vlmp_ctx_free_memory(ctx, solved);
    return status;
}
