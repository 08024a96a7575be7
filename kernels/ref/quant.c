/* Quantizers' operations on groups, row by row; sums in double, choices in the arithmetic of
 * kernels/quant.h. */
#include "kernels/quant.h"

#include <math.h>

#include "kernels/ref/quant.h"

static float clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

size_t vlmp_ref_group_of(const vlmp_coded *q, int row, int column)
{
    return (size_t)row * (size_t)(q->k / q->group) + (size_t)(column / q->group);
}

/* The level nearest to x. */
static float level_of(const vlmp_grid *grid, float x, float scale, float zero)
{
    if (grid->floats.mantissa != 0) return vlmp_minifloat_round(&grid->floats, x * (1.0f / scale));
    return vlmp_round_even(clamp(x * (1.0f / scale), grid->low - zero, grid->high - zero));
}

void vlmp_ref_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                          const float *target, const float *factor, float *error)
{
    (void)ctx;
    for (int row = 0; row < q->n; row++)
        for (int c = 0; c < q->k; c++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)c, g = vlmp_ref_group_of(q, row, c);
            float value = vlmp_grid_level(grid, q->codes[at], q->zeros[g]) * q->scales[g];
            error[at] = target[at] - (factor != NULL ? value / factor[c] : value);
        }
}

void vlmp_ref_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *levels)
{
    (void)ctx;
    for (int row = 0; row < q->n; row++)
        for (int c = 0; c < q->k; c++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)c;
            levels[at] =
                vlmp_grid_level(grid, q->codes[at], q->zeros[vlmp_ref_group_of(q, row, c)]);
        }
}

/* The weights of a group, by column or position. */
struct group {
    const vlmp_grid *grid;
    const float *x, *factor, *weight;
    const int *order;
    int first, cols;
    float low, high; /* of x and 0 */
    double loss;     /* of the best so far */
    float scale, zero;
};

static float value_at(const struct group *g, int i)
{
    int c = g->first + i;
    float x = g->x[g->order != NULL ? g->order[c] : c];
    return g->factor != NULL ? x * g->factor[c] : x;
}

static void try_scale(struct group *g, float scale, float zero)
{
    double loss = 0;
    for (int i = 0; i < g->cols; i++) {
        float x = value_at(g, i);
        float e = x - level_of(g->grid, x, scale, zero) * scale;
        loss += (double)g->weight[g->first + i] * ((double)e * (double)e);
    }
    if (!(loss < g->loss)) return;
    g->loss = loss;
    g->scale = scale;
    g->zero = zero;
}

static void try_factor(struct group *g, float factor, int moves)
{
    const vlmp_grid *grid = g->grid;
    float range = grid->symmetric ? 2.0f * fmaxf(-g->low, g->high) : g->high - g->low;
    float scale = vlmp_grid_scale(grid, range / grid->span * factor);
    float shift = 0.5f * grid->span - 0.5f * (g->low + g->high) / scale;
    float centre = vlmp_round_even(clamp(shift, grid->low, grid->high));
    for (int move = -moves; move <= moves; move++)
        try_scale(g, scale,
                  grid->symmetric ? grid->middle
                                  : clamp(centre + (float)move, grid->low, grid->high));
}

static void search_group(struct group *g)
{
    const vlmp_grid *grid = g->grid;
    g->low = g->high = 0;
    for (int i = 0; i < g->cols; i++) {
        g->low = fminf(g->low, value_at(g, i));
        g->high = fmaxf(g->high, value_at(g, i));
    }
    g->loss = INFINITY;
    g->scale = INFINITY;
    g->zero = grid->middle;
    try_factor(g, 1.0f, 0);
    for (int i = 0; i < grid->candidates; i++) {
        float t = grid->candidates > 1 ? (float)i / (float)(grid->candidates - 1) : 0.0f;
        float factor = grid->shrink_from * powf(grid->shrink_to / grid->shrink_from, t);
        try_factor(g, factor, grid->symmetric ? 0 : grid->zero_moves);
    }
    if (g->low == 0 && g->high == 0) {
        g->scale = vlmp_grid_scale(grid, 1.0f);
        g->zero = grid->middle;
    }
}

void vlmp_ref_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const vlmp_search_job *job)
{
    (void)ctx;
    for (int row = 0; row < q->n; row++)
        for (int first = 0; first < q->k; first += q->group) {
            struct group g = {.grid = grid,
                              .x = job->w + (size_t)row * (size_t)q->k,
                              .factor = job->factor,
                              .weight = job->weight,
                              .order = job->order,
                              .first = first,
                              .cols = q->group};
            search_group(&g);
            q->scales[vlmp_ref_group_of(q, row, first)] = g.scale;
            q->zeros[vlmp_ref_group_of(q, row, first)] = (uint8_t)g.zero;
        }
}

void vlmp_ref_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                          const float *factor)
{
    (void)ctx;
    for (int row = 0; row < q->n; row++)
        for (int c = 0; c < q->k; c++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)c, g = vlmp_ref_group_of(q, row, c);
            float x = factor != NULL ? w[at] * factor[c] : w[at], zero = (float)q->zeros[g];
            q->codes[at] = vlmp_grid_code(grid, level_of(grid, x, q->scales[g], zero), zero);
        }
}

/* What positions from … from + group − 1 would be if none of them were rounded. */
static void settle(const vlmp_propagate_job *job, int k, int from, int group, const float *target,
                   const double *live, float *out)
{
    double x[VLMP_BLOCK];
    for (int i = 0; i < group; i++)
        x[i] = live[from + i];
    for (int c = group - 1; c >= 0; c--) {
        const float *factor = job->factor + (size_t)(job->first + from + c) * (size_t)k;
        for (int i = 0; i < c; i++)
            x[i] += (target[from + c] - x[c]) * factor[job->first + from + i];
    }
    for (int i = 0; i < group; i++)
        out[i] = (float)x[i];
}

static void round_column(const vlmp_coded *q, const vlmp_grid *grid, const vlmp_propagate_job *job,
                         int row, int i, const float *target, double *live)
{
    int position = job->first + i, column = job->order[position];
    size_t g = vlmp_ref_group_of(q, row, column);
    float scale = q->scales[g], zero = (float)q->zeros[g];
    float level = level_of(grid, (float)live[i], scale, zero), value = level * scale;
    double miss = live[i] - (double)value;
    const float *factor = job->factor + (size_t)position * (size_t)q->k + job->first;
    q->codes[(size_t)row * (size_t)q->k + (size_t)column] = vlmp_grid_code(grid, level, zero);
    job->loss[row] += (double)job->pivot[position] * miss * miss;
    float error = target[i] - value;
    job->error[(size_t)row * (size_t)q->k + (size_t)position] = error;
    for (int j = 0; j < i; j++)
        live[j] += (double)error * (double)factor[j];
}

void vlmp_ref_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                              const vlmp_propagate_job *job)
{
    (void)ctx;
    int group = q->group < job->cols ? q->group : job->cols;
    for (int row = 0; row < q->n; row++) {
        float target[VLMP_BLOCK], settled[VLMP_BLOCK];
        double live[VLMP_BLOCK];
        for (int i = 0; i < job->cols; i++) {
            target[i] =
                job->target[(size_t)row * (size_t)q->k + (size_t)job->order[job->first + i]];
            live[i] = (double)target[i] + job->passed[(size_t)row * VLMP_BLOCK + (size_t)i];
        }
        for (int from = job->cols - group; from >= 0; from -= group) {
            if (!job->searched) {
                settle(job, q->k, from, group, target, live, settled);
                struct group g = {.grid = grid,
                                  .x = settled,
                                  .weight = job->pivot + job->first + from,
                                  .cols = group};
                search_group(&g);
                size_t at = vlmp_ref_group_of(q, row, job->order[job->first + from]);
                q->scales[at] = g.scale;
                q->zeros[at] = (uint8_t)g.zero;
            }
            for (int i = from + group - 1; i >= from; i--)
                round_column(q, grid, job, row, i, target, live);
        }
    }
}

const vlmp_quant_ops vlmp_quant_ops_ref = {
    .error = vlmp_ref_quant_error,
    .levels = vlmp_ref_quant_levels,
    .search = vlmp_ref_quant_search,
    .round = vlmp_ref_quant_round,
    .propagate = vlmp_ref_quant_propagate,
    .descend = vlmp_ref_quant_descend,
    .channel_sums = vlmp_ref_quant_channel_sums,
    .channel_move = vlmp_ref_quant_channel_move,
    .mirror = vlmp_ref_quant_mirror,
    .scale_both = vlmp_ref_quant_scale_both,
    .diagonal = vlmp_ref_quant_diagonal,
    .arrange = vlmp_ref_quant_arrange,
    .factor = vlmp_ref_quant_factor,
    .solve = vlmp_ref_quant_solve,
    .permute = vlmp_ref_quant_permute,
    .sample_rows = vlmp_ref_quant_sample_rows,
    .add_multiple = vlmp_ref_quant_add_multiple,
    .dot = vlmp_ref_quant_dot,
    .weighted_error = vlmp_ref_quant_weighted_error,
};
