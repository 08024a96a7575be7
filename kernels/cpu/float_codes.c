/* Codes that stand for floats, E4M3 and E2M1: to F32, and products of few rows. A level is exact in
 * F32; it is multiplied by its scale first, as where the codes become F32. Compiled once a level.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/simd.h"

enum { MOST_OUTPUTS = 4, MOST_ROWS = 4 };

/* Bytes by which codes are prefetched. */
enum { AHEAD = 2048 };

/* LANES codes from input i of a row on; i is even. */
INLINE vint load_codes(const uint8_t *row, int i, const int bits)
{
    if (bits == 8) return vi_from_u8(row + i);
    uint32_t words[2] = {0};
    memcpy(words, row + i / 2, LANES / 2);
    /* Lane j of a 32-bit piece wants nibble j. */
    const vint shifts = vi_shl(vi_and(vi_iota(), vi_set(7)), 2);
    vint packed = vi_set_eights((int32_t)words[0], (int32_t)words[1]);
    return vi_and(vi_shr_each(packed, shifts), vi_set(15));
}

/* The same of `lanes` codes, zeros behind them; nothing beyond the codes is read. */
INLINE vint load_codes_part(const uint8_t *row, int i, int lanes, const int bits)
{
    uint8_t copy[LANES] = {0};
    memcpy(copy, row + (size_t)i * (size_t)bits / 8, vlmp_codes_row_bytes(lanes, bits));
    return load_codes(copy, 0, bits);
}

/* What codes stand for. E4M3: the fields in F32's places, whose exponents differ by 120, of
 * subnormals too. E2M1: a table of the magnitudes. */
INLINE vfloat levels_of(vint codes, const int bits)
{
    if (bits == 8) {
        vint magnitude = vi_shl(vi_and(codes, vi_set(0x7f)), 20);
        vint sign = vi_shl(vi_and(codes, vi_set(0x80)), 24);
        return vf_mul(vi_as_float(vi_add(magnitude, sign)), vf_set(0x1p120f));
    }
    const __m256 table = _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
    vfloat magnitude = vf_pick8(table, vi_and(codes, vi_set(7)));
    return vi_as_float(vi_add(vf_as_int(magnitude), vi_shl(vi_and(codes, vi_set(8)), 28)));
}

INLINE void to_f32(float *out, const vlmp_linear *w, int n, int k0, int k1, const int bits)
{
    const uint8_t *codes = vlmp_linear_codes(w, n);
    int size = vlmp_linear_group(w);
    for (int k = k0; k < k1;) {
        int group = k / size;
        int end = (group + 1) * size < k1 ? (group + 1) * size : k1;
        vfloat scale = vf_set(vlmp_linear_scale(w, n, group));
        for (; k + LANES <= end; k += LANES)
            vf_store(out + (k - k0), vf_mul(levels_of(load_codes(codes, k, bits), bits), scale));
        if (k < end) {
            vint part = load_codes_part(codes, k, end - k, bits);
            vf_store_part(out + (k - k0), vf_mul(levels_of(part, bits), scale), end - k);
        }
        k = end;
    }
}

void LEVEL_NAME(float_codes_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1)
{
    if (vlmp_linear_bits(w) == 8)
        to_f32(out, w, n, k0, k1, 8);
    else
        to_f32(out, w, n, k0, k1, 4);
}

/* Outputs that run together are `step` apart. */
struct few {
    const vlmp_linear *w;
    const float *x;
    int n, step;
};

/* Inputs k … k + lanes − 1, of one group: adds to sums[output][row]. */
INLINE void add_vector(const struct few *f, vfloat sums[MOST_OUTPUTS][MOST_ROWS],
                       const vfloat *scales, int k, int lanes, const int outs, const int rows,
                       const int bits)
{
    vfloat inputs[MOST_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        const float *from = f->x + (size_t)r * (size_t)f->w->k + k;
        inputs[r] = lanes == LANES ? vf_load(from) : vf_load_part(from, lanes);
    }
    UNROLL
    for (int o = 0; o < outs; o++) {
        const uint8_t *row = vlmp_linear_codes(f->w, f->n + o * f->step);
        vint codes =
            lanes == LANES ? load_codes(row, k, bits) : load_codes_part(row, k, lanes, bits);
        vfloat weights = vf_mul(levels_of(codes, bits), scales[o]);
        UNROLL
        for (int r = 0; r < rows; r++)
            sums[o][r] = vf_fma(weights, inputs[r], sums[o][r]);
    }
}

/* The same number of steps in the same order for each output and row, whatever runs together. */
INLINE void few_outputs(float *y, const struct few *f, const int outs, const int rows,
                        const int bits)
{
    vfloat sums[MOST_OUTPUTS][MOST_ROWS], scales[MOST_OUTPUTS];
    int inputs = f->w->k, size = vlmp_linear_group(f->w);
    UNROLL
    for (int o = 0; o < outs; o++) {
        UNROLL
        for (int r = 0; r < rows; r++)
            sums[o][r] = vf_zero();
    }
    for (int group = 0, k = 0; k < inputs; group++) {
        int end = k + size;
        UNROLL
        for (int o = 0; o < outs; o++) {
            int n = f->n + o * f->step;
            scales[o] = vf_set(vlmp_linear_scale(f->w, n, group));
            _mm_prefetch((const char *)vlmp_linear_codes(f->w, n) + (size_t)k * (size_t)bits / 8 +
                             AHEAD,
                         _MM_HINT_T1);
        }
        for (; k + LANES <= end; k += LANES)
            add_vector(f, sums, scales, k, LANES, outs, rows, bits);
        if (k < end) add_vector(f, sums, scales, k, end - k, outs, rows, bits);
        k = end;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int o = 0; o < outs; o++)
            y[(size_t)r * (size_t)f->w->n + (size_t)(f->n + o * f->step)] = vf_sum(sums[o][r]);
    }
}

/* All rows of some outputs before the next: codes come from memory once. */
INLINE void run_outputs(float *y, const float *x, int rows, const vlmp_linear *w, int n, int step,
                        const int outs, const int bits)
{
    for (int row = 0; row < rows;) {
        float *to = y + (size_t)row * (size_t)w->n;
        const struct few f = {w, x + (size_t)row * (size_t)w->k, n, step};
        int some = rows - row >= 4 ? 4 : rows - row >= 2 ? 2 : 1;
        if (some == 4)
            few_outputs(to, &f, outs, 4, bits);
        else if (some == 2)
            few_outputs(to, &f, outs, 2, bits);
        else
            few_outputs(to, &f, outs, 1, bits);
        row += some;
    }
}

INLINE void run(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1,
                const int bits)
{
    int step = (n1 - n0) / MOST_OUTPUTS;
    for (int n = n0; n < n0 + step; n++)
        run_outputs(y, x, rows, w, n, step, MOST_OUTPUTS, bits);
    for (int n = n0 + step * MOST_OUTPUTS; n < n1; n++)
        run_outputs(y, x, rows, w, n, 0, 1, bits);
}

void LEVEL_NAME(float_code_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                                 int n1)
{
    if (vlmp_linear_bits(w) == 8)
        run(y, x, rows, w, n0, n1, 8);
    else
        run(y, x, rows, w, n0, n1, 4);
}
