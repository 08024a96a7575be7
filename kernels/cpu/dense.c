/* Weights to F32, and products of few rows with F32, F16 or BF16 weights. Compiled once a level. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/simd.h"

INLINE vfloat load_weights(const unsigned char *from, const vlmp_dtype dtype)
{
    if (dtype == VLMP_F32) return vf_load(from);
    if (dtype == VLMP_F16) return vf_from_f16(from);
    return vi_as_float(vi_shl(vi_from_u16(from), 16));
}

INLINE vfloat load_weights_part(const unsigned char *from, const vlmp_dtype dtype, int lanes)
{
    unsigned char copy[VECTOR_BYTES] = {0};
    memcpy(copy, from, (size_t)lanes * (dtype == VLMP_F32 ? 4 : 2));
    return load_weights(copy, dtype);
}

INLINE void dense_to_f32(float *out, const unsigned char *from, int count, const vlmp_dtype dtype)
{
    const size_t size = dtype == VLMP_F32 ? 4 : 2;
    int i = 0;
    for (; i + LANES <= count; i += LANES)
        vf_store(out + i, load_weights(from + (size_t)i * size, dtype));
    if (i < count)
        vf_store_part(out + i, load_weights_part(from + (size_t)i * size, dtype, count - i),
                      count - i);
}

/* count codes of one group, from code `first` of both planes on. */
INLINE void planes_to_f32(float *out, const uint8_t *low, const uint8_t *high, int first, int count,
                          int zero, float scale)
{
    int i = 0;
    const vfloat factor = vf_set(scale);
    const vint offset = vi_set(zero), lanes = vi_iota(), twice = vi_shl(lanes, 1);
    for (; first % 8 == 0 && i + LANES <= count; i += LANES) {
        uint32_t low_bits = 0, high_bits = 0;
        memcpy(&low_bits, low + (first + i) / 4, LANES / 4);
        memcpy(&high_bits, high + (first + i) / 8, LANES / 8);
        vint a = vi_and(vi_shr_each(vi_set((int32_t)low_bits), twice), vi_set(3));
        vint b = vi_and(vi_shr_each(vi_set((int32_t)high_bits), lanes), vi_set(1));
        vint level = vi_sub(vi_or(a, vi_shl(b, 2)), offset);
        vf_store(out + i, vf_mul(vi_to_float(level), factor));
    }
    for (; i < count; i++)
        out[i] = (float)(vlmp_planes_at(low, high, first + i, VLMP_CODES_U3) - zero) * scale;
}

/* count codes of one group; bit 0 of `first` says in which nibble the first code lies. */
INLINE void codes_to_f32(float *out, const uint8_t *codes, int first, int count, int bits, int zero,
                         float scale)
{
    int i = 0;
    const vfloat factor = vf_set(scale);
    const vint offset = vi_set(zero);
    if (bits == 8) {
        for (; i + LANES <= count; i += LANES)
            vf_store(out + i,
                     vf_mul(vi_to_float(vi_sub(vi_from_u8(codes + first + i), offset)), factor));
    } else if (first % 2 == 0) {
        /* Lane j of a 32- or 64-bit piece wants nibble j. */
        const vint shifts = vi_shl(vi_and(vi_iota(), vi_set(7)), 2);
        for (; i + LANES <= count; i += LANES) {
            uint32_t words[2] = {0};
            memcpy(words, codes + (first + i) / 2, LANES / 2);
            vint packed = vi_set_eights((int32_t)words[0], (int32_t)words[1]);
            vint unpacked = vi_and(vi_shr_each(packed, shifts), vi_set(15));
            vf_store(out + i, vf_mul(vi_to_float(vi_sub(unpacked, offset)), factor));
        }
    }
    for (; i < count; i++) {
        out[i] = (float)(vlmp_code_at(codes, first + i, bits) - zero) * scale;
    }
}

INLINE void packed_to_f32(float *out, const vlmp_linear *w, int n, int k0, int k1, const int bits)
{
    int size = vlmp_linear_group(w), groups = w->k / size;
    const uint8_t *codes = vlmp_linear_codes(w, n), *high = vlmp_linear_high(w, n);
    for (int k = k0; k < k1;) {
        int group = k / size;
        int end = (group + 1) * size < k1 ? (group + 1) * size : k1;
        int zero = vlmp_linear_zero(w, n, group);
        size_t at = (size_t)n * (size_t)groups + (size_t)group;
        float scale = vlmp_scale_at(w->scales, at, w->scheme.scales) * w->scheme.global_scale;
        if (bits == 3)
            planes_to_f32(out + (k - k0), codes, high, k, end - k, zero, scale);
        else
            codes_to_f32(out + (k - k0), codes, k, end - k, bits, zero, scale);
        k = end;
    }
}

void LEVEL_NAME(weights_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1)
{
    if (w->scheme.codes == VLMP_CODES_U3) {
        packed_to_f32(out, w, n, k0, k1, 3);
        return;
    }
    if (w->scheme.codes == VLMP_CODES_U4) {
        packed_to_f32(out, w, n, k0, k1, 4);
        return;
    }
    if (w->scheme.codes == VLMP_CODES_U8) {
        packed_to_f32(out, w, n, k0, k1, 8);
        return;
    }
    if (vlmp_linear_quantized(w)) {
        LEVEL_NAME(float_codes_to_f32)(out, w, n, k0, k1);
        return;
    }
    size_t first = (size_t)n * (size_t)w->k + (size_t)k0;
    const unsigned char *weight = w->weight;
    int count = k1 - k0;
    if (w->dtype == VLMP_F32)
        dense_to_f32(out, weight + first * 4, count, VLMP_F32);
    else if (w->dtype == VLMP_F16)
        dense_to_f32(out, weight + first * 2, count, VLMP_F16);
    else
        dense_to_f32(out, weight + first * 2, count, VLMP_BF16);
}

enum { MOST_OUTPUTS = 4, MOST_ROWS = 4 };

/* Bytes by which weights are prefetched. */
enum { AHEAD = 2048 };

struct dense {
    const vlmp_linear *w;
    const float *x;
    const unsigned char *weight; /* of the first output */
    size_t stride;               /* bytes between outputs that run together */
};

/* Adds `lanes` inputs from k on. */
INLINE void dense_vector(const struct dense *d, vfloat sums[MOST_OUTPUTS][MOST_ROWS], int k,
                         int lanes, const int outs, const int rows, const vlmp_dtype dtype)
{
    const size_t size = dtype == VLMP_F32 ? 4 : 2;
    vfloat inputs[MOST_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        const float *from = d->x + (size_t)r * (size_t)d->w->k + k;
        inputs[r] = lanes == LANES ? vf_load(from) : vf_load_part(from, lanes);
    }
    UNROLL
    for (int o = 0; o < outs; o++) {
        const unsigned char *from = d->weight + (size_t)o * d->stride + (size_t)k * size;
        vfloat values =
            lanes == LANES ? load_weights(from, dtype) : load_weights_part(from, dtype, lanes);
        UNROLL
        for (int r = 0; r < rows; r++)
            sums[o][r] = vf_fma(values, inputs[r], sums[o][r]);
    }
}

INLINE void dense_outputs(float *y, const float *x, const vlmp_linear *w, int n, int step,
                          const int outs, const int rows, const vlmp_dtype dtype)
{
    const size_t size = dtype == VLMP_F32 ? 4 : 2;
    const int line = 64 / (int)size; /* weights in a cache line */
    const size_t row_bytes = (size_t)w->k * size;
    const struct dense d = {w, x, (const unsigned char *)w->weight + (size_t)n * row_bytes,
                            (size_t)step * row_bytes};
    vfloat sums[MOST_OUTPUTS][MOST_ROWS];
    UNROLL
    for (int o = 0; o < outs; o++) {
        UNROLL
        for (int r = 0; r < rows; r++)
            sums[o][r] = vf_zero();
    }
    int k = 0;
    for (; k + line <= w->k; k += line) {
        UNROLL
        for (int o = 0; o < outs; o++)
            _mm_prefetch((const char *)d.weight + (size_t)o * d.stride + (size_t)k * size + AHEAD,
                         _MM_HINT_T1);
        UNROLL
        for (int v = 0; v < line / LANES; v++)
            dense_vector(&d, sums, k + v * LANES, LANES, outs, rows, dtype);
    }
    for (; k + LANES <= w->k; k += LANES)
        dense_vector(&d, sums, k, LANES, outs, rows, dtype);
    if (k < w->k) dense_vector(&d, sums, k, w->k - k, outs, rows, dtype);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int o = 0; o < outs; o++)
            y[(size_t)r * (size_t)w->n + (size_t)(n + o * step)] = vf_sum(sums[o][r]);
    }
}

/* All rows of some outputs before the next: weights come from memory once. */
INLINE void run_outputs(float *y, const float *x, int rows, const vlmp_linear *w, int n, int step,
                        const int outs, const vlmp_dtype dtype)
{
    for (int row = 0; row < rows;) {
        float *to = y + (size_t)row * (size_t)w->n;
        const float *from = x + (size_t)row * (size_t)w->k;
        int some = rows - row >= 4 ? 4 : rows - row >= 2 ? 2 : 1;
        if (some == 4)
            dense_outputs(to, from, w, n, step, outs, 4, dtype);
        else if (some == 2)
            dense_outputs(to, from, w, n, step, outs, 2, dtype);
        else
            dense_outputs(to, from, w, n, step, outs, 1, dtype);
        row += some;
    }
}

INLINE void run(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1,
                const vlmp_dtype dtype)
{
    int step = (n1 - n0) / MOST_OUTPUTS;
    for (int n = n0; n < n0 + step; n++)
        run_outputs(y, x, rows, w, n, step, MOST_OUTPUTS, dtype);
    for (int n = n0 + step * MOST_OUTPUTS; n < n1; n++)
        run_outputs(y, x, rows, w, n, 0, 1, dtype);
}

void LEVEL_NAME(dense_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                            int n1)
{
    if (vlmp_linear_quantized(w))
        LEVEL_NAME(float_code_rows)(y, x, rows, w, n0, n1);
    else if (w->dtype == VLMP_F32)
        run(y, x, rows, w, n0, n1, VLMP_F32);
    else if (w->dtype == VLMP_F16)
        run(y, x, rows, w, n0, n1, VLMP_F16);
    else
        run(y, x, rows, w, n0, n1, VLMP_BF16);
}
