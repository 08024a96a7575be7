#include "src/quant/method/lend.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

static const char coded_memory[] = "the codes of a linear";

int vlmp_lend(vlmp_ctx *ctx, void *at, const void *host, size_t bytes, const char *what,
              vlmp_error *err)
{
    const void *found = host;
    if (!ctx->ops->host) {
        void *copy;
        VLMP_TRY(vlmp_ctx_alloc(ctx, &copy, bytes, 1, what, err));
        vlmp_ctx_write(ctx, copy, host, bytes);
        found = copy;
    }
    memcpy(at, &found, sizeof found);
    return VLMP_OK;
}

void vlmp_lend_end(vlmp_ctx *ctx, const void *at, const void *host)
{
    if (at != host) vlmp_ctx_free_memory(ctx, (void *)(uintptr_t)at);
}

int vlmp_fetch(vlmp_ctx *ctx, void *host, const void *at, size_t bytes, const char *what,
               vlmp_error *err)
{
    const void *found = at;
    int status = VLMP_OK;
    if (!ctx->ops->host) {
        void *copy = vlmp_alloc(bytes, 1);
        if (copy == NULL) return vlmp_fail_memory(err, what);
        status = vlmp_ctx_read(ctx, copy, at, bytes, err);
        if (status != VLMP_OK) free(copy);
        found = copy;
    }
    if (status == VLMP_OK) memcpy(host, &found, sizeof found);
    return status;
}

void vlmp_fetch_end(vlmp_ctx *ctx, const void *host, const void *at)
{
    (void)ctx;
    if (host != at) free((void *)(uintptr_t)host);
}

/* Bytes of q's codes, and of its zeros. */
static size_t code_bytes(const vlmp_quantized *q)
{
    return (size_t)q->n * (size_t)q->k;
}

static size_t zero_bytes(const vlmp_quantized *q)
{
    return (size_t)q->n * (size_t)q->groups;
}

int vlmp_lend_coded(vlmp_ctx *ctx, vlmp_coded *coded, const vlmp_quantized *q, vlmp_error *err)
{
    *coded = (vlmp_coded){.n = q->n, .k = q->k, .group = q->group};
    int status = vlmp_lend(ctx, &coded->codes, q->codes, code_bytes(q), coded_memory, err);
    if (status == VLMP_OK)
        status = vlmp_lend(ctx, &coded->scales, q->scales, zero_bytes(q) * sizeof *q->scales,
                           coded_memory, err);
    if (status == VLMP_OK)
        status = vlmp_lend(ctx, &coded->zeros, q->zeros, zero_bytes(q), coded_memory, err);
    if (status != VLMP_OK)
        vlmp_lend_coded_end(ctx, coded, (vlmp_quantized *)(uintptr_t)q, status, err);
    return status;
}

int vlmp_lend_coded_end(vlmp_ctx *ctx, vlmp_coded *coded, vlmp_quantized *q, int status,
                        vlmp_error *err)
{
    const struct {
        void *host;
        const void *at;
        size_t bytes;
    } parts[] = {{q->codes, coded->codes, code_bytes(q)},
                 {q->scales, coded->scales, zero_bytes(q) * sizeof *q->scales},
                 {q->zeros, coded->zeros, zero_bytes(q)}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (status == VLMP_OK && parts[i].at != parts[i].host)
            status = vlmp_ctx_read(ctx, parts[i].host, parts[i].at, parts[i].bytes, err);
        vlmp_lend_end(ctx, parts[i].at, parts[i].host);
    }
    *coded = (vlmp_coded){0};
    return status;
}

int vlmp_weighted_error(vlmp_ctx *ctx, const float *e, int n, int k, const float *gram,
                        const float *cross, double *out, vlmp_error *err)
{
    static const char what[] = "the weighted error of a linear";
    void *room = NULL;
    double *sum = NULL;
    int status = vlmp_ctx_alloc(ctx, &room, vlmp_sum_room(n), 1, what, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &sum, 1, sizeof *sum, what, err);
    if (status == VLMP_OK) {
        ctx->ops->quant->weighted_error(ctx, sum, e, n, k, gram, cross, room);
        status = vlmp_ctx_read(ctx, out, sum, sizeof *out, err);
    }
    vlmp_ctx_free_memory(ctx, room);
    vlmp_ctx_free_memory(ctx, sum);
    return status;
}

int vlmp_read_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k, vlmp_error *err)
{
    float *diagonal;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &diagonal, (size_t)k, sizeof *diagonal, "a diagonal", err));
    ctx->ops->quant->diagonal(ctx, diagonal, a, k);
    int status = vlmp_ctx_read(ctx, out, diagonal, (size_t)k * sizeof *out, err);
    vlmp_ctx_free_memory(ctx, diagonal);
    return status;
}
