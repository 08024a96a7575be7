/* Products with weights: y = x·Wᵀ + bias, inputs F16, or int8 codes with a scale a row. Rows of
 * decoding: a warp an output. Rows of prompts: tiles, on tensor cores (tiles.cu) where weights lose
 * little as F16, here for F32 weights and for int8 inputs. In all of them a row's sums are its own,
 * in an order that the number of rows does not change. */
#include "kernels/cuda/bytes.cuh"
#include "kernels/cuda/products.cuh"

/* A warp computes an output for FEW rows: a lane takes 8 inputs of each 256. */
enum { FEW = 4 };

static __global__ void few_rows(product p)
{
    int n = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    int row = (int)blockIdx.y * FEW;
    if (n >= p.w.n) return;
    float sums[FEW] = {0, 0, 0, 0};
    for (int first = lane * OCTET; first < p.w.k; first += 32 * OCTET) {
        float weights[OCTET], inputs[OCTET];
        load_weights(p.w, n, first, weights);
        for (int r = 0; r < FEW; r++) {
            load_inputs(p, row + r, first, inputs);
            for (int i = 0; i < OCTET; i++)
                sums[r] = fmaf(inputs[i], weights[i], sums[r]);
        }
    }
    for (int r = 0; r < FEW; r++) {
        float sum = warp_sum(sums[r]);
        if (lane == 0 && row + r < p.rows) store(p, row + r, n, sum);
    }
}

/* A lane's sums of a group are exact; what of a group lies in other lanes is added as F32. */
static __global__ void few_rows_int8(product p)
{
    int n = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    int row = (int)blockIdx.y * FEW, group = lane * OCTET / p.w.group;
    if (n >= p.w.n) return;
    float sums[FEW] = {0, 0, 0, 0};
    int exact[FEW] = {0, 0, 0, 0};
    for (int first = lane * OCTET; first < p.w.k; first += 32 * OCTET) {
        int weights[OCTET], inputs[FEW][OCTET];
        load_weights(p.w, n, first, weights);
        for (int r = 0; r < FEW; r++)
            load_inputs(p, row + r, first, inputs[r]);
        for (int i = 0; i < OCTET && first + i < p.w.k; i++) {
            int now = (first + i) / p.w.group;
            float scale = now != group ? scale_of(p.w, n, group) : 0;
            for (int r = 0; r < FEW; r++) {
                if (now != group) sums[r] = fmaf((float)exact[r], scale, sums[r]), exact[r] = 0;
                exact[r] += inputs[r][i] * weights[i];
            }
            group = now;
        }
    }
    float scale = lane * OCTET < p.w.k ? scale_of(p.w, n, group) : 0;
    for (int r = 0; r < FEW; r++) {
        float sum = warp_sum(fmaf((float)exact[r], scale, sums[r]));
        if (lane == 0 && row + r < p.rows) store(p, row + r, n, sum * p.scales[row + r]);
    }
}

/* TILE_ROWS rows × TILE_OUTPUTS outputs a block, EACH × EACH a thread, DEPTH inputs at a time. */
enum { TILE_ROWS = 32, TILE_OUTPUTS = 64, DEPTH = 32, EACH = 4, ACROSS = TILE_OUTPUTS / EACH };

/* Brings the next inputs and weights into shared memory, transposed; T: what products are exact
 * in. */
template <typename T>
static __device__ void load_tile(const product &p, T (*inputs)[TILE_ROWS + 1],
                                 T (*weights)[TILE_OUTPUTS + 1], int first)
{
    T values[OCTET];
    int thread = (int)threadIdx.x, column = thread % (DEPTH / OCTET) * OCTET;
    int row = thread / (DEPTH / OCTET);
    load_inputs(p, (int)blockIdx.y * TILE_ROWS + row, first + column, values);
    for (int i = 0; i < OCTET; i++)
        inputs[column + i][row] = values[i];
    for (int output = row; output < TILE_OUTPUTS; output += BLOCK / (DEPTH / OCTET)) {
        int n = (int)blockIdx.x * TILE_OUTPUTS + output;
        for (int i = 0; i < OCTET; i++)
            values[i] = 0;
        if (n < p.w.n && first + column < p.w.k) load_weights(p.w, n, first + column, values);
        for (int i = 0; i < OCTET; i++)
            weights[column + i][output] = values[i];
    }
}

static __device__ void store_tile(const product &p, const float sums[EACH][EACH], bool scaled)
{
    int row = (int)blockIdx.y * TILE_ROWS + (int)threadIdx.x / ACROSS * EACH;
    int n = (int)blockIdx.x * TILE_OUTPUTS + (int)threadIdx.x % ACROSS;
    for (int i = 0; i < EACH && row + i < p.rows; i++)
        for (int j = 0; j < EACH; j++)
            if (n + j * ACROSS < p.w.n)
                store(p, row + i, n + j * ACROSS,
                      scaled ? sums[i][j] * p.scales[row + i] : sums[i][j]);
}

/* Whether any of a thread's sums is wanted. */
static __device__ bool is_busy(const product &p, int row, int n)
{
    return (int)blockIdx.y * TILE_ROWS + row < p.rows && (int)blockIdx.x * TILE_OUTPUTS + n < p.w.n;
}

static __global__ void many_rows(product p)
{
    VLMP_SHARED(float, input_room, DEPTH *(TILE_ROWS + 1));
    VLMP_SHARED(float, weight_room, DEPTH *(TILE_OUTPUTS + 1));
    float(*inputs)[TILE_ROWS + 1] = (float(*)[TILE_ROWS + 1]) input_room;
    float(*weights)[TILE_OUTPUTS + 1] = (float(*)[TILE_OUTPUTS + 1]) weight_room;
    int row = (int)threadIdx.x / ACROSS * EACH, n = (int)threadIdx.x % ACROSS;
    bool busy = is_busy(p, row, n);
    float sums[EACH][EACH] = {};
    for (int first = 0; first < p.w.k; first += DEPTH) {
        load_tile(p, inputs, weights, first);
        __syncthreads();
        for (int k = 0; k < DEPTH && busy; k++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sums[i][j] = fmaf(inputs[k][row + i], weights[k][n + j * ACROSS], sums[i][j]);
        __syncthreads();
    }
    store_tile(p, sums, false);
}

/* Adds the exact sums of a group at its scales. */
static __device__ void join(const product &p, float sums[EACH][EACH], int exact[EACH][EACH],
                            int group)
{
    int n = (int)blockIdx.x * TILE_OUTPUTS + (int)threadIdx.x % ACROSS;
    for (int j = 0; j < EACH && n + j * ACROSS < p.w.n; j++) {
        float scale = scale_of(p.w, n + j * ACROSS, group);
        for (int i = 0; i < EACH; i++) {
            sums[i][j] = fmaf((float)exact[i][j], scale, sums[i][j]);
            exact[i][j] = 0;
        }
    }
}

static __global__ void many_rows_int8(product p)
{
    VLMP_SHARED(int, input_room, DEPTH *(TILE_ROWS + 1));
    VLMP_SHARED(int, weight_room, DEPTH *(TILE_OUTPUTS + 1));
    int(*inputs)[TILE_ROWS + 1] = (int(*)[TILE_ROWS + 1]) input_room;
    int(*weights)[TILE_OUTPUTS + 1] = (int(*)[TILE_OUTPUTS + 1]) weight_room;
    int row = (int)threadIdx.x / ACROSS * EACH, n = (int)threadIdx.x % ACROSS, group = 0;
    bool busy = is_busy(p, row, n);
    float sums[EACH][EACH] = {};
    int exact[EACH][EACH] = {};
    for (int first = 0; first < p.w.k; first += DEPTH) {
        load_tile(p, inputs, weights, first);
        __syncthreads();
        for (int k = 0; k < DEPTH && first + k < p.w.k && busy; k++) {
            if ((first + k) / p.w.group != group) join(p, sums, exact, group++);
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    exact[i][j] += inputs[k][row + i] * weights[k][n + j * ACROSS];
        }
        __syncthreads();
    }
    join(p, sums, exact, group);
    store_tile(p, sums, true);
}

/* One block a row. */
static __global__ void quantize_rows(byte_rows to, const __half *x, int k)
{
    VLMP_SHARED(float, room, WARPS);
    const __half *row = x + (size_t)blockIdx.x * (size_t)k;
    float largest = 0;
    for (int i = (int)threadIdx.x; i < k; i += BLOCK)
        largest = fmaxf(largest, size_of(row[i]));
    code_row(to, row, k, largest, room);
}

/* A thread brings 8 values of a row. */
static __global__ void embed(float *y, vlmp_cuda_step step, vlmp_cuda_weight table, size_t octets)
{
    size_t across = ((size_t)table.k + OCTET - 1) / OCTET;
    for (size_t at = first_of_grid(); at < octets; at += threads_of_grid()) {
        float values[OCTET];
        size_t row = at / across;
        int first = (int)(at % across) * OCTET;
        load_weights(table, step.ids[row], first, values);
        for (int i = 0; i < OCTET && first + i < table.k; i++)
            y[row * (size_t)table.k + (size_t)(first + i)] = values[i];
    }
}

static void launch(vlmp_cuda *cuda, const product &p, bool decode)
{
    dim3 few((unsigned)((p.w.n + WARPS - 1) / WARPS), (unsigned)((p.rows + FEW - 1) / FEW));
    dim3 many((unsigned)((p.w.n + TILE_OUTPUTS - 1) / TILE_OUTPUTS),
              (unsigned)((p.rows + TILE_ROWS - 1) / TILE_ROWS));
    if (p.w.int8 ? (decode ? vlmp_cuda_few8 : vlmp_cuda_tiles8)(cuda, &p)
                 : decode && vlmp_cuda_few(cuda, &p))
        return;
    if (decode && p.w.int8)
        VLMP_LAUNCH(few_rows_int8, few, BLOCK, 0, cuda->stream, p);
    else if (decode)
        VLMP_LAUNCH(few_rows, few, BLOCK, 0, cuda->stream, p);
    else if (p.w.int8)
        VLMP_LAUNCH(many_rows_int8, many, BLOCK, 0, cuda->stream, p);
    else if (p.w.bits == 0 && p.w.dtype == VLMP_F32)
        VLMP_LAUNCH(many_rows, many, BLOCK, 0, cuda->stream, p);
    else if (!vlmp_cuda_tiles16(cuda, &p))
        vlmp_cuda_tiles(cuda, &p);
}

/* The products that quantize their inputs, as many rows at a time as the scratch holds; what the
 * operation before has left there is not quantized again. */
static void launch_int8(vlmp_cuda *cuda, product *products, int count, vlmp_rows rows)
{
    size_t k = (size_t)products[0].w.k;
    int most = (int)(cuda->scratch_bytes / vlmp_cuda_scratch_bytes(1, k));
    bool left = vlmp_cuda_is_left(cuda, &cuda->coded, products[0].x) &&
                cuda->coded.rows == rows.count && cuda->coded.k == (int)k;
    for (int first = 0; first < rows.count; first += most) {
        int now = rows.count - first < most ? rows.count - first : most;
        byte_rows coded = byte_rows_of(cuda, now, (int)k);
        if (!left)
            VLMP_LAUNCH(quantize_rows, now, BLOCK, 0, cuda->stream, coded,
                        products[0].x + (size_t)first * k, (int)k);
        for (int i = 0; i < count; i++) {
            product p = products[i];
            size_t size = p.to == ACTIVATIONS ? sizeof(__half) : sizeof(float);
            if (!p.w.int8) continue;
            p.y = (unsigned char *)p.y + (size_t)first * (size_t)p.w.n * size;
            p.codes = coded.codes, p.scales = coded.scales, p.code_stride = coded.stride;
            p.rows = now;
            launch(cuda, p, rows.decode);
        }
    }
}

enum { MOST_SHARED = 16 };

static void multiply(vlmp_ctx *ctx, product *products, int count, vlmp_rows rows)
{
    bool any = false;
    for (int i = 0; i < count && rows.count > 0; i++) {
        any = any || products[i].w.int8;
        if (!products[i].w.int8) launch(vlmp_cuda_of(ctx), products[i], rows.decode);
    }
    if (any) launch_int8(vlmp_cuda_of(ctx), products, count, rows);
    vlmp_cuda_launched(ctx, "linear");
}

static product product_of(void *y, output to, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    product p = {};
    p.w = *vlmp_cuda_weight_of(w);
    p.x = (const __half *)x.at;
    p.y = y;
    p.to = to;
    p.rows = rows.count;
    return p;
}

void vlmp_cuda_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w)
{
    vlmp_cuda_linear_shared(ctx, &y, x, rows, &w, 1);
}

void vlmp_cuda_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                             const vlmp_linear *const *w, int count)
{
    product products[MOST_SHARED];
    while (count > 0) {
        int now = count < MOST_SHARED ? count : MOST_SHARED;
        for (int i = 0; i < now; i++)
            products[i] = product_of(y[i].at, ACTIVATIONS, x, rows, w[i]);
        multiply(ctx, products, now, rows);
        vlmp_cuda *cuda = vlmp_cuda_of(ctx);
        cuda->made = vlmp_cuda_leave(cuda, y->at, rows.count, w[0]->n);
        y += now, w += now, count -= now;
    }
}

void vlmp_cuda_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                          const vlmp_linear *w, bool add)
{
    product p = product_of(y.at, add ? ADDED : REPLACED, x, rows, w);
    multiply(ctx, &p, 1, rows);
}

void vlmp_cuda_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table)
{
    size_t octets = (size_t)step->rows * (((size_t)table->k + OCTET - 1) / OCTET);
    if (octets == 0) return;
    VLMP_LAUNCH(embed, blocks_for(octets), BLOCK, 0, vlmp_cuda_of(ctx)->stream, y.at, step->device,
                *vlmp_cuda_weight_of(table), octets);
    vlmp_cuda_launched(ctx, "embed");
}
