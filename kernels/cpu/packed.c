/* Products of few rows with packed weights, read as they are stored (see packed.h). Compiled once
 * a level. */
#include "kernels/cpu/packed.h"

#include "kernels/cpu/level.h"

/* Bytes by which codes are prefetched, into L2: L1's few miss buffers would be the limit. */
enum { AHEAD = 2048 };

/* What the kernels of one call share. */
struct few {
    const vlmp_linear *w;
    const unsigned char *prepared; /* rows, stride apart */
    size_t stride;
    size_t row_bytes; /* of codes */
    int group;        /* inputs */
    int groups;
    vint lane_index; /* group in the block of each lane */
};

INLINE vfloat lane_scales(const struct few *f, int n, int group, int count)
{
    const unsigned char *scales = f->w->scales;
    const unsigned char *from = scales + ((size_t)n * (size_t)f->groups + (size_t)group) * 2;
    uint64_t halves[2] = {0};
    memcpy(halves, from, (size_t)count * 2);
    __m128i packed = _mm_set_epi64x((long long)halves[1], (long long)halves[0]);
    if (count == 8) packed = _mm_loadu_si128((const __m128i *)(const void *)from);
    return vf_pick8(_mm256_cvtph_ps(packed), f->lane_index);
}

INLINE vint lane_zeros(const struct few *f, int n, int group, int count, int bits, const bool zeros)
{
    if (!zeros) return vi_set(1 << (bits - 1));
    size_t row_bytes = vlmp_codes_row_bytes(f->groups, bits);
    const uint8_t *from = f->w->zeros + (size_t)n * row_bytes + (size_t)(group * bits / 8);
    uint32_t packed = 0;
    memcpy(&packed, from, vlmp_codes_row_bytes(count, bits));
    vint shifts = bits == 4 ? vi_shl(f->lane_index, 2) : vi_shl(f->lane_index, 3);
    return vi_and(vi_shr_each(vi_set((int32_t)packed), shifts), vi_set((1 << bits) - 1));
}

INLINE float group_scale(const struct few *f, int n, int group)
{
    size_t index = (size_t)n * (size_t)f->groups + (size_t)group;
    return vlmp_scale_at(f->w->scales, index, f->w->scheme.scales);
}

INLINE vint group_zero(const struct few *f, int n, int group, int bits, const bool zeros)
{
    if (!zeros) return vi_set(1 << (bits - 1));
    const uint8_t *row = f->w->zeros + (size_t)n * vlmp_codes_row_bytes(f->groups, bits);
    return vi_set(vlmp_code_at(row, group, bits));
}

/* −z·Σ of a lane's inputs, for one vector of sums. */
INLINE vint zero_term(vint negated_sum, vint zero, int bits, const bool zeros)
{
    if (zeros) return vi_mul(negated_sum, zero);
    return bits == 4 ? vi_shl(negated_sum, 3) : vi_shl(negated_sum, 7);
}

/* Σ (u − z)·x of each lane, in units of the last digit. start is added (one digit only). */
INLINE vint dot_one(const vint *codes, const unsigned char *x, vint zero, int bits, vint start,
                    const bool zeros)
{
    vint sum =
        vi_add(start, zero_term(vi_load(x + parts_of(bits) * VECTOR_BYTES), zero, bits, zeros));
    return vi_dot_parts(sum, codes, x, parts_of(bits), bits == 8);
}

INLINE vfloat dot_three(const vint *codes, const unsigned char *x, vint zero, int bits,
                        const bool zeros)
{
    const unsigned char *sums = x + digit_vectors(bits, 3) * VECTOR_BYTES;
    vint digit[3] = {vi_zero(), vi_zero(), vi_zero()};
    if (bits == 8) {
        digit[1] = zero_term(vi_load(sums), zero, bits, zeros);
        digit[0] = zero_term(vi_load(sums + VECTOR_BYTES), zero, bits, zeros);
    } else {
        digit[0] = zero_term(vi_load(sums), zero, bits, zeros);
    }
    UNROLL
    for (int d = 0; d < 3; d++)
        digit[d] = vi_dot_parts(digit[d], codes, x + d * parts_of(bits) * VECTOR_BYTES,
                                parts_of(bits), bits == 8);
    vint high = vi_add(vi_shl(digit[2], 8), digit[1]);
    if (bits == 8) return vf_fma(vi_to_float(high), vf_set(256), vi_to_float(digit[0]));
    return vi_to_float(vi_add(vi_shl(high, 8), digit[0]));
}

INLINE void prefetch_block(const uint8_t *from)
{
    for (int i = 0; i < BLOCK_BYTES; i += 64)
        _mm_prefetch((const char *)from + AHEAD + i, _MM_HINT_T1);
}

/* The parts of a block of `bytes` bytes: of the lanes' first 4 bytes, then of their last 4; 4-bit
 * codes fall into even and odd ones. */
INLINE void load_codes(vint *codes, const uint8_t *from, int bytes, int bits)
{
    vint a, b;
    if (bytes == BLOCK_BYTES) {
        a = vi_load(from);
        b = vi_load(from + VECTOR_BYTES);
    } else {
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

/* One block whose lanes belong to 2, 4 or 8 groups: adds to sums[output][row]. */
INLINE void lane_block(const struct few *f, vfloat sums[4][4], int n, int step, int block,
                       int bytes, int groups, const int lanes, const int outs, const int rows,
                       const int bits, const int digits, const bool zeros)
{
    int group = block * lanes;
    UNROLL
    for (int o = 0; o < outs; o++) {
        /* An output at a time: its codes stay in registers for all rows. */
        const uint8_t *from =
            f->w->codes + (size_t)(n + o * step) * f->row_bytes + (size_t)block * BLOCK_BYTES;
        vint codes[4];
        prefetch_block(from);
        load_codes(codes, from, bytes, bits);
        vfloat scales = lane_scales(f, n + o * step, group, groups);
        vint offsets = lane_zeros(f, n + o * step, group, groups, bits, zeros);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const unsigned char *x =
                f->prepared + (size_t)r * f->stride + (size_t)block * block_bytes(bits, digits);
            vfloat value;
            if (digits == 1) {
                value = vi_to_float(dot_one(codes, x, offsets, bits, vi_zero(), zeros));
            } else {
                vfloat x_scales = vf_load(x + block_bytes(bits, 3) - VECTOR_BYTES);
                value = vf_mul(dot_three(codes, x, offsets, bits, zeros), x_scales);
            }
            sums[o][r] = vf_fma(value, scales, sums[o][r]);
        }
    }
}

/* Blocks first … end-1, all of one group: adds to sums[output][row]. */
INLINE void group_blocks(const struct few *f, vfloat sums[4][4], int n, int step, int group,
                         int first, int end, const int outs, const int rows, const int bits,
                         const int digits, const bool zeros)
{
    vint whole[4][4];
    vfloat part[4][4];
    vint offsets[4];
    UNROLL
    for (int o = 0; o < outs; o++) {
        offsets[o] = group_zero(f, n + o * step, group, bits, zeros);
        UNROLL
        for (int r = 0; r < rows; r++) {
            whole[o][r] = vi_zero();
            part[o][r] = vf_zero();
        }
    }
    for (int block = first; block < end; block++) {
        size_t offset = (size_t)block * BLOCK_BYTES;
        size_t left = f->row_bytes - offset;
        UNROLL
        for (int o = 0; o < outs; o++) {
            const uint8_t *from = f->w->codes + (size_t)(n + o * step) * f->row_bytes + offset;
            vint codes[4];
            prefetch_block(from);
            load_codes(codes, from, left < BLOCK_BYTES ? (int)left : BLOCK_BYTES, bits);
            UNROLL
            for (int r = 0; r < rows; r++) {
                const unsigned char *x =
                    f->prepared + (size_t)r * f->stride + (size_t)block * block_bytes(bits, digits);
                if (digits == 1)
                    whole[o][r] = dot_one(codes, x, offsets[o], bits, whole[o][r], zeros);
                else
                    part[o][r] =
                        vf_fma(dot_three(codes, x, offsets[o], bits, zeros),
                               vf_load(x + block_bytes(bits, 3) - VECTOR_BYTES), part[o][r]);
            }
        }
    }
    UNROLL
    for (int o = 0; o < outs; o++) {
        vfloat scale = vf_set(group_scale(f, n + o * step, group));
        UNROLL
        for (int r = 0; r < rows; r++)
            sums[o][r] =
                vf_fma(digits == 1 ? vi_to_float(whole[o][r]) : part[o][r], scale, sums[o][r]);
    }
}

/* A lane of 8-bit codes sums up to 8·255·127 a block: this many stay within 32 bits. */
enum { MAX_RUN = 4096 };

INLINE void run_outputs(const struct few *f, float *y, int n, int step, const int outs,
                        const int rows, const int bits, const int digits, const int lanes,
                        const bool zeros)
{
    vfloat sums[4][4];
    UNROLL
    for (int o = 0; o < outs; o++)
        UNROLL
    for (int r = 0; r < rows; r++)
        sums[o][r] = vf_zero();
    int k = f->w->k;
    int per_block = block_inputs(bits);
    int whole_blocks = k / per_block;
    if (lanes) {
        for (int block = 0; block < whole_blocks; block++)
            lane_block(f, sums, n, step, block, BLOCK_BYTES, lanes, lanes, outs, rows, bits, digits,
                       zeros);
        if (k % per_block != 0)
            lane_block(f, sums, n, step, whole_blocks,
                       (int)f->row_bytes - whole_blocks * BLOCK_BYTES, k % per_block / f->group,
                       lanes, outs, rows, bits, digits, zeros);
    } else {
        int blocks = whole_blocks + (k % per_block != 0);
        int group_size = f->groups == 1 ? blocks : f->group / per_block;
        for (int block = 0; block < blocks;) {
            int group = block / group_size;
            int end = (group + 1) * group_size;
            if (end - block > MAX_RUN) end = block + MAX_RUN;
            group_blocks(f, sums, n, step, group, block, end, outs, rows, bits, digits, zeros);
            block = end;
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        float scale = 1;
        if (digits == 1) memcpy(&scale, f->prepared + (size_t)r * f->stride - HEADER, sizeof scale);
        UNROLL
        for (int o = 0; o < outs; o++)
            y[(size_t)r * (size_t)f->w->n + (size_t)(n + o * step)] =
                vf_sum(sums[o][r]) * scale * f->w->scheme.global_scale;
    }
}

typedef void run_fn(const struct few *f, float *y, int n0, int n1);

/* Several outputs share the loads of x, several rows share the unpacking of codes. */
#define RUN_NAME(rows, bits, digits, lanes, zeros) \
    run_##rows##_##bits##_##digits##_##lanes##_##zeros

#define DEFINE_RUN(outs, rows, bits, digits, lanes, zeros)                                        \
    static void RUN_NAME(rows, bits, digits, lanes, zeros)(const struct few *f, float *y, int n0, \
                                                           int n1)                                \
    {                                                                                             \
        int step = (n1 - n0) / (outs);                                                            \
        for (int n = n0; n < n0 + step; n++)                                                      \
            run_outputs(f, y, n, step, outs, rows, bits, digits, lanes, zeros);                   \
        for (int n = n0 + step * (outs); n < n1; n++)                                             \
            run_outputs(f, y, n, 0, 1, rows, bits, digits, lanes, zeros);                         \
    }

#define DEFINE_ROWS(bits, digits, lanes, zeros)  \
    DEFINE_RUN(4, 1, bits, digits, lanes, zeros) \
    DEFINE_RUN(2, 2, bits, digits, lanes, zeros) \
    DEFINE_RUN(1, 4, bits, digits, lanes, zeros)

#define DEFINE_ALL(bits, digits)    \
    DEFINE_ROWS(bits, digits, 0, 0) \
    DEFINE_ROWS(bits, digits, 0, 1) \
    DEFINE_ROWS(bits, digits, 2, 0) \
    DEFINE_ROWS(bits, digits, 2, 1) \
    DEFINE_ROWS(bits, digits, 4, 0) \
    DEFINE_ROWS(bits, digits, 4, 1)

DEFINE_ALL(4, 1)
DEFINE_ROWS(4, 1, 8, 0)
DEFINE_ROWS(4, 1, 8, 1)
DEFINE_ALL(4, 3)
DEFINE_ROWS(4, 3, 8, 0)
DEFINE_ROWS(4, 3, 8, 1)
DEFINE_ALL(8, 1)
DEFINE_ALL(8, 3)

#define ROW_RUNS(bits, digits, lanes, zeros)                                              \
    {                                                                                     \
        RUN_NAME(1, bits, digits, lanes, zeros), RUN_NAME(2, bits, digits, lanes, zeros), \
            RUN_NAME(4, bits, digits, lanes, zeros)                                       \
    }

#define ZERO_RUNS(bits, digits, lanes)                                     \
    {                                                                      \
        ROW_RUNS(bits, digits, lanes, 0), ROW_RUNS(bits, digits, lanes, 1) \
    }

/* By bits, activations, log2 of the groups in a block (0: none), zeros, log2 of the rows. */
static run_fn *const runs[2][2][4][2][3] = {
    {
        {ZERO_RUNS(4, 1, 0), ZERO_RUNS(4, 1, 2), ZERO_RUNS(4, 1, 4), ZERO_RUNS(4, 1, 8)},
        {ZERO_RUNS(4, 3, 0), ZERO_RUNS(4, 3, 2), ZERO_RUNS(4, 3, 4), ZERO_RUNS(4, 3, 8)},
    },
    {
        {ZERO_RUNS(8, 1, 0), ZERO_RUNS(8, 1, 2), ZERO_RUNS(8, 1, 4)},
        {ZERO_RUNS(8, 3, 0), ZERO_RUNS(8, 3, 2), ZERO_RUNS(8, 3, 4)},
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
           (lane_groups == 2 || lane_groups == 4 || (lane_groups == 8 && bits == 4));
}

void LEVEL_NAME(packed_rows)(float *y, const void *prepared, size_t stride, int rows,
                             const vlmp_linear *w, int n0, int n1)
{
    int bits = code_bits(w), per_block = block_inputs(bits);
    struct few f = {
        .w = w,
        .prepared = (const unsigned char *)prepared + HEADER,
        .stride = stride,
        .row_bytes = vlmp_codes_row_bytes(w->k, bits),
        .group = vlmp_linear_group(w),
        .groups = vlmp_linear_groups(w),
    };
    /* Groups in a block; 0: a group is a run of whole blocks, or the row. */
    int lanes = f.group != w->k && f.group < per_block ? per_block / f.group : 0;
    if (lanes != 0) {
        _Alignas(64) int32_t index[LANES];
        for (int lane = 0; lane < LANES; lane++)
            index[lane] = lane_byte(lane) * 8 / bits / f.group;
        f.lane_index = vi_load(index);
    }
    run_fn *const *run = runs[bits == 8][!vlmp_linear_int8(w)]
                             [lanes == 0 ? 0 : __builtin_ctz((unsigned)lanes)][w->zeros != NULL];
    for (int row = 0; row < rows;) {
        int size = rows - row >= 4 ? 2 : rows - row >= 2 ? 1 : 0;
        run[size](&f, y + (size_t)row * (size_t)w->n, n0, n1);
        row += 1 << size;
        f.prepared += stride << size;
    }
}
