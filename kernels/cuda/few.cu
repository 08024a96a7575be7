/* Products of rows of decoding with integer weights of 4 and 8 bits, which are read once for up to
 * 64 rows, at the speed of memory.
 *
 * A block computes OUTPUTS results for TILES · 8 rows on tensor cores, weights as the first factor;
 * its warps take every fourth chunk of inputs. In the drawings of ptx.cuh (g, t) a lane holds rows
 * g and g + 8 and columns of its own: which inputs these are is free as long as both factors agree.
 * So a lane takes the codes of BYTES bytes, the t-th such share of a chunk, and the same inputs of
 * row g. Within eight codes of 4 bits the pairs are (0, 4), (1, 5), (2, 6), (3, 7): a mask finds
 * both of a pair.
 *
 * u − z is exact as F16 and its product with an F16 exact in F32; the scale meets the sum of a
 * chunk. A tensor core cuts off what it aligns: 17 terms lose at most one ulp of the largest each,
 * CHUNK/16 · 17 · 2⁻²³ of a chunk's Σ|terms|, which (k + 4)·2⁻²⁴ covers from 4 chunks on. A row's
 * sums are in the order of chunks and warps, whatever TILES is. */
#include "kernels/cuda/few.cuh"

enum { LEAST_CHUNKS = 4 };

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

/* Eight codes of 4 bits minus their zero, in pairs (0, 4), (1, 5), (2, 6), (3, 7). In the mantissa
 * of 1024 a code is itself, or 16 times itself where it lies in the upper half of a byte. */
static __device__ __forceinline__ void widen4(unsigned codes, unsigned zero, unsigned (&out)[4])
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

/* The same of 8 bits, in their order. */
static __device__ __forceinline__ void widen8(unsigned first, unsigned second, unsigned zero,
                                              unsigned (&out)[4])
{
    const __half2 low = half2_of(0x64006400u + zero * 0x10001u);
    out[0] = bits_of(__hsub2(half2_of(__byte_perm(first, 0x64646464u, 0x4140)), low));
    out[1] = bits_of(__hsub2(half2_of(__byte_perm(first, 0x64646464u, 0x4342)), low));
    out[2] = bits_of(__hsub2(half2_of(__byte_perm(second, 0x64646464u, 0x4140)), low));
    out[3] = bits_of(__hsub2(half2_of(__byte_perm(second, 0x64646464u, 0x4342)), low));
}

/* A lane's share of an output's codes in a chunk. */
template <int BYTES> struct share {
    unsigned words[BYTES / 4];
};

template <int BYTES>
static __device__ __forceinline__ share<BYTES> load_share(const uint8_t *at,
                                                          unsigned long long policy)
{
    share<BYTES> out;
    if (BYTES == 16) {
        const uint4 all = vlmp_load_once(at, policy);
        memcpy(&out, &all, sizeof out);
    } else if (BYTES == 8) {
        const uint2 all = *(const uint2 *)at;
        memcpy(&out, &all, sizeof out);
    } else {
        const unsigned all = *(const unsigned *)at; /* half a sector: the next warp's is the rest */
        memcpy(&out, &all, sizeof out);
    }
    return out;
}

/* sums += the products of a lane's inputs, and of those of its neighbours, for its two outputs and
 * each tile of rows. */
template <int BITS, int BYTES, int TILES>
static __device__ __forceinline__ void
multiply_chunk(float (&sums)[TILES][4], const share<BYTES> (&codes)[2], const uint4 *inputs,
               const unsigned (&rows)[TILES], const unsigned (&zeros)[2])
{
    VLMP_UNROLL
    for (int i = 0; i < BYTES * 8 / BITS / OCTET; i++) {
        unsigned upper[4], lower[4];
        if (BITS == 4) {
            widen4(codes[0].words[i], zeros[0], upper);
            widen4(codes[1].words[i], zeros[1], lower);
        } else {
            widen8(codes[0].words[2 * i], codes[0].words[2 * i + 1], zeros[0], upper);
            widen8(codes[1].words[2 * i], codes[1].words[2 * i + 1], zeros[1], lower);
        }
        VLMP_UNROLL
        for (int r = 0; r < TILES; r++) {
            const uint4 x = inputs[rows[r] + (unsigned)i];
            unsigned pairs[4] = {x.x, x.y, x.z, x.w};
            if (BITS == 4) {
                pairs[0] = __byte_perm(x.x, x.z, 0x5410), pairs[1] = __byte_perm(x.x, x.z, 0x7632);
                pairs[2] = __byte_perm(x.y, x.w, 0x5410), pairs[3] = __byte_perm(x.y, x.w, 0x7632);
            }
            for (int j = 0; j < 4; j += 2) {
                const unsigned a[4] = {upper[j], lower[j], upper[j + 1], lower[j + 1]};
                const unsigned b[2] = {pairs[j], pairs[j + 1]};
                vlmp_mma_f16(sums[r], a, b);
            }
        }
    }
}

/* What is known of zeros and scales before: no zeros and F16 scales of groups, no zeros and a scale
 * a row, nothing. */
enum { PLAIN, ROW_SCALE, ANY };

template <int BITS, int MODE>
static __device__ __forceinline__ float group_scale(const product &p, const line &l, int group)
{
    if (MODE == ROW_SCALE) return 1;
    if (MODE == ANY) return wide_scale(p.w.scales, l.scale + (size_t)group, p.w.scale_type);
    return __half2float(((const __half *)p.w.scales)[l.scale + (size_t)group]);
}

template <int BITS, int MODE>
static __device__ __forceinline__ unsigned group_zero(const product &p, const line &l, int group)
{
    if (MODE != ANY) return 1u << (BITS - 1);
    return (unsigned)(p.w.zeros != NULL ? code_of(l.zeros, group, BITS) : p.w.middle);
}

/* Chunks of BYTES · 4 bytes; a group is 2^shift of them. Rows beyond the last compute the last. */
template <int BITS, int BYTES, int TILES, int MODE>
static __global__ void __launch_bounds__(BLOCK, resident_blocks(TILES))
    few_rows_of(product p, int shift)
{
    enum {
        CHUNK = BYTES * 4 * 8 / BITS,
        AHEAD = (TILES < 8 ? 32 : 16) / BYTES,
        STEP = WARPS * BYTES * 4
    };
    VLMP_SHARED(float, parts, WARPS *TILES *ROWS *OUTPUTS);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4;
    const int chunks = p.w.k / CHUNK, n = (int)blockIdx.x * OUTPUTS + g;
    const int offset = (warp * 4 + lane % 4) * BYTES;
    const uint4 *inputs = (const uint4 *)p.x + offset * 8 / BITS / OCTET;
    unsigned rows[TILES];
    VLMP_UNROLL
    for (int r = 0; r < TILES; r++)
        rows[r] = (unsigned)min(((int)blockIdx.y * TILES + r) * ROWS + g, p.rows - 1) *
                  (unsigned)(p.w.k / OCTET);
    line lines[2] = {line_of(p.w, n, offset), line_of(p.w, n + 8, offset)};
    const unsigned long long policy = vlmp_evict_first();
    share<BYTES> codes[AHEAD][2];
    VLMP_UNROLL
    for (int s = 0; s < AHEAD; s++)
        for (int i = 0; i < 2 && warp + s * WARPS < chunks; i++) {
            codes[s][i] = load_share<BYTES>(lines[i].codes, policy);
            lines[i].codes += STEP;
        }
    float total[TILES][4] = {};
    for (int first = warp; first < chunks; first += AHEAD * WARPS) {
        VLMP_UNROLL
        for (int s = 0; s < AHEAD; s++) {
            const int chunk = first + s * WARPS, group = chunk >> shift;
            if (chunk >= chunks) break;
            float sums[TILES][4] = {}, scales[2];
            unsigned zeros[2];
            for (int i = 0; i < 2; i++) {
                scales[i] = group_scale<BITS, MODE>(p, lines[i], group);
                zeros[i] = group_zero<BITS, MODE>(p, lines[i], group);
            }
            multiply_chunk<BITS, BYTES, TILES>(sums, codes[s], inputs, rows, zeros);
            inputs += WARPS * CHUNK / OCTET;
            for (int i = 0; i < 2 && chunk + AHEAD * WARPS < chunks; i++) {
                codes[s][i] = load_share<BYTES>(lines[i].codes, policy);
                lines[i].codes += STEP;
            }
            VLMP_UNROLL
            for (int r = 0; r < TILES; r++)
                for (int i = 0; i < 4; i++)
                    total[r][i] = fmaf(sums[r][i], scales[i / 2], total[r][i]);
        }
    }
    VLMP_UNROLL
    for (int r = 0; r < TILES; r++)
        for (int i = 0; i < 4; i++)
            parts[part_at(warp, TILES, r, lane, i)] = total[r][i];
    __syncthreads();
    for (int at = (int)threadIdx.x; at < TILES * ROWS * OUTPUTS; at += BLOCK) {
        const place to = place_of(at, TILES);
        const float sum = joined(parts, at, TILES * ROWS * OUTPUTS);
        if (!is_wanted(p, to)) continue;
        store(p, to.row, to.n,
              sum * (MODE == ROW_SCALE ? scale_of(p.w, to.n, 0) : p.w.global_scale));
    }
}

template <int BITS, int BYTES, int TILES, int MODE>
static void launch_tiles(vlmp_cuda *cuda, const product &p, int shift)
{
    VLMP_LAUNCH((few_rows_of<BITS, BYTES, TILES, MODE>), grid_of(p, TILES), BLOCK, 0, cuda->stream,
                p, shift);
}

template <int BITS, int BYTES, int MODE>
static void launch_mode(vlmp_cuda *cuda, const product &p, int shift)
{
    if (p.rows <= ROWS)
        launch_tiles<BITS, BYTES, 1, MODE>(cuda, p, shift);
    else if (p.rows <= 2 * ROWS && MODE != ANY)
        launch_tiles<BITS, BYTES, MODE != ANY ? 2 : 8, MODE>(cuda, p, shift);
    else if (p.rows <= 4 * ROWS && MODE != ANY)
        launch_tiles<BITS, BYTES, MODE != ANY ? 4 : 8, MODE>(cuda, p, shift);
    else
        launch_tiles<BITS, BYTES, 8, MODE>(cuda, p, shift);
}

/* false: groups or inputs are not whole chunks, or there are too few. */
template <int BITS, int BYTES> static bool launch(vlmp_cuda *cuda, const product &p)
{
    const int chunk = BYTES * 4 * 8 / BITS, shift = shift_of(p.w, chunk);
    const bool symmetric = p.w.zeros == NULL && p.w.middle == 1 << (BITS - 1);
    if (shift < 0 || p.w.k < LEAST_CHUNKS * chunk) return false;
    if (symmetric && shift != ROW_SHIFT && p.w.scale_type == VLMP_F16)
        launch_mode<BITS, BYTES, PLAIN>(cuda, p, shift);
    else if (symmetric && shift == ROW_SHIFT && BYTES == 16)
        launch_mode<BITS, 16, ROW_SCALE>(cuda, p, shift);
    else
        launch_mode<BITS, BYTES, ANY>(cuda, p, shift);
    return true;
}

bool vlmp_cuda_few(vlmp_cuda *cuda, const product *p)
{
    const vlmp_cuda_weight &w = p->w;
    if (w.bits == 0 || w.mantissa != 0 || w.int8 || (uintptr_t)p->x % 16 != 0 ||
        !is_wide(w.scale_type))
        return false;
    if (w.bits == 8) return launch<8, 16>(cuda, *p);
    return launch<4, 16>(cuda, *p) || launch<4, 8>(cuda, *p) || launch<4, 4>(cuda, *p);
}
