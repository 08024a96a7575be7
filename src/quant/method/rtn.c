#include "src/quant/method/rtn.h"

#include <math.h>
#include <stdatomic.h>

#define ROWS_PER_TASK 16

struct job {
    vlmp_quantized *q;
    const float *w;
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

/* Scale and zero of one group; false when the scale does not fit its stored type. */
static bool choose(const vlmp_quantized *q, const float *w, float *scale, uint8_t *zero)
{
    float low = 0.0f, high = 0.0f;
    for (int i = 0; i < q->group; i++) {
        low = fminf(low, w[i]);
        high = fmaxf(high, w[i]);
    }
    *zero = (uint8_t)q->grid.middle;
    *scale = 1.0f;
    if (low == 0.0f && high == 0.0f) return true;
    bool symmetric = q->scheme.zeros == VLMP_ZEROS_NONE;
    float top = (float)q->grid.high;
    float ideal = symmetric ? fmaxf(-low, high) / (top / 2.0f) : (high - low) / top;
    *scale = vlmp_scale_stored(ideal, q->scheme.scales);
    if (!isfinite(*scale)) return false;
    if (symmetric) return true;
    float shift = -low / *scale;
    *zero = (uint8_t)vlmp_round_even(shift > top ? top : shift);
    return true;
}

static void quantize_rows(void *arg, int task, int thread)
{
    (void)thread;
    struct job *job = arg;
    vlmp_quantized *q = job->q;
    int end = (task + 1) * ROWS_PER_TASK < q->n ? (task + 1) * ROWS_PER_TASK : q->n;
    for (int row = task * ROWS_PER_TASK; row < end; row++) {
        const float *w = job->w + (size_t)row * (size_t)q->k;
        for (int g = 0; g < q->groups; g++) {
            size_t at = (size_t)row * (size_t)q->groups + (size_t)g;
            if (choose(q, w + g * q->group, &q->scales[at], &q->zeros[at])) continue;
            int seen = atomic_load(&job->bad_row);
            while (row < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, row))
                ;
            q->scales[at] = VLMP_SCALE_MAX;
        }
        round_codes(q, row, w);
    }
}

int vlmp_rtn(vlmp_quantized *q, const float *w, vlmp_pool *pool, const char *name, vlmp_error *err)
{
    struct job job = {.q = q, .w = w};
    atomic_init(&job.bad_row, q->n);
    vlmp_parallel_for(pool, (q->n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, quantize_rows, &job);
    int bad = atomic_load(&job.bad_row);
    if (bad == q->n) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the scale of a group in row %d is beyond half precision (65504); keep "
                     "this linear, or quantize it per channel",
                     name, bad);
}
