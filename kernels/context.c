#include <string.h>

#include "kernels/ops.h"
#include "src/base/memory.h"

void vlmp_ctx_free(vlmp_ctx *ctx)
{
    if (ctx != NULL) ctx->ops->destroy(ctx);
}

int vlmp_ctx_reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    return ctx->ops->reserve(ctx, rows, k, err);
}

const char *vlmp_ctx_describe(const vlmp_ctx *ctx)
{
    return ctx->ops->describe(ctx);
}

int vlmp_ctx_alloc(vlmp_ctx *ctx, void *out, size_t count, size_t size, const char *what,
                   vlmp_error *err)
{
    size_t bytes;
    void *at = NULL;
    int status = vlmp_mul_size(count, size, &bytes) ? ctx->ops->alloc(ctx, &at, bytes, what, err)
                                                    : vlmp_fail_memory(err, what);
    memcpy(out, &at, sizeof at);
    return status;
}

void vlmp_ctx_free_memory(vlmp_ctx *ctx, void *at)
{
    if (at != NULL) ctx->ops->free(ctx, at);
}

size_t vlmp_ctx_peak(const vlmp_ctx *ctx)
{
    return ctx->peak;
}

void vlmp_ctx_peak_reset(vlmp_ctx *ctx)
{
    ctx->peak = ctx->held;
}

void vlmp_ctx_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes)
{
    ctx->ops->write(ctx, to, from, bytes);
}

int vlmp_ctx_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err)
{
    return ctx->ops->read(ctx, to, from, bytes, err);
}

int vlmp_ctx_sync(vlmp_ctx *ctx, vlmp_error *err)
{
    return ctx->ops->sync(ctx, err);
}
