/* Norms, activations, rotary embedding. Norms and activations that go on to products with int8
 * activations leave their rows as int8 as well, with the bits that the product would make of them:
 * whether they do is guessed from the width, and who asks next finds out whose they are. */
#include "kernels/cuda/bytes.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

/* What is stored counts for the row's scale, not what it was before it was rounded. */
static __device__ float put(__half *y, size_t at, float value)
{
    y[at] = __float2half_rn(value);
    return size_of(y[at]);
}

static __device__ float put(float *y, size_t at, float value)
{
    y[at] = value;
    return 0;
}

/* The residual stream is no input of products. */
static __device__ void code_row(const byte_rows &, const float *, int, float, float *) {}

/* One block a row. */
static __global__ void rms_norm(__half *y, const float *x, int dim, const float *weight, float eps,
                                byte_rows coded)
{
    VLMP_SHARED(float, room, WARPS);
    const size_t first = (size_t)blockIdx.x * (size_t)dim;
    const float *row = x + first;
    float sum = 0, largest = 0;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        sum = fmaf(row[i], row[i], sum);
    float factor = 1 / sqrtf(block_sum(sum, room) / (float)dim + eps);
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        largest = fmaxf(largest, put(y, first + (size_t)i, row[i] * factor * weight[i]));
    if (coded.codes != NULL) code_row(coded, y + first, dim, largest, room);
}

/* y may be x: a thread writes what it alone has read. */
template <typename T>
static __global__ void layer_norm(T *y, const float *x, int dim, const float *weight,
                                  const float *bias, float eps, byte_rows coded)
{
    VLMP_SHARED(float, room, WARPS);
    const size_t first = (size_t)blockIdx.x * (size_t)dim;
    const float *row = x + first;
    float sum = 0, squares = 0, largest = 0;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        sum += row[i];
    float mean = block_sum(sum, room) / (float)dim;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        squares = fmaf(row[i] - mean, row[i] - mean, squares);
    float factor = 1 / sqrtf(block_sum(squares, room) / (float)dim + eps);
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        largest = fmaxf(largest,
                        put(y, first + (size_t)i, (row[i] - mean) * factor * weight[i] + bias[i]));
    if (coded.codes != NULL) code_row(coded, y + first, dim, largest, room);
}

static __device__ float act_of(float x, int act)
{
    switch (act) {
    case VLMP_GELU:
        return 0.5f * x * erfcf(-x * 0.70710678118654752440f);
    case VLMP_GELU_TANH:
        return x / (1 + expf(-1.59576912160573071f * (x + 0.044715f * x * x * x)));
    case VLMP_QUICK_GELU:
        return x / (1 + expf(-1.702f * x));
    case VLMP_SILU:
        return x / (1 + expf(-x));
    case VLMP_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

/* up NULL: 1. */
static __device__ float activated(const __half *x, const __half *up, size_t i, int act)
{
    float value = act_of(__half2float(x[i]), act);
    return up != NULL ? value * __half2float(up[i]) : value;
}

static __global__ void activate(__half *x, const __half *up, size_t count, int act)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        x[i] = __float2half_rn(activated(x, up, i, act));
}

/* One block a row of k. */
static __global__ void activate_rows(__half *x, const __half *up, int k, int act, byte_rows coded)
{
    VLMP_SHARED(float, room, WARPS);
    const size_t first = (size_t)blockIdx.x * (size_t)k;
    float largest = 0;
    for (size_t i = threadIdx.x; i < (size_t)k; i += BLOCK)
        largest = fmaxf(largest, put(x, first + i, activated(x, up, first + i, act)));
    code_row(coded, x + first, k, largest, room);
}

static __global__ void subtract(__half *y, const __half *a, const __half *b, size_t count, int dim,
                                const float *s)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        float scale = s != NULL ? s[i % (size_t)dim] : 1;
        y[i] = __float2half_rn(__half2float(a[i]) / scale - __half2float(b[i]));
    }
}

/* A thread turns pair j of a head of a row. */
static __global__ void rope(__half *x, vlmp_cuda_step step, size_t pairs, int heads, int head_dim,
                            const float *inv_freq, const int32_t *axes, float scaling)
{
    size_t half = (size_t)head_dim / 2;
    for (size_t i = first_of_grid(); i < pairs; i += threads_of_grid()) {
        size_t j = i % half, row = i / half / (size_t)heads;
        int axis = axes != NULL ? axes[j] : 0;
        float angle = (float)step.positions[axis][row] * inv_freq[j];
        float cosine = cosf(angle) * scaling, sine = sinf(angle) * scaling;
        __half *at = x + i / half * (size_t)head_dim + j;
        float a = __half2float(at[0]), b = __half2float(at[half]);
        at[0] = __float2half_rn(a * cosine - b * sine);
        at[half] = __float2half_rn(b * cosine + a * sine);
    }
}

/* Where rows so wide are to lie as int8 for a product that may follow; none, where it will not or
 * the scratch does not hold all. */
static byte_rows wanted_bytes(const vlmp_cuda *cuda, int rows, int k)
{
    bool is_wanted = false;
    for (int i = 0; i < VLMP_CUDA_WIDTHS; i++)
        is_wanted = is_wanted || cuda->int8_widths[i] == k;
    if (!is_wanted || vlmp_cuda_scratch_bytes((size_t)rows, (size_t)k) > cuda->scratch_bytes)
        return {};
    return byte_rows_of(cuda, rows, k);
}

static void leave_bytes(vlmp_cuda *cuda, const byte_rows &coded, vlmp_act y, int rows, int k)
{
    if (coded.codes != NULL) cuda->coded = vlmp_cuda_leave(cuda, y.at, rows, k);
}

void vlmp_cuda_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                        float eps)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    const byte_rows coded = wanted_bytes(cuda, rows, dim);
    if (rows == 0) return;
    VLMP_LAUNCH(rms_norm, rows, BLOCK, 0, cuda->stream, (__half *)y.at, x.at, dim, weight.at, eps,
                coded);
    vlmp_cuda_launched(ctx, "rms_norm");
    leave_bytes(cuda, coded, y, rows, dim);
}

void vlmp_cuda_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                          vlmp_f32 bias, float eps)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    const byte_rows coded = wanted_bytes(cuda, rows, dim);
    if (rows == 0) return;
    VLMP_LAUNCH(layer_norm<__half>, rows, BLOCK, 0, cuda->stream, (__half *)y.at, x.at, dim,
                weight.at, bias.at, eps, coded);
    vlmp_cuda_launched(ctx, "layer_norm");
    leave_bytes(cuda, coded, y, rows, dim);
}

void vlmp_cuda_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                              vlmp_f32 bias, float eps)
{
    const byte_rows none = {};
    if (rows == 0) return;
    VLMP_LAUNCH(layer_norm<float>, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, x.at, x.at, dim,
                weight.at, bias.at, eps, none);
    vlmp_cuda_launched(ctx, "layer_norm_f32");
}

/* The width of rows is known where a product has just made them. */
static void activate_all(vlmp_ctx *ctx, vlmp_act x, const __half *up, size_t count,
                         vlmp_activation act, const char *what)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    const vlmp_cuda_left made = cuda->made;
    byte_rows coded = {};
    if (count == 0) return;
    if (vlmp_cuda_is_left(cuda, &made, x.at) && count == (size_t)made.rows * (size_t)made.k)
        coded = wanted_bytes(cuda, made.rows, made.k);
    if (coded.codes != NULL)
        VLMP_LAUNCH(activate_rows, made.rows, BLOCK, 0, cuda->stream, (__half *)x.at, up, made.k,
                    (int)act, coded);
    else
        VLMP_LAUNCH(activate, blocks_for(count), BLOCK, 0, cuda->stream, (__half *)x.at, up, count,
                    (int)act);
    vlmp_cuda_launched(ctx, what);
    leave_bytes(cuda, coded, x, made.rows, made.k);
}

void vlmp_cuda_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act)
{
    activate_all(ctx, x, NULL, count, act, "activate");
}

void vlmp_cuda_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act)
{
    activate_all(ctx, gate, (const __half *)up.at, count, act, "gated");
}

void vlmp_cuda_subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                        vlmp_f32 s)
{
    size_t count = (size_t)rows * (size_t)dim;
    if (count == 0) return;
    VLMP_LAUNCH(subtract, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at,
                (const __half *)a.at, (const __half *)b.at, count, dim, s.at);
    vlmp_cuda_launched(ctx, "subtract");
}

void vlmp_cuda_rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                    vlmp_f32 inv_freq, vlmp_i32 axes, float scaling)
{
    size_t pairs = (size_t)step->rows * (size_t)heads * ((size_t)head_dim / 2);
    if (pairs == 0) return;
    VLMP_LAUNCH(rope, blocks_for(pairs), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)x.at,
                step->device, pairs, heads, head_dim, inv_freq.at, axes.at, scaling);
    vlmp_cuda_launched(ctx, "rope");
}
