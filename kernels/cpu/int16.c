/* Rows of 16-bit integers (store.h): to and from F32, and the two halves of attention of
 * single rows. A stored row is loaded and converted once for up to four query heads. Compiled once
 * a level. */
#include "kernels/cpu/int8.h"
#include "kernels/cpu/level.h"

float LEVEL_NAME(to_int16)(int16_t *y, const float *x, int count, int width)
{
    float inverse, scale = vlmp_int16_scale(float_of(largest_bits(x, count)), &inverse);
    for (int i = 0; i < width; i += LANES) {
        vfloat value = vf_zero();
        if (count - i >= LANES)
            value = vf_load(x + i);
        else if (count > i)
            value = vf_load_part(x + i, count - i);
        vf_to_i16(y + i, vf_mul(value, vf_set(inverse)));
    }
    return scale;
}

void LEVEL_NAME(from_int16)(float *y, const int16_t *x, float scale, int count)
{
    for (int i = 0; i < count; i += LANES) {
        vfloat value = vf_mul(vf_from_i16(x + i), vf_set(scale));
        if (count - i >= LANES)
            vf_store(y + i, value);
        else
            vf_store_part(y + i, value, count - i);
    }
}

/* Scores of one call; the rows that a block has too many are the last row again. */
struct scores {
    float *s;
    size_t s_stride;
    const float *q; /* [heads][dim] */
    const int16_t *k;
    int count, dim;
    const int16_t *ahead;
};

/* Fetches row `row` of those that the next call reads: it has a whole chunk's time to arrive. */
INLINE void fetch_row(const int16_t *ahead, int row, int dim)
{
    const char *from = (const char *)(ahead + (size_t)row * (size_t)dim);
    for (int i = 0; i < dim * (int)sizeof *ahead; i += 64)
        _mm_prefetch(from + i, _MM_HINT_T1);
}

/* heads × keys dot products, at most 8, so that all sums are in registers. Each is summed alike
 * wherever it lies in a block. */
INLINE void score_block(const struct scores *a, int head, int key, const int heads, const int keys)
{
    const int16_t *rows[8];
    vfloat sums[8];
    float out[8];
    UNROLL
    for (int j = 0; j < keys; j++) {
        int row = key + j < a->count ? key + j : a->count - 1;
        rows[j] = a->k + (size_t)row * (size_t)a->dim;
        if (a->ahead != NULL && head == 0) fetch_row(a->ahead, row, a->dim);
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        sums[i] = vf_zero();
    const float *q = a->q + (size_t)head * (size_t)a->dim;
    for (int i = 0; i < a->dim; i += LANES) {
        vfloat k[8];
        UNROLL
        for (int j = 0; j < keys; j++)
            k[j] = vf_from_i16(rows[j] + i);
        UNROLL
        for (int h = 0; h < heads; h++) {
            vfloat x = vf_load(q + (size_t)h * (size_t)a->dim + i);
            UNROLL
            for (int j = 0; j < keys; j++)
                sums[h * keys + j] = vf_fma(x, k[j], sums[h * keys + j]);
        }
    }
    _mm256_storeu_ps(out, vf_sums8(sums));
    int left = a->count - key < keys ? a->count - key : keys;
    for (int h = 0; h < heads; h++) {
        float *s = a->s + (size_t)(head + h) * a->s_stride + key;
        if (left == keys)
            memcpy(s, out + h * keys, (size_t)keys * sizeof *s);
        else
            memcpy(s, out + h * keys, (size_t)left * sizeof *s);
    }
}

INLINE void score_rows(const struct scores *a, int head, const int heads, const int keys)
{
    for (int key = 0; key < a->count; key += keys)
        score_block(a, head, key, heads, keys);
}

void LEVEL_NAME(int16_scores)(float *s, size_t s_stride, float factor, const float *q, int heads,
                              const int16_t *k, const float *scales, int count, int width,
                              const int16_t *ahead)
{
    const struct scores a = {s, s_stride, q, k, count, width, ahead};
    int head = 0;
    for (; heads - head >= 4; head += 4)
        score_rows(&a, head, 4, 2);
    if (heads - head == 3) score_rows(&a, head, 3, 2);
    if (heads - head == 2) score_rows(&a, head, 2, 4);
    if (heads - head == 1) score_rows(&a, head, 1, 8);
    for (head = 0; head < heads; head++) {
        float *row = s + (size_t)head * s_stride;
        for (int i = 0; i < count; i += LANES) {
            int lanes = count - i < LANES ? count - i : LANES;
            vfloat scale = vf_mul(vf_load_part(scales + i, lanes), vf_set(factor));
            vf_store_part(row + i, vf_mul(vf_load_part(row + i, lanes), scale), lanes);
        }
    }
}

/* Sums of one call. */
struct sums {
    float *o; /* [heads][dim] */
    const float *p;
    size_t p_stride;
    const int16_t *v;
    int count, dim;
    const int16_t *ahead;
};

/* `columns` vectors of `heads` outputs in registers over all rows. */
INLINE void sum_columns(const struct sums *a, int head, int first, const int heads,
                        const int columns)
{
    vfloat sums[4][8];
    float *o = a->o + (size_t)head * (size_t)a->dim + first;
    UNROLL
    for (int h = 0; h < heads; h++)
        UNROLL
    for (int c = 0; c < columns; c++)
        sums[h][c] = vf_load(o + (size_t)h * (size_t)a->dim + c * LANES);
    const float *p = a->p + (size_t)head * a->p_stride;
    const int16_t *v = a->v + first;
    bool fetch = a->ahead != NULL && head == 0 && first == 0;
    for (int j = 0; j < a->count; j++, p++, v += a->dim) {
        if (fetch) fetch_row(a->ahead, j, a->dim);
        vfloat values[8];
        UNROLL
        for (int c = 0; c < columns; c++)
            values[c] = vf_from_i16(v + c * LANES);
        UNROLL
        for (int h = 0; h < heads; h++) {
            vfloat weight = vf_set(p[(size_t)h * a->p_stride]);
            UNROLL
            for (int c = 0; c < columns; c++)
                sums[h][c] = vf_fma(weight, values[c], sums[h][c]);
        }
    }
    UNROLL
    for (int h = 0; h < heads; h++)
        UNROLL
    for (int c = 0; c < columns; c++)
        vf_store(o + (size_t)h * (size_t)a->dim + c * LANES, sums[h][c]);
}

INLINE void sum_rows(const struct sums *a, int head, const int heads, const int columns)
{
    int i = 0;
    for (; i + columns * LANES <= a->dim; i += columns * LANES)
        sum_columns(a, head, i, heads, columns);
    if (columns > 4 && i + 4 * LANES <= a->dim) {
        sum_columns(a, head, i, heads, 4);
        i += 4 * LANES;
    }
    for (; i < a->dim; i += LANES)
        sum_columns(a, head, i, heads, 1);
}

void LEVEL_NAME(int16_sums)(float *o, float *p, size_t p_stride, int heads, const int16_t *v,
                            const float *scales, int count, int width, const int16_t *ahead)
{
    for (int head = 0; head < heads; head++) {
        float *row = p + (size_t)head * p_stride;
        for (int i = 0; i < count; i += LANES) {
            int lanes = count - i < LANES ? count - i : LANES;
            vfloat weight = vf_mul(vf_load_part(row + i, lanes), vf_load_part(scales + i, lanes));
            vf_store_part(row + i, weight, lanes);
        }
    }
    const struct sums a = {o, p, p_stride, v, count, width, ahead};
    int head = 0;
    for (; heads - head >= 4; head += 4)
        sum_rows(&a, head, 4, 2);
    if (heads - head == 3) sum_rows(&a, head, 3, 2);
    if (heads - head == 2) sum_rows(&a, head, 2, 4);
    if (heads - head == 1) sum_rows(&a, head, 1, 8);
}
