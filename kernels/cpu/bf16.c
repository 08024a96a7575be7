/* Kernels of bf16.h: one strip of sums in registers for all of them. */
#include "kernels/cpu/bf16.h"

#include <assert.h>

#include "kernels/cpu/simd.h"
#include "src/base/half.h"

/* STRIP rows by a panel stay in registers. */
enum { PANEL = VLMP_BF16_PANEL, DEPTH = VLMP_BF16_DEPTH, STRIP = 8 };

_Static_assert(PANEL == 2 * LANES, "a panel is two vectors");

#if defined(__AVX512BF16__)

/* 2·LANES values as BF16, in order. */
INLINE vint round_row(const float *x)
{
    return (vint)_mm512_cvtne2ps_pbh(vf_load(x + LANES), vf_load(x));
}

/* In each lane the pair of the lanes of a and b. */
INLINE vint round_pairs(vfloat a, vfloat b)
{
    static const uint16_t order[2 * LANES] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                              21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                              11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(vi_load(order), (vint)_mm512_cvtne2ps_pbh(b, a));
}

/* sums + both products of the pairs. */
INLINE vfloat add_products(vfloat sums, vint a, vint b)
{
    return _mm512_dpbf16_ps(sums, (__m512bh)a, (__m512bh)b);
}

#else

INLINE vint round_row(const float *x)
{
    uint16_t values[2 * LANES];
    for (int i = 0; i < 2 * LANES; i++)
        values[i] = vlmp_f32_to_bf16(x[i]);
    return vi_load(values);
}

INLINE vint round_pairs(vfloat a, vfloat b)
{
    float x[2 * LANES];
    for (int i = 0; i < LANES; i++) {
        x[2 * i] = a[i];
        x[2 * i + 1] = b[i];
    }
    return round_row(x);
}

INLINE vfloat add_products(vfloat sums, vint a, vint b)
{
    const vint upper = vi_set(-0x10000);
    sums = vf_fma(vi_as_float(vi_and(a, upper)), vi_as_float(vi_and(b, upper)), sums);
    return vf_fma(vi_as_float(vi_shl(a, 16)), vi_as_float(vi_shl(b, 16)), sums);
}

#endif

/* Where the pairs of a strip's rows lie: pair p of row r at at[r·row + p·pair]. */
struct strip {
    const uint32_t *at;
    size_t row, pair;
};

/* c[rows][PANEL] += the strip's pairs times b[pairs][PANEL]. */
INLINE void add_strip(float *c, size_t c_stride, struct strip a, const uint32_t *b, int pairs,
                      const int rows)
{
    vfloat sums[STRIP][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            sums[r][v] = vf_load(c + (size_t)r * c_stride + v * LANES);
    }
    for (int p = 0; p < pairs; p++) {
        vint left = vi_load(b + (size_t)p * PANEL), right = vi_load(b + (size_t)p * PANEL + LANES);
        const uint32_t *at = a.at + (size_t)p * a.pair;
        UNROLL
        for (int r = 0; r < rows; r++) {
            vint pair = vi_set((int32_t)at[(size_t)r * a.row]);
            sums[r][0] = add_products(sums[r][0], pair, left);
            sums[r][1] = add_products(sums[r][1], pair, right);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            vf_store(c + (size_t)r * c_stride + v * LANES, sums[r][v]);
    }
}

/* Sums that a call adds to: rows × columns, of which a lower triangle has in row r those up to the
 * diagonal. */
struct block {
    float *at;
    size_t stride;
    int rows, columns;
    bool lower;
    int first; /* row of a lower block that at is in */
};

static size_t row_bytes(const struct block *c, int row)
{
    int columns = c->lower ? vlmp_smaller(c->columns, c->first + row + 1) : c->columns;
    return (size_t)columns * sizeof *c->at;
}

/* A strip of which only a part belongs to the sums. */
static void add_part(const struct block *c, struct strip a, const uint32_t *b, int pairs,
                     const int rows)
{
    float part[STRIP * PANEL] = {0};
    for (int r = 0; r < c->rows; r++)
        memcpy(part + r * PANEL, c->at + (size_t)r * c->stride, row_bytes(c, r));
    if (rows == STRIP)
        add_strip(part, PANEL, a, b, pairs, STRIP);
    else
        add_strip(part, PANEL, a, b, pairs, 1);
    for (int r = 0; r < c->rows; r++)
        memcpy(c->at + (size_t)r * c->stride, part + r * PANEL, row_bytes(c, r));
}

static void pair_row(uint32_t *pairs, const float *x, int k)
{
    int i = 0;
    for (; i + 2 * LANES <= k; i += 2 * LANES)
        vi_store(pairs + i / 2, round_row(x + i));
    if (i == k) return;
    float rest[2 * LANES] = {0};
    memcpy(rest, x + i, (size_t)(k - i) * sizeof *x);
    vi_store(pairs + i / 2, round_row(rest));
}

/* Pairs of inputs k0 … k1-1 of outputs n0 … n1-1 (at most PANEL; zeros beyond) to out[pair][PANEL].
 */
static void pack_weights(uint32_t *out, const vlmp_linear *w, int n0, int n1, int k0, int k1,
                         const vlmp_cpu_kernels *kernels)
{
    uint32_t rows[PANEL][DEPTH];
    float values[2 * DEPTH];
    int count = k1 - k0;
    for (int o = 0; o < PANEL; o++) {
        if (o < n1 - n0)
            kernels->weights_to_f32(values, w, n0 + o, k0, k1);
        else
            memset(values, 0, sizeof values);
        pair_row(rows[o], values, count);
    }
    for (int i = 0; i < count; i += 8)
        for (int o = 0; o < PANEL; o += 4)
            vi_transpose4(out + (size_t)i / 2 * PANEL + o, PANEL, &rows[o][i / 2], DEPTH);
}

static void linear_tile(float *y, const uint32_t *pairs, size_t stride, int rows,
                        const vlmp_linear *w, int n0, int n1, const vlmp_cpu_kernels *kernels,
                        void *scratch)
{
    assert(n1 - n0 <= VLMP_TILE_COLUMNS);
    size_t y_stride = (size_t)w->n;
    for (int row = 0; row < rows; row++)
        memset(y + (size_t)row * y_stride + n0, 0, (size_t)(n1 - n0) * sizeof *y);
    for (int k0 = 0; k0 < w->k; k0 += 2 * DEPTH) {
        int k1 = vlmp_smaller(w->k, k0 + 2 * DEPTH), depth = (k1 - k0 + 1) / 2;
        for (int n = n0; n < n1; n += PANEL) {
            int columns = vlmp_smaller(PANEL, n1 - n);
            pack_weights(scratch, w, n, n + columns, k0, k1, kernels);
            for (int row = 0, size; row < rows; row += size) {
                size = rows - row >= STRIP ? STRIP : 1;
                struct strip in = {pairs + (size_t)row * stride + k0 / 2, stride, 1};
                struct block out = {.at = y + (size_t)row * y_stride + n,
                                    .stride = y_stride,
                                    .rows = size,
                                    .columns = columns};
                if (columns == PANEL && size == STRIP)
                    add_strip(out.at, y_stride, in, scratch, depth, STRIP);
                else
                    add_part(&out, in, scratch, depth, size);
            }
        }
    }
}

static void pair_panel(uint32_t *panel, const float *x, size_t stride, int rows, int columns)
{
    for (int row = 0; row < rows; row += 2) {
        for (int v = 0; v < 2; v++) {
            int lanes = vlmp_smaller(LANES, columns - v * LANES);
            const float *at = x + (size_t)row * stride + v * LANES;
            vfloat a = vf_zero(), b = vf_zero();
            if (lanes > 0) a = vf_load_part(at, lanes);
            if (lanes > 0 && row + 1 < rows) b = vf_load_part(at + stride, lanes);
            vi_store(panel + (size_t)row / 2 * PANEL + v * LANES, round_pairs(a, b));
        }
    }
}

static void add_block(float *c, size_t c_stride, const uint32_t *a, const uint32_t *b, int pairs,
                      int m, int n, bool lower)
{
    for (int row = 0; row < m; row += STRIP) {
        struct strip left = {a + row, 1, PANEL};
        struct block out = {.at = c + (size_t)row * c_stride,
                            .stride = c_stride,
                            .rows = vlmp_smaller(STRIP, m - row),
                            .columns = n,
                            .lower = lower,
                            .first = row};
        if (out.rows == STRIP && n == PANEL && !lower)
            add_strip(out.at, c_stride, left, b, pairs, STRIP);
        else
            add_part(&out, left, b, pairs, STRIP);
    }
}

extern const vlmp_bf16_kernels LEVEL_NAME(bf16);

const vlmp_bf16_kernels LEVEL_NAME(bf16) = {
    .pair_row = pair_row,
    .linear_tile = linear_tile,
    .pair_panel = pair_panel,
    .add_block = add_block,
};
