/* Built several times with TILE_OPS naming the table (meson.build). */
#include "src/quant/tile.h"

#include <math.h>
#include <string.h>

#include "src/base/half.h"

#define LANES     VLMP_LANES
#define FOR_LANES for (int r = 0; r < LANES; r++)

/* ties to even; exact for |x| < 2^22, and callers clamp first */
static inline float round_even(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

static inline float clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

static float stored(float scale, bool half)
{
    if (half) scale = vlmp_f16_to_f32(vlmp_f32_to_f16(scale));
    return scale < 0x1p-24f ? 0x1p-24f : scale;
}

/* out[lane] = Σ weight·(x − ŵ)² */
static void group_loss(const vlmp_grid *grid, int cols, const float *restrict x,
                       const float *restrict weight, const float *restrict scale,
                       const float *restrict zero, float *restrict out)
{
    float inverse[LANES], least[LANES], most[LANES], sum[LANES], step[LANES];
    FOR_LANES
    {
        step[r] = scale[r];
        inverse[r] = 1.0f / scale[r];
        least[r] = grid->low - zero[r];
        most[r] = grid->high - zero[r];
        sum[r] = 0.0f;
    }
    for (int i = 0; i < cols; i++) {
        const float *restrict xi = x + i * LANES;
        float w = weight[i];
        FOR_LANES
        {
            float level = round_even(clamp(xi[r] * inverse[r], least[r], most[r]));
            float e = xi[r] - level * step[r];
            sum[r] += w * (e * e);
        }
    }
    memcpy(out, sum, sizeof sum);
}

static void group_range(int cols, const float *restrict x, float *restrict low,
                        float *restrict high)
{
    float a[LANES] = {0}, b[LANES] = {0};
    for (int i = 0; i < cols; i++) {
        const float *restrict xi = x + i * LANES;
        FOR_LANES
        {
            a[r] = xi[r] < a[r] ? xi[r] : a[r];
            b[r] = xi[r] > b[r] ? xi[r] : b[r];
        }
    }
    memcpy(low, a, sizeof a);
    memcpy(high, b, sizeof b);
}

/* Keeps the trial where it is strictly better. */
static void keep_better(const float *restrict trial_loss, const float *restrict trial_scale,
                        const float *restrict trial_zero, float *restrict loss,
                        float *restrict scale, float *restrict zero)
{
    FOR_LANES
    {
        bool better = trial_loss[r] < loss[r];
        loss[r] = better ? trial_loss[r] : loss[r];
        scale[r] = better ? trial_scale[r] : scale[r];
        zero[r] = better ? trial_zero[r] : zero[r];
    }
}

static void try_factor(const vlmp_grid *grid, int cols, const float *x, const float *weight,
                       float factor, const float *low, const float *high, float *loss, float *scale,
                       float *zero, int zero_moves)
{
    float trial_scale[LANES], trial_zero[LANES], trial_loss[LANES], centre[LANES];
    FOR_LANES
    {
        float range =
            grid->symmetric ? 2.0f * (-low[r] > high[r] ? -low[r] : high[r]) : high[r] - low[r];
        trial_scale[r] = stored(range / grid->span * factor, grid->half);
        float shift = 0.5f * grid->span - 0.5f * (low[r] + high[r]) / trial_scale[r];
        centre[r] = round_even(clamp(shift, grid->low, grid->high));
    }
    for (int move = -zero_moves; move <= zero_moves; move++) {
        FOR_LANES trial_zero[r] =
            grid->symmetric ? grid->middle : clamp(centre[r] + (float)move, grid->low, grid->high);
        group_loss(grid, cols, x, weight, trial_scale, trial_zero, trial_loss);
        keep_better(trial_loss, trial_scale, trial_zero, loss, scale, zero);
    }
}

static void search(const vlmp_grid *grid, int cols, const float *x, const float *weight,
                   float *scale, float *zero)
{
    float low[LANES], high[LANES], loss[LANES];
    group_range(cols, x, low, high);
    FOR_LANES
    {
        loss[r] = INFINITY;
        scale[r] = INFINITY;
        zero[r] = grid->middle;
    }
    int moves = grid->symmetric ? 0 : grid->zero_moves;
    try_factor(grid, cols, x, weight, 1.0f, low, high, loss, scale, zero, 0);
    for (int c = 0; c < grid->candidates; c++) {
        float t = grid->candidates > 1 ? (float)c / (float)(grid->candidates - 1) : 0.0f;
        float factor = grid->shrink_from * powf(grid->shrink_to / grid->shrink_from, t);
        try_factor(grid, cols, x, weight, factor, low, high, loss, scale, zero, moves);
    }
    FOR_LANES
    {
        if (low[r] != 0.0f || high[r] != 0.0f) continue;
        scale[r] = 1.0f;
        zero[r] = grid->middle;
    }
}

static void settle(int first, int last, const float *live, const float *target, const float *factor,
                   int ld, float *out)
{
    memcpy(out, live + first * LANES, (size_t)(last - first + 1) * LANES * sizeof *out);
    for (int c = last; c > first; c--) {
        float e[LANES];
        const float *f = factor + (int64_t)c * ld + first;
        FOR_LANES e[r] = target[c * LANES + r] - out[(c - first) * LANES + r];
        for (int i = 0; i < c - first; i++) {
            float *restrict to = out + i * LANES;
            float by = f[i];
            FOR_LANES to[r] += e[r] * by;
        }
    }
}

static void propagate(const vlmp_grid *grid, int first, int last, float *live, const float *target,
                      const float *factor, int ld, const float *pivot, const float *scale,
                      const float *zero, float *error, uint8_t *codes, float *loss)
{
    float inverse[LANES], least[LANES], most[LANES];
    FOR_LANES
    {
        inverse[r] = 1.0f / scale[r];
        least[r] = grid->low - zero[r];
        most[r] = grid->high - zero[r];
    }
    for (int c = last; c >= first; c--) {
        float e[LANES], d = pivot[c];
        const float *x = live + c * LANES, *w = target + c * LANES;
        FOR_LANES
        {
            float level = round_even(clamp(x[r] * inverse[r], least[r], most[r]));
            float value = level * scale[r], miss = x[r] - value;
            codes[c * LANES + r] = (uint8_t)(int)(level + zero[r]);
            loss[r] += d * (miss * miss);
            e[r] = w[r] - value;
            error[c * LANES + r] = e[r];
        }
        const float *f = factor + (int64_t)c * ld;
        for (int i = 0; i < c; i++) {
            float *restrict to = live + i * LANES;
            float by = f[i];
            FOR_LANES to[r] += e[r] * by;
        }
    }
}

/* slope[i] += step·h[i] over the block; the diagonal's ridge belongs to column own. */
static void shift_slope(int block, const float *restrict h, float ridge, int own,
                        const float *restrict step, float *restrict slope)
{
    float by[LANES];
    memcpy(by, step, sizeof by);
    for (int i = 0; i < block; i++) {
        float *restrict to = slope + i * LANES;
        float value = h[i];
        FOR_LANES to[r] += by[r] * value;
    }
    FOR_LANES slope[own * LANES + r] += by[r] * ridge;
}

static int descend(const vlmp_grid *grid, int block, int first, int cols, const float *h, int ld,
                   float ridge, const float *scale, const float *zero, float *error, float *slope,
                   float *codes, double *gain)
{
    (void)zero;
    int changes = 0;
    float inverse[LANES];
    FOR_LANES inverse[r] = 1.0f / scale[r];
    for (int c = first; c < first + cols; c++) {
        float curvature = h[(int64_t)c * ld + c] + ridge;
        if (!(curvature > 0.0f)) continue;
        float turn = 1.0f / curvature, step[LANES], lower[LANES];
        float *g = slope + c * LANES, *u = codes + c * LANES, *e = error + c * LANES;
        int moved = 0;
        FOR_LANES
        {
            /* the error's best change is −g/curvature; the weight moves the other way */
            float wish = u[r] + g[r] * turn * inverse[r];
            float next = round_even(clamp(wish, grid->low, grid->high));
            float delta = (u[r] - next) * scale[r];
            float fall = -delta * (2.0f * g[r] + delta * curvature);
            bool better = fall > 0.0f;
            step[r] = better ? delta : 0.0f;
            lower[r] = better ? fall : 0.0f;
            u[r] = better ? next : u[r];
            moved += better;
        }
        if (moved == 0) continue;
        changes += moved;
        FOR_LANES
        {
            e[r] += step[r];
            gain[r] += (double)lower[r];
        }
        shift_slope(block, h + (int64_t)c * ld, ridge, c, step, slope);
    }
    return changes;
}

/* hd[i] = Σ over the group's columns of direction·h, for the whole block; direction [cols][LANES]
 * belongs to columns first … */
static void times_h(int block, int first, int cols, const float *h, int ld, float ridge,
                    const float *direction, float *hd)
{
    memset(hd, 0, (size_t)block * LANES * sizeof *hd);
    for (int c = 0; c < cols; c++)
        shift_slope(block, h + (int64_t)(first + c) * ld, ridge, first + c, direction + c * LANES,
                    hd);
}

static void dots(int cols, const float *restrict direction, const float *restrict slope,
                 const float *restrict hd, float *restrict linear, float *restrict square)
{
    float a[LANES] = {0}, b[LANES] = {0};
    for (int c = 0; c < cols; c++)
        FOR_LANES
        {
            a[r] += direction[c * LANES + r] * slope[c * LANES + r];
            b[r] += direction[c * LANES + r] * hd[c * LANES + r];
        }
    memcpy(linear, a, sizeof a);
    memcpy(square, b, sizeof b);
}

/* error += amount·direction, slope += amount·hd */
static void move_along(int block, int first, int cols, const float *restrict amount,
                       const float *restrict direction, const float *restrict hd,
                       float *restrict error, float *restrict slope)
{
    for (int c = 0; c < cols; c++)
        FOR_LANES error[(first + c) * LANES + r] += amount[r] * direction[c * LANES + r];
    for (int i = 0; i < block; i++)
        FOR_LANES slope[i * LANES + r] += amount[r] * hd[i * LANES + r];
}

/* The decrease of error·H·errorᵀ for amount·direction. */
static inline float decrease(float amount, float linear, float square)
{
    return -amount * (2.0f * linear + amount * square);
}

static int refit_scale(const vlmp_grid *grid, int block, int first, int cols, const float *h,
                       int ld, float ridge, float *scale, const float *zero, float *error,
                       float *slope, const float *codes, float *hd, double *gain)
{
    float direction[VLMP_BLOCK * LANES], linear[LANES], square[LANES], amount[LANES];
    for (int c = 0; c < cols; c++)
        FOR_LANES direction[c * LANES + r] = codes[(first + c) * LANES + r] - zero[r];
    times_h(block, first, cols, h, ld, ridge, direction, hd);
    dots(cols, direction, slope + first * LANES, hd + first * LANES, linear, square);
    int moved = 0;
    FOR_LANES
    {
        /* ŵ = scale·direction, so the error moves by −(change of the scale) */
        amount[r] = 0.0f;
        if (!(square[r] > 0.0f)) continue;
        float next = stored(scale[r] + linear[r] / square[r], grid->half);
        float change = scale[r] - next, fall = decrease(change, linear[r], square[r]);
        if (!(fall > 0.0f) || !isfinite(next)) continue;
        amount[r] = change;
        scale[r] = next;
        gain[r] += (double)fall;
        moved++;
    }
    if (moved > 0) move_along(block, first, cols, amount, direction, hd, error, slope);
    return moved;
}

static int refit_zero(const vlmp_grid *grid, int block, int first, int cols, const float *h, int ld,
                      float ridge, const float *scale, float *zero, float *error, float *slope,
                      float *hd, double *gain)
{
    float direction[VLMP_BLOCK * LANES], linear[LANES], square[LANES], amount[LANES];
    for (int c = 0; c < cols * LANES; c++)
        direction[c] = 1.0f;
    times_h(block, first, cols, h, ld, ridge, direction, hd);
    dots(cols, direction, slope + first * LANES, hd + first * LANES, linear, square);
    int moved = 0;
    FOR_LANES
    {
        /* a zero higher by one lowers ŵ by the scale: the error rises by it */
        amount[r] = 0.0f;
        if (!(square[r] > 0.0f)) continue;
        float wish = zero[r] - linear[r] / (square[r] * scale[r]);
        float next = round_even(clamp(wish, grid->low, grid->high));
        float change = (next - zero[r]) * scale[r];
        float fall = decrease(change, linear[r], square[r]);
        if (!(fall > 0.0f)) continue;
        amount[r] = change;
        zero[r] = next;
        gain[r] += (double)fall;
        moved++;
    }
    if (moved > 0) move_along(block, first, cols, amount, direction, hd, error, slope);
    return moved;
}

static int refit(const vlmp_grid *grid, int block, int first, int cols, const float *h, int ld,
                 float ridge, float *scale, float *zero, float *error, float *slope,
                 const float *codes, float *hd, double *gain)
{
    int moved = 0;
    if (!grid->symmetric)
        moved +=
            refit_zero(grid, block, first, cols, h, ld, ridge, scale, zero, error, slope, hd, gain);
    return moved + refit_scale(grid, block, first, cols, h, ld, ridge, scale, zero, error, slope,
                               codes, hd, gain);
}

const vlmp_tile_ops TILE_OPS = {
    .search = search,
    .settle = settle,
    .propagate = propagate,
    .descend = descend,
    .refit = refit,
};
