/* What is read off activations and logits. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

static __device__ float value_of(const __half *x, size_t i)
{
    return __half2float(x[i]);
}

static __device__ float value_of(const float *x, size_t i)
{
    return x[i];
}

static __global__ void start_search(int32_t *at, size_t count)
{
    *at = (int32_t)count;
}

template <typename T> static __global__ void first_not_finite(int32_t *at, const T *x, size_t count)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        if (!isfinite(value_of(x, i))) {
            atomicMin(at, (int32_t)i);
            return;
        }
}

/* A thread adds up a column, row after row. */
template <typename T>
static __global__ void column_sizes(double *sum, double *squares, float *largest, const T *x,
                                    int rows, int dim, const int32_t *kinds)
{
    int column = (int)first_of_grid();
    if (column >= dim) return;
    for (int row = 0; row < rows; row++) {
        if (kinds[row] < 0) continue;
        float size = fabsf(value_of(x, (size_t)row * (size_t)dim + (size_t)column));
        size_t at = (size_t)kinds[row] * (size_t)dim + (size_t)column;
        sum[at] += (double)size;
        if (squares != NULL) squares[at] += (double)size * (double)size;
        if (largest != NULL && size > largest[at]) largest[at] = size;
    }
}

/* Room of a block for a value and its place a warp. */
struct places {
    float *values;
    int *at;
};

static __device__ bool is_better(float value, int at, float than, int than_at)
{
    return value > than || (value == than && at < than_at);
}

/* The place of the largest of x[n], the first of equals; 0 when all are NaN. */
static __device__ int block_best(const float *x, int n, places room)
{
    float best = -INFINITY;
    int at = n;
    for (int i = (int)threadIdx.x; i < n; i += BLOCK)
        if (is_better(x[i], i, best, at)) best = x[i], at = i;
    for (int step = 16; step > 0; step /= 2) {
        float value = __shfl_xor_sync(0xffffffffu, best, step);
        int place = __shfl_xor_sync(0xffffffffu, at, step);
        if (is_better(value, place, best, at)) best = value, at = place;
    }
    if (threadIdx.x % 32 == 0) {
        room.values[threadIdx.x / 32] = best;
        room.at[threadIdx.x / 32] = at;
    }
    __syncthreads();
    for (int i = 0; i < WARPS; i++)
        if (is_better(room.values[i], room.at[i], best, at)) best = room.values[i], at = room.at[i];
    __syncthreads();
    return at < n ? at : 0;
}

/* The first of x[n] that is NaN or infinite; 0 without one. */
static __device__ float block_bad(const float *x, int n, int *room)
{
    int at = n;
    for (int i = (int)threadIdx.x; i < n && at == n; i += BLOCK)
        if (!isfinite(x[i])) at = i;
    for (int step = 16; step > 0; step /= 2)
        at = min(at, __shfl_xor_sync(0xffffffffu, at, step));
    if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = at;
    __syncthreads();
    for (int i = 0; i < WARPS; i++)
        at = min(at, room[i]);
    __syncthreads();
    return at < n ? x[at] : 0;
}

static __device__ double block_log_sum_exp(const float *x, int n, double largest, double *room)
{
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += BLOCK)
        sum += exp((double)x[i] - largest);
    return largest + log(block_sum(sum, room));
}

/* One block a row. */
static __global__ void measure(vlmp_token_measure *out, const float *logits, size_t q_stride,
                               const float *reference, size_t p_stride, int vocab,
                               const int32_t *targets)
{
    VLMP_SHARED(double, sums, WARPS);
    VLMP_SHARED(float, values, WARPS);
    VLMP_SHARED(int, at, WARPS);
    const float *q = logits + (size_t)blockIdx.x * q_stride;
    const float *p = reference != NULL ? reference + (size_t)blockIdx.x * p_stride : NULL;
    int target = targets[blockIdx.x];
    vlmp_token_measure m = {0, 0, 0, 0, 0, 0, 0};
    m.best = block_best(q, vocab, {values, at});
    m.bad = block_bad(q, vocab, at);
    double q_sum = block_log_sum_exp(q, vocab, (double)q[m.best], sums);
    m.nll = q_sum - (double)q[target];
    if (p != NULL) {
        m.reference_best = block_best(p, vocab, {values, at});
        m.reference_bad = block_bad(p, vocab, at);
        double p_sum = block_log_sum_exp(p, vocab, (double)p[m.reference_best], sums);
        double kl = 0;
        for (int i = (int)threadIdx.x; i < vocab; i += BLOCK) {
            double log_p = (double)p[i] - p_sum, log_q = (double)q[i] - q_sum;
            kl += exp(log_p) * (log_p - log_q);
        }
        m.kl = block_sum(kl, sums);
        m.reference_nll = p_sum - (double)p[target];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = m;
}

static __global__ void argmax(int32_t *best, const float *x, int n)
{
    VLMP_SHARED(float, values, WARPS);
    VLMP_SHARED(int, at, WARPS);
    int found = block_best(x + (size_t)blockIdx.x * (size_t)n, n, {values, at});
    if (threadIdx.x == 0) best[blockIdx.x] = found;
}

void vlmp_cuda_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count)
{
    VLMP_LAUNCH(start_search, 1, 1, 0, vlmp_cuda_of(ctx)->stream, at.at, count);
    if (count > 0)
        VLMP_LAUNCH(first_not_finite<__half>, blocks_for(count), BLOCK, 0,
                    vlmp_cuda_of(ctx)->stream, at.at, (const __half *)x.at, count);
    vlmp_cuda_launched(ctx, "first_not_finite");
}

void vlmp_cuda_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count)
{
    VLMP_LAUNCH(start_search, 1, 1, 0, vlmp_cuda_of(ctx)->stream, at.at, count);
    if (count > 0)
        VLMP_LAUNCH(first_not_finite<float>, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream,
                    at.at, (const float *)x.at, count);
    vlmp_cuda_launched(ctx, "first_not_finite_f32");
}

void vlmp_cuda_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                            vlmp_act x, int rows, int dim, vlmp_i32 kinds)
{
    if (rows == 0 || dim == 0) return;
    VLMP_LAUNCH(column_sizes<__half>, (dim + BLOCK - 1) / BLOCK, BLOCK, 0,
                vlmp_cuda_of(ctx)->stream, sum.at, squares.at, largest.at, (const __half *)x.at,
                rows, dim, kinds.at);
    vlmp_cuda_launched(ctx, "column_sizes");
}

void vlmp_cuda_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                                vlmp_f32 x, int rows, int dim, vlmp_i32 kinds)
{
    if (rows == 0 || dim == 0) return;
    VLMP_LAUNCH(column_sizes<float>, (dim + BLOCK - 1) / BLOCK, BLOCK, 0, vlmp_cuda_of(ctx)->stream,
                sum.at, squares.at, largest.at, (const float *)x.at, rows, dim, kinds.at);
    vlmp_cuda_launched(ctx, "column_sizes_f32");
}

void vlmp_cuda_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                       size_t p_stride, int vocab, vlmp_i32 targets, int rows)
{
    if (rows == 0) return;
    VLMP_LAUNCH(measure, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, out.at, q.at, q_stride, p.at,
                p_stride, vocab, targets.at);
    vlmp_cuda_launched(ctx, "measure");
}

void vlmp_cuda_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n)
{
    if (rows == 0) return;
    VLMP_LAUNCH(argmax, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, best.at, x.at, n);
    vlmp_cuda_launched(ctx, "argmax");
}
