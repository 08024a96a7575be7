/* Products of many rows with int8 activations. A tile of outputs is unpacked once: a step is 4
 * consecutive bytes of codes of each output, one output a lane, so that a row's 4 int8 inputs,
 * broadcast, meet them in one dot product. 8 inputs of 4-bit codes are two steps: the even ones and
 * the odd ones; 16 inputs of 3-bit codes are four: every fourth one from each of the first four.
 * Compiled once a level. */
#include <assert.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/int8.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/planes.h"
#include "kernels/cpu/simd.h"

/* Two vectors of outputs by so many rows stay in registers: sums of a group and of the row. */
enum { PAIR = 2 * LANES, STRIP = LANES == 16 ? 6 : 2, MAX_K = 32768 };

/* A prepared row: scale, the negated sum of each group's inputs, the steps. */
enum { HEADER = 64 };

INLINE size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Inputs whose codes are unpacked together. */
INLINE int word_inputs(int bits)
{
    return bits == 3 ? 16 : 32 / bits;
}

INLINE int steps_of(int k, int bits)
{
    return vlmp_ceil_div(k, word_inputs(bits)) * (word_inputs(bits) / 4);
}

INLINE size_t steps_offset(int groups)
{
    return HEADER + round64((size_t)groups * sizeof(int32_t));
}

bool LEVEL_NAME(tile_supports)(const vlmp_linear *w)
{
    /* Sums of a group stay within 32 bits: 255·127·MAX_K. */
    int group = vlmp_linear_group(w);
    return w->k <= MAX_K && (group == w->k || group % (code_bits(w) == 3 ? 16 : 8) == 0);
}

size_t LEVEL_NAME(tile_prepared_bytes)(const vlmp_linear *w)
{
    return steps_offset(vlmp_linear_groups(w)) + round64((size_t)steps_of(w->k, code_bits(w)) * 4);
}

/* 16 inputs to 16 codes, in the order in which those of weights are unpacked. */
INLINE void store_codes(int8_t *codes, const float *x, float divisor, int bits)
{
    const __m128i natural = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i halves = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    const __m128i fourths = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256 limit = _mm256_set1_ps(127), least = _mm256_set1_ps(-127);
    __m128i words[2];
    UNROLL
    for (int i = 0; i < 2; i++) {
        __m256 v = _mm256_div_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(divisor));
        __m256i q = _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(v, limit), least));
        words[i] = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    }
    __m128i order = bits == 3 ? fourths : bits == 4 ? halves : natural;
    _mm_storeu_si128((__m128i *)(void *)codes,
                     _mm_shuffle_epi8(_mm_packs_epi16(words[0], words[1]), order));
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
    int bits = code_bits(w);
    unsigned char *bytes = prepared;
    int32_t *sums = (int32_t *)(void *)(bytes + HEADER);
    int8_t *codes = (int8_t *)bytes + steps_offset(groups);
    float scale = int8_scale(x, w->k);
    memcpy(bytes, &scale, sizeof scale);
    int padded = vlmp_ceil_div(w->k, 16) * 16; /* steps have room: they are padded to 64 */
    float tail[16] = {0};
    for (int i = 0; i < padded; i += 16) {
        const float *from = x + i;
        if (w->k - i < 16) {
            memcpy(tail, from, (size_t)(w->k - i) * sizeof *tail);
            from = tail;
        }
        store_codes(codes + i, from, int8_divisor(scale), bits);
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

/* The high bits of 16 inputs, half a word, as unpack_planes takes them: a byte in each half. */
INLINE vint high_half(const uint32_t *words, int half)
{
    vint word = vi_load(words);
    if (half == 1) word = vi_shr(word, 16);
    return vi_and_or(word, vi_set(255), vi_and(vi_shl(word, 8), vi_set(255 << 16)));
}

/* One word of each output of a pair of vectors to its steps; returns the end of what it stores. */
INLINE unsigned char *unpack_words(unsigned char *out, const uint32_t *low, const uint32_t *high,
                                   int half, const int bits)
{
    enum { MOST_STEPS = 4 };
    const vint nibble = vi_set8(15);
    const int steps = word_inputs(bits) / 4;
    vint codes[2][MOST_STEPS];
    UNROLL
    for (int v = 0; v < 2; v++) {
        vint word = vi_load(low + v * LANES);
        codes[v][0] = word;
        if (bits == 4) {
            codes[v][0] = vi_and(word, nibble);
            codes[v][1] = vi_and(vi_shr(word, 4), nibble);
        } else if (bits == 3) {
            unpack_planes(codes[v], word, high_half(high + v * LANES, half));
        }
    }
    UNROLL
    for (int s = 0; s < steps; s++, out += 2 * VECTOR_BYTES) {
        vi_store(out, codes[0][s]);
        vi_store(out + VECTOR_BYTES, codes[1][s]);
    }
    return out;
}

/* Outputs first … of the tile; those beyond its columns become zeros. */
INLINE void unpack_pair(const struct tile *t, int first, unsigned char *out, const int bits)
{
    enum { WORDS = 16 };
    size_t row_bytes = vlmp_codes_row_bytes(t->w->k, bits == 3 ? 2 : bits);
    size_t high_bytes = vlmp_codes_row_bytes(t->w->k, 1);
    int words = t->steps * 4 / word_inputs(bits);
    for (int word0 = 0; word0 < words; word0 += WORDS) {
        uint32_t low[WORDS][PAIR], high[WORDS / 2][PAIR];
        int count = words - word0 < WORDS ? words - word0 : WORDS;
        for (int o = 0; o < PAIR; o++) {
            bool inside = first + o < t->columns;
            size_t n = inside ? (size_t)(t->n0 + first + o) : 0;
            const uint8_t *row = t->w->codes + n * row_bytes;
            for (int i = 0; i < count; i++)
                low[i][o] = inside ? code_word(row, row_bytes, (size_t)(word0 + i) * 4) : 0;
            if (bits != 3) continue;
            row = t->w->high + n * high_bytes;
            for (int i = 0; i < count; i += 2)
                high[i / 2][o] = inside ? code_word(row, high_bytes, (size_t)(word0 + i) * 2) : 0;
        }
        for (int i = 0; i < count; i++)
            out = unpack_words(out, low[i], high[i / 2], i % 2, bits);
    }
}

static void unpack_scales(const struct tile *t)
{
    const vlmp_linear *w = t->w;
    for (int c = 0; c < VLMP_TILE_COLUMNS; c++) {
        size_t n = (size_t)(t->n0 + c);
        bool inside = c < t->columns;
        for (int g = 0; g < t->groups; g++) {
            size_t from = n * (size_t)t->groups + (size_t)g;
            size_t to = (size_t)g * VLMP_TILE_COLUMNS + (size_t)c;
            t->scales[to] =
                inside ? vlmp_scale_at(w->scales, from, w->scheme.scales) * w->scheme.global_scale
                       : 0;
            t->zeros[to] = inside ? vlmp_linear_zero(w, (int)n, g) : 0;
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
        if (code_bits(w) == 3)
            unpack_pair(&t, first, out, 3);
        else if (code_bits(w) == 4)
            unpack_pair(&t, first, out, 4);
        else
            unpack_pair(&t, first, out, 8);
    }
    if (code_bits(w) == 8)
        run_rows(&t, y, rows, true);
    else
        run_rows(&t, y, rows, false);
}
