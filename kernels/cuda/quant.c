/* The table of kernels/quant.h. */
#include "kernels/quant.h"
#include "kernels/cuda/cuda.h"

const vlmp_quant_ops vlmp_cuda_quant_ops = {
    .error = vlmp_cuda_quant_error,
    .levels = vlmp_cuda_quant_levels,
    .search = vlmp_cuda_quant_search,
    .round = vlmp_cuda_quant_round,
    .propagate = vlmp_cuda_quant_propagate,
    .descend = vlmp_cuda_quant_descend,
    .channel_sums = vlmp_cuda_quant_channel_sums,
    .channel_move = vlmp_cuda_quant_channel_move,
    .mirror = vlmp_cuda_mirror,
    .scale_both = vlmp_cuda_scale_both,
    .diagonal = vlmp_cuda_diagonal,
    .arrange = vlmp_cuda_arrange,
    .factor = vlmp_cuda_factor,
    .solve = vlmp_cuda_solve,
    .permute = vlmp_cuda_permute,
    .sample_rows = vlmp_cuda_sample_rows,
    .add_multiple = vlmp_cuda_add_multiple,
    .dot = vlmp_cuda_dot,
    .weighted_error = vlmp_cuda_weighted_error,
};
