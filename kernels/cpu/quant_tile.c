/* Built once a level with TILE_KERNELS naming the table (meson.build). */
#include "kernels/cpu/quant_tile.h"

#include <math.h>
#include <string.h>

#include "src/base/packed_parts.h"

#define LANES     VLMP_LANES
#define FOR_LANES for (int r = 0; r < LANES; r++)

/* A register of the processor: GCC makes slow code of wider vectors, and compilers left to
 * themselves vectorize some of these loops over columns and pay with permutations. `spread` sums
 * COLUMNS × STRIPE of them. Any alignment; never passed by value: the calling convention differs
 * between instruction sets. */
#if defined(__AVX512F__)
enum { WIDTH = 16, STRIPE = 1, COLUMNS = 8 };
#elif defined(__AVX__)
enum { WIDTH = 8, STRIPE = 2, COLUMNS = 4 };
#else
enum { WIDTH = 4, STRIPE = 2, COLUMNS = 4 };
#endif
typedef float vector __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

enum { VECTORS = LANES / WIDTH }; /* of a column */

#define FOR_VECTORS            for (int v = 0; v < VECTORS; v++)
#define AT(p, column, v)       (*(vector *)((p) + (size_t)(column)*LANES + (v)*WIDTH))
#define CONST_AT(p, column, v) (*(const vector *)((p) + (size_t)(column)*LANES + (v)*WIDTH))

static inline float clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* Loops that round are built for integers and for floats. */
static inline float nearest(const vlmp_minifloat *form, float x, float least, float most,
                            const bool floats)
{
    if (floats) return vlmp_minifloat_round(form, x);
    return vlmp_round_even(clamp(x, least, most));
}

static inline uint8_t code_of(const vlmp_minifloat *form, float level, float zero,
                              const bool floats)
{
    if (floats) return (uint8_t)vlmp_minifloat_code(form, level);
    return (uint8_t)(int)(level + zero);
}

/* loss[lane] += Σ weight·(x − ŵ)² */
static inline void trial_loss(const vlmp_grid *grid, int cols, const float *restrict x,
                              const float *restrict weight, const float *restrict scale,
                              const float *restrict zero, float *restrict loss, const bool floats)
{
    const vlmp_minifloat form = grid->floats;
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
            float level = nearest(&form, xi[r] * inverse[r], least[r], most[r], floats);
            float e = xi[r] - level * step[r];
            sum[r] += w * (e * e);
        }
    }
    memcpy(loss, sum, sizeof sum);
}

static void losses(const vlmp_grid *grid, int cols, const float *x, const float *weight,
                   vlmp_trials *trials)
{
    for (int t = 0; t < trials->count; t++) {
        if (grid->floats.mantissa != 0)
            trial_loss(grid, cols, x, weight, trials->scale[t], trials->zero[t], trials->loss[t],
                       true);
        else
            trial_loss(grid, cols, x, weight, trials->scale[t], trials->zero[t], trials->loss[t],
                       false);
    }
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
        scale[r] = vlmp_grid_scale(grid, range / grid->span * factor);
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
        scale[r] = vlmp_grid_scale(grid, 1.0f);
        zero[r] = grid->middle;
    }
}

static inline void round_codes(const vlmp_grid *grid, int cols, const float *x, const float *scale,
                               const float *zero, uint8_t *codes, const bool floats)
{
    const vlmp_minifloat form = grid->floats;
    float inverse[LANES];
    FOR_LANES inverse[r] = 1.0f / scale[r];
    for (int c = 0; c < cols; c++)
        FOR_LANES
        {
            float level = nearest(&form, x[c * LANES + r] * inverse[r], grid->low - zero[r],
                                  grid->high - zero[r], floats);
            codes[c * LANES + r] = code_of(&form, level, zero[r], floats);
        }
}

static void round_tile(const vlmp_grid *grid, int cols, const float *x, const float *scale,
                       const float *zero, uint8_t *codes)
{
    if (grid->floats.mantissa != 0)
        round_codes(grid, cols, x, scale, zero, codes, true);
    else
        round_codes(grid, cols, x, scale, zero, codes, false);
}

/* columns [count][LANES] += by[column]·x [LANES]. */
static inline void add_multiples(float *columns, int count, const float *by, const float *x)
{
    vector all[VECTORS];
    FOR_VECTORS
        all[v] = CONST_AT(x, 0, v);
    for (int i = 0; i < count; i++)
        FOR_VECTORS
            AT(columns, i, v) += all[v] * by[i];
}

static void settle(int first, int last, const float *live, const float *target, const float *factor,
                   int ld, float *out)
{
    memcpy(out, live + first * LANES, (size_t)(last - first + 1) * LANES * sizeof *out);
    for (int c = last; c > first; c--) {
        float shift[LANES];
        FOR_LANES shift[r] = target[c * LANES + r] - out[(c - first) * LANES + r];
        add_multiples(out, c - first, factor + (int64_t)c * ld + first, shift);
    }
}

static inline void propagate_codes(const vlmp_grid *grid, int first, int last, float *live,
                                   const float *target, const float *factor, int ld,
                                   const float *pivot, const float *scale, const float *zero,
                                   float *error, uint8_t *codes, float *loss, const bool floats)
{
    const vlmp_minifloat form = grid->floats;
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
            float level = nearest(&form, x[r] * inverse[r], least[r], most[r], floats);
            float value = level * scale[r], miss = x[r] - value;
            codes[c * LANES + r] = code_of(&form, level, zero[r], floats);
            loss[r] += d * (miss * miss);
            error[c * LANES + r] = w[r] - value;
        }
        add_multiples(live, c, factor + (int64_t)c * ld, error + c * LANES);
    }
}

static void propagate(const vlmp_grid *grid, int first, int last, float *live, const float *target,
                      const float *factor, int ld, const float *pivot, const float *scale,
                      const float *zero, float *error, uint8_t *codes, float *loss)
{
    if (grid->floats.mantissa != 0)
        propagate_codes(grid, first, last, live, target, factor, ld, pivot, scale, zero, error,
                        codes, loss, true);
    else
        propagate_codes(grid, first, last, live, target, factor, ld, pivot, scale, zero, error,
                        codes, loss, false);
}

static inline int descend_codes(const vlmp_grid *grid, int cols, const float *h, int ld,
                                float ridge, const float *scale, float *error, float *slope,
                                float *codes, double *gain, const bool floats)
{
    const vlmp_minifloat form = grid->floats;
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
            float next = nearest(&form, wish, grid->low, grid->high, floats);
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
        add_multiples(slope, cols, row, step);
        FOR_LANES
        {
            total[r] += lower[r];
            error[c * LANES + r] += step[r];
            slope[c * LANES + r] += step[r] * ridge;
        }
    }
    FOR_LANES gain[r] += (double)total[r];
    return changes;
}

static int descend(const vlmp_grid *grid, int cols, const float *h, int ld, float ridge,
                   const float *scale, float *error, float *slope, float *codes, double *gain)
{
    if (grid->floats.mantissa != 0)
        return descend_codes(grid, cols, h, ld, ridge, scale, error, slope, codes, gain, true);
    return descend_codes(grid, cols, h, ld, ridge, scale, error, slope, codes, gain, false);
}

/* slope [COLUMNS][LANES] += change [cols][LANES]·h, for the lanes of STRIPE vectors. */
static inline void spread_stripe(int cols, const float *h, int ld, const float *change,
                                 float *slope)
{
    vector sums[COLUMNS][STRIPE];
    for (int i = 0; i < COLUMNS; i++)
        for (int v = 0; v < STRIPE; v++)
            sums[i][v] = AT(slope, i, v);
    for (int c = 0; c < cols; c++)
        for (int i = 0; i < COLUMNS; i++)
            for (int v = 0; v < STRIPE; v++)
                sums[i][v] += CONST_AT(change, c, v) * h[(int64_t)c * ld + i];
    for (int i = 0; i < COLUMNS; i++)
        for (int v = 0; v < STRIPE; v++)
            AT(slope, i, v) = sums[i][v];
}

static void spread(int cols, int count, const float *h, int ld, const float *change, float *slope)
{
    int i = 0;
    for (; i + COLUMNS <= count; i += COLUMNS)
        for (int r = 0; r < LANES; r += STRIPE * WIDTH)
            spread_stripe(cols, h + i, ld, change + r, slope + i * LANES + r);
    for (; i < count; i++)
        for (int c = 0; c < cols; c++)
            FOR_VECTORS
                AT(slope, i, v) += CONST_AT(change, c, v) * h[(int64_t)c * ld + i];
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
    for (int c = 0; c < cols; c++)
        FOR_VECTORS {
            AT(direction, c, v) = CONST_AT(codes, c, v) - CONST_AT(zero, 0, v);
            AT(hd, c, v) = AT(direction, c, v) * ridge;
        }
    spread(cols, cols, h, ld, direction, hd);
    for (int c = 0; c < cols; c++)
        FOR_VECTORS {
            AT(linear, 0, v) += AT(direction, c, v) * AT(slope, c, v);
            AT(square, 0, v) += AT(direction, c, v) * AT(hd, c, v);
        }
    int moved = 0;
    FOR_LANES
    {
        /* ŵ = scale·direction, so the error moves by −(change of the scale) */
        amount[r] = 0.0f;
        if (!(square[r] > 0.0f)) continue;
        float next = vlmp_grid_scale(grid, scale[r] + linear[r] / square[r]);
        float change = scale[r] - next, fall = decrease(change, linear[r], square[r]);
        if (!(fall > 0.0f) || !isfinite(next)) continue;
        amount[r] = change;
        scale[r] = next;
        gain[r] += (double)fall;
        moved++;
    }
    for (int c = 0; c < cols && moved > 0; c++)
        FOR_VECTORS {
            AT(error, c, v) += AT(amount, 0, v) * AT(direction, c, v);
            AT(slope, c, v) += AT(amount, 0, v) * AT(hd, c, v);
        }
    return moved;
}

static int refit_zero(const vlmp_grid *grid, int cols, const float *sums, float ridge,
                      const float *scale, float *zero, float *error, float *slope, double *gain)
{
    float linear[LANES] = {0}, amount[LANES], square = ridge * (float)cols;
    for (int c = 0; c < cols; c++) {
        FOR_VECTORS
            AT(linear, 0, v) += AT(slope, c, v);
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
    for (int c = 0; c < cols && moved > 0; c++)
        FOR_VECTORS {
            AT(error, c, v) += AT(amount, 0, v);
            AT(slope, c, v) += AT(amount, 0, v) * (sums[c] + ridge);
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
