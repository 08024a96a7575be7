/* Built once a level with TILE_KERNELS naming the table (meson.build). */
#include "kernels/cpu/quant_tile.h"

#include <math.h>
#include <string.h>

#include "src/base/packed_parts.h"

#define LANES     VLMP_LANES
#define FOR_LANES for (int r = 0; r < LANES; r++)

/* The lanes of one column at any alignment. Compilers left to themselves vectorize some of these
 * loops over columns and pay with permutations. Never passed by value: the calling convention
 * differs between instruction sets. */
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define AT(p, column)       (*(lanes *)((p) + (size_t)(column)*LANES))
#define CONST_AT(p, column) (*(const lanes *)((p) + (size_t)(column)*LANES))

static inline float clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* loss[lane] += Σ weight·(x − ŵ)² */
static void trial_loss(const vlmp_grid *grid, int cols, const float *restrict x,
                       const float *restrict weight, const float *restrict scale,
                       const float *restrict zero, float *restrict loss)
{
    float inverse[LANES], least[LANES], most[LANES], sum[LANES], step[LANES];
    FOR_LANES
    {
        step[r] = scale[r];
        inverse[r] = 1.0f / scale[r];
        least[r] = grid->low - zero[r];
        most[r] = grid->high - zero[r];
        sum[r] = loss[r];
    }
    for (int i = 0; i < cols; i++) {
        const float *restrict xi = x + i * LANES;
        float w = weight[i];
        FOR_LANES
        {
            float level = vlmp_round_even(clamp(xi[r] * inverse[r], least[r], most[r]));
            float e = xi[r] - level * step[r];
            sum[r] += w * (e * e);
        }
    }
    memcpy(loss, sum, sizeof sum);
}

static void losses(const vlmp_grid *grid, int cols, const float *x, const float *weight,
                   vlmp_trials *trials)
{
    for (int t = 0; t < trials->count; t++)
        trial_loss(grid, cols, x, weight, trials->scale[t], trials->zero[t], trials->loss[t]);
}

static void widen(int cols, const float *restrict x, vlmp_trials *restrict trials)
{
    float a[LANES], b[LANES];
    memcpy(a, trials->low, sizeof a);
    memcpy(b, trials->high, sizeof b);
    for (int i = 0; i < cols; i++) {
        const float *restrict xi = x + i * LANES;
        FOR_LANES
        {
            a[r] = xi[r] < a[r] ? xi[r] : a[r];
            b[r] = xi[r] > b[r] ? xi[r] : b[r];
        }
    }
    memcpy(trials->low, a, sizeof a);
    memcpy(trials->high, b, sizeof b);
}

/* A multiple of the min-max scale, with zeros around the centred one. */
static void add_trials(const vlmp_grid *grid, float factor, int zero_moves, vlmp_trials *trials)
{
    const float *low = trials->low, *high = trials->high;
    float scale[LANES], centre[LANES];
    FOR_LANES
    {
        float range =
            grid->symmetric ? 2.0f * (-low[r] > high[r] ? -low[r] : high[r]) : high[r] - low[r];
        scale[r] = vlmp_scale_stored(range / grid->span * factor, grid->scales);
        float shift = 0.5f * grid->span - 0.5f * (low[r] + high[r]) / scale[r];
        centre[r] = vlmp_round_even(clamp(shift, grid->low, grid->high));
    }
    for (int move = -zero_moves; move <= zero_moves; move++) {
        int t = trials->count++;
        FOR_LANES
        {
            trials->scale[t][r] = scale[r];
            trials->zero[t][r] = grid->symmetric
                                     ? grid->middle
                                     : clamp(centre[r] + (float)move, grid->low, grid->high);
            trials->loss[t][r] = 0.0f;
        }
    }
}

static void list_trials(const vlmp_grid *grid, vlmp_trials *trials)
{
    int moves = grid->symmetric ? 0 : grid->zero_moves;
    trials->count = 0;
    add_trials(grid, 1.0f, 0, trials);
    for (int c = 0; c < grid->candidates; c++) {
        float t = grid->candidates > 1 ? (float)c / (float)(grid->candidates - 1) : 0.0f;
        float factor = grid->shrink_from * powf(grid->shrink_to / grid->shrink_from, t);
        add_trials(grid, factor, moves, trials);
    }
}

static void pick(const vlmp_grid *grid, const vlmp_trials *trials, float *scale, float *zero)
{
    float loss[LANES];
    FOR_LANES
    {
        loss[r] = INFINITY;
        scale[r] = INFINITY;
        zero[r] = grid->middle;
    }
    for (int t = 0; t < trials->count; t++)
        FOR_LANES
        {
            bool better = trials->loss[t][r] < loss[r];
            loss[r] = better ? trials->loss[t][r] : loss[r];
            scale[r] = better ? trials->scale[t][r] : scale[r];
            zero[r] = better ? trials->zero[t][r] : zero[r];
        }
    FOR_LANES
    {
        if (trials->low[r] != 0.0f || trials->high[r] != 0.0f) continue;
        scale[r] = 1.0f;
        zero[r] = grid->middle;
    }
}

static void round_tile(const vlmp_grid *grid, int cols, const float *x, const float *scale,
                       const float *zero, uint8_t *codes)
{
    float inverse[LANES];
    FOR_LANES inverse[r] = 1.0f / scale[r];
    for (int c = 0; c < cols; c++)
        FOR_LANES
        {
            float level = vlmp_round_even(
                clamp(x[c * LANES + r] * inverse[r], grid->low - zero[r], grid->high - zero[r]));
            codes[c * LANES + r] = (uint8_t)(int)(level + zero[r]);
        }
}

static void settle(int first, int last, const float *live, const float *target, const float *factor,
                   int ld, float *out)
{
    memcpy(out, live + first * LANES, (size_t)(last - first + 1) * LANES * sizeof *out);
    for (int c = last; c > first; c--) {
        const float *f = factor + (int64_t)c * ld + first;
        lanes e = CONST_AT(target, c) - AT(out, c - first);
        for (int i = 0; i < c - first; i++)
            AT(out, i) += e * f[i];
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
        float d = pivot[c];
        const float *x = live + c * LANES, *w = target + c * LANES;
        FOR_LANES
        {
            float level = vlmp_round_even(clamp(x[r] * inverse[r], least[r], most[r]));
            float value = level * scale[r], miss = x[r] - value;
            codes[c * LANES + r] = (uint8_t)(int)(level + zero[r]);
            loss[r] += d * (miss * miss);
            error[c * LANES + r] = w[r] - value;
        }
        const float *f = factor + (int64_t)c * ld;
        lanes e = AT(error, c);
        for (int i = 0; i < c; i++)
            AT(live, i) += e * f[i];
    }
}

static int descend(const vlmp_grid *grid, int cols, const float *h, int ld, float ridge,
                   const float *scale, float *error, float *slope, float *codes, double *gain)
{
    int changes = 0;
    float inverse[LANES], step[LANES], lower[LANES], total[LANES] = {0};
    FOR_LANES inverse[r] = 1.0f / scale[r];
    for (int c = 0; c < cols; c++) {
        const float *row = h + (int64_t)c * ld;
        float curvature = row[c] + ridge;
        if (!(curvature > 0.0f)) continue;
        float turn = 1.0f / curvature;
        const float *g = slope + c * LANES;
        float *u = codes + c * LANES;
        int moved = 0;
        FOR_LANES
        {
            /* the error's best change is −g/curvature; the weight moves the other way */
            float wish = u[r] + g[r] * turn * inverse[r];
            float next = vlmp_round_even(clamp(wish, grid->low, grid->high));
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
        FOR_LANES total[r] += lower[r];
        lanes by = AT(step, 0);
        AT(error, c) += by;
        for (int i = 0; i < cols; i++)
            AT(slope, i) += by * row[i];
        AT(slope, c) += by * ridge;
    }
    FOR_LANES gain[r] += (double)total[r];
    return changes;
}

/* out [count][LANES] += x [cols][LANES]·h, eight columns at a time in registers. */
static void spread(int cols, int count, const float *h, int ld, const float *change, float *slope)
{
    int i = 0;
    for (; i + 8 <= count; i += 8) {
        lanes a0 = AT(slope, i), a1 = AT(slope, i + 1), a2 = AT(slope, i + 2),
              a3 = AT(slope, i + 3), a4 = AT(slope, i + 4), a5 = AT(slope, i + 5),
              a6 = AT(slope, i + 6), a7 = AT(slope, i + 7);
        for (int c = 0; c < cols; c++) {
            const float *row = h + (int64_t)c * ld + i;
            lanes x = CONST_AT(change, c);
            a0 += x * row[0];
            a1 += x * row[1];
            a2 += x * row[2];
            a3 += x * row[3];
            a4 += x * row[4];
            a5 += x * row[5];
            a6 += x * row[6];
            a7 += x * row[7];
        }
        AT(slope, i) = a0;
        AT(slope, i + 1) = a1;
        AT(slope, i + 2) = a2;
        AT(slope, i + 3) = a3;
        AT(slope, i + 4) = a4;
        AT(slope, i + 5) = a5;
        AT(slope, i + 6) = a6;
        AT(slope, i + 7) = a7;
    }
    for (; i < count; i++)
        for (int c = 0; c < cols; c++)
            AT(slope, i) += CONST_AT(change, c) * h[(int64_t)c * ld + i];
}

/* The decrease of error·H·errorᵀ for a step of `amount` along a direction with these products. */
static inline float decrease(float amount, float linear, float square)
{
    return -amount * (2.0f * linear + amount * square);
}

static int refit_scale(const vlmp_grid *grid, int cols, const float *h, int ld, float ridge,
                       float *scale, const float *zero, float *error, float *slope,
                       const float *codes, double *gain)
{
    float direction[VLMP_BLOCK * LANES] = {0}, hd[VLMP_BLOCK * LANES];
    float linear[LANES] = {0}, square[LANES] = {0}, amount[LANES];
    lanes z = CONST_AT(zero, 0);
    for (int c = 0; c < cols; c++) {
        AT(direction, c) = CONST_AT(codes, c) - z;
        AT(hd, c) = AT(direction, c) * ridge;
    }
    spread(cols, cols, h, ld, direction, hd);
    for (int c = 0; c < cols; c++) {
        AT(linear, 0) += AT(direction, c) * AT(slope, c);
        AT(square, 0) += AT(direction, c) * AT(hd, c);
    }
    int moved = 0;
    FOR_LANES
    {
        /* ŵ = scale·direction, so the error moves by −(change of the scale) */
        amount[r] = 0.0f;
        if (!(square[r] > 0.0f)) continue;
        float next = vlmp_scale_stored(scale[r] + linear[r] / square[r], grid->scales);
        float change = scale[r] - next, fall = decrease(change, linear[r], square[r]);
        if (!(fall > 0.0f) || !isfinite(next)) continue;
        amount[r] = change;
        scale[r] = next;
        gain[r] += (double)fall;
        moved++;
    }
    lanes by = AT(amount, 0);
    for (int c = 0; c < cols && moved > 0; c++) {
        AT(error, c) += by * AT(direction, c);
        AT(slope, c) += by * AT(hd, c);
    }
    return moved;
}

static int refit_zero(const vlmp_grid *grid, int cols, const float *sums, float ridge,
                      const float *scale, float *zero, float *error, float *slope, double *gain)
{
    float linear[LANES] = {0}, amount[LANES], square = ridge * (float)cols;
    for (int c = 0; c < cols; c++) {
        AT(linear, 0) += AT(slope, c);
        square += sums[c];
    }
    if (!(square > 0.0f)) return 0;
    int moved = 0;
    FOR_LANES
    {
        /* a zero higher by one lowers ŵ by the scale: the error rises by it */
        float wish = zero[r] - linear[r] / (square * scale[r]);
        float next = vlmp_round_even(clamp(wish, grid->low, grid->high));
        float change = (next - zero[r]) * scale[r], fall = decrease(change, linear[r], square);
        bool better = fall > 0.0f;
        amount[r] = better ? change : 0.0f;
        zero[r] = better ? next : zero[r];
        gain[r] += better ? (double)fall : 0.0;
        moved += better;
    }
    lanes by = AT(amount, 0);
    for (int c = 0; c < cols && moved > 0; c++) {
        AT(error, c) += by;
        AT(slope, c) += by * (sums[c] + ridge);
    }
    return moved;
}

static int refit(const vlmp_grid *grid, int cols, const float *h, int ld, const float *sums,
                 float ridge, float *scale, float *zero, float *error, float *slope,
                 const float *codes, double *gain)
{
    int moved = 0;
    if (!grid->symmetric)
        moved = refit_zero(grid, cols, sums, ridge, scale, zero, error, slope, gain);
    return moved + refit_scale(grid, cols, h, ld, ridge, scale, zero, error, slope, codes, gain);
}

extern const vlmp_tile_kernels TILE_KERNELS;

const vlmp_tile_kernels TILE_KERNELS = {
    .widen = widen,
    .list = list_trials,
    .losses = losses,
    .pick = pick,
    .round = round_tile,
    .settle = settle,
    .propagate = propagate,
    .descend = descend,
    .refit = refit,
    .spread = spread,
};
