/* Products of few rows with packed weights, read as they are stored (see packed.h). Compiled once
 * a level.
 *
 * The outputs of a call are read as four streams, which lie far apart: a processor fetches each
 * page ahead by itself, and one stream alone gets a fraction of what memory gives. */
#include "kernels/cpu/packed.h"

#include "kernels/cpu/level.h"
#include "kernels/cpu/planes.h"

enum {
    /* Bytes by which codes are prefetched, into L2: L1's few miss buffers would be the limit. */
    AHEAD = 2048,
    STREAMS = 4,
    MOST_ROWS = 4,
    TOGETHER = 2, /* outputs whose codes are in registers at once: they share loads of inputs */
};

/* What the kernels of one call share. */
struct few {
    const vlmp_linear *w;
    const unsigned char *prepared; /* rows, stride apart */
    size_t stride;
    size_t row_bytes;  /* of codes, or their low bits */
    size_t high_bytes; /* of high bits */
    int group;         /* inputs */
    int groups;
    vint lane_index; /* group in the block of each lane */
};

/* Outputs that run together, one of each stream. */
struct outputs {
    int n[STREAMS];
    const uint8_t *codes[STREAMS];
    const uint8_t *high[STREAMS]; /* NULL where codes have one plane */
};

typedef vfloat sums[STREAMS][MOST_ROWS];

/* The first `bytes` (2 … 16, even) bytes, then zeros. */
INLINE __m128i load_halves(const unsigned char *from, int bytes)
{
    uint64_t whole = 0, part = 0;
    if (bytes == 16) return _mm_loadu_si128((const __m128i *)(const void *)from);
    if (bytes & 2) {
        uint16_t last;
        memcpy(&last, from + (bytes & 12), sizeof last);
        part = last;
    }
    if (bytes & 4) {
        uint32_t last;
        memcpy(&last, from + (bytes & 8), sizeof last);
        part = part << 32 | last;
    }
    if ((bytes & 8) == 0) return _mm_set_epi64x(0, (long long)part);
    memcpy(&whole, from, sizeof whole);
    return _mm_set_epi64x((long long)part, (long long)whole);
}

INLINE vfloat lane_scales(const struct few *f, int n, int group, int count)
{
    const unsigned char *scales = f->w->scales;
    const unsigned char *from = scales + ((size_t)n * (size_t)f->groups + (size_t)group) * 2;
    return vf_pick8(_mm256_cvtph_ps(load_halves(from, count * 2)), f->lane_index);
}

INLINE vint lane_zeros(const struct few *f, int n, int group, int count, int bits, const bool zeros)
{
    if (!zeros) return vi_set(1 << (bits - 1));
    const int wide = zero_bits(bits);
    size_t row_bytes = vlmp_codes_row_bytes(f->groups, wide);
    const uint8_t *from = f->w->zeros + (size_t)n * row_bytes + (size_t)(group * wide / 8);
    uint32_t packed = 0;
    memcpy(&packed, from, vlmp_codes_row_bytes(count, wide));
    vint shifts = wide == 4 ? vi_shl(f->lane_index, 2) : vi_shl(f->lane_index, 3);
    return vi_and(vi_shr_each(vi_set((int32_t)packed), shifts), vi_set((1 << wide) - 1));
}

INLINE float group_scale(const struct few *f, int n, int group)
{
    size_t index = (size_t)n * (size_t)f->groups + (size_t)group;
    return vlmp_scale_at(f->w->scales, index, f->w->scheme.scales);
}

INLINE vint group_zero(const struct few *f, int n, int group, int bits, const bool zeros)
{
    if (!zeros) return vi_set(1 << (bits - 1));
    const int wide = zero_bits(bits);
    const uint8_t *row = f->w->zeros + (size_t)n * vlmp_codes_row_bytes(f->groups, wide);
    return vi_set(vlmp_code_at(row, group, wide));
}

/* −z·Σ of a lane's inputs, for one vector of sums. */
INLINE vint zero_term(vint negated_sum, vint zero, int bits, const bool zeros)
{
    if (zeros) return vi_mul(negated_sum, zero);
    return bits == 3   ? vi_shl(negated_sum, 2)
           : bits == 4 ? vi_shl(negated_sum, 3)
                       : vi_shl(negated_sum, 7);
}

/* The codes of a block, unpacked, and the zeros of its lanes. */
struct unpacked {
    vint codes[4];
    vint zeros;
};

/* Σ (u − z)·x of each lane for `outs` outputs and one row of one digit; acc gets it added. */
INLINE void dot_one(vint *acc, const struct unpacked *u, const unsigned char *x, const int outs,
                    const int bits, const bool zeros)
{
    const vint negated = vi_load(x + parts_of(bits) * VECTOR_BYTES);
    UNROLL
    for (int o = 0; o < outs; o++)
        acc[o] = vi_dot_parts(vi_add(acc[o], zero_term(negated, u[o].zeros, bits, zeros)),
                              u[o].codes, x, parts_of(bits), bits == 8);
}

/* The same of three digits, in units of the last. */
INLINE void dot_three(vfloat *out, const struct unpacked *u, const unsigned char *x, const int outs,
                      const int bits, const bool zeros)
{
    const int parts = parts_of(bits), digit = parts * VECTOR_BYTES;
    const vint negated = vi_load(x + 3 * digit);
    vint sum[3][TOGETHER];
    UNROLL
    for (int d = 0; d < 3; d++)
        UNROLL
    for (int o = 0; o < outs; o++) {
        vint start = vi_zero();
        if (d == 0 && bits == 8)
            start = zero_term(vi_load(x + 3 * digit + VECTOR_BYTES), u[o].zeros, bits, zeros);
        else if (d == (bits == 8))
            start = zero_term(negated, u[o].zeros, bits, zeros);
        sum[d][o] = vi_dot_parts(start, u[o].codes, x + d * digit, parts, bits == 8);
    }
    UNROLL
    for (int o = 0; o < outs; o++) {
        vint high = vi_add(vi_shl(sum[2][o], 8), sum[1][o]);
        if (bits == 8)
            out[o] = vf_fma(vi_to_float(high), vf_set(256), vi_to_float(sum[0][o]));
        else
            out[o] = vi_to_float(vi_add(vi_shl(high, 8), sum[0][o]));
    }
}

/* The parts of 3-bit codes of a block's first `inputs` inputs. */
INLINE void load_planes(vint *codes, const uint8_t *low, const uint8_t *high, int inputs)
{
    if (inputs == MOST_INPUTS) {
        unpack_planes(codes, vi_load(low), vi_spread8(high));
        return;
    }
    uint8_t copy[VECTOR_BYTES / 2] = {0};
    memcpy(copy, high, (size_t)(inputs + 7) / 8);
    unpack_planes(codes, vi_load_part(low, code_bytes(inputs, 3)), vi_spread8(copy));
}

/* The parts of codes of `inputs` inputs: of the lanes' first 4 bytes, then of their last 4; 4-bit
 * codes fall into even and odd ones. */
INLINE void load_codes(vint *codes, const uint8_t *from, int inputs, int bits)
{
    vint a, b;
    if (inputs == block_inputs(bits)) {
        a = vi_load(from);
        b = vi_load(from + VECTOR_BYTES);
    } else {
        int bytes = code_bytes(inputs, bits);
        a = vi_load_part(from, bytes);
        b = bytes > VECTOR_BYTES ? vi_load_part(from + VECTOR_BYTES, bytes - VECTOR_BYTES)
                                 : vi_zero();
    }
    vint first = vi_even(a, b);
    vint last = vi_odd(a, b);
    if (bits == 8) {
        codes[0] = first;
        codes[1] = last;
        return;
    }
    codes[0] = vi_and(first, vi_set8(15));
    codes[1] = vi_and(vi_shr(first, 4), vi_set8(15));
    codes[2] = vi_and(last, vi_set8(15));
    codes[3] = vi_and(vi_shr(last, 4), vi_set8(15));
}

/* Block `block` of output o, and memory further on on its way. */
INLINE void load_block(vint *codes, const struct outputs *at, int o, int block, int inputs,
                       const int bits)
{
    const uint8_t *from = at->codes[o] + (size_t)block * (size_t)block_codes(bits);
    for (int i = 0; i < block_codes(bits); i += 64)
        _mm_prefetch((const char *)from + AHEAD + i, _MM_HINT_T1);
    if (bits != 3) {
        load_codes(codes, from, inputs, bits);
        return;
    }
    const uint8_t *high = at->high[o] + (size_t)block * (VECTOR_BYTES / 2);
    _mm_prefetch((const char *)high + AHEAD / 2, _MM_HINT_T1);
    load_planes(codes, from, high, inputs);
}

/* One block whose lanes belong to 2, 4 or 8 groups. */
INLINE void lane_block(const struct few *f, sums total, const struct outputs *at, int block,
                       int inputs, int groups, const int lanes, const int outs, const int rows,
                       const int bits, const int digits, const bool zeros)
{
    UNROLL
    for (int first = 0; first < outs; first += TOGETHER) {
        struct unpacked u[TOGETHER];
        vfloat scales[TOGETHER];
        UNROLL
        for (int o = 0; o < TOGETHER; o++) {
            int n = at->n[first + o];
            load_block(u[o].codes, at, first + o, block, inputs, bits);
            scales[o] = lane_scales(f, n, block * lanes, groups);
            u[o].zeros = lane_zeros(f, n, block * lanes, groups, bits, zeros);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const unsigned char *x =
                f->prepared + (size_t)r * f->stride + (size_t)block * block_bytes(bits, digits);
            vfloat values[TOGETHER];
            if (digits == 1) {
                vint whole[TOGETHER] = {vi_zero(), vi_zero()};
                dot_one(whole, u, x, TOGETHER, bits, zeros);
                UNROLL
                for (int o = 0; o < TOGETHER; o++)
                    values[o] = vi_to_float(whole[o]);
            } else {
                const vfloat x_scales = vf_load(x + block_bytes(bits, 3) - VECTOR_BYTES);
                dot_three(values, u, x, TOGETHER, bits, zeros);
                UNROLL
                for (int o = 0; o < TOGETHER; o++)
                    values[o] = vf_mul(values[o], x_scales);
            }
            UNROLL
            for (int o = 0; o < TOGETHER; o++)
                total[first + o][r] = vf_fma(values[o], scales[o], total[first + o][r]);
        }
    }
}

/* What the blocks of one group have added up to. */
struct group_sums {
    vint whole[STREAMS][MOST_ROWS]; /* one digit */
    sums part;                      /* three */
    vint zeros[STREAMS];
};

INLINE void group_block(const struct few *f, struct group_sums *g, const struct outputs *at,
                        int block, const int outs, const int rows, const int bits, const int digits,
                        const bool zeros)
{
    int inputs = f->w->k - block * block_inputs(bits);
    if (inputs > block_inputs(bits)) inputs = block_inputs(bits);
    UNROLL
    for (int first = 0; first < outs; first += TOGETHER) {
        struct unpacked u[TOGETHER];
        UNROLL
        for (int o = 0; o < TOGETHER; o++) {
            load_block(u[o].codes, at, first + o, block, inputs, bits);
            u[o].zeros = g->zeros[first + o];
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const unsigned char *x =
                f->prepared + (size_t)r * f->stride + (size_t)block * block_bytes(bits, digits);
            if (digits == 1) {
                vint whole[TOGETHER] = {g->whole[first][r], g->whole[first + 1][r]};
                dot_one(whole, u, x, TOGETHER, bits, zeros);
                g->whole[first][r] = whole[0];
                g->whole[first + 1][r] = whole[1];
                continue;
            }
            const vfloat x_scales = vf_load(x + block_bytes(bits, 3) - VECTOR_BYTES);
            vfloat values[TOGETHER];
            dot_three(values, u, x, TOGETHER, bits, zeros);
            UNROLL
            for (int o = 0; o < TOGETHER; o++)
                g->part[first + o][r] = vf_fma(values[o], x_scales, g->part[first + o][r]);
        }
    }
}

/* Blocks first … end-1, all of one group. */
INLINE void group_blocks(const struct few *f, sums total, const struct outputs *at, int group,
                         int first, int end, const int outs, const int rows, const int bits,
                         const int digits, const bool zeros)
{
    struct group_sums g;
    UNROLL
    for (int o = 0; o < outs; o++) {
        g.zeros[o] = group_zero(f, at->n[o], group, bits, zeros);
        UNROLL
        for (int r = 0; r < rows; r++) {
            g.whole[o][r] = vi_zero();
            g.part[o][r] = vf_zero();
        }
    }
    for (int block = first; block < end; block++)
        group_block(f, &g, at, block, outs, rows, bits, digits, zeros);
    UNROLL
    for (int o = 0; o < outs; o++) {
        vfloat scale = vf_set(group_scale(f, at->n[o], group));
        UNROLL
        for (int r = 0; r < rows; r++)
            total[o][r] =
                vf_fma(digits == 1 ? vi_to_float(g.whole[o][r]) : g.part[o][r], scale, total[o][r]);
    }
}

/* Lanes added up, for each output of each row. */
INLINE void store_outputs(const struct few *f, float *y, sums total, const struct outputs *at,
                          const int outs, const int rows, const int digits)
{
    vfloat all[8];
    float out[8];
    UNROLL
    for (int o = 0; o < outs; o++)
        UNROLL
    for (int r = 0; r < rows; r++)
        all[o * rows + r] = total[o][r];
    if (outs * rows == 8)
        _mm256_storeu_ps(out, vf_sums8(all));
    else
        _mm_storeu_ps(out, vf_sums4(all));
    UNROLL
    for (int r = 0; r < rows; r++) {
        float scale = 1;
        if (digits == 1) memcpy(&scale, f->prepared + (size_t)r * f->stride - HEADER, sizeof scale);
        UNROLL
        for (int o = 0; o < outs; o++)
            y[(size_t)r * (size_t)f->w->n + (size_t)at->n[o]] =
                out[o * rows + r] * scale * f->w->scheme.global_scale;
    }
}

/* A lane of 8-bit codes sums up to 8·255·127 a block: this many stay within 32 bits. */
enum { MAX_RUN = 4096 };

INLINE void run_outputs(const struct few *f, float *y, const struct outputs *at, const int outs,
                        const int rows, const int bits, const int digits, const int lanes,
                        const bool zeros)
{
    sums total;
    UNROLL
    for (int o = 0; o < outs; o++)
        UNROLL
    for (int r = 0; r < rows; r++)
        total[o][r] = vf_zero();
    int k = f->w->k;
    int per_block = block_inputs(bits);
    int whole_blocks = k / per_block;
    if (lanes) {
        for (int block = 0; block < whole_blocks; block++)
            lane_block(f, total, at, block, per_block, lanes, lanes, outs, rows, bits, digits,
                       zeros);
        if (k % per_block != 0)
            lane_block(f, total, at, whole_blocks, k % per_block, k % per_block / f->group, lanes,
                       outs, rows, bits, digits, zeros);
    } else {
        int blocks = whole_blocks + (k % per_block != 0);
        int group_size = f->groups == 1 ? blocks : f->group / per_block;
        for (int block = 0; block < blocks;) {
            int group = block / group_size;
            int end = (group + 1) * group_size;
            if (end - block > MAX_RUN) end = block + MAX_RUN;
            group_blocks(f, total, at, group, block, end, outs, rows, bits, digits, zeros);
            block = end;
        }
    }
    store_outputs(f, y, total, at, outs, rows, digits);
}

/* Rows from `row` on, as many as run together, of the outputs; returns how many. Several outputs
 * share the loads of x, several rows share the unpacking of codes. */
INLINE int run_rows(const struct few *f, float *y, const struct outputs *at, int row, int rows,
                    const int bits, const int digits, const int lanes, const bool zeros)
{
    struct few part = *f;
    part.prepared += (size_t)row * f->stride;
    y += (size_t)row * (size_t)f->w->n;
    if (rows - row == 1) {
        run_outputs(&part, y, at, STREAMS, 1, bits, digits, lanes, zeros);
        return 1;
    }
    int some = rows - row >= 4 ? 4 : 2;
    for (int first = 0; first < STREAMS; first += TOGETHER) {
        const struct outputs two = {{at->n[first], at->n[first + 1]},
                                    {at->codes[first], at->codes[first + 1]},
                                    {at->high[first], at->high[first + 1]}};
        if (some == 4)
            run_outputs(&part, y, &two, TOGETHER, 4, bits, digits, lanes, zeros);
        else
            run_outputs(&part, y, &two, TOGETHER, 2, bits, digits, lanes, zeros);
    }
    return some;
}

INLINE void run(const struct few *f, float *y, int rows, int n0, int n1, const int bits,
                const int digits, const int lanes, const bool zeros)
{
    int step = vlmp_ceil_div(n1 - n0, STREAMS);
    for (int n = n0; n < n0 + step; n++) {
        struct outputs at;
        for (int o = 0; o < STREAMS; o++) {
            /* A stream that is shorter ends with the last output again. */
            at.n[o] = vlmp_smaller(n + o * step, n1 - 1);
            at.codes[o] = f->w->codes + (size_t)at.n[o] * f->row_bytes;
            at.high[o] = bits == 3 ? f->w->high + (size_t)at.n[o] * f->high_bytes : NULL;
        }
        for (int row = 0; row < rows;)
            row += run_rows(f, y, &at, row, rows, bits, digits, lanes, zeros);
    }
}

typedef void run_fn(const struct few *f, float *y, int rows, int n0, int n1);

#define RUN_NAME(bits, digits, lanes, zeros) run_##bits##_##digits##_##lanes##_##zeros

#define DEFINE_RUN(bits, digits, lanes, zeros)                                                \
    static void RUN_NAME(bits, digits, lanes, zeros)(const struct few *f, float *y, int rows, \
                                                     int n0, int n1)                          \
    {                                                                                         \
        run(f, y, rows, n0, n1, bits, digits, lanes, zeros);                                  \
    }

#define DEFINE_LANES(bits, digits, lanes) \
    DEFINE_RUN(bits, digits, lanes, 0)    \
    DEFINE_RUN(bits, digits, lanes, 1)

#define DEFINE_ALL(bits, digits)  \
    DEFINE_LANES(bits, digits, 0) \
    DEFINE_LANES(bits, digits, 2) \
    DEFINE_LANES(bits, digits, 4)

DEFINE_ALL(3, 1)
DEFINE_LANES(3, 1, 8)
DEFINE_ALL(3, 3)
DEFINE_LANES(3, 3, 8)
DEFINE_ALL(4, 1)
DEFINE_LANES(4, 1, 8)
DEFINE_ALL(4, 3)
DEFINE_LANES(4, 3, 8)
DEFINE_ALL(8, 1)
DEFINE_ALL(8, 3)

#define RUNS(bits, digits, lanes)                                          \
    {                                                                      \
        RUN_NAME(bits, digits, lanes, 0), RUN_NAME(bits, digits, lanes, 1) \
    }

/* By bits, activations, log2 of the groups in a block (0: none), zeros. */
static run_fn *const runs[3][2][4][2] = {
    {
        {RUNS(3, 1, 0), RUNS(3, 1, 2), RUNS(3, 1, 4), RUNS(3, 1, 8)},
        {RUNS(3, 3, 0), RUNS(3, 3, 2), RUNS(3, 3, 4), RUNS(3, 3, 8)},
    },
    {
        {RUNS(4, 1, 0), RUNS(4, 1, 2), RUNS(4, 1, 4), RUNS(4, 1, 8)},
        {RUNS(4, 3, 0), RUNS(4, 3, 2), RUNS(4, 3, 4), RUNS(4, 3, 8)},
    },
    {
        {RUNS(8, 1, 0), RUNS(8, 1, 2), RUNS(8, 1, 4)},
        {RUNS(8, 3, 0), RUNS(8, 3, 2), RUNS(8, 3, 4)},
    },
};

bool LEVEL_NAME(packed_supports)(const vlmp_linear *w)
{
    int bits = code_bits(w), group = vlmp_linear_group(w);
    if (bits == 0) return false;
    int per_block = block_inputs(bits);
    if (group == w->k || group % per_block == 0) return true;
    int lane_groups = per_block / group;
    return per_block % group == 0 && w->scheme.scales == VLMP_F16 &&
           (lane_groups == 2 || lane_groups == 4 || (lane_groups == 8 && bits != 8));
}

void LEVEL_NAME(packed_rows)(float *y, const void *prepared, size_t stride, int rows,
                             const vlmp_linear *w, int n0, int n1)
{
    int bits = code_bits(w), per_block = block_inputs(bits);
    struct few f = {
        .w = w,
        .prepared = (const unsigned char *)prepared + HEADER,
        .stride = stride,
        .row_bytes = vlmp_codes_row_bytes(w->k, vlmp_code_low_bits(w->scheme.codes)),
        .high_bytes = vlmp_codes_row_bytes(w->k, 1),
        .group = vlmp_linear_group(w),
        .groups = vlmp_linear_groups(w),
    };
    /* Groups in a block; 0: a group is a run of whole blocks, or the row. */
    int lanes = f.group != w->k && f.group < per_block ? per_block / f.group : 0;
    if (lanes != 0) {
        _Alignas(64) int32_t index[LANES];
        for (int lane = 0; lane < LANES; lane++)
            index[lane] = lane_first(lane, bits) / f.group;
        f.lane_index = vi_load(index);
    }
    runs[bits == 8 ? 2 : bits - 3][!vlmp_linear_int8(w)]
        [lanes == 0 ? 0 : __builtin_ctz((unsigned)lanes)][w->zeros != NULL](&f, y, rows, n0, n1);
}
