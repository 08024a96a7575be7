/* Products of few rows with weights of 4 bits, which are read once, at the speed of memory: rows of
 * decoding, a group 128 inputs or the row.
 *
 * A block computes OUTPUTS results for ROWS rows on tensor cores, weights as the first factor; its
 * warps take every fourth CHUNK of inputs. In the drawings of ptx.cuh (g, t) a lane holds rows g
 * and g + 8 and columns of its own: which inputs these are is free as long as both factors agree.
 * So a lane takes the 32 codes of 16 bytes, inputs 32t … 32t + 31 of a chunk, and the same inputs
 * of row g. Within eight codes the pairs are (0, 4), (1, 5), (2, 6), (3, 7): a mask finds both of a
 * pair.
 *
 * u − z is exact as F16 and its product with an F16 exact in F32; the scale meets the sum of a
 * chunk. A tensor core cuts off what it aligns: 17 terms lose at most one ulp of the largest each,
 * 8 · 17 · 2⁻²³ of a chunk's Σ|terms|, which (k + 4)·2⁻²⁴ covers from LEAST inputs on. */
#include "kernels/cuda/products.cuh"
#include "kernels/cuda/ptx.cuh"

enum { OUTPUTS = 16, ROWS = 8, CHUNK = 128, LEAST = 512, AHEAD = 2 };

static __device__ __half2 half2_of(unsigned bits)
{
    __half2 pair;
    memcpy(&pair, &bits, sizeof pair);
    return pair;
}

static __device__ unsigned bits_of(__half2 pair)
{
    unsigned bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

/* Eight codes minus their zero, in pairs (0, 4), (1, 5), (2, 6), (3, 7). In the mantissa of 1024 a
 * code is itself, or 16 times itself where it lies in the upper half of a byte. */
static __device__ __forceinline__ void widen(unsigned codes, unsigned zero, unsigned (&out)[4])
{
    const __half2 low = half2_of(0x64006400u + zero * 0x10001u);   /* 1024 + z */
    const __half2 high = half2_of(0xd400d400u + zero * 0x100010u); /* −(64 + z) */
    const __half2 sixteenth = half2_of(0x2c002c00u);
    for (int i = 0; i < 2; i++, codes >>= 8) {
        /* (codes & mask) | 1024 */
        const unsigned even = vlmp_lop3<0xea>(codes, 0x000f000fu, 0x64006400u);
        const unsigned odd = vlmp_lop3<0xea>(codes, 0x00f000f0u, 0x64006400u);
        out[2 * i] = bits_of(__hsub2(half2_of(even), low));
        out[2 * i + 1] = bits_of(__hfma2(half2_of(odd), sixteenth, high));
    }
}

/* sums += the products of 32 inputs of a lane, and of those of its neighbours. */
static __device__ __forceinline__ void multiply_chunk(float (&sums)[4], const uint4 &top,
                                                      const uint4 &bottom, const uint4 (&x)[4],
                                                      unsigned top_zero, unsigned bottom_zero)
{
    const unsigned words[4][2] = {
        {top.x, bottom.x}, {top.y, bottom.y}, {top.z, bottom.z}, {top.w, bottom.w}};
    for (int i = 0; i < 4; i++) {
        unsigned upper[4], lower[4];
        widen(words[i][0], top_zero, upper);
        widen(words[i][1], bottom_zero, lower);
        const unsigned pairs[4] = {
            __byte_perm(x[i].x, x[i].z, 0x5410), __byte_perm(x[i].x, x[i].z, 0x7632),
            __byte_perm(x[i].y, x[i].w, 0x5410), __byte_perm(x[i].y, x[i].w, 0x7632)};
        for (int j = 0; j < 4; j += 2) {
            const unsigned a[4] = {upper[j], lower[j], upper[j + 1], lower[j + 1]};
            const unsigned b[2] = {pairs[j], pairs[j + 1]};
            vlmp_mma_f16(sums, a, b);
        }
    }
}

/* What a lane knows of the weights of one of its two outputs. */
struct line {
    const uint8_t *codes; /* its 16 bytes of the chunk to be loaded next */
    const uint8_t *zeros;
    size_t scale; /* index of the first */
};

/* What is beyond the last output is computed as the last, and not stored. */
static __device__ line line_of(const vlmp_cuda_weight &w, int n, int lane, int chunk)
{
    n = min(n, w.n - 1);
    return {w.codes + (size_t)n * w.code_bytes + (chunk * 4 + lane % 4) * (CHUNK / 8),
            w.zeros + (size_t)n * w.zero_bytes, (size_t)(n / w.scale_outputs) * (size_t)w.groups};
}

/* TYPE: of scales. A group is a chunk, or the whole row. Rows beyond the last compute the last. */
template <int TYPE, bool ZEROS> static __global__ void __launch_bounds__(BLOCK) few_rows4(product p)
{
    VLMP_SHARED(float, parts, WARPS *OUTPUTS *ROWS);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4;
    const int chunks = p.w.k / CHUNK, row = min((int)blockIdx.y * ROWS + g, p.rows - 1);
    const int n = (int)blockIdx.x * OUTPUTS + g, a_chunk = p.w.groups == 1 ? 0 : 1;
    const uint4 *inputs =
        (const uint4 *)(p.x + (size_t)row * (size_t)p.w.k) + (warp * 4 + lane % 4) * 4;
    line lines[2] = {line_of(p.w, n, lane, warp), line_of(p.w, n + 8, lane, warp)};
    const unsigned long long policy = vlmp_evict_first();
    uint4 codes[AHEAD][2];
    for (int s = 0; s < AHEAD; s++)
        for (int i = 0; i < 2 && warp + s * WARPS < chunks; i++) {
            codes[s][i] = vlmp_load_once(lines[i].codes, policy);
            lines[i].codes += WARPS * CHUNK / 2;
        }
    float total[4] = {0, 0, 0, 0};
    for (int first = warp; first < chunks; first += AHEAD * WARPS)
        for (int s = 0; s < AHEAD; s++) {
            const int chunk = first + s * WARPS, group = chunk * a_chunk;
            if (chunk >= chunks) break;
            float sums[4] = {0, 0, 0, 0}, scales[2];
            unsigned zeros[2];
            const uint4 x[4] = {inputs[0], inputs[1], inputs[2], inputs[3]};
            inputs += WARPS * CHUNK / OCTET;
            for (int i = 0; i < 2; i++) {
                scales[i] = stored_scale(p.w.scales, lines[i].scale + (size_t)group, TYPE);
                zeros[i] = (unsigned)(ZEROS ? code_of(lines[i].zeros, group, 4) : p.w.middle);
            }
            multiply_chunk(sums, codes[s][0], codes[s][1], x, zeros[0], zeros[1]);
            for (int i = 0; i < 2 && chunk + AHEAD * WARPS < chunks; i++) {
                codes[s][i] = vlmp_load_once(lines[i].codes, policy);
                lines[i].codes += WARPS * CHUNK / 2;
            }
            for (int i = 0; i < 4; i++)
                total[i] = fmaf(sums[i], scales[i / 2], total[i]);
        }
    for (int i = 0; i < 4; i++)
        parts[(warp * ROWS + lane % 4 * 2 + i % 2) * OUTPUTS + g + i / 2 * 8] = total[i];
    __syncthreads();
    const int at = (int)threadIdx.x, to = (int)blockIdx.y * ROWS + at / OUTPUTS;
    const int output = (int)blockIdx.x * OUTPUTS + at % OUTPUTS;
    float sum = parts[at];
    for (int i = 1; i < WARPS; i++)
        sum += parts[i * OUTPUTS * ROWS + at];
    if (to < p.rows && output < p.w.n) store(p, to, output, sum * p.w.global_scale);
}

template <int TYPE> static void launch(vlmp_cuda *cuda, const product &p, dim3 grid)
{
    if (p.w.zeros != NULL)
        VLMP_LAUNCH((few_rows4<TYPE, true>), grid, BLOCK, 0, cuda->stream, p);
    else
        VLMP_LAUNCH((few_rows4<TYPE, false>), grid, BLOCK, 0, cuda->stream, p);
}

bool vlmp_cuda_few4(vlmp_cuda *cuda, const product *p)
{
    static_assert(BLOCK == OUTPUTS * ROWS, "a thread joins the parts of one result");
    const vlmp_cuda_weight &w = p->w;
    if (w.bits != 4 || w.mantissa != 0 || w.int8 || w.k % CHUNK != 0 || w.k < LEAST ||
        (w.group != CHUNK && w.groups != 1) || (uintptr_t)p->x % 16 != 0)
        return false;
    dim3 grid((unsigned)((w.n + OUTPUTS - 1) / OUTPUTS), (unsigned)((p->rows + ROWS - 1) / ROWS));
    if (w.scale_type == VLMP_F16)
        launch<VLMP_F16>(cuda, *p, grid);
    else if (w.scale_type == VLMP_BF16)
        launch<VLMP_BF16>(cuda, *p, grid);
    else if (w.scale_type == VLMP_F32)
        launch<VLMP_F32>(cuda, *p, grid);
    else
        return false;
    return true;
}
