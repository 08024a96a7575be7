/* Kernels whose results or faults test_emu.c knows: right ones, and the same with a planted fault.
 * Blocks of 64 threads. */
#include "kernels/cuda/ptx.cuh"
#include "tests/emu/test_kernels.h"

namespace {

enum { BLOCK = 64 };
constexpr unsigned ALL = 0xffffffffu;

__device__ int me()
{
    return static_cast<int>(threadIdx.x);
}

/* y[b]: the sum of row b of n numbers. */
__global__ void sum_rows(const float *x, float *y, int n)
{
    VLMP_SHARED(float, part, BLOCK / 32);
    float sum = 0;
    for (int i = me(); i < n; i += BLOCK)
        sum += x[static_cast<int>(blockIdx.x) * n + i];
    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(ALL, sum, step);
    if (me() % 32 == 0) part[me() / 32] = sum;
    __syncthreads();
    if (me() == 0) y[blockIdx.x] = part[0] + part[1];
}

/* ---- Order ---- */

/* y: x with the two halves of the block exchanged. */
__global__ void exchange(const float *x, float *y, bool barrier)
{
    VLMP_SHARED(float, room, BLOCK);
    room[me()] = 0;
    __syncthreads();
    room[me()] = x[me()];
    if (barrier) __syncthreads();
    y[me()] = room[me() ^ 32];
}

/* Twice through the same room: the second may be written when all have read the first. */
__global__ void reuse(const float *x, float *y, bool barrier)
{
    VLMP_SHARED(float, room, BLOCK);
    float sum = 0;
    for (int turn = 0; turn < 2; turn++) {
        room[me()] = x[me()];
        __syncthreads();
        sum += room[BLOCK - 1 - me()];
        if (barrier) __syncthreads();
    }
    y[me()] = sum;
}

enum how { BY_WARP, BY_HALF, BY_SHUFFLE, BY_NOTHING };

/* y: x with lanes `distance` apart exchanged, through shared memory. */
__global__ void swap_lanes(const float *x, float *y, int distance, how order)
{
    VLMP_SHARED(float, room, BLOCK);
    room[me()] = 0;
    __syncthreads();
    room[me()] = x[me()];
    if (order == BY_WARP) __syncwarp();
    if (order == BY_HALF) __syncwarp(me() % 32 < 16 ? 0xffffu : 0xffff0000u);
    if (order == BY_SHUFFLE) (void)__shfl_xor_sync(ALL, 1, 1);
    y[me()] = room[me() ^ distance];
}

__global__ void same_place(float *y, bool one)
{
    VLMP_SHARED(float, room, 1);
    if (!one || me() == 0) room[0] = 1;
    __syncthreads();
    y[me()] = room[0];
}

/* y[0]: the sum of n, by atomics on shared memory. */
__global__ void count_shared(float *y, int n, bool barrier)
{
    VLMP_SHARED(int, sum, 1);
    if (me() == 0) sum[0] = 0;
    __syncthreads();
    atomicAdd(&sum[0], n);
    if (barrier) __syncthreads();
    y[me()] = static_cast<float>(sum[0]);
}

/* y[0]: what one thread counted by an atomic, read by one of another warp. */
__global__ void read_count(float *y, bool barrier)
{
    VLMP_SHARED(int, sum, 1);
    if (me() == 0) sum[0] = 0;
    __syncthreads();
    if (me() == 40) atomicAdd(&sum[0], 1);
    if (barrier) __syncthreads();
    if (me() == 0) y[0] = static_cast<float>(sum[0]);
}

/* y[0]: x summed in the order in which threads come. */
__global__ void sum_in_turn(const float *x, float *y)
{
    if (me() == 0 && blockIdx.x == 0) y[0] = 0;
    __syncthreads();
    atomicAdd(y, (x[me()] + 0.1f) * (me() % 5 == 0 ? 1e6f : 1.0f));
}

/* ---- Memory ---- */

__global__ void read_shared(float *y, int at)
{
    VLMP_SHARED(float, room, BLOCK);
    VLMP_SHARED(float, other, BLOCK);
    if (me() < BLOCK / 2) room[me()] = 1;
    other[me()] = 2;
    __syncthreads();
    const float *from = room;
    if (me() == 0) y[0] = from[at] + other[0];
}

__global__ void write_dynamic(float *y, int at)
{
    VLMP_DYNAMIC_SHARED(bytes);
    float *room = reinterpret_cast<float *>(bytes);
    if (me() == 0) room[at] = 1;
    __syncthreads();
    if (me() == 0) y[0] = room[at];
}

__global__ void copy_one(const float *x, float *y, int from, int to)
{
    if (me() == 0) y[to] = x[from];
}

__global__ void copy_four(const float *x, float *y, int from)
{
    const float4 value = *reinterpret_cast<const float4 *>(x + from);
    if (me() == 0) *reinterpret_cast<float4 *>(y) = value;
}

__global__ void write_constant(float *y, bool do_it)
{
    static const float table[2] = {1, 2};
    const float *volatile at = table + me() % 2; /* the compiler need not know what it is */
    if (do_it) *const_cast<float *>(at) = 3;
    y[me()] = *at;
}

__global__ void read_neighbour(float *y, bool local)
{
    VLMP_SHARED(float *, at, BLOCK);
    float mine = static_cast<float>(me());
    at[me()] = local ? &mine : y + me();
    y[me()] = mine;
    __syncthreads();
    const float theirs = *at[me() ^ 1];
    __syncthreads();
    y[me()] = theirs + mine;
}

/* y[0]: what nobody wrote, through a function that gives no more than its bits. One warp. */
__global__ void read_poison(float *y)
{
    VLMP_SHARED(float, room, 256);
    unsigned r[4];
    vlmp_ldmatrix_x4(r, room + 4 * (me() % 32));
    if (me() == 0) y[0] = __uint_as_float(r[0]);
}

/* ---- Meetings ---- */

/* Long enough for all others to come first. */
__device__ void linger()
{
    for (int i = 0; i < 100; i++)
        __nanosleep(100);
}

__global__ void barrier_in_branch(float *y, int limit)
{
    if (me() < limit) __syncthreads();
    y[me()] = 1;
}

__global__ void barrier_after_end(float *y, int limit)
{
    if (me() >= limit) {
        linger();
        return;
    }
    y[me()] = 1;
    __syncthreads();
}

__global__ void two_barriers(float *y, int limit)
{
    if (me() < limit) {
        y[me()] = 1;
        __syncthreads();
    } else {
        y[me()] = 2;
        __syncthreads();
    }
}

__global__ void shuffle_with(float *y, unsigned mask, int from, int limit)
{
    if (me() >= limit) {
        linger();
        return;
    }
    y[me()] = __shfl_sync(mask, static_cast<float>(me()), from);
}

__global__ void shuffle_or_vote(float *y, int limit)
{
    y[me()] = 0;
    if (me() % 32 < limit)
        y[me()] += static_cast<float>(__shfl_xor_sync(ALL, me(), 1));
    else
        y[me()] += static_cast<float>(__any_sync(ALL, me()));
}

__global__ void wait_crosswise(float *y, int limit)
{
    if (me() % 32 < limit)
        __syncwarp();
    else
        __syncthreads();
    y[me()] = 1;
}

/* ---- Tiles ---- */

enum copy_fault { SOUND, NO_WAIT, WAIT_FOR_OLDER, NO_BARRIER, NEVER, TOO_SOON };

/* y: x, 4 floats a thread of the first 16, in two groups, given by the neighbour. */
__global__ void copy_tile(const float *x, float *y, copy_fault fault)
{
    VLMP_SHARED(float, tile, 2 * BLOCK);
    for (int i = me(); i < 2 * BLOCK; i += BLOCK)
        tile[i] = 0;
    if (fault != TOO_SOON) __syncthreads();
    if (me() < 16) {
        vlmp_copy_async(tile + 4 * me(), x + 4 * me());
        vlmp_copies_close();
        vlmp_copy_async(tile + BLOCK + 4 * me(), x + BLOCK + 4 * me(), 8);
        vlmp_copies_close();
        if (fault == SOUND || fault == NO_BARRIER || fault == TOO_SOON) vlmp_copies_wait<0>();
        if (fault == WAIT_FOR_OLDER) vlmp_copies_wait<1>();
    }
    if (fault != NO_BARRIER) __syncthreads();
    if (fault == NEVER) return;
    y[me()] = tile[BLOCK - 1 - me()];
    y[BLOCK + me()] = tile[2 * BLOCK - 1 - me()];
}

__global__ void copy_unaligned(const float *x, float *y, int from)
{
    VLMP_SHARED(float, tile, BLOCK);
    if (me() == 0) {
        vlmp_copy_async(tile, x + from);
        vlmp_copies_close();
        vlmp_copies_wait<0>();
        y[0] = tile[0];
    }
}

/* y: the 16×8 product of halves (or bytes) a and b that lie row by row in a0 and column by column
 * in b0, through ldmatrix. One warp. kind: 0 F16, 1 BF16, 2 bytes; step: bytes of a row of the
 * tile. */
__global__ void product(const void *a0, const void *b0, float *y, int kind, int skew)
{
    VLMP_SHARED(unsigned char, a, 16 * 48 + 16);
    VLMP_SHARED(unsigned char, b, 8 * 48);
    for (int i = me(); i < 16 * 32; i += 32)
        a[i / 32 * 48 + i % 32] = static_cast<const unsigned char *>(a0)[i];
    for (int i = me(); i < 8 * 32; i += 32)
        b[i / 32 * 48 + i % 32] = static_cast<const unsigned char *>(b0)[i];
    __syncwarp();
    unsigned fragment_a[4], fragment_b[2];
    vlmp_ldmatrix_x4(fragment_a, a + me() % 16 * 48 + me() / 16 * 16 + skew);
    vlmp_ldmatrix_x2(fragment_b, b + me() % 8 * 48 + me() / 8 % 2 * 16);
    float sum[4] = {0, 0, 0, 1000};
    int count[4] = {0, 0, 0, 1000};
    if (kind == 0) vlmp_mma_f16(sum, fragment_a, fragment_b);
    if (kind == 1) vlmp_mma_bf16(sum, fragment_a, fragment_b);
    if (kind == 2) vlmp_mma_s8(count, fragment_a, fragment_b);
    for (int i = 0; i < 4; i++)
        y[(me() / 4 + i / 2 * 8) * 8 + me() % 4 * 2 + i % 2] =
            kind == 2 ? static_cast<float>(count[i]) : sum[i];
}

/* y: the four 8×8 matrices of x's first 256 halves, transposed. One warp. */
__global__ void transpose(const unsigned short *x, unsigned short *y)
{
    VLMP_SHARED(unsigned short, tile, 256);
    for (int i = me(); i < 256; i += 32)
        tile[i] = x[i];
    __syncwarp();
    unsigned r[4];
    vlmp_ldmatrix_x4_trans(r, tile + 8 * me());
    for (int matrix = 0; matrix < 4; matrix++)
        for (int half = 0; half < 2; half++)
            y[64 * matrix + me() / 4 * 8 + me() % 4 * 2 + half] =
                static_cast<unsigned short>(r[matrix] >> 16 * half);
}

__global__ void product_in_branch(float *y, int limit)
{
    float sum[4] = {0, 0, 0, 0};
    const unsigned a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    if (me() < limit) vlmp_mma_f16(sum, a, b);
    y[me()] = sum[0];
}

/* ---- Grids ---- */

/* y[b]: what block b + 1 of the grid wrote before the barrier; three times. */
__global__ void pass_on(float *y, unsigned *counter)
{
    const unsigned next = (blockIdx.x + 1) % gridDim.x;
    for (int turn = 0; turn < 3; turn++) {
        if (me() == 5)
            y[blockIdx.x] = static_cast<float>(turn * 100 + static_cast<int>(blockIdx.x));
        vlmp_grid_barrier(counter);
        const float theirs = y[next];
        vlmp_grid_barrier(counter);
        if (me() == 63) y[16 * (turn + 1) + static_cast<int>(blockIdx.x)] = theirs;
    }
}

/* y[b]: block b's number in the order in which blocks ran. */
__global__ void number_blocks(float *y, unsigned *counter)
{
    if (me() == 0) y[blockIdx.x] = static_cast<float>(atomicAdd(counter, 1u));
}

/* y[2i], y[2i + 1]: votes of lane i. */
__global__ void votes(float *y)
{
    const unsigned odd = __ballot_sync(ALL, me() % 2);
    const unsigned same = __match_any_sync(ALL, me() % 8);
    const bool all = __all_sync(ALL, me() >= 0) && !__all_sync(ALL, me() != 3);
    const bool any = __any_sync(ALL, me() % 32 == 3) && !__any_sync(ALL, me() == 100);
    y[2 * me()] =
        odd == 0xaaaaaaaau && same == 0x01010101u << me() % 8 && (all || me() >= 32) && any;
    y[2 * me() + 1] = static_cast<float>(__syncthreads_count(me() < 40)) +
                      (__syncthreads_and(me() < 40) ? 0.5f : 0) +
                      (__syncthreads_or(me() == 9) ? 0.25f : 0);
}

template <int LIMIT> __global__ void filled(float *y)
{
    y[me()] = LIMIT;
}

struct test_case {
    const char *name;
    void (*launch)(float *x, float *y, int n);
};

#define ONE(name, kernel, ...)                                      \
    {                                                               \
        name, [](float *x, float *y, int n) {                       \
            (void)x, (void)y, (void)n;                              \
            VLMP_LAUNCH(kernel, 1, BLOCK, 0, nullptr, __VA_ARGS__); \
        }                                                           \
    }
#define WARP(name, kernel, ...)                                  \
    {                                                            \
        name, [](float *x, float *y, int n) {                    \
            (void)x, (void)y, (void)n;                           \
            VLMP_LAUNCH(kernel, 1, 32, 0, nullptr, __VA_ARGS__); \
        }                                                        \
    }

unsigned *words(float *at)
{
    return reinterpret_cast<unsigned *>(at);
}

const test_case CASES[] = {
    {"sum_rows",
     [](float *x, float *y, int n) { VLMP_LAUNCH(sum_rows, 3, BLOCK, 0, nullptr, x, y, n); }},
    ONE("exchange", exchange, x, y, n != 0),
    ONE("reuse", reuse, x, y, n != 0),
    ONE("swap by warp", swap_lanes, x, y, n, BY_WARP),
    ONE("swap by half", swap_lanes, x, y, n, BY_HALF),
    ONE("swap by shuffle", swap_lanes, x, y, n, BY_SHUFFLE),
    ONE("swap by nothing", swap_lanes, x, y, n, BY_NOTHING),
    ONE("same_place", same_place, y, n != 0),
    ONE("count_shared", count_shared, y, 3, n != 0),
    ONE("read_count", read_count, y, n != 0),
    ONE("sum_in_turn", sum_in_turn, x, y),
    ONE("read_shared", read_shared, y, n),
    WARP("read_poison", read_poison, y),
    {"write_dynamic",
     [](float *, float *y, int n) {
         VLMP_LAUNCH(write_dynamic, 1, BLOCK, 4 * BLOCK, nullptr, y, n);
     }},
    {"much_dynamic",
     [](float *, float *y, int n) {
         VLMP_LAUNCH(write_dynamic, 1, BLOCK, static_cast<size_t>(n), nullptr, y, 0);
     }},
    ONE("no_dynamic", write_dynamic, y, n),
    {"allow_dynamic",
     [](float *, float *, int n) {
         (void)cudaFuncSetAttribute(write_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, n);
     }},
    ONE("read", copy_one, x, y, n, 0),
    ONE("write", copy_one, x, y, 0, n),
    ONE("copy_four", copy_four, x, y, n),
    ONE("write_constant", write_constant, y, n != 0),
    ONE("read_neighbour", read_neighbour, y, n != 0),
    ONE("barrier_in_branch", barrier_in_branch, y, n),
    ONE("barrier_after_end", barrier_after_end, y, n),
    ONE("two_barriers", two_barriers, y, n),
    ONE("shuffle", shuffle_with, y, ALL, 3, n),
    ONE("shuffle in half", shuffle_with, y, 0xffffu, n, 16),
    ONE("shuffle out of mask", shuffle_with, y, 0xffffu, 3, n),
    ONE("shuffle_or_vote", shuffle_or_vote, y, n),
    ONE("wait_crosswise", wait_crosswise, y, n),
    ONE("copy_tile", copy_tile, x, y, static_cast<copy_fault>(n)),
    ONE("copy_unaligned", copy_unaligned, x, y, n),
    WARP("product f16", product, x, x + 128, y, 0, n),
    WARP("product bf16", product, x, x + 128, y, 1, n),
    WARP("product s8", product, x, x + 128, y, 2, n),
    WARP("transpose", transpose, reinterpret_cast<unsigned short *>(x),
         reinterpret_cast<unsigned short *>(y)),
    WARP("product_in_branch", product_in_branch, y, n),
    {"pass_on", [](float *x, float *y,
                   int n) { VLMP_LAUNCH_COOPERATIVE(pass_on, n, BLOCK, 0, nullptr, y, words(x)); }},
    {"pass_on plainly",
     [](float *x, float *y, int n) { VLMP_LAUNCH(pass_on, n, BLOCK, 0, nullptr, y, words(x)); }},
    {"number_blocks", [](float *x, float *y,
                         int n) { VLMP_LAUNCH(number_blocks, n, BLOCK, 0, nullptr, y, words(x)); }},
    ONE("votes", votes, y),
    ONE("template", (filled<7>), y),
};

} // namespace

int vlmp_emu_test(const char *name, float *x, float *y, int n)
{
    for (const test_case &it : CASES)
        if (strcmp(name, it.name) == 0) {
            it.launch(x, y, n);
            return 0;
        }
    return -1;
}
