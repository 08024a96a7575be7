/* Products of rows of decoding with int8 activations and 8-bit integer weights without zeros, which
 * are read once for up to 64 rows: few.cu with exact sums. With the highest bit turned, a code u is
 * u − 128 as a signed byte, and a lane's 16 bytes are what two products on tensor cores take. */
#include "kernels/cuda/few.cuh"

enum { CHUNK = 64, AHEAD = 2, STEP = WARPS * CHUNK };

/* sums = the products of 16 inputs of a lane, and of those of its neighbours. */
static __device__ __forceinline__ void multiply_chunk(int (&sums)[4], const uint4 &top,
                                                      const uint4 &bottom, const uint4 &x)
{
    const unsigned turn = 0x80808080u;
    const unsigned left[4] = {top.x ^ turn, bottom.x ^ turn, top.y ^ turn, bottom.y ^ turn};
    const unsigned right[4] = {top.z ^ turn, bottom.z ^ turn, top.w ^ turn, bottom.w ^ turn};
    const unsigned first[2] = {x.x, x.y}, second[2] = {x.z, x.w};
    for (int i = 0; i < 4; i++)
        sums[i] = 0;
    vlmp_mma_s8(sums, left, first);
    vlmp_mma_s8(sums, right, second);
}

/* With groups, their scales meet the sums of chunks, which have fewer than 24 bits; with one scale
 * a row, the sum of all stays exact. */
template <bool GROUPS> struct sum_of {
    typedef float type;
};
template <> struct sum_of<false> {
    typedef int type;
};

static __device__ __forceinline__ void add(float &total, int exact, float scale)
{
    total = fmaf((float)exact, scale, total);
}

static __device__ __forceinline__ void add(int &total, int exact, float)
{
    total += exact;
}

static __device__ float scaled(const product &p, const place &, float sum)
{
    return sum * p.w.global_scale;
}

static __device__ float scaled(const product &p, const place &at, int sum)
{
    return (float)sum * scale_of(p.w, at.n, 0);
}

/* A group is 2^shift chunks. Rows beyond the last compute the last. */
template <bool GROUPS, int TILES>
static __global__ void __launch_bounds__(BLOCK, resident_blocks(TILES))
    few_rows_of_bytes(product p, int shift)
{
    typedef typename sum_of<GROUPS>::type number;
    VLMP_SHARED(number, parts, WARPS * TILES * ROWS * OUTPUTS);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4;
    const int chunks = p.w.k / CHUNK, n = (int)blockIdx.x * OUTPUTS + g;
    const int offset = (warp * 4 + lane % 4) * 16;
    const int8_t *inputs[TILES];
    VLMP_UNROLL
    for (int r = 0; r < TILES; r++) {
        const int row = min(((int)blockIdx.y * TILES + r) * ROWS + g, p.rows - 1);
        inputs[r] = p.codes + (size_t)row * p.code_stride + offset;
    }
    line lines[2] = {line_of(p.w, n, offset), line_of(p.w, n + 8, offset)};
    const unsigned long long policy = vlmp_evict_first();
    uint4 codes[AHEAD][2];
    VLMP_UNROLL
    for (int s = 0; s < AHEAD; s++)
        for (int i = 0; i < 2 && warp + s * WARPS < chunks; i++) {
            codes[s][i] = vlmp_load_once(lines[i].codes, policy);
            lines[i].codes += STEP;
        }
    number total[TILES][4] = {};
    for (int first = warp; first < chunks; first += AHEAD * WARPS) {
        VLMP_UNROLL
        for (int s = 0; s < AHEAD; s++) {
            const int chunk = first + s * WARPS;
            if (chunk >= chunks) break;
            float scales[2] = {1, 1};
            for (int i = 0; i < 2 && GROUPS; i++)
                scales[i] = wide_scale(p.w.scales, lines[i].scale + (size_t)(chunk >> shift),
                                       p.w.scale_type);
            VLMP_UNROLL
            for (int r = 0; r < TILES; r++) {
                int exact[4];
                multiply_chunk(exact, codes[s][0], codes[s][1],
                               *(const uint4 *)(const void *)inputs[r]);
                inputs[r] += STEP;
                for (int i = 0; i < 4; i++)
                    add(total[r][i], exact[i], scales[i / 2]);
            }
            for (int i = 0; i < 2 && chunk + AHEAD * WARPS < chunks; i++) {
                codes[s][i] = vlmp_load_once(lines[i].codes, policy);
                lines[i].codes += STEP;
            }
        }
    }
    VLMP_UNROLL
    for (int r = 0; r < TILES; r++)
        for (int i = 0; i < 4; i++)
            parts[part_at(warp, TILES, r, lane, i)] = total[r][i];
    __syncthreads();
    for (int at = (int)threadIdx.x; at < TILES * ROWS * OUTPUTS; at += BLOCK) {
        const place to = place_of(at, TILES);
        const number sum = joined(parts, at, TILES * ROWS * OUTPUTS);
        if (is_wanted(p, to)) store(p, to.row, to.n, scaled(p, to, sum) * p.scales[to.row]);
    }
}

template <bool GROUPS, int TILES> static void launch(vlmp_cuda *cuda, const product &p, int shift)
{
    VLMP_LAUNCH((few_rows_of_bytes<GROUPS, TILES>), grid_of(p, TILES), BLOCK, 0, cuda->stream, p,
                shift);
}

template <bool GROUPS> static void launch_tiles(vlmp_cuda *cuda, const product &p, int shift)
{
    if (p.rows <= ROWS)
        launch<GROUPS, 1>(cuda, p, shift);
    else if (p.rows <= 2 * ROWS)
        launch<GROUPS, 2>(cuda, p, shift);
    else if (p.rows <= 4 * ROWS)
        launch<GROUPS, 4>(cuda, p, shift);
    else
        launch<GROUPS, 8>(cuda, p, shift);
}

bool vlmp_cuda_few8(vlmp_cuda *cuda, const product *p)
{
    const vlmp_cuda_weight &w = p->w;
    const int shift = shift_of(w, CHUNK);
    if (w.bits != 8 || w.mantissa != 0 || w.zeros != NULL || w.middle != 128 || shift < 0 ||
        !is_wide(w.scale_type))
        return false;
    if (shift == ROW_SHIFT)
        launch_tiles<false>(cuda, *p, shift);
    else
        launch_tiles<true>(cuda, *p, shift);
    return true;
}
