/* M·diag(pivot)·Mᵀ of second moments, and solving by it: blocks of NB columns over gemm, what lies
 * on the diagonal in one block of threads, in double.
 *
 * Not cuSOLVER: its factor is Cholesky's, whose square roots the pivots do without, its bits are
 * those of a release and a shape, and it and what it needs are a gigabyte. All but the diagonal,
 * 1/NB of the work, is gemm here too. */
#include "kernels/cuda/quant.cuh"

enum { NB = 64, THREADS = 256, ROWS = THREADS / 32 };

/* scaled [nb][j] = a's rows j … j + nb − 1, columns 0 … j − 1, times the pivots. */
static __global__ void scale_rows(float *scaled, const float *a, int k, int j, int nb,
                                  const float *pivot)
{
    size_t width = (size_t)j;
    for (size_t at = first_of_grid(); at < (size_t)nb * width; at += threads_of_grid())
        scaled[at] = a[((size_t)j + at / width) * (size_t)k + at % width] * pivot[at % width];
}

/* Columns of the diagonal's nb × nb block one after another. Below m's diagonal M comes out, and
 * above it M⁻¹ turned round. false: a pivot is too small. */
static __device__ bool factor_columns(double *m, int nb, float *pivot, float least)
{
    for (int j = 0; j < nb; j++) {
        double d = m[j * NB + j];
        if (!(d >= (double)least) || !isfinite(d)) return false;
        if (threadIdx.x == 0) pivot[j] = (float)d;
        for (int i = j + 1 + (int)threadIdx.x; i < nb; i += THREADS)
            m[i * NB + j] /= d;
        __syncthreads();
        int side = nb - j - 1;
        for (int at = (int)threadIdx.x; at < side * side; at += THREADS) {
            int i = j + 1 + at / side, l = j + 1 + at % side;
            if (l <= i) m[i * NB + l] -= m[i * NB + j] * d * m[l * NB + j];
        }
        __syncthreads();
    }
    return true;
}

/* The same of the block at the diagonal of a, leading dimension k; inverse [nb][nb] = M⁻ᵀ·
 * diag(1/pivot), upper triangular. *failed: an earlier block has. */
static __global__ void factor_block(float *a, int k, int nb, float *pivot, float least,
                                    float *inverse, int32_t *failed)
{
    VLMP_SHARED(double, m, NB *NB);
    if (*failed != 0) return;
    for (int at = (int)threadIdx.x; at < nb * nb; at += THREADS)
        if (at % nb <= at / nb)
            m[at / nb * NB + at % nb] = a[(size_t)(at / nb) * (size_t)k + (size_t)(at % nb)];
    __syncthreads();
    if (!factor_columns(m, nb, pivot, least)) {
        if (threadIdx.x == 0) *failed = 1;
        return;
    }
    for (int c = (int)threadIdx.x; c < nb; c += THREADS) /* column c of M⁻¹: m[c][i], i > c */
        for (int i = c + 1; i < nb; i++) {
            double sum = -m[i * NB + c];
            for (int l = c + 1; l < i; l++)
                sum -= m[i * NB + l] * m[c * NB + l];
            m[c * NB + i] = sum;
        }
    __syncthreads();
    for (int at = (int)threadIdx.x; at < nb * nb; at += THREADS) {
        int i = at / nb, l = at % nb;
        double by = m[l * NB + l], value = l == i ? 1.0 : l > i ? m[i * NB + l] : 0.0;
        inverse[at] = (float)(value / (double)(float)by);
        if (l < i) a[(size_t)i * (size_t)k + (size_t)l] = (float)m[i * NB + l];
    }
}

void vlmp_cuda_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                      int32_t *failed)
{
    cudaStream_t stream = vlmp_cuda_of(ctx)->stream;
    float *scaled = room, *inverse = room + (size_t)NB * (size_t)k;
    vlmp_cuda_ok(vlmp_cuda_of(ctx), cudaMemsetAsync(failed, 0, sizeof *failed, stream), "factor");
    for (int j = 0; j < k; j += NB) {
        int nb = k - j < NB ? k - j : NB, below = k - j - nb;
        float *block = a + (size_t)j * ((size_t)k + 1), *under = block + (size_t)nb * (size_t)k;
        if (j > 0) {
            VLMP_LAUNCH(scale_rows, blocks_for((size_t)nb * (size_t)j), BLOCK, 0, stream, scaled, a,
                        k, j, nb, pivot);
            vlmp_cuda_gemm(ctx, false, true, k - j, nb, j, -1.0f, a + (size_t)j * (size_t)k, k,
                           scaled, j, 1.0f, block, k);
        }
        VLMP_LAUNCH(factor_block, 1, THREADS, 0, stream, block, k, nb, pivot + j, least, inverse,
                    failed);
        vlmp_cuda_gemm(ctx, false, false, below, nb, nb, 1.0f, under, k, inverse, nb, 0.0f, under,
                       k);
    }
    vlmp_cuda_launched(ctx, "factor");
}

/* The triangle at columns first … first + cols − 1, after what lies beside it has been subtracted;
 * a row a warp. */
static __global__ void solve_block(const float *m, int k, float *x, int n, int first, int cols,
                                   bool forward)
{
    VLMP_SHARED(float, triangle, NB *(NB + 1));
    VLMP_SHARED(float, rows, ROWS *NB);
    int lane = (int)threadIdx.x % 32, row = (int)blockIdx.x * ROWS + (int)threadIdx.x / 32;
    float *own = rows + (int)threadIdx.x / 32 * NB;
    const float *block = m + (size_t)first * ((size_t)k + 1);
    for (int at = (int)threadIdx.x; at < cols * cols; at += THREADS)
        if (at % cols < at / cols)
            triangle[at / cols * (NB + 1) + at % cols] =
                block[(size_t)(at / cols) * (size_t)k + (size_t)(at % cols)];
    __syncthreads();
    if (row >= n) return;
    float *out = x + (size_t)row * (size_t)k + (size_t)first;
    for (int i = lane; i < cols; i += 32)
        own[i] = out[i];
    __syncwarp();
    for (int step = 0; step < cols; step++) {
        int i = forward ? step : cols - 1 - step;
        float value = own[i];
        for (int j = lane; j < cols; j += 32)
            if (forward ? j > i : j < i)
                own[j] -= value * triangle[forward ? j * (NB + 1) + i : i * (NB + 1) + j];
        __syncwarp();
    }
    for (int i = lane; i < cols; i += 32)
        out[i] = own[i];
}

static __global__ void divide_columns(float *x, const float *pivot, size_t count, int k)
{
    for (size_t at = first_of_grid(); at < count; at += threads_of_grid())
        x[at] /= pivot[at % (size_t)k];
}

static void solve_columns(vlmp_ctx *ctx, const float *m, int k, float *x, int n, int first,
                          bool forward)
{
    int cols = k - first < NB ? k - first : NB, end = first + cols;
    const float *rows = m + (size_t)first * (size_t)k;
    const float *after = m + (size_t)end * (size_t)k + (size_t)first;
    if (forward && first > 0)
        vlmp_cuda_gemm(ctx, false, true, n, cols, first, -1.0f, x, k, rows, k, 1.0f, x + first, k);
    if (!forward && end < k)
        vlmp_cuda_gemm(ctx, false, false, n, cols, k - end, -1.0f, x + end, k, after, k, 1.0f,
                       x + first, k);
    VLMP_LAUNCH(solve_block, (n + ROWS - 1) / ROWS, THREADS, 0, vlmp_cuda_of(ctx)->stream, m, k, x,
                n, first, cols, forward);
}

void vlmp_cuda_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n)
{
    size_t count = (size_t)n * (size_t)k;
    if (count == 0) return;
    for (int first = 0; first < k; first += NB)
        solve_columns(ctx, m, k, x, n, first, true);
    VLMP_LAUNCH(divide_columns, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, x, pivot,
                count, k);
    for (int first = (k - 1) / NB * NB; first >= 0; first -= NB)
        solve_columns(ctx, m, k, x, n, first, false);
    vlmp_cuda_launched(ctx, "solve");
}
