/* Writing keys and values to pages, and attention over them. */
#include <assert.h>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weights.cuh"

static layer layer_of(const vlmp_kv *kv, int number)
{
    const vlmp_kv_shape *s = &kv->shape;
    size_t first = (size_t)number * (size_t)s->pages * (size_t)s->page_rows * (size_t)s->kv_heads *
                   (size_t)s->head_dim;
    return {(__half *)kv->k + first, (__half *)kv->v + first, s->page_rows, s->kv_heads,
            s->head_dim};
}

static __global__ void kv_write(layer l, const __half *k, const __half *v, vlmp_cuda_step step,
                                size_t count)
{
    size_t dim = (size_t)l.head_dim;
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        int kv_head = (int)(i / dim % (size_t)l.kv_heads);
        int row = (int)(i / dim / (size_t)l.kv_heads);
        vlmp_cuda_segment segment = step.segments[step.segment_of[row]];
        int stored = segment.position + row - segment.first_row;
        size_t to = slot_of(l, step, segment, stored, kv_head) + i % dim;
        l.k[to] = k[i];
        l.v[to] = v[i];
    }
}

/* A block goes over stored rows for one row and head: TILE at a time, eight lanes a score, then a
 * thread eight columns of every slices-th row; online softmax. Scores are where the stored row is
 * in the sequence, so that pages change nothing.
 *
 * Rows of prompts have one block each, where attention_tiles.cu does not take them. A row that is
 * alone in its segment, as in decoding, has a block a chunk of its sequence, for one would keep one
 * multiprocessor busy: what the chunks leave, join() adds in order. The chunks follow from the
 * row's own position alone. */
enum { TILE = VLMP_CUDA_CHUNK_ROWS, LANES = 8 };

struct work : asked {
    float *parts; /* [blocks.x][chunks][head_dim + 2] */
    int chunks;   /* no row of the step has more */
    int first;    /* row · heads + head of the first block */
};

/* Which row and head a block is for, and the stored rows that it sees. */
struct sight {
    vlmp_cuda_segment segment;
    size_t at; /* of the query, and of the result */
    int kv_head, start, end, chunk;
};

/* Rows of a chunk where so many are stored: whole tiles, so that the most chunks are enough. */
static __device__ int chunk_rows(int stored)
{
    const int most = TILE * VLMP_CUDA_MOST_CHUNKS;
    return (stored + most - 1) / most * TILE;
}

static __device__ sight sight_of(const work &w)
{
    int item = w.first + (int)blockIdx.x, row = item / w.a.heads, head = item % w.a.heads;
    sight s;
    s.segment = w.step.segments[w.step.segment_of[row]];
    int position = s.segment.position + row - s.segment.first_row;
    s.at = (size_t)item * (size_t)w.l.head_dim;
    s.kv_head = head / (w.a.heads / w.l.kv_heads);
    s.end = w.a.causal ? position + 1 : s.segment.position + s.segment.rows;
    s.start =
        w.a.causal && w.a.window > 0 && position >= w.a.window ? position - w.a.window + 1 : 0;
    s.chunk = chunk_rows(s.end);
    return s;
}

static __device__ float *part_of(const work &w, int chunk)
{
    return w.parts +
           ((size_t)blockIdx.x * (size_t)w.chunks + (size_t)chunk) * (size_t)(w.l.head_dim + 2);
}

/* Values first … first + 7 of a stored row, 0 beyond its last. */
static __device__ void load_octet(float (&out)[OCTET], const __half *row, int first, int dim)
{
    if (dim % OCTET == 0) {
        const uint4 bits = *(const uint4 *)(row + first);
        const unsigned words[OCTET / 2] = {bits.x, bits.y, bits.z, bits.w};
        for (int i = 0; i < OCTET / 2; i++) {
            __half2 pair;
            memcpy(&pair, &words[i], sizeof pair);
            out[2 * i] = __low2float(pair), out[2 * i + 1] = __high2float(pair);
        }
    } else {
        for (int i = 0; i < OCTET; i++)
            out[i] = first + i < dim ? __half2float(row[first + i]) : 0;
    }
}

/* Scores of the tile from `first` on, −∞ beyond the end, and where its rows are. */
static __device__ void score_tile(const work &w, const sight &s, const float *query, int first,
                                  float *scores, size_t *slots)
{
    int dim = w.l.head_dim, sub = (int)threadIdx.x % LANES;
    for (int j = (int)threadIdx.x / LANES; j < TILE; j += BLOCK / LANES) {
        size_t slot = 0;
        float sum = 0, key[OCTET];
        if (first + j < s.end) {
            slot = slot_of(w.l, w.step, s.segment, first + j, s.kv_head);
            for (int i = sub * OCTET; i < dim; i += LANES * OCTET) {
                load_octet(key, w.l.k + slot, i, dim);
                for (int each = 0; each < OCTET; each++)
                    sum = fmaf(query[i + each], key[each], sum);
            }
        }
        for (int step = LANES / 2; step > 0; step /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (sub == 0) {
            scores[j] = first + j < s.end ? sum * w.a.scale : -INFINITY;
            slots[j] = slot;
        }
    }
}

/* sums[slices][width] = themselves · before + the tile's weighted rows. */
static __device__ void add_tile(const work &w, const float *weights, const size_t *slots, int rows,
                                float *sums, int width, int slices, float before)
{
    for (int at = (int)threadIdx.x; at < slices * width / OCTET; at += BLOCK) {
        int slice = at / (width / OCTET), column = at % (width / OCTET) * OCTET;
        float sum[OCTET], value[OCTET];
        for (int i = 0; i < OCTET; i++)
            sum[i] = sums[at * OCTET + i] * before;
        for (int j = slice; j < rows; j += slices) {
            load_octet(value, w.l.v + slots[j], column, w.l.head_dim);
            for (int i = 0; i < OCTET; i++)
                sum[i] = fmaf(weights[j], value[i], sum[i]);
        }
        for (int i = 0; i < OCTET; i++)
            sums[at * OCTET + i] = sum[i];
    }
}

/* A head's dimensions in whole octets, and how many threads share a column. */
static __host__ __device__ int width_of(int head_dim)
{
    return (head_dim + OCTET - 1) / OCTET * OCTET;
}

static __host__ __device__ int slices_of(int width)
{
    return width < BLOCK * OCTET ? BLOCK * OCTET / width : 1;
}

/* dynamic: the query and the slices of sums, a width of F32 each. */
template <bool CHUNKS> static __global__ void attend(work w)
{
    VLMP_SHARED(float, room, WARPS);
    VLMP_SHARED(float, weights, TILE);
    VLMP_SHARED(size_t, slots, TILE);
    VLMP_DYNAMIC_SHARED(dynamic);
    int thread = (int)threadIdx.x, dim = w.l.head_dim;
    int width = width_of(dim), slices = slices_of(width);
    float *query = (float *)(void *)dynamic, *sums = query + width;
    sight s = sight_of(w);
    if ((s.segment.rows == 1) != CHUNKS) return;
    if (CHUNKS) {
        s.start = max(s.start, (int)blockIdx.y * s.chunk);
        s.end = min(s.end, ((int)blockIdx.y + 1) * s.chunk);
        if (s.start >= s.end) return;
    }
    for (int i = thread; i < width; i += BLOCK)
        query[i] = i < dim ? __half2float(w.q[s.at + (size_t)i]) : 0;
    for (int i = thread; i < slices * width; i += BLOCK)
        sums[i] = 0;
    __syncthreads();
    float largest = -INFINITY, total = 0;
    for (int first = s.start; first < s.end; first += TILE) {
        score_tile(w, s, query, first, weights, slots);
        __syncthreads();
        float score = thread < TILE ? weights[thread] : -INFINITY;
        /* fmaxf passes over NaN, whose weight then is NaN. */
        float most = fmaxf(largest, block_max(score, room));
        float before = largest == -INFINITY ? 0 : expf(largest - most);
        float weight = score == -INFINITY ? 0 : expf(score - most);
        if (thread < TILE) weights[thread] = weight;
        total = total * before + block_sum(weight, room);
        largest = most;
        add_tile(w, weights, slots, min(TILE, s.end - first), sums, width, slices, before);
        __syncthreads();
    }
    float *part = CHUNKS ? part_of(w, (int)blockIdx.y) : NULL;
    for (int i = thread; i < dim; i += BLOCK) {
        float sum = sums[i];
        for (int slice = 1; slice < slices; slice++)
            sum += sums[slice * width + i];
        if (CHUNKS)
            part[i] = sum;
        else
            w.y[s.at + (size_t)i] = __float2half_rn(sum / total);
    }
    if (CHUNKS && thread == 0) part[dim] = largest, part[dim + 1] = total;
}

/* The result of a row that was done in chunks. */
static __global__ void join(work w)
{
    sight s = sight_of(w);
    if (s.segment.rows != 1) return;
    int dim = w.l.head_dim, from = s.start / s.chunk, to = (s.end - 1) / s.chunk;
    float largest = -INFINITY;
    for (int c = from; c <= to; c++)
        largest = fmaxf(largest, part_of(w, c)[dim]);
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK) {
        float sum = 0, total = 0;
        for (int c = from; c <= to; c++) {
            const float *part = part_of(w, c);
            float factor = part[dim] == -INFINITY ? 0 : expf(part[dim] - largest);
            sum = fmaf(part[i], factor, sum);
            total = fmaf(part[dim + 1], factor, total);
        }
        w.y[s.at + (size_t)i] = __float2half_rn(sum / total);
    }
}

void vlmp_cuda_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int number, vlmp_act k, vlmp_act v,
                        const vlmp_step *step)
{
    size_t count = (size_t)step->rows * (size_t)kv->shape.kv_heads * (size_t)kv->shape.head_dim;
    if (count == 0) return;
    VLMP_LAUNCH(kv_write, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream,
                layer_of(kv, number), (const __half *)k.at, (const __half *)v.at, step->device,
                count);
    vlmp_cuda_launched(ctx, "kv_write");
}

/* As many items (a row's head each) at a time as the scratch holds parts of. */
static void attend_in_chunks(vlmp_cuda *cuda, work w, int items, size_t shared)
{
    size_t most =
        cuda->scratch_bytes / ((size_t)w.chunks * (size_t)(w.l.head_dim + 2) * sizeof(float));
    assert(most > 0); /* the most chunks of a head are less than the least scratch */
    w.parts = (float *)(void *)cuda->scratch;
    for (int now; w.first < items; w.first += now) {
        now = (size_t)(items - w.first) < most ? items - w.first : (int)most;
        VLMP_LAUNCH((attend<true>), dim3((unsigned)now, (unsigned)w.chunks), BLOCK, shared,
                    cuda->stream, w);
        VLMP_LAUNCH(join, now, BLOCK, 0, cuda->stream, w);
    }
}

void vlmp_cuda_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int number,
                         const vlmp_attention *a, const vlmp_step *step)
{
    int width = width_of(kv->shape.head_dim), items = step->rows * a->heads;
    size_t shared = (size_t)(1 + slices_of(width)) * (size_t)width * sizeof(float);
    work w = {};
    (asked &)w = {layer_of(kv, number), *a, step->device, (const __half *)q.at, (__half *)y.at};
    if (step->singles > 0) {
        w.chunks = step->chunks;
        attend_in_chunks(vlmp_cuda_of(ctx), w, items, shared);
    }
    if (step->tiles > 0 && !vlmp_cuda_attention_tiles(vlmp_cuda_of(ctx), &w, step->tiles))
        VLMP_LAUNCH((attend<false>), items, BLOCK, shared, vlmp_cuda_of(ctx)->stream, w);
    vlmp_cuda_launched(ctx, "attention");
}
