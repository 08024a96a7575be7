/* Quantizers' operations on groups: searching, rounding, propagating. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/quant_work.h"
#include "kernels/ref/quant.h"

#define LANES VLMP_LANES

enum { TILE = VLMP_TILE };

struct error_job {
    const float *target, *factor;
    float *error;
};

static void error_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const struct error_job *job = w->job;
    const vlmp_coded *q = w->q;
    vlmp_tile_rows s = vlmp_tile_rows_of(q->n, task);
    int groups = q->k / q->group;
    for (int row = s.row0; row < s.row0 + s.rows; row++)
        for (int g = 0; g < groups; g++) {
            float scale = q->scales[(size_t)row * (size_t)groups + (size_t)g];
            uint8_t zero = q->zeros[(size_t)row * (size_t)groups + (size_t)g];
            for (int c = g * q->group; c < (g + 1) * q->group; c++) {
                size_t at = (size_t)row * (size_t)q->k + (size_t)c;
                float value = vlmp_grid_level(w->grid, q->codes[at], zero) * scale;
                if (job->factor != NULL) value /= job->factor[c];
                job->error[at] = job->target[at] - value;
            }
        }
}

void vlmp_cpu_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                          const float *target, const float *factor, float *error)
{
    struct error_job job = {target, factor, error};
    vlmp_quant_run(ctx, q->n, error_task, &(vlmp_quant_work){.q = q, .grid = grid, .job = &job});
}

static void levels_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const vlmp_coded *q = w->q;
    vlmp_tile_rows s = vlmp_tile_rows_of(q->n, task);
    int groups = q->k / q->group;
    float *levels = *(float *const *)w->job;
    for (int row = s.row0; row < s.row0 + s.rows; row++)
        for (int c = 0; c < q->k; c++) {
            size_t at = (size_t)row * (size_t)q->k + (size_t)c;
            uint8_t zero = q->zeros[(size_t)row * (size_t)groups + (size_t)(c / q->group)];
            levels[at] = vlmp_grid_level(w->grid, q->codes[at], zero);
        }
}

void vlmp_cpu_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *levels)
{
    vlmp_quant_run(ctx, q->n, levels_task,
                   &(vlmp_quant_work){.q = q, .grid = grid, .job = &levels});
}

static void scale_tile(float *x, const float *factor, int first, int cols)
{
    for (int c = 0; c < cols && factor != NULL; c++)
        for (int r = 0; r < LANES; r++)
            x[c * LANES + r] *= factor[first + c];
}

/* Groups wider than a block are loaded twice, for their range and for the losses. */
static void search_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const vlmp_search_job *job = w->job;
    const vlmp_coded *q = w->q;
    vlmp_tile_rows s = vlmp_tile_rows_of(q->n, task);
    float x[TILE], scale[LANES], zero[LANES];
    vlmp_trials trials;
    for (int g = 0; g < q->k / q->group; g++) {
        int begin = g * q->group, end = begin + q->group;
        memset(trials.low, 0, sizeof trials.low);
        memset(trials.high, 0, sizeof trials.high);
        for (int pass = 0; pass < 2; pass++) {
            if (pass == 1) w->tiles->list(w->grid, &trials);
            for (int first = begin; first < end; first += VLMP_BLOCK) {
                int cols = end - first < VLMP_BLOCK ? end - first : VLMP_BLOCK;
                if (pass == 0 || q->group > VLMP_BLOCK) {
                    vlmp_tile_load(x, job->w, q->k, s, first, cols, job->order);
                    scale_tile(x, job->factor, first, cols);
                }
                if (pass == 0)
                    w->tiles->widen(cols, x, &trials);
                else
                    w->tiles->losses(w->grid, cols, x, job->weight + first, &trials);
            }
        }
        w->tiles->pick(w->grid, &trials, scale, zero);
        vlmp_tile_store_scales(w, s, g, scale, zero);
    }
}

void vlmp_cpu_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const vlmp_search_job *job)
{
    assert(1 + grid->candidates * (2 * grid->zero_moves + 1) <= VLMP_MAX_TRIALS);
    assert(job->order == NULL || (job->factor == NULL && q->group == q->k));
    vlmp_quant_run(ctx, q->n, search_task, &(vlmp_quant_work){.q = q, .grid = grid, .job = job});
}

struct round_job {
    const float *w, *factor;
};

static void round_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const struct round_job *job = w->job;
    const vlmp_coded *q = w->q;
    vlmp_tile_rows s = vlmp_tile_rows_of(q->n, task);
    float x[TILE], scale[LANES], zero[LANES];
    uint8_t codes[TILE];
    for (int g = 0; g < q->k / q->group; g++) {
        int end = (g + 1) * q->group;
        vlmp_tile_load_scales(w, s, g, scale, zero);
        for (int first = g * q->group; first < end; first += VLMP_BLOCK) {
            int cols = end - first < VLMP_BLOCK ? end - first : VLMP_BLOCK;
            vlmp_tile_load(x, job->w, q->k, s, first, cols, NULL);
            scale_tile(x, job->factor, first, cols);
            w->tiles->round(w->grid, cols, x, scale, zero, codes);
            vlmp_tile_store_codes(codes, q, s, first, cols, NULL);
        }
    }
}

void vlmp_cpu_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                          const float *factor)
{
    struct round_job job = {w, factor};
    vlmp_quant_run(ctx, q->n, round_task, &(vlmp_quant_work){.q = q, .grid = grid, .job = &job});
}

static void search_settled(const vlmp_quant_work *w, const float *x, const float *weight, int cols,
                           float *scale, float *zero)
{
    vlmp_trials trials;
    memset(trials.low, 0, sizeof trials.low);
    memset(trials.high, 0, sizeof trials.high);
    w->tiles->widen(cols, x, &trials);
    w->tiles->list(w->grid, &trials);
    w->tiles->losses(w->grid, cols, x, weight, &trials);
    w->tiles->pick(w->grid, &trials, scale, zero);
}

static void propagate_task(void *arg, int task, int thread)
{
    (void)thread;
    const vlmp_quant_work *w = arg;
    const vlmp_propagate_job *job = w->job;
    const vlmp_coded *q = w->q;
    vlmp_tile_rows s = vlmp_tile_rows_of(q->n, task);
    int first = job->first, cols = job->cols, group = q->group < cols ? q->group : cols;
    float live[TILE], target[TILE], error[TILE], settled[TILE];
    float scale[LANES], zero[LANES], loss[LANES] = {0};
    uint8_t codes[TILE];
    const float *factor = job->factor + (size_t)first * (size_t)q->k + (size_t)first;
    vlmp_tile_load(target, job->target, q->k, s, first, cols, job->order);
    vlmp_tile_load(live, job->passed, VLMP_BLOCK, s, 0, cols, NULL);
    for (int i = 0; i < cols * LANES; i++)
        live[i] += target[i];
    for (int from = cols - group; from >= 0; from -= group) {
        int g = job->order[first + from] / q->group;
        if (!job->searched) {
            w->tiles->settle(from, from + group - 1, live, target, factor, q->k, settled);
            search_settled(w, settled, job->pivot + first + from, group, scale, zero);
            vlmp_tile_store_scales(w, s, g, scale, zero);
        }
        vlmp_tile_load_scales(w, s, g, scale, zero);
        w->tiles->propagate(w->grid, from, from + group - 1, live, target, factor, q->k,
                            job->pivot + first, scale, zero, error, codes, loss);
    }
    vlmp_tile_store_codes(codes, q, s, first, cols, job->order);
    vlmp_tile_store(error, job->error, q->k, s, first, cols);
    for (int r = 0; r < s.rows; r++)
        job->loss[s.row0 + r] += (double)loss[r];
}

void vlmp_cpu_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                              const vlmp_propagate_job *job)
{
    vlmp_quant_run(ctx, q->n, propagate_task, &(vlmp_quant_work){.q = q, .grid = grid, .job = job});
}

const vlmp_quant_ops vlmp_quant_ops_cpu = {
    .error = vlmp_cpu_quant_error,
    .levels = vlmp_cpu_quant_levels,
    .search = vlmp_cpu_quant_search,
    .round = vlmp_cpu_quant_round,
    .propagate = vlmp_cpu_quant_propagate,
    .descend = vlmp_cpu_quant_descend,
    .channel_sums = vlmp_cpu_quant_channel_sums,
    .channel_move = vlmp_cpu_quant_channel_move,
    .mirror = vlmp_cpu_quant_mirror,
    .scale_both = vlmp_cpu_quant_scale_both,
    .diagonal = vlmp_ref_quant_diagonal,
    .arrange = vlmp_cpu_quant_arrange,
    .factor = vlmp_cpu_quant_factor,
    .solve = vlmp_cpu_quant_solve,
    .permute = vlmp_cpu_quant_permute,
    .sample_rows = vlmp_ref_quant_sample_rows,
    .add_multiple = vlmp_cpu_quant_add_multiple,
    .dot = vlmp_ref_quant_dot,
    .weighted_error = vlmp_cpu_quant_weighted_error,
};
