#include <string.h>

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
};

const vlmp_cpu_kernels *vlmp_cpu_find_kernels(const char *level)
{
    if (level == NULL || strcmp(level, vlmp_cpu_portable.name) == 0) return &vlmp_cpu_portable;
    return NULL;
}
