/* Quantizers' operations that polish: coordinate descent on slopes, scales of whole rows. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/quant_work.h"

#define LANES VLMP_LANES

enum { TILE = VLMP_TILE };

/* A block's columns of a task's rows. */
struct block {
    float error[TILE], slope[TILE];
    float codes[TILE]; /* or the floats that they stand for */
    double gain[LANES];
};

static void load_codes(float *tile, const vlmp_quant_work *w, vlmp_tile_rows s, int first, int cols)
{
    for (int r = 0; r < LANES; r++) {
        const uint8_t *row = w->q->codes + (size_t)(s.row0 + r) * (size_t)w->q->k + first;
        for (int c = 0; c < cols; c++)
            tile[c * LANES + r] =
                r < s.rows ? vlmp_grid_level(w->grid, row[c], 0) : w->grid->middle;
    }
}

static void store_codes(const float *tile, const vlmp_quant_work *w, vlmp_tile_rows s, int first,
                        int cols)
{
    for (int r = 0; r < s.rows; r++) {
        uint8_t *row = w->q->codes + (size_t)(s.row0 + r) * (size_t)w->q->k + first;
        for (int c = 0; c < cols; c++)
            row[c] = vlmp_grid_code(w->grid, tile[c * LANES + r], 0);
    }
}

/* One group: codes, then zero and scale, then what that does to the block's other columns. */
static void descend_group(const vlmp_quant_work *w, vlmp_tile_rows s, int from, int group,
                          struct block *b)
{
    const vlmp_descend_job *job = w->job;
    int k = w->q->k, g = (job->first + from) / w->q->group;
    float change[TILE], scale[LANES], zero[LANES];
    float *e = b->error + from * LANES, *slope = b->slope + from * LANES;
    float *codes = b->codes + from * LANES;
    const float *h = job->gram + (size_t)(job->first + from) * ((size_t)k + 1);
    int changes = 0;
    memcpy(change, e, (size_t)group * LANES * sizeof *e);
    vlmp_tile_load_scales(w, s, g, scale, zero);
    if (job->codes)
        changes +=
            w->tiles->descend(w->grid, group, h, k, job->ridge, scale, e, slope, codes, b->gain);
    if (job->scales) {
        changes += w->tiles->refit(w->grid, group, h, k, w->sums + from, job->ridge, scale, zero, e,
                                   slope, codes, b->gain);
        vlmp_tile_store_scales(w, s, g, scale, zero);
    }
    if (changes == 0) return;
    for (int i = 0; i < group * LANES; i++)
        change[i] = e[i] - change[i];
    w->tiles->spread(group, job->cols - from - group, h + group, k, change, slope + group * LANES);
    w->tiles->spread(group, from, h - from, k, change, b->slope);
}

static void descend_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const vlmp_descend_job *job = w->job;
    vlmp_tile_rows s = vlmp_tile_rows_of(w->q->n, task);
    int k = w->q->k, cols = job->cols, group = w->q->group < cols ? w->q->group : cols;
    struct block b;
    memset(b.error, 0, sizeof b.error);
    memset(b.gain, 0, sizeof b.gain);
    vlmp_tile_load(b.error, job->error, k, s, job->first, cols, NULL);
    vlmp_tile_load(b.slope, job->slope, VLMP_BLOCK, s, 0, cols, NULL);
    load_codes(b.codes, w, s, job->first, cols);
    for (int i = 0; i < cols * LANES; i++)
        b.slope[i] += job->ridge * b.error[i];
    for (int from = 0; from < cols; from += group)
        descend_group(w, s, from, group, &b);
    vlmp_tile_store(b.error, job->error, k, s, job->first, cols);
    vlmp_tile_store(b.slope, job->slope, VLMP_BLOCK, s, 0, cols);
    if (job->codes) store_codes(b.codes, w, s, job->first, cols);
    for (int r = 0; r < s.rows; r++)
        job->gain[s.row0 + r] += b.gain[r];
}

static void sum_columns(vlmp_quant_work *w, const vlmp_descend_job *job)
{
    int k = w->q->k, group = w->q->group < job->cols ? w->q->group : job->cols;
    for (int i = 0; i < job->cols; i++) {
        int from = job->first + i / group * group;
        w->sums[i] = 0.0f;
        for (int c = from; c < from + group; c++)
            w->sums[i] += job->gram[(size_t)c * (size_t)k + (size_t)(job->first + i)];
    }
}

void vlmp_cpu_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_descend_job *job)
{
    vlmp_quant_work work = {.q = q, .grid = grid, .job = job};
    if (job->scales) sum_columns(&work, job);
    vlmp_quant_run(ctx, q->n, descend_task, &work);
}

static void channel_sums_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const vlmp_channel_sums_job *job = w->job;
    vlmp_tile_rows s = vlmp_tile_rows_of(w->q->n, task);
    for (int row = s.row0; row < s.row0 + s.rows; row++) {
        size_t at = (size_t)row * (size_t)w->q->k + (size_t)job->first;
        if (job->first == 0) job->linear[row] = job->square[row] = 0.0;
        for (int i = 0; i < job->cols; i++) {
            double level = (double)job->levels[at + (size_t)i];
            double curve = (double)job->curve[(size_t)row * VLMP_BLOCK + (size_t)i] +
                           (double)job->ridge * level;
            job->linear[row] += curve * (double)job->error[at + (size_t)i];
            job->square[row] += curve * level;
        }
    }
}

void vlmp_cpu_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                 const vlmp_channel_sums_job *job)
{
    vlmp_quant_run(ctx, q->n, channel_sums_task, &(vlmp_quant_work){.q = q, .job = job});
}

struct move_job {
    const float *levels;
    const double *linear, *square;
    float *error;
    double *gain;
};

static void channel_move_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const struct move_job *job = w->job;
    vlmp_tile_rows s = vlmp_tile_rows_of(w->q->n, task);
    for (int row = s.row0; row < s.row0 + s.rows; row++) {
        if (!(job->square[row] > 0.0)) continue;
        double scale = (double)w->q->scales[row];
        float next = vlmp_grid_scale(w->grid, (float)(scale + job->linear[row] / job->square[row]));
        double change = scale - (double)next;
        double fall = -change * (2.0 * job->linear[row] + change * job->square[row]);
        if (!(fall > 0.0) || !(next <= VLMP_SCALE_MAX)) continue;
        w->q->scales[row] = next;
        job->gain[row] += fall;
        for (int i = 0; i < w->q->k; i++) {
            size_t at = (size_t)row * (size_t)w->q->k + (size_t)i;
            job->error[at] += (float)change * job->levels[at];
        }
    }
}

void vlmp_cpu_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                 const float *levels, const double *linear, const double *square,
                                 float *error, double *gain)
{
    struct move_job job = {levels, linear, square, error, gain};
    vlmp_quant_run(ctx, q->n, channel_move_task,
                   &(vlmp_quant_work){.q = q, .grid = grid, .job = &job});
}
