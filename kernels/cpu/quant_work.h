/* What the quantizers' drivers share: tasks of VLMP_LANES rows, matrices in and out of tiles.
 * Private to kernels/cpu. */
#pragma once

#include "kernels/cpu/quant_tile.h"

enum { VLMP_TILE = VLMP_BLOCK * VLMP_LANES };

/* What every operation's tasks see. */
typedef struct {
    const vlmp_coded *q;
    const vlmp_grid *grid;
    const void *job;
    const vlmp_tile_kernels *tiles; /* of the context's level */
    float sums[VLMP_BLOCK];         /* descend: column sums of each group's square of gram */
} vlmp_quant_work;

/* Rows of a task: row0 … row0 + rows − 1. */
typedef struct {
    int row0, rows;
} vlmp_tile_rows;

vlmp_tile_rows vlmp_tile_rows_of(int n, int task);

/* fn(work, task, thread) for each VLMP_LANES of n rows. */
void vlmp_quant_run(vlmp_ctx *ctx, int n, vlmp_task_fn *fn, vlmp_quant_work *work);

/* tile [cols][LANES] = m[row0 + lane][columns first …]; missing rows are 0. order maps position to
 * column; NULL: the same. */
void vlmp_tile_load(float *tile, const float *m, int ld, vlmp_tile_rows s, int first, int cols,
                    const int *order);
void vlmp_tile_store(const float *tile, float *m, int ld, vlmp_tile_rows s, int first, int cols);

/* Codes of columns first …, or of those that order names. */
void vlmp_tile_store_codes(const uint8_t *tile, const vlmp_coded *q, vlmp_tile_rows s, int first,
                           int cols, const int *order);

/* Scales and zeros of group g; missing rows: 1 and the middle. */
void vlmp_tile_load_scales(const vlmp_quant_work *w, vlmp_tile_rows s, int g, float *scale,
                           float *zero);
void vlmp_tile_store_scales(const vlmp_quant_work *w, vlmp_tile_rows s, int g, const float *scale,
                            const float *zero);

void vlmp_cpu_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                          const float *target, const float *factor, float *error);
void vlmp_cpu_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           float *levels);
void vlmp_cpu_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const vlmp_search_job *job);
void vlmp_cpu_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                          const float *factor);
void vlmp_cpu_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                              const vlmp_propagate_job *job);
void vlmp_cpu_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_descend_job *job);
void vlmp_cpu_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                 const vlmp_channel_sums_job *job);
void vlmp_cpu_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                 const float *levels, const double *linear, const double *square,
                                 float *error, double *gain);

void vlmp_cpu_quant_mirror(vlmp_ctx *ctx, float *a, int k);
void vlmp_cpu_quant_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide);
void vlmp_cpu_quant_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                            float ridge);
void vlmp_cpu_quant_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                           int32_t *failed);
void vlmp_cpu_quant_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x,
                          int n);
void vlmp_cpu_quant_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k,
                            const int *order, bool back);
void vlmp_cpu_quant_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count);
void vlmp_cpu_quant_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                                   const float *gram, const float *cross, void *room);
