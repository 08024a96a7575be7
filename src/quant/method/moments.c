#include "src/quant/method/moments.h"

#include <stdlib.h>

#include "src/base/memory.h"

enum { MATRICES = 6 };

static void list(vlmp_moments *m, float **out[MATRICES])
{
    float **const all[MATRICES] = {&m->gram,       &m->held,  &m->cross,
                                   &m->held_cross, &m->shift, &m->held_shift};
    for (int i = 0; i < MATRICES; i++)
        out[i] = all[i];
}

int vlmp_moments_create(vlmp_moments *moments, int k, bool held, bool original, vlmp_error *err)
{
    float **all[MATRICES];
    size_t square;
    *moments = (vlmp_moments){.k = k};
    list(moments, all);
    bool ok = vlmp_mul_size((size_t)k, (size_t)k, &square);
    for (int i = 0; i < MATRICES && ok; i++) {
        if ((i % 2 == 1 && !held) || (i >= 2 && !original)) continue;
        *all[i] = vlmp_calloc(square, sizeof(float));
        ok = *all[i] != NULL;
    }
    if (ok) return VLMP_OK;
    vlmp_moments_free(moments);
    return vlmp_fail_memory(err, "second moments of a site's inputs");
}

void vlmp_moments_free(vlmp_moments *moments)
{
    float **all[MATRICES];
    list(moments, all);
    for (int i = 0; i < MATRICES; i++)
        free(*all[i]);
    *moments = (vlmp_moments){0};
}

void vlmp_moments_add(vlmp_moments *moments, vlmp_ctx *ctx, bool seen, const float *x, int rows)
{
    ctx->ops->gram(ctx, seen ? moments->gram : moments->held, x, rows, moments->k);
}

void vlmp_moments_add_difference(vlmp_moments *moments, vlmp_ctx *ctx, bool seen,
                                 const float *difference, const float *x, int rows)
{
    int k = moments->k;
    ctx->ops->gemm(ctx, true, false, k, k, rows, 1.0f, difference, k, x, k, 1.0f,
                   seen ? moments->cross : moments->held_cross, k);
    ctx->ops->gram(ctx, seen ? moments->shift : moments->held_shift, difference, rows, k);
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
