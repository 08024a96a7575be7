#include "src/quant/method/hessian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/linalg.h"

#define DAMPING_MAX 1.0
#define ROWS        16 /* of a task */

static int task_count(int rows)
{
    return (rows + ROWS - 1) / ROWS;
}

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
static int order_inputs(vlmp_hessian *h, const float *gram)
{
    int k = h->k;
    struct ranked *list = vlmp_alloc((size_t)k, sizeof *list);
    if (list == NULL) return -1;
    for (int g = 0; g < k / h->group; g++) {
        float most = 0.0f;
        for (int i = g * h->group; i < (g + 1) * h->group; i++)
            most = fmaxf(most, gram[(size_t)i * (size_t)k + (size_t)i]);
        for (int i = g * h->group; i < (g + 1) * h->group; i++)
            list[i] = (struct ranked){most, gram[(size_t)i * (size_t)k + (size_t)i], g, i};
    }
    qsort(list, (size_t)k, sizeof *list, weakest_first);
    for (int i = 0; i < k; i++)
        h->order[i] = list[i].input;
    free(list);
    return 0;
}

struct gather {
    const vlmp_hessian *h;
    const float *gram;
};

static void gather_rows(void *arg, int task, int thread)
{
    (void)thread;
    const struct gather *job = arg;
    const vlmp_hessian *h = job->h;
    size_t k = (size_t)h->k;
    for (size_t i = (size_t)task * ROWS; i < k && i < (size_t)(task + 1) * ROWS; i++) {
        const float *row = job->gram + (size_t)h->order[i] * k;
        float *out = h->factor + i * k;
        for (size_t j = 0; j <= i; j++)
            out[j] = row[h->order[j]];
        out[i] += h->ridge;
    }
}

static void identity(vlmp_hessian *h)
{
    size_t k = (size_t)h->k;
    memset(h->factor, 0, k * k * sizeof *h->factor);
    for (size_t i = 0; i < k; i++)
        h->pivot[i] = 1.0f;
}

/* false: no damping factored. */
static bool factor_with_ladder(vlmp_hessian *h, vlmp_ctx *ctx, const float *gram, double mean,
                               double damping, float *scratch)
{
    for (double d = damping;; d = d * 2.0 > DAMPING_MAX ? DAMPING_MAX : d * 2.0) {
        bool ok;
        h->attempts++;
        h->damping = d;
        h->ridge = (float)(d * mean);
        vlmp_parallel_for(ctx->pool, task_count(h->k), gather_rows, &(struct gather){h, gram});
        /* a Schur complement of H + ridge·I is at least ridge; half of it leaves room for rounding
         */
        vlmp_ldl(ctx, h->factor, h->k, h->pivot, 0.5f * h->ridge, scratch, &ok);
        if (ok) return true;
        if (d >= DAMPING_MAX) return false;
    }
}

int vlmp_hessian_create(vlmp_hessian *h, vlmp_ctx *ctx, const float *gram, int k, int group,
                        double damping, vlmp_error *err)
{
    *h = (vlmp_hessian){.k = k, .group = group};
    size_t square;
    float *scratch = vlmp_alloc(vlmp_ldl_scratch(k), sizeof *scratch);
    h->order = vlmp_alloc((size_t)k, sizeof *h->order);
    h->pivot = vlmp_alloc((size_t)k, sizeof *h->pivot);
    h->factor =
        vlmp_mul_size((size_t)k, (size_t)k, &square) ? vlmp_alloc(square, sizeof *h->factor) : NULL;
    if (scratch == NULL || h->order == NULL || h->pivot == NULL || h->factor == NULL ||
        order_inputs(h, gram) != 0) {
        free(scratch);
        vlmp_hessian_free(h);
        return vlmp_fail_memory(err, "the factor of a Gram matrix");
    }
    double mean = 0.0;
    for (int i = 0; i < k; i++)
        mean += (double)gram[(size_t)i * (size_t)k + (size_t)i] / k;
    if (mean == 0.0)
        identity(h);
    else
        h->failed = !isfinite(mean) || !factor_with_ladder(h, ctx, gram, mean, damping, scratch);
    if (h->failed) identity(h);
    free(scratch);
    return VLMP_OK;
}

void vlmp_hessian_free(vlmp_hessian *h)
{
    free(h->order);
    free(h->factor);
    free(h->pivot);
    *h = (vlmp_hessian){0};
}

static const char what[] = "the corrected target of a linear";

/* A correction on its way: rows of it are tasks. */
struct correction {
    const vlmp_hessian *h;
    const float *cross;
    float *solved; /* [n][k] by position */
    float *x;      /* [n][k] */
    float *w;      /* [n][k] */
    int n;
    float step;
};

typedef void correct_row_fn(struct correction *job, size_t row);

/* Rows of a task, for each of the functions below. */
static void each_row(struct correction *job, int task, correct_row_fn *fn)
{
    for (int row = task * ROWS; row < job->n && row < (task + 1) * ROWS; row++)
        fn(job, (size_t)row);
}

static void to_positions(struct correction *job, size_t row)
{
    size_t k = (size_t)job->h->k;
    for (size_t i = 0; i < k; i++)
        job->solved[row * k + i] = job->cross[row * k + (size_t)job->h->order[i]];
}

static void from_positions(struct correction *job, size_t row)
{
    size_t k = (size_t)job->h->k;
    for (size_t i = 0; i < k; i++)
        job->x[row * k + (size_t)job->h->order[i]] = job->solved[row * k + i];
}

static void add_step(struct correction *job, size_t row)
{
    size_t k = (size_t)job->h->k;
    for (size_t i = row * k; i < (row + 1) * k; i++)
        job->w[i] += job->step * job->x[i];
}

static void to_positions_task(void *arg, int task, int thread)
{
    (void)thread;
    each_row(arg, task, to_positions);
}

static void from_positions_task(void *arg, int task, int thread)
{
    (void)thread;
    each_row(arg, task, from_positions);
}

static void add_step_task(void *arg, int task, int thread)
{
    (void)thread;
    each_row(arg, task, add_step);
}

/* The step along x that lowers Σ |y − (W + step·x)·input|² most on the held-back tokens: the
 * minimum of step²·tr(x·gram·xᵀ) − 2·step·Σ cross∘x. */
static int best_step(vlmp_ctx *ctx, const struct correction *job, const vlmp_held_back *held,
                     double most, double *step, vlmp_error *err)
{
    size_t k = (size_t)job->h->k;
    double square, linear = 0.0;
    float *x = vlmp_alloc(VLMP_HELD_ROWS, k * sizeof *x);
    if (x == NULL) return vlmp_fail_memory(err, what);
    int rows = vlmp_sample_rows(x, VLMP_HELD_ROWS, job->x, job->n, job->h->k);
    for (size_t i = 0; i < (size_t)rows * k; i++)
        linear += (double)held->cross[i] * (double)x[i];
    int status = vlmp_weighted_error(ctx, x, rows, job->h->k, held->gram, NULL, &square, err);
    free(x);
    if (status != VLMP_OK) return status;
    *step = square > 0.0 ? fmin(fmax(linear / square, 0.0), most) : 0.0;
    return VLMP_OK;
}

int vlmp_hessian_correct(const vlmp_hessian *h, vlmp_ctx *ctx, const float *cross,
                         const vlmp_held_back *held, double alpha, float *w, int n, double *used,
                         vlmp_error *err)
{
    *used = 0.0;
    if (h->failed || h->ridge == 0.0f || alpha == 0.0) return VLMP_OK;
    int tasks = task_count(n), status = VLMP_OK;
    struct correction job = {.h = h, .cross = cross, .w = w, .n = n};
    job.x = vlmp_alloc((size_t)n, (size_t)h->k * sizeof *job.x);
    job.solved = vlmp_alloc((size_t)n, (size_t)h->k * sizeof *job.solved);
    if (job.x == NULL || job.solved == NULL) {
        status = vlmp_fail_memory(err, what);
    } else {
        vlmp_parallel_for(ctx->pool, tasks, to_positions_task, &job);
        vlmp_ldl_solve(ctx, h->factor, h->pivot, h->k, job.solved, n);
        vlmp_parallel_for(ctx->pool, tasks, from_positions_task, &job);
        *used = alpha;
        if (held != NULL) status = best_step(ctx, &job, held, alpha, used, err);
    }
    if (status == VLMP_OK) {
        job.step = (float)*used;
        vlmp_parallel_for(ctx->pool, tasks, add_step_task, &job);
    }
    free(job.x);
    free(job.solved);
    return status;
}
