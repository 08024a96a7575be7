#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/cpu/cpu.h"
#include "kernels/ops.h"
#include "kernels/ref/ref.h"
#include "src/base/memory.h"

/* The context first, so that a vlmp_ctx pointer is one of these. */
struct context {
    vlmp_ctx ctx;
    vlmp_blas *blas;
    char describe[160];
};

static int open_cpu(struct context *context, const char *level, vlmp_error *err)
{
    const vlmp_cpu_kernels *kernels = vlmp_cpu_find_kernels(level);
    if (kernels == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "this processor has no kernels of level '%s'; the best it has is '%s'",
                         level, vlmp_cpu_find_kernels(NULL)->name);
    VLMP_TRY(vlmp_blas_open(&context->blas, vlmp_pool_threads(context->ctx.pool), err));
    context->ctx.blas = context->blas;
    context->ctx.kernels = kernels;
    context->ctx.ops = &vlmp_ops_cpu;
    snprintf(context->describe, sizeof context->describe, "%s, %s", kernels->name,
             vlmp_blas_describe(context->blas));
    return VLMP_OK;
}

int vlmp_ctx_create(vlmp_ctx **out, vlmp_backend backend, const char *level, vlmp_pool *pool,
                    vlmp_error *err)
{
    *out = NULL;
    struct context *context = vlmp_calloc(1, sizeof *context);
    if (context == NULL) return vlmp_fail_memory(err, "kernel context");
    vlmp_ctx *ctx = &context->ctx;
    ctx->pool = pool;
    int status = VLMP_OK;
    if (backend == VLMP_BACKEND_REF) {
        ctx->ops = &vlmp_ops_ref;
        snprintf(context->describe, sizeof context->describe, "%s", ctx->ops->name);
    } else {
        status = open_cpu(context, level, err);
    }
    if (status == VLMP_OK) {
        ctx->thread_scratch = vlmp_alloc((size_t)vlmp_pool_threads(pool), VLMP_THREAD_SCRATCH);
        if (ctx->thread_scratch == NULL) status = vlmp_fail_memory(err, "kernel scratch");
    }
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, 1, 1, err);
    if (status != VLMP_OK) {
        vlmp_ctx_free(ctx);
        return status;
    }
    *out = ctx;
    return VLMP_OK;
}

void vlmp_ctx_free(vlmp_ctx *ctx)
{
    if (ctx == NULL) return;
    struct context *context = (struct context *)ctx;
    vlmp_blas_close(context->blas);
    free(ctx->scratch);
    free(ctx->thread_scratch);
    free(context);
}

int vlmp_ctx_reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    size_t bytes = vlmp_cpu_scratch_bytes(rows, k);
    if (bytes <= ctx->scratch_bytes) return VLMP_OK;
    unsigned char *scratch = vlmp_alloc(bytes, 1);
    if (scratch == NULL) return vlmp_fail_memory(err, "kernel scratch");
    free(ctx->scratch);
    ctx->scratch = scratch;
    ctx->scratch_bytes = bytes;
    return VLMP_OK;
}

const char *vlmp_ctx_describe(const vlmp_ctx *ctx)
{
    return ((const struct context *)ctx)->describe;
}
