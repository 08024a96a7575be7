#include <string.h>
#if defined(VLMP_X86_LEVELS)
#    include <cpuid.h>
#endif

#include "kernels/cpu/cpu.h"

const vlmp_ops vlmp_ops_cpu = {
    .name = "cpu",
    .linear = vlmp_cpu_linear,
    .linear_shared = vlmp_cpu_linear_shared,
    .rms_norm = vlmp_cpu_rms_norm,
    .layer_norm = vlmp_cpu_layer_norm,
    .activate = vlmp_cpu_activate,
    .gated = vlmp_cpu_gated,
    .add = vlmp_cpu_add,
    .rope = vlmp_cpu_rope,
    .kv_write = vlmp_cpu_kv_write,
    .attention = vlmp_cpu_attention,
    .embed = vlmp_cpu_embed,
    .gram = vlmp_cpu_gram,
    .gemm = vlmp_cpu_gemm,
    .quant = &vlmp_quant_ops_cpu,
};

#if defined(VLMP_X86_LEVELS)
extern const vlmp_cpu_kernels vlmp_cpu_avx2;
extern const vlmp_cpu_kernels vlmp_cpu_avx512;
extern const vlmp_cpu_kernels vlmp_cpu_avx512vnni;

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
#endif

static bool has_portable(void)
{
    return true;
}

/* The best first. */
static const struct {
    const vlmp_cpu_kernels *kernels;
    bool (*supported)(void);
} levels[] = {
#if defined(VLMP_X86_LEVELS)
    {&vlmp_cpu_avx512vnni, has_avx512vnni},
    {&vlmp_cpu_avx512, has_avx512},
    {&vlmp_cpu_avx2, has_avx2},
#endif
    {&vlmp_cpu_portable, has_portable},
};

const vlmp_cpu_kernels *vlmp_cpu_find_kernels(const char *level)
{
#if defined(VLMP_X86_LEVELS)
    __builtin_cpu_init();
#endif
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if ((level == NULL || strcmp(level, levels[i].kernels->name) == 0) && levels[i].supported())
            return levels[i].kernels;
    return NULL;
}
