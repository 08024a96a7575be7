/* Products of many rows in F32. A panel of a tile's weights is converted and transposed once, so
 * that an output is a lane; a row's input is broadcast. Compiled once a level. */
#include <assert.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/simd.h"

/* STRIP rows by two vectors of outputs stay in registers; a strip's inputs of one panel fit L1, the
 * tile's weights of one panel L2. */
enum { PAIR = 2 * LANES, STRIP = 6, PANEL = 1024, CHUNK = 128 };

/* Inputs k0 … k1-1 of outputs n0 … n1-1 (at most PAIR; zeros beyond) to out[k][PAIR]. */
static void pack_pair(float *out, const vlmp_linear *w, int n0, int n1, int k0, int k1)
{
    float rows[PAIR][CHUNK];
    for (int o = n1 - n0; o < PAIR; o++)
        memset(rows[o], 0, sizeof rows[o]);
    for (int k = k0; k < k1; k += CHUNK) {
        int count = k1 - k < CHUNK ? k1 - k : CHUNK;
        for (int o = 0; o < n1 - n0; o++) {
            LEVEL_NAME(weights_to_f32)(rows[o], w, n0 + o, k, k + count);
            for (int i = count; i % 4 != 0; i++)
                rows[o][i] = 0;
        }
        for (int i = 0; i < count; i += 4)
            for (int o = 0; o < PAIR; o += 4)
                vi_transpose4(out + (size_t)(k - k0 + i) * PAIR + o, PAIR, &rows[o][i], CHUNK);
    }
}

/* y[rows][columns of the pair] (+)= x·packed. */
INLINE void strip(float *y, size_t y_stride, const float *x, size_t x_stride, const float *packed,
                  int depth, int columns, bool first, const int rows)
{
    vfloat sums[STRIP][2];
    int lanes[2] = {columns < LANES ? columns : LANES, columns < LANES ? 0 : columns - LANES};
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++) {
            float *at = y + (size_t)r * y_stride + v * LANES;
            sums[r][v] = vf_zero();
            if (!first && lanes[v] == LANES) sums[r][v] = vf_load(at);
            if (!first && lanes[v] > 0 && lanes[v] < LANES) sums[r][v] = vf_load_part(at, lanes[v]);
        }
    }
    for (int k = 0; k < depth; k++) {
        vfloat a = vf_load(packed + (size_t)k * PAIR);
        vfloat b = vf_load(packed + (size_t)k * PAIR + LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vfloat input = vf_set(x[(size_t)r * x_stride + (size_t)k]);
            sums[r][0] = vf_fma(a, input, sums[r][0]);
            sums[r][1] = vf_fma(b, input, sums[r][1]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++) {
            float *at = y + (size_t)r * y_stride + v * LANES;
            if (lanes[v] == LANES)
                vf_store(at, sums[r][v]);
            else if (lanes[v] > 0)
                vf_store_part(at, sums[r][v], lanes[v]);
        }
    }
}

void LEVEL_NAME(float_tile)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                            int n1, void *scratch)
{
    assert(n1 - n0 <= VLMP_TILE_COLUMNS);
    float *packed = scratch;
    size_t x_stride = (size_t)w->k;
    size_t y_stride = (size_t)w->n;
    for (int k0 = 0; k0 < w->k; k0 += PANEL) {
        int k1 = w->k - k0 < PANEL ? w->k : k0 + PANEL;
        for (int n = n0; n < n1; n += PAIR)
            pack_pair(packed + (size_t)(n - n0) * PANEL, w, n, n + PAIR < n1 ? n + PAIR : n1, k0,
                      k1);
        for (int row = 0; row < rows;) {
            int size = rows - row >= STRIP ? STRIP : 1;
            for (int n = n0; n < n1; n += PAIR) {
                float *out = y + (size_t)row * y_stride + n;
                const float *in = x + (size_t)row * x_stride + k0;
                const float *weights = packed + (size_t)(n - n0) * PANEL;
                int columns = n1 - n < PAIR ? n1 - n : PAIR;
                if (size == STRIP)
                    strip(out, y_stride, in, x_stride, weights, k1 - k0, columns, k0 == 0, STRIP);
                else
                    strip(out, y_stride, in, x_stride, weights, k1 - k0, columns, k0 == 0, 1);
            }
            row += size;
        }
    }
}
