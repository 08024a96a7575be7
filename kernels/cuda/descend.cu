/* Quantizers' operations that polish: coordinate descent on slopes, scales of whole rows. A row is
 * a warp's; lanes share what a move does to the columns. */
#include "kernels/cuda/quant.cuh"

/* A row's columns of the block, in shared memory. */
struct row_block {
    float error[VLMP_BLOCK], slope[VLMP_BLOCK];
    float codes[VLMP_BLOCK]; /* or the floats that they stand for */
    float direction[VLMP_BLOCK], hd[VLMP_BLOCK];
};

/* What one group's moves need: the first column in the block, the columns, gram's square of them
 * with its leading dimension. */
struct group_of_row {
    int from, cols;
    const float *h;
    int ld;
    float ridge, scale, zero;
    double gain;
};

/* The decrease of error·H·errorᵀ for a step of `amount` along a direction with these products. */
static __device__ float decrease(float amount, float linear, float square)
{
    return -amount * (2.0f * linear + amount * square);
}

/* to[i] += Σ by[c]·h[c][i] over the group's columns in order, for `count` values from `at` on. */
static __device__ void spread(float *to, const float *by, const group_of_row &g, int at, int count)
{
    for (int i = (int)threadIdx.x % 32; i < count; i += 32) {
        float sum = to[at + i];
        for (int c = 0; c < g.cols; c++)
            sum += by[c] * g.h[(int64_t)c * g.ld + at - g.from + i];
        to[at + i] = sum;
    }
}

/* Codes, column after column; whether one has moved. */
static __device__ bool move_codes(row_block &b, const vlmp_grid &grid, group_of_row &g)
{
    float inverse = 1.0f / g.scale, total = 0;
    bool moved = false;
    for (int c = 0; c < g.cols; c++) {
        const float *row = g.h + (int64_t)c * g.ld;
        float curvature = row[c] + g.ridge, slope = b.slope[g.from + c], code = b.codes[g.from + c];
        if (!(curvature > 0.0f)) continue;
        /* the error's best change is −slope/curvature; the weight moves the other way */
        float wish = code + slope * (1.0f / curvature) * inverse;
        float next = nearest(grid, wish, grid.low, grid.high);
        float delta = (code - next) * g.scale;
        float fall = -delta * (2.0f * slope + delta * curvature);
        if (!(fall > 0.0f)) continue;
        moved = true;
        total += fall;
        __syncwarp();
        for (int i = (int)threadIdx.x % 32; i < g.cols; i += 32) {
            float value = b.slope[g.from + i] + delta * row[i];
            if (i == c) {
                value += delta * g.ridge;
                b.error[g.from + i] += delta;
                b.codes[g.from + i] = next;
            }
            b.slope[g.from + i] = value;
        }
        __syncwarp();
    }
    g.gain += (double)total;
    return moved;
}

/* sums [cols]: column sums of the group's square. */
static __device__ bool move_zero(row_block &b, const vlmp_grid &grid, group_of_row &g,
                                 const float *sums)
{
    float linear = 0, square = g.ridge * (float)g.cols;
    for (int c = 0; c < g.cols; c++) {
        linear += b.slope[g.from + c];
        square += sums[c];
    }
    if (!(square > 0.0f)) return false;
    /* a zero higher by one lowers ŵ by the scale: the error rises by it */
    float wish = g.zero - linear / (square * g.scale);
    float next = vlmp_round_even(clamp(wish, grid.low, grid.high));
    float change = (next - g.zero) * g.scale, fall = decrease(change, linear, square);
    if (!(fall > 0.0f)) return false;
    g.zero = next;
    g.gain += (double)fall;
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < g.cols; i += 32) {
        b.error[g.from + i] += change;
        b.slope[g.from + i] += change * (sums[i] + g.ridge);
    }
    __syncwarp();
    return true;
}

static __device__ bool move_scale(row_block &b, const vlmp_grid &grid, group_of_row &g)
{
    float linear = 0, square = 0;
    __syncwarp(); /* the last group's are no longer read */
    for (int i = (int)threadIdx.x % 32; i < g.cols; i += 32) {
        b.direction[i] = b.codes[g.from + i] - g.zero;
        b.hd[i] = b.direction[i] * g.ridge;
    }
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < g.cols; i += 32) {
        float sum = b.hd[i];
        for (int c = 0; c < g.cols; c++)
            sum += b.direction[c] * g.h[(int64_t)c * g.ld + i];
        b.hd[i] = sum;
    }
    __syncwarp();
    for (int c = 0; c < g.cols; c++) {
        linear += b.direction[c] * b.slope[g.from + c];
        square += b.direction[c] * b.hd[c];
    }
    if (!(square > 0.0f)) return false;
    /* ŵ = scale·direction, so the error moves by −(change of the scale) */
    float next = vlmp_grid_scale(&grid, g.scale + linear / square);
    float change = g.scale - next, fall = decrease(change, linear, square);
    if (!(fall > 0.0f) || !isfinite(next)) return false;
    g.scale = next;
    g.gain += (double)fall;
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < g.cols; i += 32) {
        b.error[g.from + i] += change * b.direction[i];
        b.slope[g.from + i] += change * b.hd[i];
    }
    __syncwarp();
    return true;
}

/* One group: codes, then zero and scale, then what that does to the block's other columns. */
static __device__ void descend_group(row_block &b, const vlmp_grid &grid,
                                     const vlmp_descend_job &job, group_of_row &g,
                                     const float *sums)
{
    float before[VLMP_BLOCK / 32];
    int lane = (int)threadIdx.x % 32;
    VLMP_UNROLL
    for (int i = 0; i < VLMP_BLOCK / 32; i++)
        before[i] = lane + 32 * i < g.cols ? b.error[g.from + lane + 32 * i] : 0.0f;
    bool moved = job.codes && move_codes(b, grid, g);
    if (job.scales && !grid.symmetric) moved |= move_zero(b, grid, g, sums + g.from);
    if (job.scales) moved |= move_scale(b, grid, g);
    if (!moved) return;
    __syncwarp();
    VLMP_UNROLL
    for (int i = 0; i < VLMP_BLOCK / 32; i++)
        if (lane + 32 * i < g.cols)
            b.direction[lane + 32 * i] = b.error[g.from + lane + 32 * i] - before[i];
    __syncwarp();
    int after = g.from + g.cols;
    spread(b.slope, b.direction, g, after, job.cols - after);
    spread(b.slope, b.direction, g, 0, g.from);
    __syncwarp();
}

/* Column sums of each group's square of gram, in shared memory; all threads of the block. */
static __device__ void sum_columns(float *sums, const vlmp_descend_job &job, int k, int group)
{
    for (int i = (int)threadIdx.x; i < job.cols; i += BLOCK) {
        const float *h = job.gram + (size_t)(job.first + i / group * group) * (size_t)k;
        float sum = 0;
        for (int c = 0; c < group; c++)
            sum += h[(size_t)c * (size_t)k + (size_t)(job.first + i)];
        sums[i] = sum;
    }
    __syncthreads();
}

static __global__ void descend(vlmp_coded q, vlmp_grid grid, vlmp_descend_job job)
{
    VLMP_SHARED(row_block, rows, WARPS);
    VLMP_SHARED(float, sums, VLMP_BLOCK);
    row_block &b = rows[threadIdx.x / 32];
    int lane = (int)threadIdx.x % 32, cols = job.cols, group = q.group < cols ? q.group : cols;
    if (job.scales && !grid.symmetric) sum_columns(sums, job, q.k, group);
    if (row_of_warp() >= q.n) return;
    size_t row = (size_t)row_of_warp(), at = row * (size_t)q.k + (size_t)job.first;
    group_of_row g = {0, group, NULL, q.k, job.ridge, 0, 0, 0};
    for (int i = lane; i < cols; i += 32) {
        b.error[i] = job.error[at + (size_t)i];
        b.slope[i] = job.slope[row * VLMP_BLOCK + (size_t)i] + job.ridge * b.error[i];
        b.codes[i] = vlmp_grid_level(&grid, q.codes[at + (size_t)i], 0);
    }
    __syncwarp();
    for (g.from = 0; g.from < cols; g.from += group) {
        size_t index = group_at(q, row, job.first + g.from);
        g.h = job.gram + (size_t)(job.first + g.from) * ((size_t)q.k + 1);
        g.scale = q.scales[index], g.zero = (float)q.zeros[index];
        descend_group(b, grid, job, g, sums);
        if (job.scales && lane == 0)
            q.scales[index] = g.scale, q.zeros[index] = (uint8_t)(int)g.zero;
    }
    for (int i = lane; i < cols; i += 32) {
        job.error[at + (size_t)i] = b.error[i];
        job.slope[row * VLMP_BLOCK + (size_t)i] = b.slope[i];
        if (job.codes) q.codes[at + (size_t)i] = vlmp_grid_code(&grid, b.codes[i], 0);
    }
    if (lane == 0) job.gain[row] += g.gain;
}

void vlmp_cuda_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                             const vlmp_descend_job *job)
{
    VLMP_LAUNCH(descend, blocks_of_rows(q->n), BLOCK, 0, vlmp_cuda_of(ctx)->stream, *q, *grid,
                *job);
    vlmp_cuda_launched(ctx, "descend");
}

/* A row a thread: in double, one column after another. */
static __global__ void channel_sums(vlmp_coded q, vlmp_channel_sums_job job)
{
    size_t row = first_of_grid(), at = row * (size_t)q.k + (size_t)job.first;
    if (row >= (size_t)q.n) return;
    double linear = job.first == 0 ? 0.0 : job.linear[row];
    double square = job.first == 0 ? 0.0 : job.square[row];
    for (size_t i = 0; i < (size_t)job.cols; i++) {
        double level = (double)job.levels[at + i];
        double curve = (double)job.curve[row * VLMP_BLOCK + i] + (double)job.ridge * level;
        linear += curve * (double)job.error[at + i];
        square += curve * level;
    }
    job.linear[row] = linear;
    job.square[row] = square;
}

void vlmp_cuda_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                  const vlmp_channel_sums_job *job)
{
    VLMP_LAUNCH(channel_sums, (q->n + BLOCK - 1) / BLOCK, BLOCK, 0, vlmp_cuda_of(ctx)->stream, *q,
                *job);
    vlmp_cuda_launched(ctx, "channel_sums");
}

static __global__ void channel_move(vlmp_coded q, vlmp_grid grid, const float *levels,
                                    const double *linear, const double *square, float *error,
                                    double *gain)
{
    if (row_of_warp() >= q.n) return;
    size_t row = (size_t)row_of_warp();
    double along = linear[row], curve = square[row], scale = (double)q.scales[row];
    if (!(curve > 0.0)) return;
    float next = vlmp_grid_scale(&grid, (float)(scale + along / curve));
    double change = scale - (double)next, fall = -change * (2.0 * along + change * curve);
    if (!(fall > 0.0) || !(next <= VLMP_SCALE_MAX)) return;
    __syncwarp();
    if (threadIdx.x % 32 == 0) q.scales[row] = next, gain[row] += fall;
    for (size_t i = threadIdx.x % 32; i < (size_t)q.k; i += 32)
        error[row * (size_t)q.k + i] += (float)change * levels[row * (size_t)q.k + i];
}

void vlmp_cuda_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                  const float *levels, const double *linear, const double *square,
                                  float *error, double *gain)
{
    VLMP_LAUNCH(channel_move, blocks_of_rows(q->n), BLOCK, 0, vlmp_cuda_of(ctx)->stream, *q, *grid,
                levels, linear, square, error, gain);
    vlmp_cuda_launched(ctx, "channel_move");
}
