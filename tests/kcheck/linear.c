/* Products: dense, packed with float activations, packed with int8 activations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "src/base/half.h"
#include "tests/kcheck/kcheck.h"

struct product {
    const float *x;
    int rows;
    bool decode;
    bool add; /* run_f32 */
    vlmp_linear w;
};

static void run_linear(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct product *p = arg;
    ctx->ops->linear(ctx, kc_act(out), kc_act(p->x), (vlmp_rows){p->rows, p->decode}, &p->w);
}

/* Dense weights at an odd byte: maps give any alignment. */
static void dense_weights(kc *k, vlmp_linear *w, kc_kind kind)
{
    size_t count = (size_t)w->n * (size_t)w->k;
    size_t size = vlmp_dtype_size(w->dtype);
    unsigned char *bytes = (unsigned char *)kc_input(k, count * size + 1) + 1;
    float *values = kc_need(count + 1, sizeof *values);
    kc_fill(k, values, count, kind == KC_ZEROS ? KC_NORMAL : kind);
    for (size_t i = 0; i < count; i++) {
        uint16_t half =
            w->dtype == VLMP_F16 ? vlmp_f32_to_f16(values[i]) : vlmp_f32_to_bf16(values[i]);
        if (size == 4)
            memcpy(bytes + i * 4, &values[i], 4);
        else
            memcpy(bytes + i * 2, &half, 2);
    }
    free(values);
    w->weight = bytes;
}

/* Parts for w->scheme, with a global scale that is exact. */
static void packed_weights(kc *k, vlmp_linear *w)
{
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, w->n, w->k, &w->scheme)) {
        kc_fail(k, "packed_weights", "the scheme has no shape");
        return;
    }
    uint8_t *codes = kc_bytes(k, shape.parts[VLMP_PACKED_CODES].bytes);
    for (size_t i = 0; w->scheme.codes == VLMP_CODES_FP8 && i < shape.parts[0].bytes; i++)
        if ((codes[i] & 0x7f) == VLMP_E4M3_NAN) codes[i]--;
    w->codes = codes;
    if (shape.parts[VLMP_PACKED_HIGH].bytes > 0)
        w->high = kc_bytes(k, shape.parts[VLMP_PACKED_HIGH].bytes);
    void *scales = kc_input(k, shape.parts[VLMP_PACKED_SCALES].bytes);
    vlmp_dtype type = shape.parts[VLMP_PACKED_SCALES].dtype;
    for (size_t i = 0; i < shape.parts[VLMP_PACKED_SCALES].bytes / vlmp_dtype_size(type); i++) {
        float scale = (float)(0.001 + 0.01 * vlmp_rng_uniform(&k->rng));
        vlmp_scale_put(scales, i, type, vlmp_scale_stored(scale, type));
    }
    w->scales = scales;
    if (w->scheme.zeros == VLMP_ZEROS_PACKED)
        w->zeros = kc_bytes(k, shape.parts[VLMP_PACKED_ZEROS].bytes);
    w->scheme.global_scale = 0.5f;
}

static vlmp_scheme scheme_of(int bits, int group, bool zeros, bool int8)
{
    return vlmp_scheme_make(vlmp_code_type_of_bits(bits), group,
                            zeros ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE, int8);
}

/* The largest |x| among the inputs that share a lane with input i: 16 of 4-bit codes, 8 of 8-bit.
 */
static double lane_largest(const float *x, int k, int i, int bits)
{
    int size = bits == 8 ? 8 : 16;
    double largest = 0;
    for (int j = i / size * size; j < k && j < i / size * size + size; j++)
        largest = fmax(largest, fabs((double)x[j]));
    return largest;
}

/* What a weight errs by that a device has made F16: 16 bits of BF16 and F16 lose what is below the
 * least subnormal alone, F32 stays. */
static double half_rounding(const vlmp_linear *w, double weight)
{
    if (vlmp_linear_quantized(w)) return KC_HALF * weight + KC_HALF_TINY;
    return w->dtype == VLMP_BF16 ? KC_HALF_TINY : 0;
}

/* Any order of k multiply-adds, and the scale and bias around them, errs by at most
 * (k + 4)·2⁻²⁴·Σ|terms| to first order. Few rows of packed weights may also turn inputs into three
 * 8-bit digits: 1.004·2⁻²³ of the largest |x| of a lane each, or 2⁻¹²² for tiny ones. Many rows may
 * be rounded to BF16, as the weights. */
static double float_bound(const kc *k, const struct product *p, const float *x, int n)
{
    double terms = 0, digits = 0, rounded = 0;
    for (int i = 0; i < p->w.k; i++) {
        double weight = fabs(vlmp_ref_weight(&p->w, n, i));
        terms += weight * fabs((double)x[i]);
        if (k->bf16 && !p->decode)
            rounded += KC_BF16 * weight * fabs((double)x[i]) +
                       KC_BF16_TINY * (weight + fabs((double)x[i]) + 2);
        else if (k->half && !p->decode)
            rounded += half_rounding(&p->w, weight) * fabs((double)x[i]);
        else if (vlmp_linear_quantized(&p->w))
            digits +=
                weight *
                (1.004 * 0x1p-23 * lane_largest(x, p->w.k, i, vlmp_linear_bits(&p->w)) + 0x1p-122);
    }
    if (p->w.bias != NULL) terms += fabs((double)p->w.bias[n]);
    /* Tensor cores align what they add and cut it off: two units of the largest for each of k
     * products, and for each sum of 8. */
    double units = (k->half && !p->decode ? 3 : 1) * (p->w.k + 4);
    return units * KC_UNIT * (terms + rounded) + rounded + digits + 0x1p-149;
}

/* Integer sums are exact; what remains is one conversion, product and addition a group, and the
 * row's scale and bias: (groups + 8)·2⁻²⁴. */
static double int8_bound(const struct product *p, const float *x, int n)
{
    float scale = vlmp_ref_int8_scale(x, p->w.k);
    double terms = 0;
    for (int i = 0; i < p->w.k; i++)
        terms += fabs(vlmp_ref_weight(&p->w, n, i) * vlmp_ref_int8_code(x[i], scale)) * scale;
    if (p->w.bias != NULL) terms += fabs((double)p->w.bias[n]);
    return (vlmp_linear_groups(&p->w) + 8) * KC_UNIT * terms + 0x1p-140;
}

/* Both ways of a product; the reference knows one. */
static void check_product(kc *k, const char *name, struct product *p)
{
    size_t count = (size_t)p->rows * (size_t)p->w.n;
    float *out = kc_need(count + 1, sizeof *out);
    double *expected = kc_need(count + 1, sizeof *expected);
    double *bound = kc_need(count + 1, sizeof *bound);
    run_linear(k->reference, out, p);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    for (int decode = 0; decode < 2; decode++) {
        p->decode = decode != 0;
        for (size_t i = 0; i < count; i++) {
            const float *x = p->x + i / (size_t)p->w.n * (size_t)p->w.k;
            int n = (int)(i % (size_t)p->w.n);
            bound[i] = vlmp_linear_int8(&p->w) ? int8_bound(p, x, n) : float_bound(k, p, x, n);
        }
        kc_check_act(k, &(kc_case){name, run_linear, p, count, NULL, expected, bound});
    }
    free(out);
    free(expected);
    free(bound);
}

static const int shapes[][3] = {
    /* rows, n, k */
    {0, 5, 32},     {1, 1, 1},     {1, 67, 32},  {1, 130, 257}, {2, 33, 96},
    {3, 5, 160},    {4, 64, 64},   {5, 31, 31},  {7, 3, 352},   {8, 65, 128},
    {9, 17, 33},    {13, 70, 288}, {29, 131, 7}, {67, 19, 480}, {2, 9, 2048},
    {12, 66, 1056}, {300, 3, 32},  {1, 35, 640}, {11, 17, 768},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

void kc_check_dense(kc *k)
{
    static const vlmp_dtype types[] = {VLMP_F32, VLMP_F16, VLMP_BF16};
    char name[128];
    for (int t = 0; t < 3; t++) {
        for (int s = 0; s < SHAPES; s++) {
            kc_kind kind = (kc_kind)((s + t) % KC_KINDS);
            struct product p = {.rows = shapes[s][0],
                                .w = {.n = shapes[s][1], .k = shapes[s][2], .dtype = types[t]}};
            snprintf(name, sizeof name, "linear %s rows %d n %d k %d %s", vlmp_dtype_name(types[t]),
                     p.rows, p.w.n, p.w.k, kc_kind_name(kind));
            kc_begin(k, name);
            p.x = kc_floats(k, (size_t)p.rows * (size_t)p.w.k, kind);
            dense_weights(k, &p.w, kind == KC_TINY ? KC_NORMAL : kind);
            if (s % 2 == 0) p.w.bias = kc_floats(k, (size_t)p.w.n, KC_NORMAL);
            check_product(k, name, &p);
        }
    }
}

static void check_scheme(kc *k, vlmp_scheme scheme)
{
    char name[128], codes[16];
    bool zeros = scheme.zeros == VLMP_ZEROS_PACKED;
    int bits = vlmp_code_types[scheme.codes].bits, group = scheme.group;
    vlmp_codes_text(codes, sizeof codes, &scheme);
    for (int s = 0; s < SHAPES; s++) {
        int inputs = shapes[s][2];
        if (group != 0 && inputs % group != 0) continue;
        kc_kind kind = (kc_kind)((s + bits + group / 32 + zeros) % KC_KINDS);
        struct product p = {.rows = shapes[s][0],
                            .w = {.n = shapes[s][1], .k = inputs, .scheme = scheme}};
        snprintf(name, sizeof name, "linear %s group %d%s %s rows %d n %d k %d %s", codes,
                 vlmp_linear_group(&p.w), zeros ? " zeros" : "",
                 scheme.int8_activations ? "int8" : "float", p.rows, p.w.n, p.w.k,
                 kc_kind_name(kind));
        kc_begin(k, name);
        p.x = kc_floats(k, (size_t)p.rows * (size_t)p.w.k, kind);
        packed_weights(k, &p.w);
        if (s % 2 == 1) p.w.bias = kc_floats(k, (size_t)p.w.n, KC_NORMAL);
        check_product(k, name, &p);
    }
}

static void check_schemes(kc *k, bool int8)
{
    static const int groups[] = {VLMP_GROUP_CHANNEL, 32, 64, 128, 16, 24};
    for (int bits = 3; bits <= 8; bits += bits == 3 ? 1 : 4)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            for (int zeros = 0; zeros < 2; zeros++)
                check_scheme(k, scheme_of(bits, groups[g], zeros != 0, int8));
    /* Scales that other tools store. */
    for (size_t g = 0; g < 3; g++) {
        vlmp_scheme scheme = scheme_of(4, groups[g], g == 1, int8);
        scheme.scales = VLMP_BF16;
        check_scheme(k, scheme);
        scheme.scales = g == 0 ? VLMP_F16 : VLMP_F32;
        check_scheme(k, scheme);
    }
}

static const struct {
    vlmp_code_type codes;
    int group;
} float_codes[] = {{VLMP_CODES_FP8, VLMP_GROUP_CHANNEL},
                   {VLMP_CODES_FP8, VLMP_BLOCK_OUTPUTS},
                   {VLMP_CODES_MXFP4, 32},
                   {VLMP_CODES_NVFP4, 16}};

enum { FLOAT_CODES = sizeof float_codes / sizeof *float_codes };

static vlmp_scheme floats_of(int i)
{
    return vlmp_scheme_make(float_codes[i].codes, float_codes[i].group, VLMP_ZEROS_NONE, false);
}

/* All codes 255, all inputs at the ends of int8: the largest sums there are. */
static void check_extremes(kc *k, int rows, int bits)
{
    char name[64];
    snprintf(name, sizeof name, "linear w%d int8 rows %d, largest codes", bits, rows);
    kc_begin(k, name);
    struct product p = {.rows = rows, .w = {.n = 35, .k = 3001}};
    p.w.scheme = scheme_of(bits, VLMP_GROUP_CHANNEL, true, true);
    float *x = kc_floats(k, (size_t)rows * (size_t)p.w.k, KC_NORMAL);
    for (size_t i = 0; i < (size_t)rows * (size_t)p.w.k; i++)
        x[i] = i / (size_t)p.w.k % 2 == 0 ? 2 : -2;
    p.x = x;
    packed_weights(k, &p.w);
    memset((void *)(uintptr_t)p.w.codes, 0xff,
           (size_t)(vlmp_linear_codes(&p.w, p.w.n) - p.w.codes));
    if (bits == 3) memset((void *)(uintptr_t)p.w.high, 0xff, (size_t)p.w.n * (3001 + 7) / 8);
    memset((void *)(uintptr_t)p.w.zeros, 0, (size_t)p.w.n);
    check_product(k, name, &p);
}

/* A row with a NaN or an infinity gives NaN or infinity, never a number. */
static void check_not_finite(kc *k, int rows, vlmp_scheme scheme, float poison)
{
    enum { INPUTS = 256 };
    char name[96], codes[16];
    vlmp_codes_text(codes, sizeof codes, &scheme);
    snprintf(name, sizeof name, "linear %s group %d %s rows %d with %g", codes, scheme.group,
             scheme.int8_activations ? "int8" : "float", rows, (double)poison);
    kc_begin(k, name);
    k->checks++;
    struct product p = {.rows = rows, .w = {.n = 40, .k = INPUTS, .scheme = scheme}};
    float *x = kc_floats(k, (size_t)rows * INPUTS, KC_NORMAL);
    for (int row = 0; row < rows; row++)
        x[row * INPUTS + row % INPUTS] = poison;
    p.x = x;
    packed_weights(k, &p.w);
    float *out = kc_need((size_t)rows * 40, sizeof *out);
    run_linear(k->contexts[0], out, &p);
    int i = 0; /* infinity times a zero weight is NaN, so either may come */
    while (i < rows * 40 && !isfinite(out[i]))
        i++;
    if (i < rows * 40) kc_fail(k, name, "a row that is not finite gives a number");
    free(out);
}

void kc_check_packed(kc *k)
{
    check_schemes(k, false);
    for (int bits = 3; bits <= 8; bits += bits == 3 ? 1 : 4) {
        check_not_finite(k, 3, scheme_of(bits, 32, false, false), NAN);
        check_not_finite(k, 3, scheme_of(bits, 32, false, false), INFINITY);
    }
}

void kc_check_floats(kc *k)
{
    for (int i = 0; i < FLOAT_CODES; i++) {
        check_scheme(k, floats_of(i));
        check_not_finite(k, 3, floats_of(i), NAN);
        check_not_finite(k, 3, floats_of(i), INFINITY);
    }
}

void kc_check_int8(kc *k)
{
    check_schemes(k, true);
    for (int bits = 3; bits <= 8; bits += bits == 3 ? 1 : 4) {
        for (int rows = 2; rows <= 20; rows += 18) {
            check_extremes(k, rows, bits);
            check_not_finite(k, rows, scheme_of(bits, 32, false, true), NAN);
            check_not_finite(k, rows, scheme_of(bits, 32, false, true), -INFINITY);
        }
    }
}

/* Inputs in whole chunks, as models have them, and rows from one tile of a kernel to several: what
 * a device has fast kernels for. */
void kc_check_wide(kc *k)
{
    static const struct {
        int rows, bits, group;
        bool zeros, int8;
        vlmp_dtype scales; /* bits 0: weights */
    } all[] = {
        {3, 4, 128, true, false, VLMP_F16},   {13, 4, 64, false, false, VLMP_F16},
        {30, 4, 32, true, false, VLMP_F16},   {70, 4, 0, false, false, VLMP_F16},
        {11, 4, 128, false, false, VLMP_F32}, {2, 8, 128, true, false, VLMP_BF16},
        {40, 8, 0, false, false, VLMP_F16},   {140, 8, 0, false, true, VLMP_F16},
        {30, 8, 128, false, true, VLMP_F16},  {9, 8, 64, false, true, VLMP_BF16},
        {5, 8, 128, true, true, VLMP_F16},    {9, 4, 128, false, false, VLMP_F16},
        {70, 0, 0, false, false, VLMP_F16},   {140, 0, 0, false, false, VLMP_BF16},
        {20, 4, 32, false, false, VLMP_F16},  {37, 8, 128, false, false, VLMP_F16},
        {3, 3, 64, true, false, VLMP_F16},    {37, 3, 128, false, false, VLMP_F16},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[96];
        struct product p = {.rows = all[i].rows, .w = {.n = 69, .k = 640}};
        p.w.dtype = all[i].scales;
        if (all[i].bits > 0)
            p.w.scheme = scheme_of(all[i].bits, all[i].group, all[i].zeros, all[i].int8);
        p.w.scheme.scales = all[i].scales;
        snprintf(name, sizeof name, "linear wide w%d group %d%s %s rows %d", all[i].bits,
                 all[i].group, all[i].zeros ? " zeros" : "", all[i].int8 ? "int8" : "float",
                 p.rows);
        kc_begin(k, name);
        p.x = kc_floats(k, (size_t)p.rows * (size_t)p.w.k, i % 2 == 0 ? KC_NORMAL : KC_OUTLIERS);
        if (all[i].bits > 0)
            packed_weights(k, &p.w);
        else
            dense_weights(k, &p.w, KC_NORMAL);
        if (i % 2 == 1) p.w.bias = kc_floats(k, (size_t)p.w.n, KC_NORMAL);
        check_product(k, name, &p);
    }
}

enum { MIXED = 7 };

struct shared {
    const float *x;
    vlmp_rows rows;
    int count;
    const vlmp_linear *w[MIXED];
    bool together;
};

static void run_shared(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct shared *s = arg;
    vlmp_act y[MIXED];
    for (int i = 0; i < s->count; i++) {
        y[i] = kc_act(out);
        out += (size_t)s->rows.count * (size_t)s->w[i]->n;
    }
    if (s->together) {
        ctx->ops->linear_shared(ctx, y, kc_act(s->x), s->rows, s->w, s->count);
        return;
    }
    for (int i = 0; i < s->count; i++)
        ctx->ops->linear(ctx, y[i], kc_act(s->x), s->rows, s->w[i]);
}

/* Linears of all kinds over one input of 96. */
static void mixed_weights(kc *k, vlmp_linear w[MIXED])
{
    const vlmp_linear all[MIXED] = {{.n = 70, .k = 96, .scheme = scheme_of(4, 32, true, false)},
                                    {.n = 33, .k = 96, .scheme = scheme_of(4, 0, false, false)},
                                    {.n = 5, .k = 96, .scheme = scheme_of(8, 32, false, true)},
                                    {.n = 130, .k = 96, .dtype = VLMP_BF16},
                                    {.n = 69, .k = 96, .scheme = floats_of(0)},
                                    {.n = 70, .k = 96, .scheme = floats_of(2)},
                                    {.n = 33, .k = 96, .scheme = floats_of(3)}};
    for (int i = 0; i < MIXED; i++) {
        w[i] = all[i];
        if (vlmp_linear_quantized(&w[i]))
            packed_weights(k, &w[i]);
        else
            dense_weights(k, &w[i], KC_NORMAL);
    }
}

/* linear_shared gives the bits of one linear after another, mixed schemes included. */
static void check_shared(kc *k, int rows, bool decode)
{
    char name[64];
    snprintf(name, sizeof name, "linear_shared rows %d%s", rows, decode ? " decode" : "");
    kc_begin(k, name);
    vlmp_linear w[MIXED];
    struct shared s = {.rows = {rows, decode}, .count = MIXED};
    s.x = kc_floats(k, (size_t)rows * 96, KC_NORMAL);
    mixed_weights(k, w);
    size_t count = 0;
    for (int i = 0; i < MIXED; i++) {
        s.w[i] = &w[i];
        count += (size_t)rows * (size_t)w[i].n;
    }
    float *apart = kc_need(count, sizeof *apart);
    double *expected = kc_need(count, sizeof *expected);
    run_shared(k->contexts[0], apart, &s);
    for (size_t i = 0; i < count; i++)
        expected[i] = apart[i];
    s.together = true;
    kc_check(k, &(kc_case){name, run_shared, &s, count, NULL, expected, NULL});
    free(apart);
    free(expected);
}

void kc_check_shared(kc *k)
{
    for (int rows = 1; rows <= 16; rows *= 4)
        for (int decode = 0; decode < 2; decode++)
            check_shared(k, rows, decode != 0);
}

static void run_f32(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct product *p = arg;
    ctx->ops->linear_f32(ctx, kc_f32(out), kc_act(p->x), (vlmp_rows){p->rows, p->decode}, &p->w,
                         p->add);
}

/* Adding gives the bits of the product, added: both round once more. */
static void check_added(kc *k, const vlmp_linear *w, int rows, bool decode)
{
    char name[64];
    snprintf(name, sizeof name, "linear_f32 bits %d rows %d%s", vlmp_linear_bits(w), rows,
             decode ? " decode" : "");
    struct product p = {.rows = rows, .decode = decode, .w = *w};
    size_t count = (size_t)rows * (size_t)w->n;
    p.x = kc_floats(k, (size_t)rows * (size_t)w->k, KC_NORMAL);
    float *initial = kc_floats(k, count, KC_OUTLIERS);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    run_f32(k->contexts[0], out, &p);
    p.add = true;
    for (size_t i = 0; i < count; i++)
        expected[i] = initial[i] + out[i];
    kc_check(k, &(kc_case){name, run_f32, &p, count, initial, expected, NULL});
    free(out);
    free(expected);
}

void kc_check_added(kc *k)
{
    for (int rows = 1; rows <= (k->every > 1 ? 9 : 520); rows = rows * 8 - 7 + (rows == 1) * 8) {
        for (int decode = 0; decode < 2; decode++) {
            vlmp_linear w[MIXED];
            kc_begin(k, "linear_f32");
            mixed_weights(k, w);
            for (int i = 0; i < MIXED; i++)
                check_added(k, &w[i], rows, decode != 0);
        }
    }
}

/* A row has the bits that it has alone, whatever rows are beside it. */
static void check_neighbours(kc *k, const vlmp_linear *w, int rows, bool decode)
{
    char name[64];
    snprintf(name, sizeof name, "neighbours bits %d rows %d%s", vlmp_linear_bits(w), rows,
             decode ? " decode" : "");
    struct product p = {.rows = rows, .decode = decode, .w = *w};
    size_t count = (size_t)rows * (size_t)w->n;
    p.x = kc_floats(k, (size_t)rows * (size_t)w->k, KC_OUTLIERS);
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    for (int row = 0; row < rows; row++) {
        struct product one = p;
        one.rows = 1;
        one.x = p.x + (size_t)row * (size_t)w->k;
        run_linear(k->contexts[0], out + (size_t)row * (size_t)w->n, &one);
    }
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_linear, &p, count, NULL, expected, NULL});
    free(out);
    free(expected);
}

void kc_check_neighbours(kc *k)
{
    static const int rows[] = {2, 3, 7, 8, 9, 13, 64, 517};
    for (size_t r = 0; r < (k->every > 1 ? 3 : sizeof rows / sizeof *rows); r++) {
        for (int decode = 0; decode < 2; decode++) {
            vlmp_linear w[MIXED];
            kc_begin(k, "neighbours");
            mixed_weights(k, w);
            for (int i = 0; i < MIXED; i++)
                check_neighbours(k, &w[i], rows[r], decode != 0);
        }
    }
    for (int i = 0; i < 5; i++) { /* in whole chunks: rows in tiles, and alone */
        vlmp_linear w = {.n = 19, .k = 512};
        w.scheme = scheme_of(i < 2 ? 4 : 8, i % 2 == 0 ? 128 : 32, false, i > 2);
        if (i == 3) w.scheme.group = VLMP_GROUP_CHANNEL;
        kc_begin(k, "neighbours");
        packed_weights(k, &w);
        for (int decode = 0; decode < 2; decode++)
            check_neighbours(k, &w, 35, decode != 0);
    }
    /* More rows than the scratch of a context without a reserve holds at once (4 MiB; on the
     * emulated GPU 16 of these). */
    bool few = k->every > 1;
    vlmp_linear wide = {.n = 5, .k = few ? 512 : 8192, .scheme = scheme_of(8, 128, true, true)};
    kc_begin(k, "neighbours");
    packed_weights(k, &wide);
    check_neighbours(k, &wide, few ? 40 : 301, false);
}

struct lookup {
    const int32_t *ids;
    int rows;
    vlmp_linear table;
};

static void run_embed(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct lookup *l = arg;
    const vlmp_segment segment = {.rows = l->rows};
    vlmp_step *step =
        kc_step(ctx, &(vlmp_step_rows){
                         .rows = l->rows, .segment_count = 1, .segments = &segment, .ids = l->ids});
    ctx->ops->embed(ctx, kc_f32(out), step, &l->table);
    ctx->ops->step_free(ctx, step);
}

/* Exact: a code times a scale of 16 bits or fewer fits F32, and with an F32 scale both round once.
 */
static void check_lookup(kc *k, vlmp_scheme scheme, vlmp_dtype dtype, int width)
{
    enum { ROWS = 19, VOCABULARY = 133 };
    char name[96], codes[16];
    vlmp_codes_text(codes, sizeof codes, &scheme);
    snprintf(name, sizeof name, "embed %s group %d %s width %d", codes, scheme.group,
             vlmp_dtype_name(dtype), width);
    kc_begin(k, name);
    struct lookup l = {.rows = ROWS,
                       .table = {.n = VOCABULARY, .k = width, .dtype = dtype, .scheme = scheme}};
    int32_t *ids = kc_input(k, ROWS * sizeof *ids);
    for (int i = 0; i < ROWS; i++)
        ids[i] = i == 0 ? VOCABULARY - 1 : (int32_t)vlmp_rng_below(&k->rng, VOCABULARY);
    l.ids = ids;
    if (vlmp_linear_quantized(&l.table))
        packed_weights(k, &l.table);
    else
        dense_weights(k, &l.table, KC_NORMAL);
    size_t count = (size_t)ROWS * (size_t)width;
    float *out = kc_need(count, sizeof *out);
    double *expected = kc_need(count, sizeof *expected);
    run_embed(k->reference, out, &l);
    for (size_t i = 0; i < count; i++)
        expected[i] = out[i];
    kc_check(k, &(kc_case){name, run_embed, &l, count, NULL, expected, NULL});
    free(out);
    free(expected);
}

void kc_check_embed(kc *k)
{
    static const int widths[] = {1, 31, 64, 96, 256, 257};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int width = widths[i];
        bool zeros = width % 64 == 0;
        check_lookup(k, (vlmp_scheme){0}, VLMP_F32, width);
        check_lookup(k, (vlmp_scheme){0}, VLMP_F16, width);
        check_lookup(k, (vlmp_scheme){0}, VLMP_BF16, width);
        for (int bits = 3; bits <= 8; bits += bits == 3 ? 1 : 4) {
            check_lookup(k, scheme_of(bits, VLMP_GROUP_CHANNEL, zeros, false), VLMP_F32, width);
            if (width % 32 == 0)
                check_lookup(k, scheme_of(bits, 32, zeros, false), VLMP_F32, width);
        }
        for (int f = 0; f < FLOAT_CODES; f++)
            if (float_codes[f].group == 0 || width % float_codes[f].group == 0)
                check_lookup(k, floats_of(f), VLMP_F32, width);
    }
}
