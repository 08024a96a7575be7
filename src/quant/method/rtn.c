#include "src/quant/method/rtn.h"

#include <math.h>
#include <stdatomic.h>

#define ROWS_PER_TASK 16

struct job {
    vlmp_quantized *q;
    const float *w;
    bool codes;         /* to be rounded */
    int rows;           /* of a task: whole blocks where these share scales */
    atomic_int bad_row; /* lowest row whose scale does not fit; n when there is none */
};

/* The codes of row w[k] for scales and zeros that are set already. */
static void round_codes(vlmp_quantized *q, int row, const float *w)
{
    uint8_t *codes = q->codes + (size_t)row * (size_t)q->k;
    const vlmp_code_grid grid = q->grid; /* a copy: writing codes cannot change it */
    for (int g = 0; g < q->groups; g++) {
        float scale = q->scales[(size_t)row * (size_t)q->groups + (size_t)g];
        int zero = q->zeros[(size_t)row * (size_t)q->groups + (size_t)g];
        for (int i = g * q->group; i < (g + 1) * q->group; i++)
            codes[i] = (uint8_t)vlmp_code_nearest(&grid, w[i] / scale, zero);
    }
}

/* Scale and zero of one group of `rows` rows; false when the scale does not fit its stored type. */
static bool choose(const vlmp_quantized *q, const float *w, int rows, float *scale, uint8_t *zero)
{
    float low = 0.0f, high = 0.0f;
    for (int row = 0; row < rows; row++, w += q->k)
        for (int i = 0; i < q->group; i++) {
            low = fminf(low, w[i]);
            high = fmaxf(high, w[i]);
        }
    bool nothing = low == 0.0f && high == 0.0f, symmetric = q->scheme.zeros == VLMP_ZEROS_NONE;
    float top = (float)q->grid.high;
    float ideal = symmetric ? fmaxf(-low, high) / q->grid.reach : (high - low) / top;
    *scale = vlmp_scale_under(nothing ? 1.0f : ideal, q->scheme.scales, q->scheme.global_scale);
    *zero = (uint8_t)q->grid.middle;
    if (nothing) return true;
    if (!isfinite(*scale)) return false;
    if (symmetric) return true;
    float shift = -low / *scale;
    *zero = (uint8_t)vlmp_round_even(shift > top ? top : shift);
    return true;
}

/* Scales and zeros of `rows` rows from `row` on, which share them. */
static void choose_rows(struct job *job, int row, int rows)
{
    vlmp_quantized *q = job->q;
    const float *w = job->w + (size_t)row * (size_t)q->k;
    for (int g = 0; g < q->groups; g++) {
        size_t at = (size_t)row * (size_t)q->groups + (size_t)g;
        if (!choose(q, w + g * q->group, rows, &q->scales[at], &q->zeros[at])) {
            int seen = atomic_load(&job->bad_row);
            while (row < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, row))
                ;
            q->scales[at] = VLMP_SCALE_MAX;
        }
        for (int other = 1; other < rows; other++) {
            q->scales[at + (size_t)other * (size_t)q->groups] = q->scales[at];
            q->zeros[at + (size_t)other * (size_t)q->groups] = q->zeros[at];
        }
    }
}

static void quantize_rows(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    int row = task * job->rows, n = job->q->n;
    int end = row + job->rows < n ? row + job->rows : n;
    int shared = job->q->scheme.blocks ? end - row : 1;
    for (int first = row; first < end; first += shared)
        choose_rows(job, first, shared);
    for (; row < end && job->codes; row++)
        round_codes(job->q, row, job->w + (size_t)row * (size_t)job->q->k);
}

static int run(vlmp_quantized *q, const float *w, bool codes, vlmp_pool *pool, const char *name,
               vlmp_error *err)
{
    struct job job = {.q = q, .w = w, .codes = codes};
    job.rows = q->scheme.blocks ? VLMP_BLOCK_OUTPUTS : ROWS_PER_TASK;
    atomic_init(&job.bad_row, q->n);
    vlmp_parallel_for(pool, q->n / job.rows + (q->n % job.rows != 0), quantize_rows, &job);
    int bad = atomic_load(&job.bad_row);
    if (bad == q->n) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the scale of a group in row %d is beyond half precision (65504); keep "
                     "this linear, or quantize it per channel",
                     name, bad);
}

int vlmp_rtn(vlmp_quantized *q, const float *w, vlmp_pool *pool, const char *name, vlmp_error *err)
{
    return run(q, w, true, pool, name, err);
}

int vlmp_rtn_scales(vlmp_quantized *q, const float *w, vlmp_pool *pool, const char *name,
                    vlmp_error *err)
{
    return run(q, w, false, pool, name, err);
}
