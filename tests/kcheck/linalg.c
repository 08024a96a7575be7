/* Operations of kernels/quant.h on whole matrices. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/quant.h"
#include "tests/kcheck/kcheck.h"

typedef enum {
    MIRROR,
    SCALE,
    UNSCALE,
    DIAGONAL,
    ARRANGE,
    PERMUTE,
    PERMUTE_BACK,
    SAMPLE,
    ADD,
    DOT,
    WEIGHTED,
    FACTOR,
    SOLVE
} operation;

/* One operation: of x, y [n][k], a [k][k], s [k]. */
struct problem {
    operation what;
    int n, k;
    const float *x, *y, *a, *s;
    const int *order;
};

static void run_matrix(const vlmp_quant_ops *ops, vlmp_ctx *ctx, float *out,
                       const struct problem *p)
{
    switch (p->what) {
    case MIRROR:
        ops->mirror(ctx, out, p->k);
        break;
    case SCALE:
    case UNSCALE:
        ops->scale_both(ctx, out, p->k, p->s, p->what == SCALE);
        break;
    case DIAGONAL:
        ops->diagonal(ctx, out, p->a, p->k);
        break;
    case ARRANGE:
        ops->arrange(ctx, out, p->a, p->k, p->order, 0.75f);
        break;
    case PERMUTE:
    case PERMUTE_BACK:
        ops->permute(ctx, out, p->x, p->n, p->k, p->order, p->what == PERMUTE_BACK);
        break;
    case SAMPLE:
        ops->sample_rows(ctx, out, (p->n + 1) / 2, p->x, p->n, p->k);
        break;
    case ADD:
        ops->add_multiple(ctx, out, -0.3f, p->x, (size_t)p->n * (size_t)p->k);
        break;
    default:
        ops->solve(ctx, p->a, p->s, p->k, out, p->n);
        break;
    }
}

enum { GUARD = 16 };
#define GUARD_VALUE 0x1.2345p77f

/* out is a, the pivots, and whether it failed; what is undefined of a becomes 0, all of it where it
 * failed. Room that is not enough for it makes that one infinite. */
static void run_factor(vlmp_ctx *ctx, float *out, const struct problem *p)
{
    size_t side = (size_t)p->k, square = side * side, used = vlmp_factor_room(p->k);
    float *room = kc_need(used + GUARD, sizeof *room), *failed_out = out + square + side;
    int32_t failed = -1;
    for (size_t i = 0; i < GUARD; i++)
        room[used + i] = GUARD_VALUE;
    ctx->ops->quant->factor(ctx, out, p->k, out + square, 0.25f, room, &failed);
    for (size_t i = 0; i < square + side; i++)
        if (failed != 0 || (i < square && i % side >= i / side)) out[i] = 0;
    *failed_out = (float)failed;
    for (size_t i = 0; i < GUARD; i++)
        if (room[used + i] != GUARD_VALUE) *failed_out = INFINITY;
    free(room);
}

/* Sums are one number. */
static void run_problem(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct problem *p = arg;
    const vlmp_quant_ops *ops = ctx->ops->quant;
    double sum = NAN;
    if (p->what == FACTOR) {
        run_factor(ctx, out, p);
    } else if (p->what == DOT || p->what == WEIGHTED) {
        void *room = kc_need(vlmp_sum_room(p->n), 1);
        if (p->what == DOT)
            ops->dot(ctx, &sum, p->x, p->y, p->n, p->k, room);
        else
            ops->weighted_error(ctx, &sum, p->x, p->n, p->k, p->a, p->y, room);
        *out = (float)sum;
        free(room);
    } else {
        run_matrix(ops, ctx, out, p);
    }
}

static const char *begin(kc *k, struct problem *p, const char *name, char *room, size_t bytes)
{
    snprintf(room, bytes, "%s n %d k %d", name, p->n, p->k);
    kc_begin(k, room);
    size_t values = (size_t)p->n * (size_t)p->k, width = (size_t)p->k;
    int *order = kc_input(k, width * sizeof *order);
    p->x = kc_floats(k, values, KC_NORMAL);
    p->y = kc_floats(k, values, KC_OUTLIERS);
    for (int i = 0; i < p->k; i++)
        order[i] = i;
    for (int i = p->k - 1; i > 0; i--) {
        int other = (int)vlmp_rng_below(&k->rng, (uint64_t)i + 1), was = order[i];
        order[i] = order[other];
        order[other] = was;
    }
    p->order = order;
    float *s = kc_floats(k, width, KC_UNIFORM), *a = kc_floats(k, width * width, KC_UNIFORM);
    for (size_t i = 0; i < width; i++)
        s[i] = 1.0f + 0.5f * fabsf(s[i]);
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j < i; j++)
            a[j * width + i] = a[i * width + j];
    p->s = s, p->a = a;
    return room;
}

/* Copies and single roundings: the reference's bits. */
static void check_exact(kc *k, operation what, const char *name, int n, int width)
{
    char room[64];
    struct problem p = {.what = what, .n = n, .k = width};
    begin(k, &p, name, room, sizeof room);
    bool rows = what == PERMUTE || what == PERMUTE_BACK || what == SAMPLE || what == ADD;
    size_t count = (size_t)width * (size_t)(what == DIAGONAL ? 1 : rows ? n : width);
    float *initial = kc_floats(k, count, KC_NORMAL), *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    memcpy(out, initial, count * sizeof *out);
    run_problem(k->reference, out, &p);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){room, run_problem, &p, count, initial, expected, NULL});
    free(out);
    free(expected);
}

/* Terms are exact in double, whose sums err by a unit of 2⁻⁵³ each; a product of weighted_error is
 * an F32 sum of k terms, (k + 4) units; the result is shown as F32. */
static void check_sum(kc *k, operation what, const char *name, int n, int width)
{
    char room[64];
    struct problem p = {.what = what, .n = n, .k = width};
    begin(k, &p, name, room, sizeof room);
    double sum = 0, terms = 0, size = 0;
    for (size_t i = 0; i < (size_t)n * (size_t)width; i++) {
        size_t row = i - i % (size_t)width, column = i % (size_t)width;
        double x = p.x[i], with = (double)p.y[i] * (what == WEIGHTED ? 2 : 1);
        sum += x * with;
        size += fabs(x * with);
        for (size_t j = 0; what == WEIGHTED && j < (size_t)width; j++) {
            double term = x * p.x[row + j] * p.a[j * (size_t)width + column];
            sum += term;
            terms += fabs(term);
        }
    }
    double bound = (width + 4) * KC_UNIT * terms + KC_UNIT * fabs(sum) +
                   2 * (double)n * width * 0x1p-53 * (terms + size) + 0x1p-140;
    kc_check(k, &(kc_case){room, run_problem, &p, 1, NULL, &sum, &bound});
}

/* Runs once for what only its inputs judge, and then for the same bits. */
static float *run_judged(kc *k, const struct problem *p, const char *name, const float *initial,
                         size_t count)
{
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    memcpy(out, initial, count * sizeof *out);
    run_problem(k->contexts[0], out, p);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_problem, p, count, initial, expected, NULL});
    free(expected);
    return out;
}

/* A diagonal that is twice the sum of what is beside it: so is every Schur complement's, M's
 * columns have at most half of 1 beside it, and |M⁻ᵀ|·|Mᵀ| of a block at most 3 in a column. An
 * element of M·diag·Mᵀ errs by (k + 8) units of its terms, and by what inverting the blocks of at
 * most VLMP_BLOCK columns on the diagonal adds: (VLMP_BLOCK + 8) units of 3 times the largest
 * beside the diagonal of a Schur complement, which is at most 1. */
static void judge_factor(kc *k, const char *name, const float *out, const float *a, int width)
{
    const float *pivot = out + (size_t)width * (size_t)width;
    if (pivot[width] != 0) kc_fail(k, name, "a positive definite matrix failed");
    for (int i = 0; i < width; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0, terms = fabs((double)a[i * width + j]);
            for (int l = 0; l <= j; l++) {
                double left = l == i ? 1 : (double)out[i * width + l];
                double right = l == j ? 1 : (double)out[j * width + l];
                sum += left * pivot[l] * right;
                terms += fabs(left * pivot[l] * right);
            }
            double bound = (width + 8) * KC_UNIT * terms + 3 * (VLMP_BLOCK + 8) * KC_UNIT;
            if (!(fabs(sum - a[i * width + j]) <= bound)) {
                kc_fail(k, name, "the factor is not that of the matrix");
                return;
            }
        }
}

static void check_factor(kc *k, int width, int broken)
{
    char room[64];
    struct problem p = {.what = FACTOR, .n = 1, .k = width};
    begin(k, &p, broken < 0 ? "factor" : "factor, broken", room, sizeof room);
    size_t side = (size_t)width, count = side * side + side + 1;
    float *initial = kc_floats(k, count, KC_ZEROS);
    memcpy(initial, p.a, side * side * sizeof *initial);
    for (size_t i = 0; i < side; i++) {
        double beside = 0;
        for (size_t j = 0; j < side; j++)
            beside += j == i ? 0 : fabs((double)p.a[i * side + j]);
        initial[i * side + i] = (float)(1 + 2 * beside);
        for (size_t j = i + 1; j < side; j++)
            initial[i * side + j] = NAN; /* above the diagonal nothing is read */
    }
    if (broken >= 0) initial[broken * width + broken] = -1;
    float *out = run_judged(k, &p, room, initial, count);
    if (broken < 0)
        judge_factor(k, room, out, initial, width);
    else if (out[count - 1] != 1)
        kc_fail(k, room, "a negative pivot did not fail");
    free(out);
}

/* Each of two substitutions and the division between changes the matrix by at most (k + k/16 + 2)
 * units of |M|·diag·|Mᵀ|, sums by blocks of at least 32 columns included. */
static void check_solve(kc *k, int n, int width)
{
    char room[64];
    struct problem p = {.what = SOLVE, .n = n, .k = width};
    begin(k, &p, "solve", room, sizeof room);
    size_t side = (size_t)width, count = (size_t)n * side;
    float *m = kc_floats(k, side * side, KC_UNIFORM);
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j < side; j++)
            m[i * side + j] = j < i ? m[i * side + j] * 0.25f : NAN;
    p.a = m;
    float *out = run_judged(k, &p, room, p.x, count);
    double *z = kc_need(2 * side, sizeof *z), *size = z + side;
    for (int row = 0; row < n; row++) {
        const float *x = out + (size_t)row * side, *t = p.x + (size_t)row * side;
        for (size_t l = 0; l < side; l++) { /* x·M·diag */
            z[l] = x[l], size[l] = fabs((double)x[l]);
            for (size_t i = l + 1; i < side; i++) {
                z[l] += (double)x[i] * m[i * side + l];
                size[l] += fabs((double)x[i] * m[i * side + l]);
            }
            z[l] *= p.s[l], size[l] *= p.s[l];
        }
        for (size_t i = 0; i < side; i++) {
            double sum = z[i], terms = size[i];
            for (size_t l = 0; l < i; l++) {
                sum += z[l] * m[i * side + l];
                terms += size[l] * fabs((double)m[i * side + l]);
            }
            if (!(fabs(sum - t[i]) <= (2.125 * width + 8) * KC_UNIT * terms)) {
                kc_fail(k, room, "what was solved is not the right side");
                row = n;
                break;
            }
        }
    }
    free(out);
    free(z);
}

void kc_check_linalg(kc *k)
{
    static const struct {
        int n, k;
    } shapes[] = {{1, 1}, {3, 33}, {19, 70}, {9, 300}};
    static const struct {
        operation what;
        const char *name;
    } exact[] = {{MIRROR, "mirror"},
                 {SCALE, "scale"},
                 {UNSCALE, "unscale"},
                 {DIAGONAL, "diagonal"},
                 {ARRANGE, "arrange"},
                 {PERMUTE, "permute"},
                 {PERMUTE_BACK, "permute back"},
                 {SAMPLE, "sample"},
                 {ADD, "add"}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t e = 0; e < sizeof exact / sizeof *exact; e++)
            check_exact(k, exact[e].what, exact[e].name, shapes[i].n, shapes[i].k);
        check_sum(k, DOT, "dot", shapes[i].n, shapes[i].k);
        check_sum(k, WEIGHTED, "weighted_error", shapes[i].n, shapes[i].k);
        check_factor(k, shapes[i].k, -1);
        check_factor(k, shapes[i].k, shapes[i].k * 3 / 4);
        check_solve(k, shapes[i].n, shapes[i].k);
    }
}
