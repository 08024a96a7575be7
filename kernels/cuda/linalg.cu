/* Quantizers' operations on whole matrices: products, moments, their factor, what errors cost under
 * them. Own tiles, no library: an element's sum has one order, whatever the shape. */
#include "kernels/cuda/quant.cuh"

/* ---- General products: 64 × 64 results a block, 8 × 4 a thread, DEPTH terms between barriers ----
 */
enum { TILE = 64, DEPTH = 16, STRIDE = TILE + 4, DOWN = 8, ACROSS = 4 };
enum { FETCH = TILE * DEPTH / BLOCK }; /* elements of an operand that a thread brings */

struct operand {
    const float *at;
    int lines, depth, ld; /* rows of the result, or columns, and terms */
    bool along;           /* terms of a line lie beside each other */
};

static __device__ void fetch(float (&values)[FETCH], const operand &o, int line, int term)
{
    VLMP_UNROLL
    for (int i = 0; i < FETCH; i++) {
        int at = i * BLOCK + (int)threadIdx.x;
        int l = line + (o.along ? at / DEPTH : at % TILE);
        int t = term + (o.along ? at % DEPTH : at / TILE);
        size_t from =
            o.along ? (size_t)l * (size_t)o.ld + (size_t)t : (size_t)t * (size_t)o.ld + (size_t)l;
        values[i] = l < o.lines && t < o.depth ? o.at[from] : 0.0f;
    }
}

static __device__ void keep(float *room, const float (&values)[FETCH], bool along)
{
    VLMP_UNROLL
    for (int i = 0; i < FETCH; i++) {
        int at = i * BLOCK + (int)threadIdx.x;
        int l = along ? at / DEPTH : at % TILE, t = along ? at % DEPTH : at / TILE;
        room[t * STRIDE + l] = values[i];
    }
}

static __device__ void multiply(float (&sums)[DOWN][ACROSS], const float *left, const float *right)
{
    int row = (int)threadIdx.x / (TILE / ACROSS) * DOWN;
    int column = (int)threadIdx.x % (TILE / ACROSS) * ACROSS;
    for (int t = 0; t < DEPTH; t++) {
        float4 low = *(const float4 *)(left + t * STRIDE + row);
        float4 high = *(const float4 *)(left + t * STRIDE + row + 4);
        float4 b = *(const float4 *)(right + t * STRIDE + column);
        const float a[DOWN] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        VLMP_UNROLL
        for (int i = 0; i < DOWN; i++) {
            sums[i][0] = fmaf(a[i], b.x, sums[i][0]);
            sums[i][1] = fmaf(a[i], b.y, sums[i][1]);
            sums[i][2] = fmaf(a[i], b.z, sums[i][2]);
            sums[i][3] = fmaf(a[i], b.w, sums[i][3]);
        }
    }
}

/* c may be a, where it has at most TILE columns and a as many: a block reads its rows of a before
 * it writes them, and no other one reads them. */
static __global__ void products(operand a, operand b, float alpha, float beta, float *c, int ldc)
{
    VLMP_SHARED(float, left, DEPTH *STRIDE);
    VLMP_SHARED(float, right, DEPTH *STRIDE);
    int top = (int)blockIdx.y * TILE, first = (int)blockIdx.x * TILE;
    float sums[DOWN][ACROSS] = {}, lines[FETCH], columns[FETCH];
    fetch(lines, a, top, 0);
    fetch(columns, b, first, 0);
    for (int t = 0; t < a.depth; t += DEPTH) {
        keep(left, lines, a.along);
        keep(right, columns, b.along);
        __syncthreads();
        fetch(lines, a, top, t + DEPTH);
        fetch(columns, b, first, t + DEPTH);
        multiply(sums, left, right);
        __syncthreads();
    }
    top += (int)threadIdx.x / (TILE / ACROSS) * DOWN;
    first += (int)threadIdx.x % (TILE / ACROSS) * ACROSS;
    VLMP_UNROLL
    for (int i = 0; i < DOWN; i++)
        VLMP_UNROLL
    for (int j = 0; j < ACROSS; j++) {
        if (top + i >= a.lines || first + j >= b.lines) continue;
        float *out = c + (size_t)(top + i) * (size_t)ldc + (size_t)(first + j);
        *out = alpha * sums[i][j] + (beta == 0.0f ? 0.0f : beta * *out);
    }
}

void vlmp_cuda_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    operand left = {a, m, k, lda, !trans_a}, right = {b, n, k, ldb, trans_b};
    dim3 grid((unsigned)(n + TILE - 1) / TILE, (unsigned)(m + TILE - 1) / TILE);
    if (m == 0 || n == 0) return;
    VLMP_LAUNCH(products, grid, BLOCK, 0, vlmp_cuda_of(ctx)->stream, left, right, alpha, beta, c,
                ldc);
    vlmp_cuda_launched(ctx, "gemm");
}

/* ---- Moments ---- */

enum { SQUARE = 32 };

static __global__ void mirror(float *a, int k)
{
    VLMP_SHARED(float, square, SQUARE *(SQUARE + 1));
    int top = (int)blockIdx.y * SQUARE, first = (int)blockIdx.x * SQUARE;
    if (first > top) return;
    for (int at = (int)threadIdx.x; at < SQUARE * SQUARE; at += BLOCK) {
        int i = at / SQUARE, j = at % SQUARE;
        bool inside = top + i < k && first + j < k;
        square[j * (SQUARE + 1) + i] =
            inside ? a[(size_t)(top + i) * (size_t)k + (size_t)(first + j)] : 0.0f;
    }
    __syncthreads();
    for (int at = (int)threadIdx.x; at < SQUARE * SQUARE; at += BLOCK) {
        int row = first + at / SQUARE, column = top + at % SQUARE;
        if (column < k && row < column)
            a[(size_t)row * (size_t)k + (size_t)column] =
                square[at / SQUARE * (SQUARE + 1) + at % SQUARE];
    }
}

void vlmp_cuda_mirror(vlmp_ctx *ctx, float *a, int k)
{
    unsigned squares = (unsigned)(k + SQUARE - 1) / SQUARE;
    VLMP_LAUNCH(mirror, dim3(squares, squares), BLOCK, 0, vlmp_cuda_of(ctx)->stream, a, k);
    vlmp_cuda_launched(ctx, "mirror");
}

static __global__ void scale_both(float *a, int k, const float *s, bool divide)
{
    size_t width = (size_t)k;
    for (size_t at = first_of_grid(); at < width * width; at += threads_of_grid()) {
        float by = s[at / width] * s[at % width];
        a[at] = divide ? a[at] / by : a[at] * by;
    }
}

void vlmp_cuda_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide)
{
    VLMP_LAUNCH(scale_both, blocks_for((size_t)k * (size_t)k), BLOCK, 0, vlmp_cuda_of(ctx)->stream,
                a, k, s, divide);
    vlmp_cuda_launched(ctx, "scale_both");
}

static __global__ void diagonal(float *out, const float *a, int k)
{
    for (size_t i = first_of_grid(); i < (size_t)k; i += threads_of_grid())
        out[i] = a[i * (size_t)k + i];
}

void vlmp_cuda_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k)
{
    VLMP_LAUNCH(diagonal, blocks_for((size_t)k), BLOCK, 0, vlmp_cuda_of(ctx)->stream, out, a, k);
    vlmp_cuda_launched(ctx, "diagonal");
}

/* A row a block. */
static __global__ void arrange(float *out, const float *a, int k, const int *order, float ridge)
{
    int i = (int)blockIdx.x;
    const float *row = a + (size_t)order[i] * (size_t)k;
    for (int j = (int)threadIdx.x; j <= i; j += BLOCK)
        out[(size_t)i * (size_t)k + (size_t)j] = j == i ? row[order[j]] + ridge : row[order[j]];
}

void vlmp_cuda_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                       float ridge)
{
    VLMP_LAUNCH(arrange, k, BLOCK, 0, vlmp_cuda_of(ctx)->stream, out, a, k, order, ridge);
    vlmp_cuda_launched(ctx, "arrange");
}

/* ---- Rows of weights ---- */

static __global__ void permute(float *out, const float *x, int k, const int *order, bool back)
{
    size_t row = (size_t)blockIdx.x * (size_t)k;
    for (int i = (int)threadIdx.x; i < k; i += BLOCK) {
        int there = order[i];
        out[row + (size_t)(back ? there : i)] = x[row + (size_t)(back ? i : there)];
    }
}

void vlmp_cuda_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k, const int *order,
                       bool back)
{
    if (n == 0) return;
    VLMP_LAUNCH(permute, n, BLOCK, 0, vlmp_cuda_of(ctx)->stream, out, x, k, order, back);
    vlmp_cuda_launched(ctx, "permute");
}

/* A row a block. */
static __global__ void sample_rows(float *out, const float *x, int n, int k)
{
    size_t from = (size_t)blockIdx.x * (size_t)n / gridDim.x;
    for (int i = (int)threadIdx.x; i < k; i += BLOCK)
        out[(size_t)blockIdx.x * (size_t)k + (size_t)i] = x[from * (size_t)k + (size_t)i];
}

void vlmp_cuda_sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k)
{
    if (taken == 0) return;
    VLMP_LAUNCH(sample_rows, taken, BLOCK, 0, vlmp_cuda_of(ctx)->stream, out, x, n, k);
    vlmp_cuda_launched(ctx, "sample_rows");
}

static __global__ void add_multiple(float *y, float by, const float *x, size_t count)
{
    for (size_t i = first_of_grid(); i < count; i += threads_of_grid())
        y[i] += by * x[i];
}

void vlmp_cuda_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count)
{
    if (count == 0) return;
    VLMP_LAUNCH(add_multiple, blocks_for(count), BLOCK, 0, vlmp_cuda_of(ctx)->stream, y, by, x,
                count);
    vlmp_cuda_launched(ctx, "add_multiple");
}

/* part[row] = or += Σ e·(product + 2·cross) over `cols` columns of e and cross from `first` on; a
 * row a block. */
static __global__ void sum_rows(double *part, const float *e, const float *product,
                                const float *cross, int k, int first, int cols)
{
    VLMP_SHARED(double, room, WARPS);
    size_t row = blockIdx.x, at = row * (size_t)k + (size_t)first;
    double sum = 0;
    for (int i = (int)threadIdx.x; i < cols; i += BLOCK) {
        double with = product[row * (size_t)cols + (size_t)i];
        if (cross != NULL) with += 2.0 * (double)cross[at + (size_t)i];
        sum += (double)e[at + (size_t)i] * with;
    }
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) part[row] = first == 0 ? sum : part[row] + sum;
}

static __global__ void sum_parts(double *out, const double *part, int n)
{
    VLMP_SHARED(double, room, WARPS);
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += BLOCK)
        sum += part[i];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) *out = sum;
}

void vlmp_cuda_dot(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                   void *room)
{
    cudaStream_t stream = vlmp_cuda_of(ctx)->stream;
    double *part = (double *)room;
    if (n > 0) VLMP_LAUNCH(sum_rows, n, BLOCK, 0, stream, part, a, b, (const float *)NULL, k, 0, k);
    VLMP_LAUNCH(sum_parts, 1, BLOCK, 0, stream, out, part, n);
    vlmp_cuda_launched(ctx, "dot");
}

void vlmp_cuda_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                              const float *gram, const float *cross, void *room)
{
    cudaStream_t stream = vlmp_cuda_of(ctx)->stream;
    double *part = (double *)room;
    float *product = (float *)(part + n);
    for (int first = 0; first < k && n > 0; first += VLMP_SUM_COLUMNS) {
        int cols = k - first < VLMP_SUM_COLUMNS ? k - first : VLMP_SUM_COLUMNS;
        vlmp_cuda_gemm(ctx, false, false, n, cols, k, 1.0f, e, k, gram + first, k, 0.0f, product,
                       cols);
        VLMP_LAUNCH(sum_rows, n, BLOCK, 0, stream, part, e, (const float *)product, cross, k, first,
                    cols);
    }
    VLMP_LAUNCH(sum_parts, 1, BLOCK, 0, stream, out, part, n);
    vlmp_cuda_launched(ctx, "weighted_error");
}
