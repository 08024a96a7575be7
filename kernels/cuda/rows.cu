/* Norms, activations, rotary embedding. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

static __device__ void put(__half *y, size_t at, float value)
{
    y[at] = __float2half_rn(value);
}

static __device__ void put(float *y, size_t at, float value)
{
    y[at] = value;
}

/* One block a row. */
static __global__ void rms_norm(__half *y, const float *x, int dim, const float *weight, float eps)
{
    VLMP_SHARED(float, room, WARPS);
    const float *row = x + (size_t)blockIdx.x * (size_t)dim;
    float sum = 0;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        sum = fmaf(row[i], row[i], sum);
    float factor = 1 / sqrtf(block_sum(sum, room) / (float)dim + eps);
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        put(y, (size_t)blockIdx.x * (size_t)dim + (size_t)i, row[i] * factor * weight[i]);
}

/* y may be x: a thread writes what it alone has read. */
template <typename T>
static __global__ void layer_norm(T *y, const float *x, int dim, const float *weight,
                                  const float *bias, float eps)
{
    VLMP_SHARED(float, room, WARPS);
    const float *row = x + (size_t)blockIdx.x * (size_t)dim;
    float sum = 0, squares = 0;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        sum += row[i];
    float mean = block_sum(sum, room) / (float)dim;
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        squares = fmaf(row[i] - mean, row[i] - mean, squares);
    float factor = 1 / sqrtf(block_sum(squares, room) / (float)dim + eps);
    for (int i = (int)threadIdx.x; i < dim; i += BLOCK)
        put(y, (size_t)blockIdx.x * (size_t)dim + (size_t)i,
            (row[i] - mean) * factor * weight[i] + bias[i]);
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
static __global__ void activate(__half *x, const __half *up, size_t count, int act)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        float value = act_of(__half2float(x[i]), act);
        x[i] = __float2half_rn(up != NULL ? value * __half2float(up[i]) : value);
    }
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

void vlmp_cuda_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                        float eps)
{
    if (rows == 0) return;
    VLMP_LAUNCH(rms_norm, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at, x.at, dim,
                weight.at, eps);
    vlmp_cuda_launched(ctx, "rms_norm");
}

void vlmp_cuda_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                          vlmp_f32 bias, float eps)
{
    if (rows == 0) return;
    VLMP_LAUNCH(layer_norm<__half>, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at, x.at,
                dim, weight.at, bias.at, eps);
    vlmp_cuda_launched(ctx, "layer_norm");
}

void vlmp_cuda_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                              vlmp_f32 bias, float eps)
{
    if (rows == 0) return;
    VLMP_LAUNCH(layer_norm<float>, rows, BLOCK, 0, vlmp_cuda_of(ctx)->stream, x.at, x.at, dim,
                weight.at, bias.at, eps);
    vlmp_cuda_launched(ctx, "layer_norm_f32");
}

void vlmp_cuda_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act)
{
    const __half *none = NULL;
    if (count == 0) return;
    VLMP_LAUNCH(activate, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)x.at,
                none, count, (int)act);
    vlmp_cuda_launched(ctx, "activate");
}

void vlmp_cuda_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act)
{
    if (count == 0) return;
    VLMP_LAUNCH(activate, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)gate.at,
                (const __half *)up.at, count, (int)act);
    vlmp_cuda_launched(ctx, "gated");
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
