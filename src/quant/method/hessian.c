#include "src/quant/method/hessian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/method/linalg.h"

#define DAMPING_MAX 1.0

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

static void gather(const vlmp_hessian *h, const float *gram, float ridge)
{
    size_t k = (size_t)h->k;
    for (size_t i = 0; i < k; i++) {
        const float *row = gram + (size_t)h->order[i] * k;
        float *out = h->factor + i * k;
        for (size_t j = 0; j <= i; j++)
            out[j] = row[h->order[j]];
        out[i] += ridge;
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
        gather(h, gram, h->ridge);
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

/* The step along x that lowers Σ |y − (W + step·x)·input|² most on the held-back tokens: the
 * minimum of step²·tr(x·gram·xᵀ) − 2·step·Σ cross∘x. */
static int best_step(vlmp_ctx *ctx, const float *x, int n, int k, const vlmp_held_back *held,
                     double most, double *step, vlmp_error *err)
{
    double square, linear = 0.0;
    VLMP_TRY(vlmp_weighted_error(ctx, x, n, k, held->gram, NULL, &square, err));
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        linear += (double)held->cross[i] * (double)x[i];
    *step = square > 0.0 ? fmin(fmax(linear / square, 0.0), most) : 0.0;
    return VLMP_OK;
}

/* Rows between inputs in order and by position. */
static void permute_rows(const vlmp_hessian *h, const float *in, float *out, int n,
                         bool by_position)
{
    size_t k = (size_t)h->k;
    for (size_t r = 0; r < (size_t)n; r++)
        for (size_t i = 0; i < k; i++) {
            size_t at = r * k + (size_t)h->order[i];
            if (by_position)
                out[r * k + i] = in[at];
            else
                out[at] = in[r * k + i];
        }
}

int vlmp_hessian_correct(const vlmp_hessian *h, vlmp_ctx *ctx, const float *cross,
                         const vlmp_held_back *held, double alpha, float *w, int n, double *used,
                         vlmp_error *err)
{
    *used = 0.0;
    if (h->failed || h->ridge == 0.0f || alpha == 0.0) return VLMP_OK;
    size_t count = (size_t)n * (size_t)h->k;
    float *x = vlmp_alloc((size_t)n, (size_t)h->k * sizeof *x);
    float *solved = vlmp_alloc((size_t)n, (size_t)h->k * sizeof *solved);
    int status = VLMP_OK;
    if (x == NULL || solved == NULL) {
        status = vlmp_fail_memory(err, "the corrected target of a linear");
    } else {
        permute_rows(h, cross, solved, n, true);
        vlmp_ldl_solve(ctx, h->factor, h->pivot, h->k, solved, n);
        permute_rows(h, solved, x, n, false);
        *used = alpha;
        if (held != NULL) status = best_step(ctx, x, n, h->k, held, alpha, used, err);
    }
    for (size_t i = 0; status == VLMP_OK && i < count; i++)
        w[i] += (float)*used * x[i];
    free(x);
    free(solved);
    return status;
}
