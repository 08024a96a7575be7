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

void vlmp_ref_quant_mirror(vlmp_ctx *ctx, float *a, int k);
void vlmp_ref_quant_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide);
void vlmp_ref_quant_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k);
void vlmp_ref_quant_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                            float ridge);
void vlmp_ref_quant_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                           int32_t *failed);
void vlmp_ref_quant_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x,
                          int n);
void vlmp_ref_quant_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k,
                            const int *order, bool back);
void vlmp_ref_quant_sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n,
                                int k);
void vlmp_ref_quant_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count);
void vlmp_ref_quant_dot(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                        void *room);
void vlmp_ref_quant_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                                   const float *gram, const float *cross, void *room);
