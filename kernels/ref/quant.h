/* The reference of kernels/quant.h. */
#pragma once

#include "kernels/quant.h"

/* Index of a column's scale and zero. */
size_t vlmp_ref_group_of(const vlmp_coded *q, int row, int column);

void vlmp_ref_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                          const float *target, const float *factor, float *error);
void vlmp_ref_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           float *levels);
void vlmp_ref_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const vlmp_search_job *job);
void vlmp_ref_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                          const float *factor);
void vlmp_ref_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                              const vlmp_propagate_job *job);
void vlmp_ref_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_descend_job *job);
void vlmp_ref_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                 const vlmp_channel_sums_job *job);
void vlmp_ref_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                 const float *levels, const double *linear, const double *square,
                                 float *error, double *gain);
