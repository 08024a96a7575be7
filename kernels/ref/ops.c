#include "kernels/ref/ref.h"

const vlmp_ops vlmp_ops_ref = {
    .name = "ref",
    .linear = vlmp_ref_linear,
    .linear_shared = NULL,
    .rms_norm = vlmp_ref_rms_norm,
    .layer_norm = vlmp_ref_layer_norm,
    .activate = vlmp_ref_activate,
    .gated = vlmp_ref_gated,
    .add = vlmp_ref_add,
    .rope = vlmp_ref_rope,
    .kv_write = vlmp_ref_kv_write,
    .attention = vlmp_ref_attention,
    .embed = vlmp_ref_embed,
    .gram = vlmp_ref_gram,
    .gemm = vlmp_ref_gemm,
    .quant = &vlmp_quant_ops_ref,
};
