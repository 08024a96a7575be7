/* Kernels in plain C, for processors without AVX2. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/quant_tile.h"
#include "kernels/ref/ref.h"

static void weights_to_f32(float *out, const vlmp_linear *w, int n, int k0, int k1)
{
    size_t row = (size_t)n;
    if (!vlmp_linear_quantized(w)) {
        size_t size = vlmp_dtype_size(w->dtype);
        const unsigned char *weight = w->weight;
        vlmp_to_f32(out, weight + (row * (size_t)w->k + (size_t)k0) * size, w->dtype,
                    (size_t)(k1 - k0));
        return;
    }
    vlmp_code_grid grid = vlmp_code_grid_of(&w->scheme);
    const uint8_t *codes = vlmp_linear_codes(w, n), *high = vlmp_linear_high(w, n);
    vlmp_code_type type = w->scheme.codes;
    int size = vlmp_linear_group(w);
    for (int k = k0; k < k1;) {
        int group = k / size;
        int end = (group + 1) * size < k1 ? (group + 1) * size : k1;
        int zero = vlmp_linear_zero(w, n, group);
        float scale = vlmp_linear_scale(w, n, group);
        for (; k < end; k++)
            out[k - k0] =
                vlmp_code_level(&grid, vlmp_planes_at(codes, high, k, type), zero) * scale;
    }
}

static float dot(const float *a, const float *b, int count)
{
    float sums[16] = {0};
    int i = 0;
    for (; i + 16 <= count; i += 16)
        for (int lane = 0; lane < 16; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    for (int lane = 0; i < count; i++, lane++)
        sums[lane] += a[i] * b[i];
    for (int width = 8; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++)
            sums[lane] += sums[lane + width];
    return sums[0];
}

static void float_rows(float *y, const float *x, size_t stride, int rows, const vlmp_linear *w,
                       int n0, int n1)
{
    enum { PIECE = 1024 };
    float weights[PIECE];
    for (int n = n0; n < n1; n++) {
        for (int row = 0; row < rows; row++)
            y[(size_t)row * (size_t)w->n + (size_t)n] = 0;
        for (int k0 = 0; k0 < w->k; k0 += PIECE) {
            int k1 = w->k - k0 < PIECE ? w->k : k0 + PIECE;
            weights_to_f32(weights, w, n, k0, k1);
            for (int row = 0; row < rows; row++)
                y[(size_t)row * (size_t)w->n + (size_t)n] +=
                    dot(weights, x + (size_t)row * stride + k0, k1 - k0);
        }
    }
}

static void dense_rows(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1)
{
    float_rows(y, x, (size_t)w->k, rows, w, n0, n1);
}

/* Panels of weights are converted once for all rows. */
static void float_tile(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1,
                       void *scratch)
{
    enum { PANEL = 1024 };
    float *weights = scratch;
    for (int k0 = 0; k0 < w->k; k0 += PANEL) {
        int depth = w->k - k0 < PANEL ? w->k - k0 : PANEL;
        for (int n = n0; n < n1; n++)
            weights_to_f32(weights + (size_t)(n - n0) * PANEL, w, n, k0, k0 + depth);
        for (int row = 0; row < rows; row++) {
            const float *in = x + (size_t)row * (size_t)w->k + k0;
            float *out = y + (size_t)row * (size_t)w->n;
            for (int n = n0; n < n1; n++) {
                float sum = dot(weights + (size_t)(n - n0) * PANEL, in, depth);
                out[n] = k0 == 0 ? sum : out[n] + sum;
            }
        }
    }
}

static float dot_int8(const int8_t *x, const vlmp_linear *w, int n)
{
    vlmp_code_grid grid = vlmp_code_grid_of(&w->scheme);
    const uint8_t *codes = vlmp_linear_codes(w, n), *high = vlmp_linear_high(w, n);
    vlmp_code_type type = w->scheme.codes;
    int size = vlmp_linear_group(w);
    float sum = 0;
    for (int group = 0; group < vlmp_linear_groups(w); group++) {
        double dot = 0; /* of integers: exact */
        int zero = vlmp_linear_zero(w, n, group);
        for (int k = group * size; k < (group + 1) * size; k++)
            dot += vlmp_code_level(&grid, vlmp_planes_at(codes, high, k, type), zero) * x[k];
        sum += (float)dot * vlmp_linear_scale(w, n, group);
    }
    return sum;
}

/* A prepared row is the scale, 64-byte aligned codes and nothing else, or the F32 row itself. */
enum { HEADER = 64 };

static bool packed_supports(const vlmp_linear *w)
{
    (void)w;
    return true;
}

static size_t prepared_bytes(const vlmp_linear *w)
{
    size_t bytes = (size_t)w->k * (vlmp_linear_int8(w) ? 1 : sizeof(float));
    return HEADER + (bytes + 63) / 64 * 64;
}

static void prepare_row(void *prepared, const float *x, const vlmp_linear *w)
{
    int k = w->k;
    float *row = prepared;
    if (!vlmp_linear_int8(w)) {
        memcpy((unsigned char *)prepared + HEADER, x, (size_t)k * sizeof *x);
        return;
    }
    row[0] = vlmp_ref_int8_scale(x, k);
    int8_t *codes = (int8_t *)prepared + HEADER;
    for (int i = 0; i < k; i++)
        codes[i] = (int8_t)vlmp_ref_int8_code(x[i], row[0]);
}

static void packed_rows(float *y, const void *prepared, size_t stride, int rows,
                        const vlmp_linear *w, int n0, int n1)
{
    const unsigned char *row = prepared;
    if (!vlmp_linear_int8(w)) {
        float_rows(y, (const float *)(const void *)(row + HEADER), stride / sizeof(float), rows, w,
                   n0, n1);
        return;
    }
    for (int i = 0; i < rows; i++, row += stride) {
        float scale;
        memcpy(&scale, row, sizeof scale);
        for (int n = n0; n < n1; n++)
            y[(size_t)i * (size_t)w->n + (size_t)n] =
                scale * dot_int8((const int8_t *)row + HEADER, w, n);
    }
}

static void dots(float *s, float factor, const float *q, const float *k, size_t stride, int count,
                 int dim)
{
    for (int j = 0; j < count; j++)
        s[j] = factor * dot(q, k + (size_t)j * stride, dim);
}

static void weighted_sum(float *o, float factor, const float *p, const float *v, size_t stride,
                         int count, int dim)
{
    for (int i = 0; i < dim; i++)
        o[i] *= factor;
    for (int j = 0; j < count; j++)
        for (int i = 0; i < dim; i++)
            o[i] += p[j] * v[(size_t)j * stride + (size_t)i];
}

static float to_int16(int16_t *y, const float *x, int count, int width)
{
    float largest = 0, inverse;
    for (int i = 0; i < count; i++)
        if (!(fabsf(x[i]) <= largest) && !isnan(largest)) largest = fabsf(x[i]);
    float scale = vlmp_int16_scale(largest, &inverse);
    for (int i = 0; i < width; i++)
        y[i] = i < count && inverse > 0 ? (int16_t)rintf(x[i] * inverse) : 0;
    return scale;
}

static void from_int16(float *y, const int16_t *x, float scale, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = (float)x[i] * scale;
}

static void keys_to_f32(float *y, const int16_t *k, const float *scales, int dim)
{
    for (int j = 0; j < VLMP_INT16_UNIT; j++)
        for (int i = 0; i < dim; i++)
            *y++ = (float)k[i * VLMP_INT16_UNIT + j] * scales[j];
}

static void int16_scores(float *s, size_t s_stride, float factor, const float *q, int heads,
                         const vlmp_int16_keys *keys, const vlmp_ahead *ahead)
{
    (void)ahead;
    for (int j = 0; j < keys->count; j++) {
        size_t key = (size_t)(keys->skip + j), lane = key % VLMP_INT16_UNIT;
        const int16_t *k = keys->rows + (key - lane) * (size_t)keys->width + lane;
        for (int h = 0; h < heads; h++) {
            const float *x = q + (size_t)h * (size_t)keys->dim;
            float sum = 0;
            for (int i = 0; i < keys->dim; i++)
                sum += x[i] * (float)k[i * VLMP_INT16_UNIT];
            s[(size_t)h * s_stride + (size_t)j] = factor * keys->scales[key] * sum;
        }
    }
}

static void int16_sums(float *o, float *p, size_t p_stride, int heads, const int16_t *v,
                       const float *scales, int count, int width, const vlmp_ahead *ahead)
{
    (void)ahead;
    for (int j = 0; j < count; j++, v += width) {
        for (int h = 0; h < heads; h++) {
            float *weight = &p[(size_t)h * p_stride + (size_t)j];
            *weight *= scales[j];
            for (int i = 0; i < width; i++)
                o[(size_t)h * (size_t)width + (size_t)i] += *weight * (float)v[i];
        }
    }
}

static void scale_by(float *y, float factor, int count)
{
    for (int i = 0; i < count; i++)
        y[i] *= factor;
}

static float exp_sum(float *x, float largest, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        x[i] = expf(x[i] - largest);
        sum += x[i];
    }
    return (float)sum;
}

static float largest_of(const float *x, int count)
{
    float largest = -INFINITY;
    for (int i = 0; i < count; i++)
        largest = fmaxf(largest, x[i]);
    return largest;
}

static void activate(float *x, int count, vlmp_activation act)
{
    vlmp_ref_activate(NULL, (vlmp_act){x}, (size_t)count, act);
}

static void gated(float *gate, const float *up, int count, vlmp_activation act)
{
    for (int i = 0; i < count; i++)
        gate[i] = (float)(vlmp_ref_act(gate[i], act) * up[i]);
}

static void add(float *y, const float *x, int count)
{
    for (int i = 0; i < count; i++)
        y[i] += x[i];
}

extern const vlmp_tile_kernels vlmp_quant_tile_portable;

const vlmp_cpu_kernels vlmp_cpu_portable = {
    .weights_to_f32 = weights_to_f32,
    .dense_rows = dense_rows,
    .packed_supports = packed_supports,
    .float_tile = float_tile,
    .prepared_bytes = prepared_bytes,
    .prepare_row = prepare_row,
    .packed_rows = packed_rows,
    .dots = dots,
    .weighted_sum = weighted_sum,
    .scale = scale_by,
    .to_int16 = to_int16,
    .from_int16 = from_int16,
    .keys_to_f32 = keys_to_f32,
    .int16_scores = int16_scores,
    .int16_sums = int16_sums,
    .exp_sum = exp_sum,
    .largest = largest_of,
    .rms_norm = vlmp_ref_rms_norm_row,
    .layer_norm = vlmp_ref_layer_norm_row,
    .activate = activate,
    .gated = gated,
    .add = add,
    .tiles = &vlmp_quant_tile_portable,
};
