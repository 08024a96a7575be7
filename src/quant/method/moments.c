#include "src/quant/method/moments.h"

#include <stdlib.h>

#include "src/base/memory.h"

static const char what[] = "second moments of a site's inputs";

enum { GRAM, HELD, CROSS, HELD_CROSS, SHIFT, HELD_SHIFT, MATRICES };

static void list(vlmp_moments *m, float **out[MATRICES])
{
    out[GRAM] = &m->gram, out[HELD] = &m->held;
    out[CROSS] = &m->cross, out[HELD_CROSS] = &m->held_cross;
    out[SHIFT] = &m->shift, out[HELD_SHIFT] = &m->held_shift;
}

int vlmp_moments_create(vlmp_moments *moments, vlmp_ctx *ctx, int k, bool held, bool original,
                        vlmp_error *err)
{
    *moments = (vlmp_moments){.ctx = ctx, .k = k};
    for (int i = 0; i < MATRICES; i++) {
        if ((i % 2 == 1 && !held) || (i >= CROSS && !original)) continue;
        VLMP_TRY(vlmp_ctx_alloc(ctx, &moments->sums[i], (size_t)k, (size_t)k * sizeof(float), what,
                                err));
    }
    return VLMP_OK;
}

void vlmp_moments_free(vlmp_moments *moments)
{
    float **all[MATRICES];
    list(moments, all);
    for (int i = 0; i < MATRICES && moments->ctx != NULL; i++) {
        if (*all[i] != moments->sums[i].at) free(*all[i]);
        vlmp_ctx_free_memory(moments->ctx, moments->sums[i].at);
    }
    *moments = (vlmp_moments){0};
}

void vlmp_moments_add(vlmp_moments *moments, bool seen, vlmp_act x, int rows)
{
    vlmp_ctx *ctx = moments->ctx;
    ctx->ops->gram(ctx, moments->sums[seen ? GRAM : HELD], x, rows, moments->k);
}

void vlmp_moments_add_difference(vlmp_moments *moments, bool seen, vlmp_act difference, vlmp_act x,
                                 int rows)
{
    vlmp_ctx *ctx = moments->ctx;
    ctx->ops->cross(ctx, moments->sums[seen ? CROSS : HELD_CROSS], difference, x, rows, moments->k);
    ctx->ops->gram(ctx, moments->sums[seen ? SHIFT : HELD_SHIFT], difference, rows, moments->k);
}

int vlmp_moments_finish(vlmp_moments *moments, vlmp_error *err)
{
    vlmp_ctx *ctx = moments->ctx;
    float **all[MATRICES];
    size_t row = (size_t)moments->k * sizeof(float);
    list(moments, all);
    for (int i = 0; i < MATRICES; i++) {
        if (moments->sums[i].at == NULL) continue;
        *all[i] = ctx->ops->map(ctx, moments->sums[i].at);
        if (*all[i] != NULL) continue;
        *all[i] = vlmp_alloc((size_t)moments->k, row);
        if (*all[i] == NULL) return vlmp_fail_memory(err, what);
        VLMP_TRY(vlmp_ctx_read(ctx, *all[i], moments->sums[i].at, (size_t)moments->k * row, err));
        vlmp_ctx_free_memory(ctx, moments->sums[i].at);
        moments->sums[i].at = NULL;
    }
    return VLMP_OK;
}

void vlmp_moments_unscale(vlmp_moments *moments, const float *scales)
{
    float **all[MATRICES];
    size_t k = (size_t)moments->k;
    list(moments, all);
    for (int i = 0; i < MATRICES; i++)
        for (size_t at = 0; *all[i] != NULL && at < k * k; at++)
            (*all[i])[at] *= scales[at / k] * scales[at % k];
}
