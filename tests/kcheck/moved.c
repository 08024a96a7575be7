/* Rows moved and measured. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "tests/kcheck/kcheck.h"

struct moved {
    const float *x, *table;
    const int32_t *from, *to;
    const float *weights; /* NULL: 1 */
    int rows, dim, period, y_dim, column;
    bool add;
};

static vlmp_i32 indices(const int32_t *values)
{
    return (vlmp_i32){(int32_t *)(uintptr_t)values};
}

static void run_repeat(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct moved *m = arg;
    ctx->ops->repeat(ctx, kc_f32(out), kc_f32(m->table), m->rows, m->period, m->dim);
}

static void run_gather(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct moved *m = arg;
    ctx->ops->gather(ctx, kc_act(out), m->y_dim, m->column, kc_f32(m->x), m->dim, indices(m->from),
                     m->rows);
}

static void run_scatter(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct moved *m = arg;
    ctx->ops->scatter(ctx, kc_f32(out), indices(m->to), kc_act(m->x), indices(m->from),
                      kc_f32(m->weights), m->rows, m->dim, m->add);
}

/* All of them copy, multiply or add once: exact, and what does both is rounded as F32 twice. What
 * is not written stays. */
static void check_rows(kc *k, int rows, int dim)
{
    enum { PERIOD = 3, SOURCES = 5, COLUMN = 2, WIDER = 7 };
    char name[64];
    snprintf(name, sizeof name, "moved rows %d dim %d", rows, dim);
    kc_begin(k, name);
    size_t width = (size_t)dim, wide = width + WIDER, count = (size_t)rows * wide;
    struct moved m = {.rows = rows,
                      .dim = dim,
                      .period = PERIOD,
                      .y_dim = dim + WIDER,
                      .column = COLUMN,
                      .x = kc_floats(k, SOURCES * width, KC_NORMAL),
                      .table = kc_floats(k, PERIOD * width, KC_NORMAL)};
    int32_t *from = kc_input(k, (size_t)rows * sizeof *from);
    int32_t *to = kc_input(k, (size_t)rows * sizeof *to);
    float *initial = kc_floats(k, count, KC_OUTLIERS);
    double *expected = kc_need(count + 1, sizeof *expected);
    for (int i = 0; i < rows; i++) {
        from[i] = (int32_t)vlmp_rng_below(&k->rng, SOURCES);
        to[i] = rows - 1 - i;
    }
    m.from = from, m.to = to;
    for (size_t i = 0; i < (size_t)rows * width; i++)
        expected[i] = m.table[i / width % PERIOD * width + i % width];
    kc_check(k,
             &(kc_case){"repeat", run_repeat, &m, (size_t)rows * width, initial, expected, NULL});
    for (size_t i = 0; i < count; i++) {
        size_t column = i % wide;
        bool written = column >= COLUMN && column < COLUMN + width;
        expected[i] = written ? m.x[(size_t)from[i / wide] * width + column - COLUMN] : initial[i];
    }
    kc_check(k, &(kc_case){"gather", run_gather, &m, count, initial, expected, NULL});
    const float *weights = kc_floats(k, (size_t)rows, KC_NORMAL);
    for (int kind = 0; kind < 4; kind++) {
        m.add = kind % 2 != 0;
        m.weights = kind < 2 ? NULL : weights;
        for (size_t i = 0; i < (size_t)rows * width; i++) {
            int row = rows - 1 - (int)(i / width);
            float value = m.x[(size_t)from[row] * width + i % width];
            if (m.weights != NULL) value *= weights[row];
            expected[i] = m.add ? initial[i] + value : value;
        }
        kc_check(k, &(kc_case){"scatter", run_scatter, &m, (size_t)rows * width, initial, expected,
                               NULL});
    }
    free(expected);
}

struct picture {
    const uint8_t *pixels;
    const float *levels;
    int height, width, patch;
};

static void run_patchify(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct picture *p = arg;
    vlmp_u8 pixels = {(uint8_t *)(uintptr_t)p->pixels};
    ctx->ops->patchify(ctx, kc_act(out), pixels, p->height, p->width, p->patch, kc_f32(p->levels));
}

static void check_patchify(kc *k, int height, int width, int patch)
{
    char name[64];
    snprintf(name, sizeof name, "patchify %d x %d patch %d", height, width, patch);
    kc_begin(k, name);
    int across = width / patch, down = height / patch, row_values = 3 * patch * patch;
    size_t count = (size_t)(across * down) * (size_t)row_values;
    struct picture p = {kc_bytes(k, (size_t)height * (size_t)width * 3),
                        kc_floats(k, 3 * 256, KC_NORMAL), height, width, patch};
    double *expected = kc_need(count + 1, sizeof *expected);
    for (int y = 0; y < down * patch; y++)
        for (int x = 0; x < across * patch; x++)
            for (int c = 0; c < 3; c++) {
                int row = y / patch * across + x / patch;
                int at = (c * patch + y % patch) * patch + x % patch;
                uint8_t byte = p.pixels[(y * width + x) * 3 + c];
                expected[row * row_values + at] = p.levels[c * 256 + byte];
            }
    kc_check(k, &(kc_case){name, run_patchify, &p, count, NULL, expected, NULL});
    free(expected);
}

struct columns {
    const float *x;
    int dim, x_dim, column, rows;
};

static void run_columns(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct columns *a = arg;
    ctx->ops->columns(ctx, kc_act(out), kc_act(a->x), a->rows, a->x_dim, a->column, a->dim);
}

static void check_columns(kc *k, int rows, int x_dim, int column, int dim)
{
    char name[64];
    snprintf(name, sizeof name, "columns %d, %d of %d, rows %d", column, dim, x_dim, rows);
    kc_begin(k, name);
    size_t count = (size_t)rows * (size_t)dim;
    struct columns a = {kc_floats(k, (size_t)rows * (size_t)x_dim, KC_NORMAL), dim, x_dim, column,
                        rows};
    double *expected = kc_need(count + 1, sizeof *expected);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < dim; j++)
            expected[i * dim + j] = a.x[i * x_dim + column + j];
    kc_check(k, &(kc_case){name, run_columns, &a, count, NULL, expected, NULL});
    free(expected);
}

void kc_check_moved(kc *k)
{
    check_rows(k, 0, 4);
    check_rows(k, 1, 1);
    check_rows(k, 13, 9);
    check_rows(k, 70, 64);
    check_columns(k, 0, 6, 2, 2);
    check_columns(k, 5, 9, 0, 3);
    check_columns(k, 13, 96, 64, 32);
    check_patchify(k, 4, 4, 4);
    check_patchify(k, 12, 21, 3);
    check_patchify(k, 29, 43, 14);
}

struct searched {
    const float *x;
    size_t count;
    bool act;
};

/* The answer, as a float that a comparison of bits can see. */
static void run_search(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct searched *s = arg;
    int32_t at = -1;
    vlmp_i32 found = {&at};
    if (s->act)
        ctx->ops->first_not_finite(ctx, found, kc_act(s->x), s->count);
    else
        ctx->ops->first_not_finite_f32(ctx, found, kc_f32(s->x), s->count);
    out[0] = (float)at;
}

static void check_search(kc *k, size_t count, size_t at, float poison)
{
    char name[64];
    snprintf(name, sizeof name, "first_not_finite %g at %zu of %zu", (double)poison, at, count);
    kc_begin(k, name);
    float *x = kc_floats(k, count, KC_OUTLIERS);
    if (at < count) x[at] = poison;
    if (at + 3 < count) x[at + 3] = -INFINITY;
    double expected = (double)at;
    for (int act = 0; act < 2; act++) {
        struct searched s = {x, count, act != 0};
        kc_check(k, &(kc_case){name, run_search, &s, 1, NULL, &expected, NULL});
    }
}

struct sizes {
    const float *x;
    const int32_t *kinds;
    int rows, dim;
    const double *sum;
    bool act; /* x is activations */
};

enum { KINDS = 2 };

/* Largest values and, behind them, the sums of sizes and of squares as F32. */
static void run_sizes(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct sizes *s = arg;
    size_t values = KINDS * (size_t)s->dim;
    double *sum = kc_need(2 * values, sizeof *sum);
    memcpy(sum, s->sum, 2 * values * sizeof *sum);
    vlmp_f64 sizes = {sum}, squares = {sum + values};
    if (s->act)
        ctx->ops->column_sizes(ctx, sizes, squares, kc_f32(out), kc_act(s->x), s->rows, s->dim,
                               indices(s->kinds));
    else
        ctx->ops->column_sizes_f32(ctx, sizes, squares, kc_f32(out), kc_f32(s->x), s->rows, s->dim,
                                   indices(s->kinds));
    for (size_t i = 0; i < 2 * values; i++)
        out[values + i] = (float)sum[i];
    free(sum);
}

static void check_sizes(kc *k, int rows, int dim)
{
    char name[64];
    snprintf(name, sizeof name, "column_sizes rows %d dim %d", rows, dim);
    kc_begin(k, name);
    size_t values = KINDS * (size_t)dim;
    double *sum = kc_input(k, 2 * values * sizeof *sum);
    double *expected = kc_need(3 * values, sizeof *expected);
    int32_t *kinds = kc_input(k, (size_t)rows * sizeof *kinds);
    float *initial = kc_floats(k, 3 * values, KC_ZEROS);
    struct sizes s = {
        .x = kc_floats(k, (size_t)rows * (size_t)dim, KC_OUTLIERS), .rows = rows, .dim = dim};
    for (size_t i = 0; i < values; i++) {
        initial[i] = initial[values + i] = initial[2 * values + i] = 0;
        sum[i] = expected[values + i] = vlmp_rng_uniform(&k->rng);
        sum[values + i] = expected[2 * values + i] = vlmp_rng_uniform(&k->rng);
    }
    for (int r = 0; r < rows; r++) {
        kinds[r] = (int32_t)vlmp_rng_below(&k->rng, KINDS + 1) - 1;
        for (int j = 0; j < dim && kinds[r] >= 0; j++) {
            size_t at = (size_t)(kinds[r] * dim + j);
            double size = fabs((double)s.x[r * dim + j]);
            expected[at] = fmax(expected[at], size);
            expected[values + at] += size;
            expected[2 * values + at] += size * size;
        }
    }
    /* What is compared is the double rounded to F32. */
    double *bound = kc_need(3 * values, sizeof *bound);
    for (size_t i = values; i < 3 * values; i++)
        bound[i] = KC_UNIT * expected[i];
    s.kinds = kinds, s.sum = sum;
    for (int act = 0; act < 2; act++) {
        s.act = act != 0;
        kc_check(k, &(kc_case){name, run_sizes, &s, 3 * values, initial, expected, bound});
    }
    free(expected);
    free(bound);
}

struct scored {
    const float *q, *p;
    const int32_t *targets;
    int rows, vocab, q_stride, p_stride;
};

enum { MEASURES = 6 };

static void run_measure(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct scored *s = arg;
    vlmp_token_measure *m = kc_need((size_t)s->rows + 1, sizeof *m);
    ctx->ops->measure(ctx, (vlmp_measures){m}, kc_f32(s->q), (size_t)s->q_stride, kc_f32(s->p),
                      (size_t)s->p_stride, s->vocab, indices(s->targets), s->rows);
    for (int i = 0; i < s->rows; i++, out += MEASURES) {
        const float values[MEASURES] = {
            (float)m[i].nll,  (float)m[i].reference_nll,  (float)m[i].kl,
            (float)m[i].best, (float)m[i].reference_best, m[i].bad + m[i].reference_bad};
        memcpy(out, values, sizeof values);
    }
    free(m);
}

/* The same double sums in another implementation may differ by (vocab + 8)·2⁻⁵³ of them, far below
 * an F32's rounding: one unit of the result. */
static void check_measure(kc *k, int rows, int vocab, bool reference, float poison)
{
    char name[96];
    snprintf(name, sizeof name, "measure rows %d vocab %d%s%s", rows, vocab,
             reference ? " reference" : "", poison != 0 ? " poisoned" : "");
    kc_begin(k, name);
    struct scored s = {.rows = rows, .vocab = vocab, .q_stride = vocab + 3, .p_stride = vocab};
    float *q = kc_floats(k, (size_t)rows * (size_t)s.q_stride, KC_OUTLIERS);
    int32_t *targets = kc_input(k, (size_t)rows * sizeof *targets);
    for (int i = 0; i < rows; i++) {
        targets[i] = (int32_t)vlmp_rng_below(&k->rng, (uint64_t)vocab);
        q[i * s.q_stride + vocab] = INFINITY; /* beyond the vocabulary */
    }
    if (poison != 0) q[(rows - 1) * s.q_stride + vocab / 2] = poison;
    s.q = q, s.targets = targets;
    if (reference) s.p = kc_floats(k, (size_t)rows * (size_t)vocab, KC_NORMAL);
    size_t count = (size_t)rows * MEASURES;
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    double *bound = kc_need(count, sizeof *bound);
    run_measure(k->reference, out, &s);
    for (size_t i = 0; i < count; i++) {
        expected[i] = out[i];
        bound[i] = i % MEASURES < 3 ? 2 * KC_UNIT * fabs(expected[i]) + 0x1p-50 : 0;
    }
    kc_check(k, &(kc_case){name, run_measure, &s, count, NULL, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

static void run_argmax(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct scored *s = arg;
    int32_t *best = kc_need((size_t)s->rows, sizeof *best);
    ctx->ops->argmax(ctx, (vlmp_i32){best}, kc_f32(s->q), s->rows, s->vocab);
    for (int i = 0; i < s->rows; i++)
        out[i] = (float)best[i];
    free(best);
}

/* Ties go to the first. */
static void check_argmax(kc *k, int rows, int n)
{
    char name[64];
    snprintf(name, sizeof name, "argmax rows %d n %d", rows, n);
    kc_begin(k, name);
    float *x = kc_floats(k, (size_t)rows * (size_t)n, KC_NORMAL);
    double *expected = kc_need((size_t)rows, sizeof *expected);
    for (int i = 0; i < rows; i++) {
        int first = (int)vlmp_rng_below(&k->rng, (uint64_t)n);
        x[i * n + first] = 100;
        if (first < n - 1) x[i * n + n - 1] = 100;
        expected[i] = first;
    }
    struct scored s = {.q = x, .rows = rows, .vocab = n};
    kc_check(k, &(kc_case){name, run_argmax, &s, (size_t)rows, NULL, expected, NULL});
    free(expected);
}

void kc_check_measures(kc *k)
{
    check_search(k, 1, 0, NAN);
    check_search(k, 100, 100, 0);
    check_search(k, 1003, 1002, INFINITY);
    check_search(k, 1003, 17, NAN);
    check_sizes(k, 0, 3);
    check_sizes(k, 37, 65);
    for (int reference = 0; reference < 2; reference++) {
        check_measure(k, 1, 1, reference != 0, 0);
        check_measure(k, 5, 257, reference != 0, 0);
        check_measure(k, 3, 64, reference != 0, INFINITY);
    }
    check_argmax(k, 1, 1);
    check_argmax(k, 9, 300);
}
