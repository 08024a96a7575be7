/* Rows moved: each copies, multiplies or adds once. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

/* A thread writes value i of the rows of patches. */
static __global__ void patchify(__half *y, const uint8_t *pixels, size_t count, int width,
                                int patch, const float *levels)
{
    size_t size = (size_t)patch, across = (size_t)width / size;
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        size_t column = i % size, line = i / size % size, channel = i / (size * size) % 3;
        size_t row = i / (3 * size * size);
        size_t pixel = (row / across * size + line) * (size_t)width + row % across * size + column;
        y[i] = __float2half_rn(levels[channel * 256 + pixels[pixel * 3 + channel]]);
    }
}

static __global__ void columns(__half *y, const __half *x, size_t count, int x_dim, int column,
                               int dim)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        y[i] = x[i / (size_t)dim * (size_t)x_dim + (size_t)column + i % (size_t)dim];
}

static __global__ void repeat(float *y, const float *table, size_t count, size_t values)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        y[i] = table[i % values];
}

static __global__ void gather(__half *y, int y_dim, int column, const float *x, int x_dim,
                              const int32_t *from, size_t count)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        size_t row = i / (size_t)x_dim, j = i % (size_t)x_dim;
        y[row * (size_t)y_dim + (size_t)column + j] =
            __float2half_rn(x[(size_t)from[row] * (size_t)x_dim + j]);
    }
}

static __global__ void scatter(float *y, const int32_t *to, const __half *x, const int32_t *from,
                               const float *w, size_t count, int dim, bool add)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid()) {
        size_t row = i / (size_t)dim, j = i % (size_t)dim;
        float value = __half2float(x[(size_t)from[row] * (size_t)dim + j]);
        float *out = &y[(size_t)to[row] * (size_t)dim + j];
        if (w != NULL) value *= w[row];
        *out = add ? *out + value : value;
    }
}

static __global__ void nothing(int) {}

cudaError_t vlmp_cuda_probe(cudaStream_t stream)
{
    VLMP_LAUNCH(nothing, 1, 1, 0, stream, 0);
    return cudaGetLastError();
}

void vlmp_cuda_patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                        vlmp_f32 levels)
{
    size_t rows = (size_t)(height / patch) * (size_t)(width / patch);
    size_t count = rows * 3 * (size_t)patch * (size_t)patch;
    if (count == 0) return;
    VLMP_LAUNCH(patchify, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at,
                pixels.at, count, width, patch, levels.at);
    vlmp_cuda_launched(ctx, "patchify");
}

void vlmp_cuda_columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column,
                       int dim)
{
    size_t count = (size_t)rows * (size_t)dim;
    if (count == 0) return;
    VLMP_LAUNCH(columns, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at,
                (const __half *)x.at, count, x_dim, column, dim);
    vlmp_cuda_launched(ctx, "columns");
}

void vlmp_cuda_repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim)
{
    size_t count = (size_t)rows * (size_t)dim, values = (size_t)period * (size_t)dim;
    if (count == 0) return;
    VLMP_LAUNCH(repeat, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, y.at, table.at,
                count, values);
    vlmp_cuda_launched(ctx, "repeat");
}

void vlmp_cuda_gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                      vlmp_i32 from, int rows)
{
    size_t count = (size_t)rows * (size_t)x_dim;
    if (count == 0) return;
    VLMP_LAUNCH(gather, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, (__half *)y.at,
                y_dim, column, x.at, x_dim, from.at, count);
    vlmp_cuda_launched(ctx, "gather");
}

void vlmp_cuda_scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from,
                       vlmp_f32 w, int rows, int dim, bool add)
{
    size_t count = (size_t)rows * (size_t)dim;
    if (count == 0) return;
    VLMP_LAUNCH(scatter, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, y.at, to.at,
                (const __half *)x.at, from.at, w.at, count, dim, add);
    vlmp_cuda_launched(ctx, "scatter");
}
