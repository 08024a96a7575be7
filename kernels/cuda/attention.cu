/* Writing keys and values to pages, and attention over them. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

/* A layer of a store. */
struct layer {
    __half *k, *v;
    int page_rows, kv_heads, head_dim;
};

static layer layer_of(const vlmp_kv *kv, int number)
{
    const vlmp_kv_shape *s = &kv->shape;
    size_t first = (size_t)number * (size_t)s->pages * (size_t)s->page_rows * (size_t)s->kv_heads *
                   (size_t)s->head_dim;
    return {(__half *)kv->k + first, (__half *)kv->v + first, s->page_rows, s->kv_heads,
            s->head_dim};
}

/* Where row `row` of a sequence and head begins in a layer. */
static __device__ size_t slot_of(const layer &l, const vlmp_cuda_step &step,
                                 const vlmp_cuda_segment &segment, int row, int kv_head)
{
    int page = row / l.page_rows;
    if (segment.first_page >= 0) page = step.pages[segment.first_page + page];
    size_t head = (size_t)page * (size_t)l.kv_heads + (size_t)kv_head;
    return (head * (size_t)l.page_rows + (size_t)(row % l.page_rows)) * (size_t)l.head_dim;
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

/* One block a row and head: blocks of BLOCK stored rows, a thread a score, then a thread some of
 * the outputs; online softmax. dynamic: the query and the sums, head_dim F32 each. Scores are where
 * the stored row is, so that pages change nothing. */
static __global__ void attend(__half *y, const __half *q, layer l, vlmp_attention a,
                              vlmp_cuda_step step)
{
    VLMP_SHARED(float, room, WARPS);
    VLMP_SHARED(float, weights, BLOCK);
    VLMP_SHARED(size_t, slots, BLOCK);
    VLMP_DYNAMIC_SHARED(dynamic);
    int row = (int)blockIdx.x, head = (int)blockIdx.y, dim = l.head_dim;
    int thread = (int)threadIdx.x, kv_head = head / (a.heads / l.kv_heads);
    float *query = (float *)(void *)dynamic, *sums = query + dim;
    vlmp_cuda_segment segment = step.segments[step.segment_of[row]];
    int position = segment.position + row - segment.first_row;
    int end = a.causal ? position + 1 : segment.position + segment.rows;
    int start = a.causal && a.window > 0 && position >= a.window ? position - a.window + 1 : 0;
    size_t at = ((size_t)row * (size_t)a.heads + (size_t)head) * (size_t)dim;
    for (int i = thread; i < dim; i += BLOCK) {
        query[i] = __half2float(q[at + (size_t)i]);
        sums[i] = 0;
    }
    __syncthreads();
    float largest = -INFINITY, total = 0;
    for (int first = start; first < end; first += BLOCK) {
        float score = -INFINITY;
        if (first + thread < end) {
            size_t slot = slot_of(l, step, segment, first + thread, kv_head);
            const __half *key = l.k + slot;
            slots[thread] = slot;
            score = 0;
            for (int i = 0; i < dim; i++)
                score = fmaf(query[i], __half2float(key[i]), score);
            score *= a.scale;
        }
        /* fmaxf passes over NaN, whose weight then is NaN. */
        float most = fmaxf(largest, block_max(score, room));
        float before = largest == -INFINITY ? 0 : expf(largest - most);
        float weight = score == -INFINITY ? 0 : expf(score - most);
        weights[thread] = weight;
        total = total * before + block_sum(weight, room);
        largest = most;
        int rows = min(BLOCK, end - first);
        for (int i = thread; i < dim; i += BLOCK) {
            float sum = sums[i] * before;
            for (int j = 0; j < rows; j++)
                sum = fmaf(weights[j], __half2float(l.v[slots[j] + (size_t)i]), sum);
            sums[i] = sum;
        }
        __syncthreads();
    }
    for (int i = thread; i < dim; i += BLOCK)
        y[at + (size_t)i] = __float2half_rn(sums[i] / total);
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

void vlmp_cuda_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int number,
                         const vlmp_attention *a, const vlmp_step *step)
{
    if (step->rows == 0) return;
    size_t shared = 2 * (size_t)kv->shape.head_dim * sizeof(float);
    VLMP_LAUNCH(attend, dim3((unsigned)step->rows, (unsigned)a->heads), BLOCK, shared,
                vlmp_cuda_of(ctx)->stream, (__half *)y.at, (const __half *)q.at,
                layer_of(kv, number), *a, step->device);
    vlmp_cuda_launched(ctx, "attention");
}
