#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(VLMP_X86_LEVELS)
#    include <cpuid.h>
#endif

#include "kernels/blas.h"
#include "kernels/cpu/bf16.h"
#include "kernels/ref/ref.h"
#include "src/base/memory.h"

#if defined(VLMP_X86_LEVELS)
extern const vlmp_cpu_kernels vlmp_cpu_avx2;
extern const vlmp_cpu_kernels vlmp_cpu_avx512;
extern const vlmp_cpu_kernels vlmp_cpu_avx512vnni;
extern const vlmp_bf16_kernels vlmp_bf16_avx512bf16;

static bool has_avx2(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_avx512bf16(void)
{
    return has_avx512vnni() && __builtin_cpu_supports("avx512bf16");
}
#endif

#if defined(VLMP_EMULATED)
extern const vlmp_cpu_kernels vlmp_cpu_emulated512;
extern const vlmp_bf16_kernels vlmp_bf16_emulated512;
#endif

static bool has_portable(void)
{
    return true;
}

/* The best first. Those that round to BF16 are for who asks. */
static const vlmp_cpu_level levels[] = {
#if defined(VLMP_X86_LEVELS)
    {"avx512bf16", &vlmp_cpu_avx512vnni, &vlmp_bf16_avx512bf16, has_avx512bf16},
    {"avx512vnni", &vlmp_cpu_avx512vnni, NULL, has_avx512vnni},
    {"avx512", &vlmp_cpu_avx512, NULL, has_avx512},
    {"avx2", &vlmp_cpu_avx2, NULL, has_avx2},
#endif
#if defined(VLMP_EMULATED)
    {"emulated512bf16", &vlmp_cpu_emulated512, &vlmp_bf16_emulated512, has_avx2},
    {"emulated512", &vlmp_cpu_emulated512, NULL, has_avx2},
#endif
    {"portable", &vlmp_cpu_portable, NULL, has_portable},
};

const vlmp_cpu_level *vlmp_cpu_find_level(const char *name)
{
#if defined(VLMP_X86_LEVELS)
    __builtin_cpu_init();
#endif
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        bool wanted = name == NULL ? levels[i].bf16 == NULL : strcmp(name, levels[i].name) == 0;
        if (wanted && levels[i].supported()) return &levels[i];
    }
    return NULL;
}

static void destroy(vlmp_ctx *ctx)
{
    vlmp_cpu_ctx *cpu = vlmp_cpu_of(ctx);
    vlmp_blas_close(cpu->blas);
    free(cpu->scratch);
    free(cpu->thread_scratch);
    free(cpu);
}

static int reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    vlmp_cpu_ctx *cpu = vlmp_cpu_of(ctx);
    size_t bytes = vlmp_cpu_scratch_bytes(rows, k);
    if (bytes <= cpu->scratch_bytes) return VLMP_OK;
    unsigned char *scratch = vlmp_alloc(bytes, 1);
    if (scratch == NULL) return vlmp_fail_memory(err, "kernel scratch");
    free(cpu->scratch);
    cpu->scratch = scratch;
    cpu->scratch_bytes = bytes;
    return VLMP_OK;
}

static const char *describe(const vlmp_ctx *ctx)
{
    return ((const vlmp_cpu_ctx *)(const void *)ctx)->describe;
}

/* What is too little work to have a kernel of its own is the reference's. */
const vlmp_ops vlmp_ops_cpu = {
    .name = "cpu",
    .act_bytes = sizeof(float),
    .destroy = destroy,
    .reserve = reserve,
    .describe = describe,
    VLMP_HOST_OPS,
    .embed = vlmp_cpu_embed,
    .linear = vlmp_cpu_linear,
    .linear_shared = vlmp_cpu_linear_shared,
    .linear_f32 = vlmp_cpu_linear_f32,
    .rms_norm = vlmp_cpu_rms_norm,
    .layer_norm = vlmp_cpu_layer_norm,
    .layer_norm_f32 = vlmp_cpu_layer_norm_f32,
    .activate = vlmp_cpu_activate,
    .gated = vlmp_cpu_gated,
    .subtract = vlmp_ref_subtract,
    .rope = vlmp_cpu_rope,
    .kv_create = vlmp_cpu_kv_create,
    .kv_free = vlmp_cpu_kv_free,
    .kv_bytes = vlmp_cpu_kv_bytes,
    .kv_write = vlmp_cpu_kv_write,
    .attention = vlmp_cpu_attention,
    .first_not_finite = vlmp_cpu_first_not_finite,
    .first_not_finite_f32 = vlmp_cpu_first_not_finite_f32,
    .column_sizes = vlmp_ref_column_sizes,
    .column_sizes_f32 = vlmp_ref_column_sizes_f32,
    .measure = vlmp_cpu_measure,
    .argmax = vlmp_ref_argmax,
    .gram = vlmp_cpu_gram,
    .cross = vlmp_cpu_cross,
    .gemm = vlmp_cpu_gemm,
    .quant = &vlmp_quant_ops_cpu,
};

static int open_level(vlmp_cpu_ctx *cpu, const char *level, vlmp_error *err)
{
    int threads = vlmp_pool_threads(cpu->ctx.pool);
    const vlmp_cpu_level *found = vlmp_cpu_find_level(level);
    if (found == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "this processor has no kernels of level '%s'; the best it has is '%s'",
                         level, vlmp_cpu_find_level(NULL)->name);
    cpu->kernels = found->kernels;
    cpu->bf16 = found->bf16;
    VLMP_TRY(vlmp_blas_open(&cpu->blas, threads, err));
    snprintf(cpu->describe, sizeof cpu->describe, "%s, %s", found->name,
             vlmp_blas_describe(cpu->blas));
    cpu->thread_scratch = vlmp_alloc((size_t)threads, VLMP_THREAD_SCRATCH + VLMP_THREAD_TILE);
    if (cpu->thread_scratch == NULL) return vlmp_fail_memory(err, "kernel scratch");
    return reserve(&cpu->ctx, 1, 1, err);
}

int vlmp_cpu_ctx_create(vlmp_ctx **ctx, const char *level, vlmp_pool *pool, vlmp_error *err)
{
    vlmp_cpu_ctx *cpu = vlmp_calloc(1, sizeof *cpu);
    *ctx = NULL;
    if (cpu == NULL) return vlmp_fail_memory(err, "kernel context");
    cpu->ctx.ops = &vlmp_ops_cpu;
    cpu->ctx.pool = pool;
    int status = open_level(cpu, level, err);
    if (status != VLMP_OK) {
        destroy(&cpu->ctx);
        return status;
    }
    *ctx = &cpu->ctx;
    return VLMP_OK;
}
