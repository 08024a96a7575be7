/* Coordinate descent, a move at a time, with every slope in double. */
#include <math.h>

#include "kernels/ref/quant.h"

/* A row's columns of the block. */
struct row {
    const vlmp_coded *q;
    const vlmp_grid *grid;
    const vlmp_descend_job *job;
    int index;
    double error[VLMP_BLOCK], slope[VLMP_BLOCK], gain;
};

/* gram + ridge·I between two columns of the block. */
static double moment(const struct row *r, int a, int b)
{
    const vlmp_descend_job *job = r->job;
    double value = job->gram[(size_t)(job->first + a) * (size_t)r->q->k + (size_t)(job->first + b)];
    return a == b ? value + (double)job->ridge : value;
}

static void move_error(struct row *r, int column, double by)
{
    r->error[column] += by;
    for (int c = 0; c < r->job->cols; c++)
        r->slope[c] += by * moment(r, column, c);
}

static uint8_t *code_at(const struct row *r, int column)
{
    return r->q->codes + (size_t)r->index * (size_t)r->q->k + r->job->first + column;
}

static double level_at(const struct row *r, int column)
{
    size_t g = vlmp_ref_group_of(r->q, r->index, r->job->first + column);
    return vlmp_grid_level(r->grid, *code_at(r, column), r->q->zeros[g]);
}

/* The level nearest to a wish; of two codes the even one. */
static double nearest(const struct row *r, double wish, double zero)
{
    if (r->grid->floats.mantissa != 0) return vlmp_minifloat_round(&r->grid->floats, (float)wish);
    return rint(fmin(fmax(wish + zero, r->grid->low), r->grid->high)) - zero;
}

/* The change of the error that lowers error·H·errorᵀ most is −slope/curvature. */
static void move_codes(struct row *r, int from, int cols)
{
    size_t g = vlmp_ref_group_of(r->q, r->index, r->job->first + from);
    double scale = r->q->scales[g], zero = r->q->zeros[g];
    for (int c = from; c < from + cols; c++) {
        double curvature = moment(r, c, c), level = level_at(r, c);
        if (!(curvature > 0)) continue;
        double next = nearest(r, level + r->slope[c] / (curvature * scale), zero);
        double by = (level - next) * scale;
        double fall = -by * (2 * r->slope[c] + by * curvature);
        if (!(fall > 0)) continue;
        *code_at(r, c) = vlmp_grid_code(r->grid, (float)next, (float)zero);
        r->gain += fall;
        move_error(r, c, by);
    }
}

static void move_zero(struct row *r, int from, int cols)
{
    size_t g = vlmp_ref_group_of(r->q, r->index, r->job->first + from);
    double scale = r->q->scales[g], zero = r->q->zeros[g], linear = 0, square = 0;
    for (int a = from; a < from + cols; a++) {
        linear += r->slope[a];
        for (int b = from; b < from + cols; b++)
            square += moment(r, a, b);
    }
    if (!(square > 0)) return;
    double next = rint(fmin(fmax(zero - linear / (square * scale), r->grid->low), r->grid->high));
    double by = (next - zero) * scale, fall = -by * (2 * linear + by * square);
    if (!(fall > 0)) return;
    r->q->zeros[g] = (uint8_t)next;
    r->gain += fall;
    for (int c = from; c < from + cols; c++)
        move_error(r, c, by);
}

static void move_scale(struct row *r, int from, int cols)
{
    size_t g = vlmp_ref_group_of(r->q, r->index, r->job->first + from);
    double scale = r->q->scales[g], linear = 0, square = 0;
    for (int a = from; a < from + cols; a++) {
        double level = level_at(r, a);
        linear += level * r->slope[a];
        for (int b = from; b < from + cols; b++)
            square += level * level_at(r, b) * moment(r, a, b);
    }
    if (!(square > 0)) return;
    float next = vlmp_grid_scale(r->grid, (float)(scale + linear / square));
    double change = scale - (double)next, fall = -change * (2 * linear + change * square);
    if (!(fall > 0) || !isfinite(next)) return;
    r->q->scales[g] = next;
    r->gain += fall;
    for (int c = from; c < from + cols; c++)
        move_error(r, c, change * level_at(r, c));
}

static void descend_row(struct row *r)
{
    const vlmp_descend_job *job = r->job;
    int cols = job->cols, group = r->q->group < cols ? r->q->group : cols;
    float *error = job->error + (size_t)r->index * (size_t)r->q->k + job->first;
    float *slope = job->slope + (size_t)r->index * VLMP_BLOCK;
    for (int c = 0; c < cols; c++) {
        r->error[c] = error[c];
        r->slope[c] = slope[c] + (double)job->ridge * error[c];
    }
    for (int from = 0; from < cols; from += group) {
        if (job->codes) move_codes(r, from, group);
        if (job->scales && !r->grid->symmetric) move_zero(r, from, group);
        if (job->scales) move_scale(r, from, group);
    }
    for (int c = 0; c < cols; c++) {
        error[c] = (float)r->error[c];
        slope[c] = (float)r->slope[c];
    }
    job->gain[r->index] += r->gain;
}

void vlmp_ref_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_descend_job *job)
{
    (void)ctx;
    for (int row = 0; row < q->n; row++)
        descend_row(&(struct row){.q = q, .grid = grid, .job = job, .index = row});
}

void vlmp_ref_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                 const vlmp_channel_sums_job *job)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)q->n; row++) {
        if (job->first == 0) job->linear[row] = job->square[row] = 0;
        for (int i = 0; i < job->cols; i++) {
            size_t at = row * (size_t)q->k + (size_t)(job->first + i);
            double level = job->levels[at];
            double curve = job->curve[row * VLMP_BLOCK + (size_t)i] + (double)job->ridge * level;
            job->linear[row] += curve * (double)job->error[at];
            job->square[row] += curve * level;
        }
    }
}

void vlmp_ref_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                 const float *levels, const double *linear, const double *square,
                                 float *error, double *gain)
{
    (void)ctx;
    for (size_t row = 0; row < (size_t)q->n; row++) {
        double scale = q->scales[row];
        if (!(square[row] > 0)) continue;
        float next = vlmp_grid_scale(grid, (float)(scale + linear[row] / square[row]));
        double change = scale - (double)next;
        double fall = -change * (2 * linear[row] + change * square[row]);
        if (!(fall > 0) || !(next <= VLMP_SCALE_MAX)) continue;
        q->scales[row] = next;
        gain[row] += fall;
        for (size_t at = row * (size_t)q->k; at < (row + 1) * (size_t)q->k; at++)
            error[at] += (float)change * levels[at];
    }
}
