/* Operations of kernels/quant.h: equal to the reference where arithmetic is exact, ties included;
 * within derived bounds elsewhere; the same bits at all levels, and on a device those of the
 * processor's best level. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/quant.h"
#include "tests/kcheck/kcheck.h"

enum { GUARD = 64, GUARD_BYTE = 0x5a, MAX_CASES = 256 };

typedef enum { SEARCH, PROPAGATE, DESCEND, CHANNELS } operation;

/* A matrix in the middle of its quantization, and one operation on it. */
struct problem {
    operation what;
    int n, k, group, first, cols;
    bool scales;
    float ridge;
    vlmp_grid grid;
    const float *w;      /* [n][k]: weights, errors or steps */
    const float *gram;   /* [k][k] */
    const float *weight; /* [k] */
    const float *slope;  /* [n][VLMP_BLOCK] */
    const float *start;  /* scales [n][groups] */
    const uint8_t *codes, *zeros;
};

static size_t groups_of(const struct problem *p)
{
    return (size_t)p->n * (size_t)(p->k / p->group);
}

/* Outputs of a run: error [n][k], slope [n][VLMP_BLOCK], codes [n][k], scales and zeros,
 * gain or loss [n]. */
static size_t output_count(const struct problem *p)
{
    return (size_t)p->n * (2 * (size_t)p->k + VLMP_BLOCK + 1) + 2 * groups_of(p);
}

struct state {
    vlmp_coded q;
    float *error, *slope;
    double *sum, *linear, *square;
    int *order;
};

static uint8_t *guarded(const uint8_t *from, size_t bytes)
{
    uint8_t *memory = kc_need(bytes + 2 * GUARD, 1);
    memset(memory, GUARD_BYTE, bytes + 2 * GUARD);
    memcpy(memory + GUARD, from, bytes);
    return memory + GUARD;
}

static bool release(uint8_t *data, size_t bytes)
{
    bool whole = true;
    for (size_t i = 0; i < GUARD; i++)
        whole = whole && data[-(ptrdiff_t)i - 1] == GUARD_BYTE && data[bytes + i] == GUARD_BYTE;
    free(data - GUARD);
    return whole;
}

static void call(vlmp_ctx *ctx, const struct problem *p, struct state *s)
{
    const vlmp_quant_ops *ops = ctx->ops->quant;
    if (p->what == SEARCH) {
        ops->search(ctx, &s->q, &p->grid, &(vlmp_search_job){.w = p->w, .weight = p->weight});
        ops->round(ctx, &s->q, &p->grid, p->w, NULL);
        ops->error(ctx, &s->q, &p->grid, p->w, NULL, s->error);
    } else if (p->what == PROPAGATE) {
        ops->propagate(ctx, &s->q, &p->grid,
                       &(vlmp_propagate_job){.first = p->first,
                                             .cols = p->cols,
                                             .order = s->order,
                                             .target = p->w,
                                             .passed = p->slope,
                                             .factor = p->gram,
                                             .pivot = p->weight,
                                             .searched = !p->scales,
                                             .error = s->error,
                                             .loss = s->sum});
    } else if (p->what == DESCEND) {
        ops->descend(ctx, &s->q, &p->grid,
                     &(vlmp_descend_job){.first = p->first,
                                         .cols = p->cols,
                                         .gram = p->gram,
                                         .ridge = p->ridge,
                                         .codes = true,
                                         .scales = p->scales,
                                         .error = s->error,
                                         .slope = s->slope,
                                         .gain = s->sum});
    } else {
        float *levels = kc_need((size_t)p->n * (size_t)p->k, sizeof *levels);
        ops->levels(ctx, &s->q, &p->grid, levels);
        ops->channel_sums(ctx, &s->q,
                          &(vlmp_channel_sums_job){.first = p->first,
                                                   .cols = p->cols,
                                                   .ridge = p->ridge,
                                                   .levels = levels,
                                                   .curve = p->slope,
                                                   .error = p->w,
                                                   .linear = s->linear,
                                                   .square = s->square});
        ops->channel_move(ctx, &s->q, &p->grid, levels, s->linear, s->square, s->error, s->sum);
        free(levels);
    }
}

static void run_problem(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct problem *p = arg;
    size_t n = (size_t)p->n, values = n * (size_t)p->k, groups = groups_of(p);
    struct state s = {.error = out, .slope = out + values};
    float *codes = s.slope + n * VLMP_BLOCK, *scales = codes + values, *zeros = scales + groups;
    float *sum = zeros + groups;
    double *doubles = kc_need(3 * n, sizeof *doubles);
    s.sum = doubles, s.linear = doubles + n, s.square = doubles + 2 * n;
    s.order = kc_need((size_t)p->k, sizeof *s.order);
    for (int i = 0; i < p->k; i++)
        s.order[i] = (i / p->group) * p->group + (p->group - 1 - i % p->group);
    s.q = (vlmp_coded){.n = p->n, .k = p->k, .group = p->group, .scales = scales};
    s.q.codes = guarded(p->codes, values);
    s.q.zeros = guarded(p->zeros, groups);
    memcpy(s.error, p->w, values * sizeof *s.error);
    memcpy(s.slope, p->slope, n * VLMP_BLOCK * sizeof *s.slope);
    memcpy(scales, p->start, groups * sizeof *scales);
    call(ctx, p, &s);
    for (size_t i = 0; i < values; i++)
        codes[i] = s.q.codes[i];
    for (size_t i = 0; i < groups; i++)
        zeros[i] = s.q.zeros[i];
    for (size_t i = 0; i < n; i++)
        sum[i] = (float)s.sum[i];
    bool whole = release(s.q.codes, values);
    whole = release(s.q.zeros, groups) && whole;
    if (!whole) out[0] = INFINITY; /* differs from whatever is expected */
    free(doubles);
    free(s.order);
}

/* Small whole numbers, so that no sum rounds: halves of scales make ties. */
static void fill_whole(kc *k, float *values, size_t count, int most, float unit)
{
    for (size_t i = 0; i < count; i++)
        values[i] = unit * (float)((int)vlmp_rng_below(&k->rng, (uint64_t)(2 * most + 1)) - most);
}

static void fill_problem(kc *k, struct problem *p, bool whole, kc_kind kind)
{
    size_t values = (size_t)p->n * (size_t)p->k, width = (size_t)p->k, groups = groups_of(p);
    float *w = kc_floats(k, values, kind), *gram = kc_floats(k, width * width, KC_NORMAL);
    float *slope = kc_floats(k, (size_t)p->n * VLMP_BLOCK, KC_NORMAL);
    float *weight = kc_floats(k, width, KC_UNIFORM), *start = kc_floats(k, groups, KC_UNIFORM);
    uint8_t *codes = kc_bytes(k, values), *zeros = kc_bytes(k, groups);
    if (whole) {
        fill_whole(k, w, values, 16, 0.5f);
        fill_whole(k, gram, width * width, 2, 1);
        fill_whole(k, slope, (size_t)p->n * VLMP_BLOCK, 12, 0.5f);
    }
    for (size_t i = 0; i < width; i++) {
        for (size_t j = 0; j < i; j++)
            gram[j * width + i] = gram[i * width + j];
        gram[i * width + i] = i % 7 == 5 ? 0 : whole ? (float)(8 << i % 3) : 30;
        weight[i] = whole ? 1 : fabsf(weight[i]);
    }
    for (size_t i = 0; i < groups; i++) {
        start[i] = whole ? 1 : 0.0625f + fabsf(start[i]);
        zeros[i] = p->grid.symmetric ? (uint8_t)p->grid.middle : zeros[i] % 16;
    }
    int bits = p->grid.floats.mantissa != 0 ? p->grid.floats.bits : 0;
    for (size_t i = 0; i < values; i++) {
        codes[i] &= bits == 8 ? 0xf7 : 0x0f;                        /* no NaN */
        if (bits != 0 && codes[i] == 1 << (bits - 1)) codes[i] = 0; /* no −0 */
    }
    for (size_t i = p->n > 1 ? width : 0; i < 2 * width && p->n > 1; i++)
        w[i] = w[i - width]; /* equal rows */
    p->w = w, p->gram = gram, p->slope = slope, p->weight = weight, p->start = start;
    p->codes = codes, p->zeros = zeros;
}

/* Bits that the first level gave; by case. */
static struct {
    char name[96];
    uint64_t hash;
} seen[MAX_CASES];

static void compare_levels(kc *k, const char *name, const float *out, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const unsigned char *bytes = (const unsigned char *)out;
    for (size_t i = 0; i < count * sizeof *out; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    for (int i = 0; i < MAX_CASES; i++) {
        if (seen[i].name[0] == 0) {
            snprintf(seen[i].name, sizeof seen[i].name, "%s", name);
            seen[i].hash = hash;
        }
        if (strcmp(seen[i].name, name) != 0) continue;
        if (seen[i].hash != hash) kc_fail(k, name, "another level gives other bits");
        return;
    }
    kc_fail(k, name, "more cases than MAX_CASES");
}

/* The chosen scale's loss in double is at most the reference's and what F32 sums of cols terms can
 * hide: (cols + 4) units each of a term's (x² + ŵ²). */
static void judge_search(kc *k, const char *name, const struct problem *p, const float *out,
                         const float *wanted)
{
    for (size_t row = 0; row < (size_t)p->n; row++)
        for (int first = 0; first < p->k; first += p->group) {
            double loss[2] = {0, 0}, slack = 0x1p-140;
            for (int c = first; c < first + p->group; c++) {
                size_t at = row * (size_t)p->k + (size_t)c;
                double e = out[at], r = wanted[at], x = p->w[at];
                loss[0] += p->weight[c] * e * e;
                loss[1] += p->weight[c] * r * r;
                slack += 2 * (p->group + 4) * KC_UNIT * p->weight[c] *
                         (x * x + (x - e) * (x - e) + (x - r) * (x - r));
            }
            if (!(loss[0] <= loss[1] + slack)) {
                kc_fail(k, name, "a scale is worse than the reference's");
                return;
            }
        }
}

/* error·(gram + ridge·I)·errorᵀ of the block falls by the gain, and slopes are what the errors say:
 * every slope takes at most 3·cols roundings (a move of each code, zero and scale), each within a
 * unit of T = Σ|e|·|H|. Beside the block nothing matters: its slope starts as error·H of it. */
static void judge_descent(kc *k, const char *name, const struct problem *p, const float *out)
{
    size_t n = (size_t)p->n, width = (size_t)p->k;
    const float *error = out, *slope = out + n * width;
    const float *gain = out + output_count(p) - n;
    for (size_t row = 0; row < n; row++) {
        double before = 0, after = 0, slack = 0x1p-140;
        for (int a = 0; a < p->cols; a++) {
            double was = 0, is = 0, size = 0;
            size_t at = row * width + (size_t)(p->first + a);
            for (int b = 0; b < p->cols; b++) {
                size_t other = row * width + (size_t)(p->first + b);
                double h = p->gram[(size_t)(p->first + a) * width + (size_t)(p->first + b)] +
                           (a == b ? p->ridge : 0);
                was += p->w[other] * h;
                is += error[other] * h;
                size += fabs(h) * (fabs((double)p->w[other]) + fabs((double)error[other]));
            }
            double bound = (3 * p->cols + 8) * KC_UNIT * size;
            double moved =
                slope[row * VLMP_BLOCK + (size_t)a] -
                ((double)p->slope[row * VLMP_BLOCK + (size_t)a] + (double)p->ridge * p->w[at]);
            if (!(fabs(moved - (is - was)) <=
                  4 * bound + 4 * KC_UNIT * fabs((double)p->slope[row * VLMP_BLOCK + (size_t)a])))
                kc_fail(k, name, "a slope is not that of the errors");
            double start = p->slope[row * VLMP_BLOCK + (size_t)a] + (double)p->ridge * p->w[at];
            before += 2 * (start - was) * p->w[at] + was * p->w[at];
            after += 2 * (start - was) * error[at] + is * error[at];
            slack += 8 * bound * (fabs((double)p->w[at]) + fabs((double)error[at])) +
                     (3 * p->cols + 8) * KC_UNIT * 4 * fabs(start - was) *
                         (fabs((double)p->w[at]) + fabs((double)error[at]));
        }
        if (!(gain[row] >= 0) || !(fabs(before - after - gain[row]) <= slack))
            kc_fail(k, name, "the gain is not what the error lost");
    }
}

static void check(kc *k, struct problem p, bool whole, kc_kind kind)
{
    static const char *const names[] = {"search", "propagate", "descend", "channels"};
    char name[96];
    snprintf(name, sizeof name, "%s n %d k %d group %d %s %s", names[p.what], p.n, p.k, p.group,
             p.grid.floats.bits == 8   ? "E4M3"
             : p.grid.floats.bits == 4 ? "E2M1"
             : p.grid.symmetric        ? "symmetric"
                                       : "asymmetric",
             whole ? "whole" : kc_kind_name(kind));
    kc_begin(k, name);
    fill_problem(k, &p, whole, kind);
    size_t count = output_count(&p);
    float *initial = kc_need(count, sizeof *initial), *wanted = kc_need(count, sizeof *wanted);
    double *expected = kc_need(count, sizeof *expected);
    run_problem(k->reference, wanted, &p);
    run_problem(k->contexts[0], initial, &p);
    bool exact = whole || p.what == CHANNELS;
    for (size_t i = 0; i < count; i++)
        expected[i] = exact ? wanted[i] : initial[i];
    kc_check(k, &(kc_case){name, run_problem, &p, count, NULL, expected, NULL});
    if (!whole && p.what == SEARCH) judge_search(k, name, &p, initial, wanted);
    if (!whole && p.what == DESCEND) judge_descent(k, name, &p, initial);
    if (k->processor != NULL) {
        run_problem(k->processor, wanted, &p);
        compare_levels(k, name, wanted, count);
    }
    compare_levels(k, name, initial, count);
    free(initial);
    free(wanted);
    free(expected);
}

void kc_check_quant(kc *k)
{
    static const struct {
        int n, k, group, first, cols;
    } shapes[] = {
        {1, 1, 1, 0, 1}, {17, 35, 7, 7, 21}, {33, 160, 32, 32, 96}, {5, 300, 300, 0, 128}};
    static const vlmp_grid grids[] = {
        {.high = 15, .middle = 8, .span = 15, .scales = VLMP_F16, .global_scale = 1},
        {.high = 15,
         .middle = 8,
         .span = 15,
         .symmetric = true,
         .scales = VLMP_F16,
         .global_scale = 1},
        {.low = -6,
         .high = 6,
         .span = 8,
         .floats = {.bits = 4, .mantissa = 1, .bias = 1, .largest = 6},
         .symmetric = true,
         .scales = VLMP_F8_E8M0,
         .global_scale = 1},
        {.low = -448,
         .high = 448,
         .span = 896,
         .floats = {.bits = 8, .mantissa = 3, .bias = 7, .largest = 448},
         .symmetric = true,
         .scales = VLMP_F8_E4M3,
         .global_scale = 0x1p-6f}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
            bool exact = grids[g].floats.bits != 8; /* the steps of whole numbers suffice */
            bool wide = shapes[i].group > VLMP_BLOCK;
            struct problem p = {.n = shapes[i].n,
                                .k = shapes[i].k,
                                .group = shapes[i].group,
                                .first = shapes[i].first,
                                .cols = shapes[i].cols,
                                .grid = grids[g]};
            p.what = PROPAGATE;
            if (exact) check(k, p, true, KC_UNIFORM);
            p.scales = !wide;
            check(k, p, false, KC_OUTLIERS);
            p.what = DESCEND;
            p.ridge = 0.5f;
            check(k, p, false, KC_NORMAL);
            p.scales = false, p.ridge = 0;
            if (exact) check(k, p, true, KC_UNIFORM);
            p.what = SEARCH;
            p.grid.candidates = 16, p.grid.zero_moves = 1;
            p.grid.shrink_from = 0.65f, p.grid.shrink_to = 1.1f;
            for (kc_kind kind = KC_NORMAL; kind <= KC_TINY; kind++)
                if (i == 2 || kind == KC_ZEROS) check(k, p, false, kind);
            if (!wide) continue;
            p.what = CHANNELS, p.grid.scales = VLMP_F32, p.ridge = 0.25f;
            check(k, p, false, KC_NORMAL);
        }
}
