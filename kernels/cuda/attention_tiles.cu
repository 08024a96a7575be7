/* Attention of rows of prompts on tensor cores, for heads of whole octets up to 128: a block takes
 * QUERIES rows of a segment and one head, a warp 16 of them, and goes over the stored rows that any
 * of them sees, KEYS at a time, the next on their way. Scores, their online softmax and sums are
 * F32, the weights of values F16, at most 1 each.
 *
 * Stored rows are taken where they are in the sequence, so that neither pages nor the other rows of
 * a tile change a row's bits: what it does not see has the weight 0 and leaves all as it was. Where
 * a value is not finite, and 0 times it would be NaN, values are added without tensor cores. Rows
 * of shared memory are 16 bytes longer than what they hold, so that the eight rows of a matrix lie
 * in different banks. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/multiply.cuh"

enum { QUERIES = VLMP_CUDA_QUERIES, KEYS = 32, STAGES = 2, OCTET = 8 };

/* A block's rows: `count` from `row` of the step on, the first of which has `position` rows before
 * it, and the stored rows that they see. */
struct tile {
    vlmp_cuda_segment segment;
    int row, count, position, kv_head;
    int start, end;
};

/* Those that see most go first. */
static __device__ tile tile_of(const asked &w)
{
    const int32_t *at = w.step.tiles + 2 * (gridDim.x - 1 - blockIdx.x);
    tile t;
    t.segment = w.step.segments[at[0]];
    t.row = t.segment.first_row + at[1];
    t.count = min((int)QUERIES, t.segment.rows - at[1]);
    t.position = t.segment.position + at[1];
    t.kv_head = (int)blockIdx.y / (w.a.heads / w.l.kv_heads);
    t.end = w.a.causal ? t.position + t.count : t.segment.position + t.segment.rows;
    t.start = w.a.causal && w.a.window > 0 ? max(0, t.position - w.a.window + 1) : 0;
    return t;
}

/* Octet `column` of row i of the step and the block's head. */
static __device__ size_t place_of(const asked &w, int row, int column)
{
    return ((size_t)row * (size_t)w.a.heads + blockIdx.y) * (size_t)w.l.head_dim + (size_t)column;
}

/* Asks for the queries, which become a warp's fragments. */
template <int WIDTH>
static __device__ void load_queries(const asked &w, const tile &t, __half *room,
                                    unsigned (&queries)[WIDTH / 16][4])
{
    const int across = WIDTH / OCTET, stride = WIDTH + OCTET;
    const int lane = (int)threadIdx.x % 32, line = lane % 8, matrix = lane / 8;
    for (int at = (int)threadIdx.x; at < QUERIES * across; at += BLOCK) {
        const int i = at / across, column = at % across * OCTET;
        const bool there = i < t.count && column < w.l.head_dim;
        vlmp_copy_async(room + i * stride + column,
                        there ? w.q + place_of(w, t.row + i, column) : w.q, there ? 16 : 0);
    }
    vlmp_copies_close();
    vlmp_copies_wait<0>();
    __syncthreads();
    const __half *rows = room + (int)threadIdx.x / 32 * 16 * stride;
    VLMP_UNROLL
    for (int k = 0; k < WIDTH / 16; k++)
        vlmp_ldmatrix_x4(queries[k],
                         rows + (matrix % 2 * 8 + line) * stride + k * 16 + matrix / 2 * 8);
    __syncthreads();
}

/* Asks for KEYS stored rows from `first` on, keys and behind them values; 0 beyond the last. */
template <int WIDTH>
static __device__ void ask(const asked &w, const tile &t, __half *stage, int first)
{
    const int across = WIDTH / OCTET, stride = WIDTH + OCTET;
    VLMP_UNROLL
    for (int i = 0; i < KEYS * across / BLOCK; i++) {
        const int at = i * BLOCK + (int)threadIdx.x, column = at % across * OCTET;
        const int row = first + at / across;
        const bool there = row < t.end && column < w.l.head_dim;
        const size_t slot =
            there ? slot_of(w.l, w.step, t.segment, row, t.kv_head) + (size_t)column : 0;
        __half *to = stage + at / across * stride + column;
        vlmp_copy_async(to, w.l.k + slot, there ? 16 : 0);
        vlmp_copy_async(to + KEYS * stride, w.l.v + slot, there ? 16 : 0);
    }
    vlmp_copies_close();
}

/* A lane's scores with KEYS rows: of tile j, rows g and g + 8, keys 8j + 2t and 8j + 2t + 1. */
template <int WIDTH>
static __device__ __forceinline__ void
score(float (&scores)[KEYS / 8][4], const unsigned (&queries)[WIDTH / 16][4], const __half *keys)
{
    const int lane = (int)threadIdx.x % 32, line = lane % 8, matrix = lane / 8;
    VLMP_UNROLL
    for (int j = 0; j < KEYS / 8; j += 2)
        VLMP_UNROLL
    for (int k = 0; k < WIDTH / 16; k++) {
        unsigned both[4];
        vlmp_ldmatrix_x4(both, keys + (j * 8 + matrix / 2 * 8 + line) * (WIDTH + OCTET) + k * 16 +
                                   matrix % 2 * 8);
        const unsigned left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
        vlmp_mma_f16(scores[j], queries[k], left);
        vlmp_mma_f16(scores[j + 1], queries[k], right);
    }
}

/* The rows g and g + 8 of a warp's 16 in their online softmax. */
struct softmax {
    float largest[2], total[2];
};

/* Scores become weights; before: what the sums so far are multiplied by. */
static __device__ __forceinline__ void weigh(const asked &w, const tile &t, int first, softmax &s,
                                             float (&scores)[KEYS / 8][4], float (&before)[2])
{
    const int lane = (int)threadIdx.x % 32;
    const int row = t.position + (int)threadIdx.x / 32 * 16 + lane / 4;
    const int key = first + lane % 4 * 2;
    VLMP_UNROLL
    for (int h = 0; h < 2; h++) {
        const int end = w.a.causal ? min(t.end, row + 8 * h + 1) : t.end;
        const int start = w.a.causal && w.a.window > 0 ? row + 8 * h + 1 - w.a.window : 0;
        float most = s.largest[h], sum = 0;
        VLMP_UNROLL
        for (int i = 0; i < KEYS / 4; i++) {
            float &it = scores[i / 2][2 * h + i % 2];
            const int at = key + i / 2 * 8 + i % 2;
            it = at >= start && at < end ? it * w.a.scale : -INFINITY;
            most = fmaxf(most, it); /* passes over NaN, whose weight then is NaN */
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        VLMP_UNROLL
        for (int i = 0; i < KEYS / 4; i++) {
            float &it = scores[i / 2][2 * h + i % 2];
            it = it == -INFINITY ? 0 : expf(it - most);
            sum += it;
        }
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        before[h] = most == s.largest[h] ? 1 : expf(s.largest[h] - most);
        s.total[h] = s.total[h] * before[h] + sum;
        s.largest[h] = most;
    }
}

/* sums = themselves · before + the weighted values. */
template <int WIDTH>
static __device__ __forceinline__ void add_values(float (&sums)[WIDTH / 8][4],
                                                  const float (&weights)[KEYS / 8][4],
                                                  const float (&before)[2], const __half *values)
{
    const int lane = (int)threadIdx.x % 32, line = lane % 8, matrix = lane / 8;
    VLMP_UNROLL
    for (int j = 0; j < WIDTH / 8; j++)
        for (int d = 0; d < 4; d++)
            sums[j][d] *= before[d / 2];
    VLMP_UNROLL
    for (int k = 0; k < KEYS / 16; k++) {
        const float(&low)[4] = weights[2 * k], (&high)[4] = weights[2 * k + 1];
        const unsigned a[4] = {halves_of(low[0], low[1]), halves_of(low[2], low[3]),
                               halves_of(high[0], high[1]), halves_of(high[2], high[3])};
        VLMP_UNROLL
        for (int j = 0; j < WIDTH / 8; j += 2) {
            unsigned both[4];
            vlmp_ldmatrix_x4_trans(both, values +
                                             (k * 16 + matrix % 2 * 8 + line) * (WIDTH + OCTET) +
                                             j * 8 + matrix / 2 * 8);
            const unsigned left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
            vlmp_mma_f16(sums[j], a, left);
            vlmp_mma_f16(sums[j + 1], a, right);
        }
    }
}

/* Whether a value that this thread has asked for is not finite; it waits for nobody else's. */
template <int WIDTH> static __device__ bool has_odd(const __half *values)
{
    const int across = WIDTH / OCTET;
    bool odd = false;
    VLMP_UNROLL
    for (int i = 0; i < KEYS * across / BLOCK; i++) {
        const int at = i * BLOCK + (int)threadIdx.x, column = at % across * OCTET;
        const uint4 bits =
            *(const uint4 *)(const void *)(values + at / across * (WIDTH + OCTET) + column);
        const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
        VLMP_UNROLL
        for (int j = 0; j < 4; j++)
            odd = odd || (words[j] & 0x7c00u) == 0x7c00u || (words[j] & 0x7c000000u) == 0x7c000000u;
    }
    return odd;
}

/* The same as add_values of `count` stored rows, one after another: what has the weight 0 is passed
 * over. room: 16 × KEYS values of the warp's. */
template <int WIDTH>
static __device__ void add_odd_values(float (&sums)[WIDTH / 8][4],
                                      const float (&weights)[KEYS / 8][4], const float (&before)[2],
                                      const __half *values, int count, float *room)
{
    const int lane = (int)threadIdx.x % 32;
    VLMP_UNROLL
    for (int j = 0; j < WIDTH / 8; j++)
        for (int d = 0; d < 4; d++)
            sums[j][d] *= before[d / 2];
    VLMP_UNROLL
    for (int j = 0; j < KEYS / 8; j++)
        for (int d = 0; d < 4; d++)
            room[(lane / 4 + d / 2 * 8) * KEYS + j * 8 + lane % 4 * 2 + d % 2] = weights[j][d];
    __syncwarp();
    for (int i = 0; i < count; i++) {
        const __half *row = values + i * (WIDTH + OCTET) + lane % 4 * 2;
        const float both[2] = {room[lane / 4 * KEYS + i], room[(lane / 4 + 8) * KEYS + i]};
        VLMP_UNROLL
        for (int j = 0; j < WIDTH / 8; j++)
            for (int d = 0; d < 4; d++)
                if (both[d / 2] != 0)
                    sums[j][d] = fmaf(both[d / 2], __half2float(row[j * 8 + d % 2]), sums[j][d]);
    }
}

template <int WIDTH> static __global__ void __launch_bounds__(BLOCK) attend_tiles(asked w)
{
    const int stage = 2 * KEYS * (WIDTH + OCTET);
    VLMP_SHARED(__half, room, STAGES * 2 * KEYS * (WIDTH + OCTET));
    VLMP_SHARED(float, odd_room, QUERIES *KEYS);
    const int lane = (int)threadIdx.x % 32, rows = (int)threadIdx.x / 32 * 16;
    const tile t = tile_of(w);
    const bool busy = rows < t.count;
    const int from = t.start / KEYS, to = (t.end + KEYS - 1) / KEYS;
    unsigned queries[WIDTH / 16][4];
    float sums[WIDTH / 8][4] = {};
    softmax s = {{-INFINITY, -INFINITY}, {0, 0}};
    load_queries<WIDTH>(w, t, room, queries);
    ask<WIDTH>(w, t, room + from % STAGES * stage, from * KEYS);
    for (int i = from; i < to; i++) {
        ask<WIDTH>(w, t, room + (i + 1) % STAGES * stage, (i + 1) * KEYS);
        const __half *keys = room + i % STAGES * stage, *values = keys + KEYS * (WIDTH + OCTET);
        vlmp_copies_wait<1>();
        const bool odd = __syncthreads_or(has_odd<WIDTH>(values)) != 0;
        if (busy) {
            float scores[KEYS / 8][4] = {}, before[2];
            score<WIDTH>(scores, queries, keys);
            weigh(w, t, i * KEYS, s, scores, before);
            if (odd)
                add_odd_values<WIDTH>(sums, scores, before, values,
                                      min((int)KEYS, t.end - i * KEYS), odd_room + rows * KEYS);
            else
                add_values<WIDTH>(sums, scores, before, values);
        }
        __syncthreads();
    }
    vlmp_copies_wait<0>();
    VLMP_UNROLL
    for (int h = 0; h < 2; h++)
        VLMP_UNROLL
    for (int j = 0; j < WIDTH / 8; j++) {
        const int row = rows + lane / 4 + 8 * h, column = j * 8 + lane % 4 * 2;
        if (row >= t.count || column >= w.l.head_dim) continue;
        const unsigned pair =
            halves_of(sums[j][2 * h] / s.total[h], sums[j][2 * h + 1] / s.total[h]);
        *(unsigned *)(void *)(w.y + place_of(w, t.row + row, column)) = pair;
    }
}

template <int WIDTH> static void launch(vlmp_cuda *cuda, const asked &w, int tiles)
{
    VLMP_LAUNCH((attend_tiles<WIDTH>), dim3((unsigned)tiles, (unsigned)w.a.heads), BLOCK, 0,
                cuda->stream, w);
}

bool vlmp_cuda_attention_tiles(vlmp_cuda *cuda, const asked *what, int tiles)
{
    const int dim = what->l.head_dim;
    if (dim % OCTET != 0 || dim > 128 || (uintptr_t)what->q % 16 != 0 ||
        (uintptr_t)what->y % 16 != 0)
        return false;
    if (dim <= 64)
        launch<64>(cuda, *what, tiles);
    else if (dim <= 96)
        launch<96>(cuda, *what, tiles);
    else
        launch<128>(cuda, *what, tiles);
    return true;
}
