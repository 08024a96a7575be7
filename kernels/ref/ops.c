#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "src/base/memory.h"

static void destroy(vlmp_ctx *ctx)
{
    free(ctx);
}

static int reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    (void)ctx, (void)rows, (void)k, (void)err;
    return VLMP_OK;
}

static const char *describe(const vlmp_ctx *ctx)
{
    return ctx->ops->name;
}

const vlmp_ops vlmp_ops_ref = {
    .name = "ref",
    .act_bytes = sizeof(float),
    .destroy = destroy,
    .reserve = reserve,
    .describe = describe,
    VLMP_HOST_OPS,
    .embed = vlmp_ref_embed,
    .linear = vlmp_ref_linear,
    .linear_shared = vlmp_ref_linear_shared,
    .linear_f32 = vlmp_ref_linear_f32,
    .rms_norm = vlmp_ref_rms_norm,
    .layer_norm = vlmp_ref_layer_norm,
    .layer_norm_f32 = vlmp_ref_layer_norm_f32,
    .activate = vlmp_ref_activate,
    .gated = vlmp_ref_gated,
    .subtract = vlmp_ref_subtract,
    .rope = vlmp_ref_rope,
    .kv_create = vlmp_host_kv_create,
    .kv_free = vlmp_host_kv_free,
    .kv_bytes = vlmp_host_kv_bytes,
    .kv_write = vlmp_host_kv_write,
    .attention = vlmp_ref_attention,
    .first_not_finite = vlmp_ref_first_not_finite,
    .first_not_finite_f32 = vlmp_ref_first_not_finite_f32,
    .column_sizes = vlmp_ref_column_sizes,
    .column_sizes_f32 = vlmp_ref_column_sizes_f32,
    .measure = vlmp_ref_measure,
    .argmax = vlmp_ref_argmax,
    .gram = vlmp_ref_gram,
    .cross = vlmp_ref_cross,
    .gemm = vlmp_ref_gemm,
    .quant = &vlmp_quant_ops_ref,
};

int vlmp_ref_ctx_create(vlmp_ctx **ctx, vlmp_pool *pool, vlmp_error *err)
{
    *ctx = vlmp_calloc(1, sizeof **ctx);
    if (*ctx == NULL) return vlmp_fail_memory(err, "kernel context");
    (*ctx)->ops = &vlmp_ops_ref;
    (*ctx)->pool = pool;
    return VLMP_OK;
}
