#include "kernels/cpu/quant_work.h"

#include <string.h>

#include "kernels/cpu/cpu.h"

#define LANES VLMP_LANES

static int task_count(int n)
{
    return n / LANES + (n % LANES != 0);
}

vlmp_tile_rows vlmp_tile_rows_of(int n, int task)
{
    int left = n - task * LANES;
    return (vlmp_tile_rows){task * LANES, left < LANES ? left : LANES};
}

void vlmp_quant_run(vlmp_ctx *ctx, int n, vlmp_task_fn *fn, vlmp_quant_work *work)
{
    work->tiles = vlmp_cpu_of(ctx)->kernels->tiles;
    vlmp_parallel_for(ctx->pool, task_count(n), fn, work);
}

void vlmp_tile_load(float *tile, const float *m, int ld, vlmp_tile_rows s, int first, int cols,
                    const int *order)
{
    if (s.rows < LANES) memset(tile, 0, (size_t)cols * LANES * sizeof *tile);
    for (int r = 0; r < s.rows; r++) {
        const float *row = m + (size_t)(s.row0 + r) * (size_t)ld;
        if (order == NULL)
            for (int c = 0; c < cols; c++)
                tile[c * LANES + r] = row[first + c];
        else
            for (int c = 0; c < cols; c++)
                tile[c * LANES + r] = row[order[first + c]];
    }
}

void vlmp_tile_store(const float *tile, float *m, int ld, vlmp_tile_rows s, int first, int cols)
{
    for (int r = 0; r < s.rows; r++) {
        float *row = m + (size_t)(s.row0 + r) * (size_t)ld + first;
        for (int c = 0; c < cols; c++)
            row[c] = tile[c * LANES + r];
    }
}

void vlmp_tile_store_codes(const uint8_t *tile, const vlmp_coded *q, vlmp_tile_rows s, int first,
                           int cols, const int *order)
{
    for (int r = 0; r < s.rows; r++) {
        uint8_t *row = q->codes + (size_t)(s.row0 + r) * (size_t)q->k;
        for (int c = 0; c < cols; c++)
            row[order != NULL ? order[first + c] : first + c] = tile[c * LANES + r];
    }
}

void vlmp_tile_load_scales(const vlmp_quant_work *w, vlmp_tile_rows s, int g, float *scale,
                           float *zero)
{
    size_t groups = (size_t)(w->q->k / w->q->group);
    for (int r = 0; r < LANES; r++) {
        size_t at = (size_t)(s.row0 + r) * groups + (size_t)g;
        scale[r] = r < s.rows ? w->q->scales[at] : 1.0f;
        zero[r] = r < s.rows ? (float)w->q->zeros[at] : w->grid->middle;
    }
}

void vlmp_tile_store_scales(const vlmp_quant_work *w, vlmp_tile_rows s, int g, const float *scale,
                            const float *zero)
{
    size_t groups = (size_t)(w->q->k / w->q->group);
    for (int r = 0; r < s.rows; r++) {
        size_t at = (size_t)(s.row0 + r) * groups + (size_t)g;
        w->q->scales[at] = scale[r];
        w->q->zeros[at] = (uint8_t)(int)zero[r];
    }
}
