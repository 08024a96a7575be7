/* Norms, activations, element-wise operations, rotary embedding. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "tests/kcheck/kcheck.h"

static const int dims[] = {1, 2, 7, 16, 31, 64, 65, 127, 576, 1000};

enum { DIMS = sizeof dims / sizeof *dims };

struct norm {
    const float *x, *weight, *bias; /* no bias: RMS norm */
    int rows, dim;
    float eps;
    bool in_place;
};

static void run_norm(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct norm *n = arg;
    const float *x = n->in_place ? out : n->x;
    if (n->bias != NULL && n->in_place) {
        ctx->ops->layer_norm_f32(ctx, kc_f32(out), n->rows, n->dim, kc_f32(n->weight),
                                 kc_f32(n->bias), n->eps);
        return;
    }
    if (n->bias != NULL)
        ctx->ops->layer_norm(ctx, kc_act(out), kc_f32(x), n->rows, n->dim, kc_f32(n->weight),
                             kc_f32(n->bias), n->eps);
    else
        ctx->ops->rms_norm(ctx, kc_act(out), kc_f32(x), n->rows, n->dim, kc_f32(n->weight), n->eps);
}

/* RMS: the sum of dim squares errs by (dim + 1) units relatively, its root by half of that; then
 * division, root, inverse and two products: (dim/2 + 8) units of |y|.
 * Layer norm: besides, the mean errs by m = (dim + 1) units of mean |x|, which moves every
 * difference by m + unit·|x|, and the variance by m² (the cross term vanishes). */
static double norm_bound(const struct norm *n, const float *x, int i, double y)
{
    double relative = (n->dim / 2.0 + 8) * KC_UNIT;
    if (n->bias == NULL) return relative * fabs(y) + 0x1p-140;
    double mean = 0, size = 0, variance = 0;
    for (int j = 0; j < n->dim; j++) {
        mean += x[j];
        size += fabs((double)x[j]);
    }
    mean /= n->dim;
    for (int j = 0; j < n->dim; j++)
        variance += (x[j] - mean) * (x[j] - mean);
    double power = variance / n->dim + n->eps;
    double shift = (n->dim + 1) * KC_UNIT * size / n->dim;
    double factor = fabs((double)n->weight[i]) / sqrt(power);
    double difference = fabs(x[i] - mean);
    return factor * (shift + KC_UNIT * (fabs((double)x[i]) + fabs(mean))) +
           factor * difference * (relative + shift * shift / power) +
           2 * KC_UNIT * (factor * difference + fabs((double)n->bias[i])) + 0x1p-140;
}

static void check_norm(kc *k, int rows, int dim, kc_kind kind, bool layer, bool in_place)
{
    char name[96];
    snprintf(name, sizeof name, "%s rows %d dim %d %s%s", layer ? "layer_norm" : "rms_norm", rows,
             dim, kc_kind_name(kind), in_place ? " in place" : "");
    kc_begin(k, name);
    struct norm n = {.rows = rows, .dim = dim, .eps = 1e-5f, .in_place = in_place};
    size_t count = (size_t)rows * (size_t)dim;
    n.x = kc_floats(k, count, kind);
    n.weight = kc_floats(k, (size_t)dim, KC_NORMAL);
    if (layer) n.bias = kc_floats(k, (size_t)dim, KC_NORMAL);
    float *out = kc_need(count + 1, sizeof *out);
    double *expected = kc_need(count + 1, sizeof *expected);
    double *bound = kc_need(count + 1, sizeof *bound);
    n.in_place = false;
    run_norm(k->reference, out, &n);
    n.in_place = in_place;
    for (size_t i = 0; i < count; i++) {
        size_t row = i / (size_t)dim;
        expected[i] = out[i];
        bound[i] = norm_bound(&n, n.x + row * (size_t)dim, (int)(i % (size_t)dim), expected[i]);
    }
    (layer && in_place ? kc_check : kc_check_act)(
        k, &(kc_case){name, run_norm, &n, count, in_place ? n.x : NULL, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

void kc_check_norms(kc *k)
{
    for (int d = 0; d < DIMS; d++) {
        for (int layer = 0; layer < 2; layer++) {
            kc_kind kind = (kc_kind)(d % KC_KINDS);
            check_norm(k, 3, dims[d], kind, layer != 0, false);
            check_norm(k, 41, dims[d], KC_NORMAL, layer != 0, d % 2 == 0);
        }
    }
    check_norm(k, 0, 16, KC_NORMAL, false, false);
}

struct activation {
    const float *x;
    const float *up; /* NULL: activate */
    size_t count;
    vlmp_activation act;
};

static void run_activation(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct activation *a = arg;
    if (a->up != NULL)
        ctx->ops->gated(ctx, kc_act(out), kc_act(a->up), a->count, a->act);
    else
        ctx->ops->activate(ctx, kc_act(out), a->count, a->act);
}

/* y = x·σ(z): z errs by `steps` roundings, which σ turns into steps·|z|·(1 − σ) units; exp 4 units
 * (2 ulp), sum, division and product 4 more. GELU: y = max(x, 0) − t, t = |x|/2·erfc(|x|/√2), where
 * exp(−z²) turns the roundings of z² into 4·z² units of t, and polynomial, exp and products are 16.
 * Where e^(−z) overflows (z < −88.7) or z is cut off, results below 2⁻¹¹⁰ are lost. */
static double activation_bound(double x, vlmp_activation act)
{
    double z = x;
    double steps = 0;
    switch (act) {
    case VLMP_RELU:
        return 0;
    case VLMP_GELU: {
        double tail = fabs(x) / 2 * erfc(fabs(x) * 0.70710678118654752440);
        return KC_UNIT * (tail * (16 + 4 * x * x / 2) + fabs(vlmp_ref_act(x, act))) + 0x1p-110;
    }
    case VLMP_GELU_TANH:
        z = 1.59576912160573071 * (x + 0.044715 * x * x * x);
        steps = 5;
        break;
    case VLMP_QUICK_GELU:
        z = 1.702 * x;
        steps = 2;
        break;
    case VLMP_SILU:
        break;
    }
    double relative = 8 + steps * fabs(z) / (1 + exp(z));
    return KC_UNIT * relative * fabs(vlmp_ref_act(x, act)) + 0x1p-110;
}

static void check_activation(kc *k, vlmp_activation act, size_t count, kc_kind kind, bool gated)
{
    char name[96];
    snprintf(name, sizeof name, "activation %d%s count %zu %s", (int)act, gated ? " gated" : "",
             count, kc_kind_name(kind));
    kc_begin(k, name);
    struct activation a = {.count = count, .act = act};
    float *x = kc_floats(k, count, kind);
    for (size_t i = 0; i < count; i++)
        if (kind == KC_UNIFORM) x[i] = kc_value(k, x[i] * 110); /* over the range of exp */
    a.x = x;
    if (gated) a.up = kc_floats(k, count, KC_NORMAL);
    double *expected = kc_need(count + 1, sizeof *expected);
    double *bound = kc_need(count + 1, sizeof *bound);
    for (size_t i = 0; i < count; i++) {
        double up = gated ? a.up[i] : 1;
        expected[i] = (float)(vlmp_ref_act(x[i], act) * up);
        bound[i] = activation_bound(x[i], act) * fabs(up) + 2 * KC_UNIT * fabs(expected[i]);
        if (act == VLMP_RELU && !gated) bound[i] = 0;
    }
    kc_check_act(k, &(kc_case){name, run_activation, &a, count, x, expected, bound});
    free(expected);
    free(bound);
}

void kc_check_activations(kc *k)
{
    static const size_t counts[] = {0, 1, 15, 16, 17, 1003, 20011};
    for (int act = VLMP_GELU; act <= VLMP_RELU; act++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (int gated = 0; gated < 2; gated++)
                for (int kind = KC_UNIFORM; kind < KC_KINDS; kind += 1 + (c > 4))
                    check_activation(k, (vlmp_activation)act, counts[c], (kc_kind)kind, gated != 0);
}

struct difference {
    const float *a, *b, *s;
    int rows, dim;
};

static void run_subtract(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct difference *d = arg;
    ctx->ops->subtract(ctx, kc_act(out), kc_act(d->a), kc_act(d->b), d->rows, d->dim, kc_f32(d->s));
}

/* Exact: a division and a subtraction of F32. */
static void check_subtract(kc *k, int rows, int dim, bool scaled)
{
    char name[64];
    snprintf(name, sizeof name, "subtract rows %d dim %d%s", rows, dim, scaled ? " scaled" : "");
    kc_begin(k, name);
    size_t count = (size_t)rows * (size_t)dim;
    struct difference d = {.rows = rows, .dim = dim};
    d.a = kc_floats(k, count, KC_OUTLIERS);
    d.b = kc_floats(k, count, KC_NORMAL);
    if (scaled) d.s = kc_floats(k, (size_t)dim, KC_NORMAL);
    double *expected = kc_need(count + 1, sizeof *expected);
    for (size_t i = 0; i < count; i++) {
        float a = scaled ? d.a[i] / d.s[i % (size_t)dim] : d.a[i];
        expected[i] = a - d.b[i];
    }
    kc_check_act(k, &(kc_case){name, run_subtract, &d, count, NULL, expected, NULL});
    free(expected);
}

void kc_check_elementwise(kc *k)
{
    for (int scaled = 0; scaled < 2; scaled++) {
        check_subtract(k, 0, 7, scaled != 0);
        check_subtract(k, 1, 1, scaled != 0);
        check_subtract(k, 19, 65, scaled != 0);
    }
}

struct rope {
    const float *x;
    const int32_t *positions[VLMP_POSITION_AXES];
    const int32_t *axes; /* NULL: one position a row */
    const float *inv_freq;
    int rows, heads, dim;
    float scaling;
};

static void run_rope(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct rope *r = arg;
    const vlmp_segment segment = {.rows = r->rows};
    vlmp_step_rows rows = {.rows = r->rows, .segment_count = r->rows > 0, .segments = &segment};
    for (int axis = 0; axis < VLMP_POSITION_AXES; axis++)
        rows.positions[axis] = r->positions[axis];
    vlmp_step *step = kc_step(ctx, &rows);
    vlmp_i32 axes = {(int32_t *)(uintptr_t)r->axes};
    ctx->ops->rope(ctx, kc_act(out), step, r->heads, r->dim, kc_f32(r->inv_freq), axes, r->scaling);
    ctx->ops->step_free(ctx, step);
}

static void check_rope(kc *k, int rows, int heads, int dim, float scaling, bool axes)
{
    char name[64];
    snprintf(name, sizeof name, "rope rows %d heads %d dim %d%s", rows, heads, dim,
             axes ? " axes" : "");
    kc_begin(k, name);
    struct rope r = {.rows = rows, .heads = heads, .dim = dim, .scaling = scaling};
    size_t count = (size_t)rows * (size_t)heads * (size_t)dim;
    r.x = kc_floats(k, count, KC_NORMAL);
    for (int axis = 0; axis < (axes ? VLMP_POSITION_AXES : 1); axis++) {
        int32_t *positions = kc_input(k, (size_t)rows * sizeof *positions);
        for (int i = 0; i < rows; i++)
            positions[i] = i == 0 ? 0 : (int32_t)vlmp_rng_below(&k->rng, 100000);
        r.positions[axis] = positions;
    }
    if (axes) {
        int32_t *of = kc_input(k, (size_t)(dim / 2) * sizeof *of);
        for (int j = 0; j < dim / 2; j++)
            of[j] = j % VLMP_POSITION_AXES;
        r.axes = of;
    }
    float *inv_freq = kc_input(k, (size_t)(dim / 2) * sizeof *inv_freq);
    for (int j = 0; j < dim / 2; j++)
        inv_freq[j] = powf(10000, -2 * (float)j / (float)dim);
    r.inv_freq = inv_freq;
    float *out = kc_need(count + 1, sizeof *out);
    double *expected = kc_need(count + 1, sizeof *expected);
    double *bound = kc_need(count + 1, sizeof *bound);
    for (size_t i = 0; i < count; i++)
        out[i] = r.x[i];
    run_rope(k->reference, out, &r);
    for (size_t i = 0; i < count; i++) {
        size_t other =
            i % (size_t)dim < (size_t)dim / 2 ? i + (size_t)dim / 2 : i - (size_t)dim / 2;
        expected[i] = out[i];
        /* cos and sin within an ulp (2 units), their scaling, a product and half a sum: 5 units of
         * each term; one more for the reference's rounding. */
        bound[i] = 6 * KC_UNIT * fabs((double)scaling) *
                       (fabs((double)r.x[i]) + fabs((double)r.x[other])) +
                   0x1p-149;
    }
    kc_check_act(k, &(kc_case){name, run_rope, &r, count, r.x, expected, bound});
    free(out);
    free(expected);
    free(bound);
}

void kc_check_rope(kc *k)
{
    check_rope(k, 0, 2, 8, 1, false);
    check_rope(k, 1, 1, 2, 1, false);
    check_rope(k, 5, 3, 6, 1.25f, false);
    check_rope(k, 37, 4, 64, 1, false);
    check_rope(k, 37, 2, 64, 1, true);
    check_rope(k, 9, 2, 128, 0.5f, false);
}
