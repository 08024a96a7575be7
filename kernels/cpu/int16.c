/* Rows of 16-bit integers (store.h): to and from F32, and the two halves of attention of
 * single rows. A stored value is loaded and converted once for up to eight query heads. Compiled
 * once a level. */
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

void LEVEL_NAME(keys_to_f32)(float *y, const int16_t *k, const float *scales, int dim)
{
    int i = 0;
    for (; i + 4 <= dim; i += 4) {
        float values[4 * VLMP_INT16_UNIT];
        for (int j = 0; j < 4 * VLMP_INT16_UNIT; j += LANES)
            vf_store(values + j, vf_mul(vf_from_i16(k + i * VLMP_INT16_UNIT + j),
                                        vf_load(scales + j % VLMP_INT16_UNIT)));
        for (int j = 0; j < VLMP_INT16_UNIT; j += 4)
            vi_transpose4(y + j * dim + i, (size_t)dim, values + j, VLMP_INT16_UNIT);
    }
    for (; i < dim; i++)
        for (int j = 0; j < VLMP_INT16_UNIT; j++)
            y[j * dim + i] = (float)k[i * VLMP_INT16_UNIT + j] * scales[j];
}

enum {
    BLOCK = VLMP_INT16_UNIT,
    BLOCK_VECTORS = BLOCK / LANES,
    SUM_VECTORS = LANES == 16 ? 16 : 8, /* that leave registers for what is added */
    MOST_HEADS = LANES == 16 ? 8 : 4,   /* read with one conversion of a stored value */
};

/* A line that is read later, into L2. */
INLINE void fetch(const char *from)
{
    _mm_prefetch(from, _MM_HINT_T1);
}

/* Scores of one call. */
struct scores {
    float *s;
    size_t s_stride;
    float factor;
    const float *q; /* [heads][dim] */
    const vlmp_int16_keys *keys;
    const char *ahead[2]; /* rows and weights, as far from here as keys from their first */
};

/* The scores of a block that belong to keys; `stride` vectors of sums between heads. */
INLINE void put_scores(const struct scores *a, int head, int block, const vfloat *sums,
                       const int heads, const int stride)
{
    const vlmp_int16_keys *keys = a->keys;
    const float *scales = keys->scales + block * BLOCK;
    int first = block == 0 ? keys->skip : 0, end = keys->skip + keys->count - block * BLOCK;
    if (end > BLOCK) end = BLOCK;
    float *to = a->s + (size_t)head * a->s_stride + (block * BLOCK + first - keys->skip);
    bool whole = end - first == BLOCK;
    UNROLL
    for (int h = 0; h < heads; h++, to += a->s_stride) {
        _Alignas(64) float all[BLOCK];
        float *out = whole ? to : all;
        UNROLL
        for (int v = 0; v < BLOCK_VECTORS; v++) {
            vfloat scale = vf_mul(vf_load(scales + v * LANES), vf_set(a->factor));
            vf_store(out + v * LANES, vf_mul(sums[h * stride + v], scale));
        }
        if (!whole) memcpy(to, all + first, (size_t)(end - first) * sizeof *to);
    }
}

/* Scores of `heads` heads and the keys of `blocks` blocks, with all sums in registers. A key's are
 * added in the order of its values, wherever it lies. */
INLINE void score_blocks(const struct scores *a, int head, int block, const int heads,
                         const int blocks)
{
    vfloat sums[SUM_VECTORS];
    const int vectors = blocks * BLOCK_VECTORS;
    const float *q = a->q + (size_t)head * (size_t)a->keys->dim;
    size_t stride = (size_t)a->keys->width * BLOCK, at = (size_t)block * stride;
    UNROLL
    for (int i = 0; i < heads * vectors; i++)
        sums[i] = vf_zero();
    for (int i = 0; i < a->keys->dim; i++, at += BLOCK) {
        vfloat k[SUM_VECTORS];
        const char *ahead = a->ahead[i % 2]; /* two values are a line */
        UNROLL
        for (int b = 0; b < blocks; b++) {
            size_t key = at + (size_t)b * stride;
            fetch(ahead + key * sizeof(int16_t));
            UNROLL
            for (int v = 0; v < BLOCK_VECTORS; v++)
                k[b * BLOCK_VECTORS + v] = vf_from_i16(a->keys->rows + key + v * LANES);
        }
        UNROLL
        for (int h = 0; h < heads; h++) {
            vfloat x = vf_set(q[h * a->keys->dim + i]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[h * vectors + v] = vf_fma(x, k[v], sums[h * vectors + v]);
        }
    }
    UNROLL
    for (int b = 0; b < blocks; b++)
        put_scores(a, head, block + b, sums + b * BLOCK_VECTORS, heads, vectors);
}

INLINE void score_heads(const struct scores *a, int head, const int heads)
{
    const int most = SUM_VECTORS / BLOCK_VECTORS / heads, together = most > 4 ? 4 : most;
    int block = 0, blocks = (a->keys->skip + a->keys->count + BLOCK - 1) / BLOCK;
    for (; block + together <= blocks; block += together)
        score_blocks(a, head, block, heads, together);
    for (; block < blocks; block++)
        score_blocks(a, head, block, heads, 1);
}

void LEVEL_NAME(int16_scores)(float *s, size_t s_stride, float factor, const float *q, int heads,
                              const vlmp_int16_keys *keys, const vlmp_ahead *ahead)
{
    /* What is not known is the keys themselves, which costs nothing. */
    const char *rows = ahead->rows != NULL ? ahead->rows : keys->rows;
    const char *weights = ahead->weights != NULL ? ahead->weights : keys->rows;
    const struct scores a = {s, s_stride, factor, q, keys, {rows, weights}};
    int head = 0;
    for (; heads - head >= MOST_HEADS; head += MOST_HEADS)
        score_heads(&a, head, MOST_HEADS);
    for (; heads - head >= 4; head += 4)
        score_heads(&a, head, 4);
    if (heads - head == 3) score_heads(&a, head, 3);
    if (heads - head == 2) score_heads(&a, head, 2);
    if (heads - head == 1) score_heads(&a, head, 1);
}

/* Row `row` of what is ahead. */
INLINE void fetch_row(const char *ahead, int row, int dim)
{
    size_t bytes = (size_t)dim * sizeof(int16_t);
    for (size_t i = 0; i < bytes; i += 64)
        fetch(ahead + (size_t)row * bytes + i);
}

/* Sums of one call. */
struct sums {
    float *o; /* [heads][dim] */
    const float *p;
    size_t p_stride;
    const int16_t *v;
    int count, dim;
    const vlmp_ahead *ahead;
};

/* `columns` vectors of `heads` outputs in registers over all rows. */
INLINE void sum_columns(const struct sums *a, int head, int first, const int heads,
                        const int columns)
{
    const char *ahead = NULL;
    if (head == 0 && first == 0) ahead = a->ahead->rows;
    if (head == 0 && first == columns * LANES) ahead = a->ahead->weights;
    vfloat sums[8][8];
    float *o = a->o + (size_t)head * (size_t)a->dim + first;
    UNROLL
    for (int h = 0; h < heads; h++)
        UNROLL
    for (int c = 0; c < columns; c++)
        sums[h][c] = vf_load(o + (size_t)h * (size_t)a->dim + c * LANES);
    const float *p = a->p + (size_t)head * a->p_stride;
    const int16_t *v = a->v + first;
    for (int j = 0; j < a->count; j++, p++, v += a->dim) {
        if (ahead != NULL) fetch_row(ahead, j, a->dim);
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
                            const float *scales, int count, int width, const vlmp_ahead *ahead)
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
    for (; heads - head >= MOST_HEADS; head += MOST_HEADS)
        sum_rows(&a, head, MOST_HEADS, 2);
    for (; heads - head >= 4; head += 4)
        sum_rows(&a, head, 4, 2);
    if (heads - head == 3) sum_rows(&a, head, 3, 2);
    if (heads - head == 2) sum_rows(&a, head, 2, 4);
    if (heads - head == 1) sum_rows(&a, head, 1, 8);
}
