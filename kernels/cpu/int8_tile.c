/* Products of many rows with int8 activations. A tile of outputs is unpacked once: a step is 4
 * consecutive bytes of codes of each output, one output a lane, so that a row's 4 int8 inputs,
 * broadcast, meet them in one dot product. 8 inputs of 4-bit codes are two steps: the even ones and
 * the odd ones. Compiled once a level. */
#include <assert.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/int8.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/simd.h"

/* Two vectors of outputs by so many rows stay in registers: sums of a group and of the row. */
enum { PAIR = 2 * LANES, STRIP = LANES == 16 ? 6 : 2, MAX_K = 32768 };

/* A prepared row: scale, the negated sum of each group's inputs, the steps. */
enum { HEADER = 64 };

INLINE size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

INLINE int steps_of(int k, int bits)
{
    return bits == 4 ? (k + 7) / 8 * 2 : (k + 3) / 4;
}

INLINE size_t steps_offset(int groups)
{
    return HEADER + round64((size_t)groups * sizeof(int32_t));
}

bool LEVEL_NAME(tile_supports)(const vlmp_linear *w)
{
    /* Sums of a group stay within 32 bits: 255·127·MAX_K. */
    int group = vlmp_linear_group(w);
    return w->k <= MAX_K && (group == w->k || group % 8 == 0);
}

size_t LEVEL_NAME(tile_prepared_bytes)(const vlmp_linear *w)
{
    return steps_offset(vlmp_linear_groups(w)) + round64((size_t)steps_of(w->k, code_bits(w)) * 4);
}

/* 8 inputs to 8 codes; split: even ones first. */
INLINE void store_codes(int8_t *codes, __m256 x, float divisor, bool split)
{
    const __m256 limit = _mm256_set1_ps(127);
    x = _mm256_min_ps(_mm256_div_ps(x, _mm256_set1_ps(divisor)), limit);
    x = _mm256_max_ps(x, _mm256_sub_ps(_mm256_setzero_ps(), limit));
    __m256i q = _mm256_cvtps_epi32(x);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    __m128i bytes = _mm_packs_epi16(words, words);
    if (split)
        bytes = _mm_shuffle_epi8(
            bytes, _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1));
    _mm_storel_epi64((__m128i *)(void *)codes, bytes);
}

/* Σ of codes, count a multiple of 8. */
INLINE int sum_codes(const int8_t *codes, int count)
{
    const __m128i flip = _mm_set1_epi8(-128);
    __m128i total = _mm_setzero_si128();
    for (int i = 0; i < count; i += 8) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(codes + i));
        total = _mm_add_epi64(total, _mm_sad_epu8(_mm_xor_si128(bytes, flip), _mm_setzero_si128()));
    }
    return _mm_cvtsi128_si32(total) - 128 * count; /* the low half: codes + 128 */
}

void LEVEL_NAME(tile_prepare_row)(void *prepared, const float *x, const vlmp_linear *w)
{
    int groups = vlmp_linear_groups(w);
    bool split = code_bits(w) == 4;
    unsigned char *bytes = prepared;
    int32_t *sums = (int32_t *)(void *)(bytes + HEADER);
    int8_t *codes = (int8_t *)bytes + steps_offset(groups);
    float scale = int8_scale(x, w->k);
    memcpy(bytes, &scale, sizeof scale);
    int padded = (w->k + 7) / 8 * 8; /* steps have room: they are padded to 64 */
    float tail[8] = {0};
    for (int i = 0; i < padded; i += 8) {
        const float *from = x + i;
        if (w->k - i < 8) {
            memcpy(tail, from, (size_t)(w->k - i) * sizeof *tail);
            from = tail;
        }
        store_codes(codes + i, _mm256_loadu_ps(from), int8_divisor(scale), split);
    }
    int group = groups == 1 ? padded : vlmp_linear_group(w);
    for (int g = 0; g < groups; g++)
        sums[g] = -sum_codes(codes + g * group, group);
}

struct tile {
    const vlmp_linear *w;
    const unsigned char *prepared;
    size_t stride;
    int n0;
    int columns;
    int groups;
    int steps;            /* in all */
    int group_steps;      /* in a group */
    unsigned char *codes; /* [pair][steps][PAIR outputs][4] */
    float *scales;        /* [groups][VLMP_TILE_COLUMNS] */
    int32_t *zeros;       /* the same */
};

INLINE uint32_t code_word(const uint8_t *row, size_t row_bytes, size_t offset)
{
    uint32_t word = 0;
    if (offset + 4 <= row_bytes)
        memcpy(&word, row + offset, 4);
    else if (offset < row_bytes)
        memcpy(&word, row + offset, row_bytes - offset);
    return word;
}

/* Outputs first … of the tile; those beyond its columns become zeros. */
INLINE void unpack_pair(const struct tile *t, int first, unsigned char *out, const int bits)
{
    enum { WORDS = 16 };
    const vint nibble = vi_set8(15);
    size_t row_bytes = vlmp_codes_row_bytes(t->w->k, bits);
    int words = bits == 4 ? t->steps / 2 : t->steps;
    for (int word0 = 0; word0 < words; word0 += WORDS) {
        uint32_t block[WORDS][PAIR];
        int count = words - word0 < WORDS ? words - word0 : WORDS;
        for (int o = 0; o < PAIR; o++) {
            bool inside = first + o < t->columns;
            const uint8_t *row =
                inside ? t->w->codes + (size_t)(t->n0 + first + o) * row_bytes : t->w->codes;
            for (int i = 0; i < count; i++)
                block[i][o] = inside ? code_word(row, row_bytes, (size_t)(word0 + i) * 4) : 0;
        }
        for (int i = 0; i < count; i++) {
            vint a = vi_load(&block[i][0]);
            vint b = vi_load(&block[i][LANES]);
            if (bits == 4) {
                vi_store(out, vi_and(a, nibble));
                vi_store(out + VECTOR_BYTES, vi_and(b, nibble));
                a = vi_and(vi_shr(a, 4), nibble);
                b = vi_and(vi_shr(b, 4), nibble);
                out += 2 * VECTOR_BYTES;
            }
            vi_store(out, a);
            vi_store(out + VECTOR_BYTES, b);
            out += 2 * VECTOR_BYTES;
        }
    }
}

static void unpack_scales(const struct tile *t)
{
    const vlmp_linear *w = t->w;
    int bits = code_bits(w), middle = vlmp_code_types[w->scheme.codes].middle;
    size_t zero_bytes = vlmp_codes_row_bytes(t->groups, bits);
    for (int c = 0; c < VLMP_TILE_COLUMNS; c++) {
        size_t n = (size_t)(t->n0 + c);
        bool inside = c < t->columns;
        const uint8_t *zeros = inside && w->zeros != NULL ? w->zeros + n * zero_bytes : NULL;
        for (int g = 0; g < t->groups; g++) {
            size_t from = n * (size_t)t->groups + (size_t)g;
            size_t to = (size_t)g * VLMP_TILE_COLUMNS + (size_t)c;
            t->scales[to] =
                inside ? vlmp_scale_at(w->scales, from, w->scheme.scales) * w->scheme.global_scale
                       : 0;
            t->zeros[to] = zeros != NULL ? vlmp_code_at(zeros, g, bits) : middle;
        }
    }
}

INLINE int32_t word_at(const unsigned char *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* `rows` rows from `row` by the pair of vectors that starts at output `first` of the tile. */
INLINE void strip(const struct tile *t, float *y, int row, int first, const int rows,
                  const bool wide)
{
    const unsigned char *codes =
        t->codes + (size_t)(first / PAIR) * (size_t)t->steps * (2 * VECTOR_BYTES);
    const unsigned char *x[STRIP];
    vfloat sums[STRIP][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        x[r] = t->prepared + (size_t)(row + r) * t->stride;
        sums[r][0] = sums[r][1] = vf_zero();
    }
    size_t offset = steps_offset(t->groups);
    for (int g = 0; g < t->groups; g++) {
        const size_t at = (size_t)g * VLMP_TILE_COLUMNS + (size_t)first;
        vint zero0 = vi_load(t->zeros + at);
        vint zero1 = vi_load(t->zeros + at + LANES);
        vint whole[STRIP][2];
        UNROLL
        for (int r = 0; r < rows; r++) {
            vint negated = vi_set(word_at(x[r] + HEADER + (size_t)g * 4));
            whole[r][0] = vi_mul(negated, zero0);
            whole[r][1] = vi_mul(negated, zero1);
        }
        for (int s = 0; s < t->group_steps; s++, offset += 4, codes += 2 * VECTOR_BYTES) {
            vint a = vi_load(codes);
            vint b = vi_load(codes + VECTOR_BYTES);
            UNROLL
            for (int r = 0; r < rows; r++) {
                vint input = vi_set(word_at(x[r] + offset));
                whole[r][0] = vi_dot4(whole[r][0], a, input, wide);
                whole[r][1] = vi_dot4(whole[r][1], b, input, wide);
            }
        }
        vfloat scale0 = vf_load(t->scales + at);
        vfloat scale1 = vf_load(t->scales + at + LANES);
        UNROLL
        for (int r = 0; r < rows; r++) {
            sums[r][0] = vf_fma(vi_to_float(whole[r][0]), scale0, sums[r][0]);
            sums[r][1] = vf_fma(vi_to_float(whole[r][1]), scale1, sums[r][1]);
        }
    }
    int columns = t->columns - first;
    UNROLL
    for (int r = 0; r < rows; r++) {
        float scale;
        memcpy(&scale, x[r], sizeof scale);
        float *out = y + (size_t)(row + r) * (size_t)t->w->n + (size_t)(t->n0 + first);
        UNROLL
        for (int v = 0; v < 2; v++) {
            int lanes = columns - v * LANES;
            vfloat value = vf_mul(sums[r][v], vf_set(scale));
            if (lanes >= LANES)
                vf_store(out + v * LANES, value);
            else if (lanes > 0)
                vf_store_part(out + v * LANES, value, lanes);
        }
    }
}

INLINE void run_rows(const struct tile *t, float *y, int rows, const bool wide)
{
    int row = 0;
    for (; row + STRIP <= rows; row += STRIP)
        for (int first = 0; first < t->columns; first += PAIR)
            strip(t, y, row, first, STRIP, wide);
    for (; row < rows; row++)
        for (int first = 0; first < t->columns; first += PAIR)
            strip(t, y, row, first, 1, wide);
}

void LEVEL_NAME(int8_tile)(float *y, const void *prepared, size_t stride, int rows,
                           const vlmp_linear *w, int n0, int n1, void *scratch)
{
    assert(n1 - n0 <= VLMP_TILE_COLUMNS);
    int groups = vlmp_linear_groups(w);
    size_t scale_count = (size_t)groups * VLMP_TILE_COLUMNS;
    struct tile t = {
        .w = w,
        .prepared = prepared,
        .stride = stride,
        .n0 = n0,
        .columns = n1 - n0,
        .groups = groups,
        .steps = steps_of(w->k, code_bits(w)),
        .scales = scratch,
        .zeros = (int32_t *)scratch + scale_count,
        .codes = (unsigned char *)scratch + 8 * scale_count,
    };
    t.group_steps = groups == 1 ? t.steps : vlmp_linear_group(w) / 4;
    unpack_scales(&t);
    for (int first = 0; first < t.columns; first += PAIR) {
        unsigned char *out =
            t.codes + (size_t)(first / PAIR) * (size_t)t.steps * (2 * VECTOR_BYTES);
        if (code_bits(w) == 4)
            unpack_pair(&t, first, out, 4);
        else
            unpack_pair(&t, first, out, 8);
    }
    if (code_bits(w) == 4)
        run_rows(&t, y, rows, false);
    else
        run_rows(&t, y, rows, true);
}
