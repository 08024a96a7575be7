/* Quantizers' operations on groups: searching, rounding, propagating. A group of a row is a warp's;
 * its lanes try scales side by side, or pass an error on to columns side by side. */
#include "kernels/cuda/quant.cuh"

/* ---- Value by value ---- */

static __global__ void errors(vlmp_coded q, vlmp_grid grid, const float *target,
                              const float *factor, float *out)
{
    size_t count = (size_t)q.n * (size_t)q.k;
    for (size_t at = first_of_grid(); at < count; at += threads_of_grid()) {
        int c = (int)(at % (size_t)q.k);
        size_t g = group_at(q, at / (size_t)q.k, c);
        float value = vlmp_grid_level(&grid, q.codes[at], q.zeros[g]) * q.scales[g];
        if (factor != NULL) value /= factor[c];
        out[at] = target[at] - value;
    }
}

static __global__ void all_levels(vlmp_coded q, vlmp_grid grid, float *out)
{
    size_t count = (size_t)q.n * (size_t)q.k;
    for (size_t at = first_of_grid(); at < count; at += threads_of_grid()) {
        size_t g = group_at(q, at / (size_t)q.k, (int)(at % (size_t)q.k));
        out[at] = vlmp_grid_level(&grid, q.codes[at], q.zeros[g]);
    }
}

static __global__ void round_codes(vlmp_coded q, vlmp_grid grid, const float *w,
                                   const float *factor)
{
    size_t count = (size_t)q.n * (size_t)q.k;
    for (size_t at = first_of_grid(); at < count; at += threads_of_grid()) {
        int c = (int)(at % (size_t)q.k);
        size_t g = group_at(q, at / (size_t)q.k, c);
        float x = factor != NULL ? w[at] * factor[c] : w[at], zero = (float)q.zeros[g];
        float level = nearest(grid, x * (1.0f / q.scales[g]), grid.low - zero, grid.high - zero);
        q.codes[at] = vlmp_grid_code(&grid, level, zero);
    }
}

void vlmp_cuda_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const float *target, const float *factor, float *error)
{
    VLMP_LAUNCH(errors, blocks_for((size_t)q->n * (size_t)q->k), BLOCK, 0,
                vlmp_cuda_of(ctx)->stream, *q, *grid, target, factor, error);
    vlmp_cuda_launched(ctx, "error");
}

void vlmp_cuda_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            float *levels)
{
    VLMP_LAUNCH(all_levels, blocks_for((size_t)q->n * (size_t)q->k), BLOCK, 0,
                vlmp_cuda_of(ctx)->stream, *q, *grid, levels);
    vlmp_cuda_launched(ctx, "levels");
}

void vlmp_cuda_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const float *w, const float *factor)
{
    VLMP_LAUNCH(round_codes, blocks_for((size_t)q->n * (size_t)q->k), BLOCK, 0,
                vlmp_cuda_of(ctx)->stream, *q, *grid, w, factor);
    vlmp_cuda_launched(ctx, "round");
}

/* ---- Searching the scale and zero of a group ---- */

/* The factors of the min-max scale, by the host's powf: the device's has other bits. */
struct factors {
    float at[VLMP_MAX_TRIALS];
};

static factors factors_of(const vlmp_grid *grid)
{
    factors f = {};
    for (int c = 0; c < grid->candidates && c < VLMP_MAX_TRIALS; c++) {
        float t = grid->candidates > 1 ? (float)c / (float)(grid->candidates - 1) : 0.0f;
        f.at[c] = grid->shrink_from * powf(grid->shrink_to / grid->shrink_from, t);
    }
    return f;
}

/* What a lane tries: trials lane and lane + 32. */
enum { OWN_TRIALS = VLMP_MAX_TRIALS / 32 };

struct trials {
    float low, high; /* of the group's values and 0, the same in all lanes */
    float scale[OWN_TRIALS], zero[OWN_TRIALS], loss[OWN_TRIALS];
    int count; /* of the warp */
};

static __device__ void widen(trials &t, float x)
{
    t.low = x < t.low ? x : t.low;
    t.high = x > t.high ? x : t.high;
}

/* After each lane has widened by its values. */
static __device__ void list_trials(trials &t, const vlmp_grid &grid, const factors &all)
{
    for (int step = 16; step > 0; step /= 2) {
        float low = __shfl_xor_sync(0xffffffffu, t.low, step);
        float high = __shfl_xor_sync(0xffffffffu, t.high, step);
        t.low = low < t.low ? low : t.low;
        t.high = high > t.high ? high : t.high;
    }
    int moves = grid.symmetric ? 0 : grid.zero_moves, each = 2 * moves + 1;
    float range = grid.symmetric ? 2.0f * (-t.low > t.high ? -t.low : t.high) : t.high - t.low;
    t.count = 1 + grid.candidates * each;
    VLMP_UNROLL
    for (int i = 0; i < OWN_TRIALS; i++) {
        int trial = (int)threadIdx.x % 32 + 32 * i, later = trial > 0 ? trial - 1 : 0;
        bool there = trial < t.count;
        float factor = trial > 0 && there ? all.at[later / each] : 1.0f;
        float scale = vlmp_grid_scale(&grid, range / grid.span * factor);
        float shift = 0.5f * grid.span - 0.5f * (t.low + t.high) / scale;
        float centre = vlmp_round_even(clamp(shift, grid.low, grid.high));
        float move = trial > 0 ? (float)(later % each - moves) : 0.0f;
        t.scale[i] = scale;
        t.zero[i] = grid.symmetric ? grid.middle : clamp(centre + move, grid.low, grid.high);
        t.loss[i] = 0;
    }
}

/* x [cols] in shared memory. */
static __device__ void add_losses(trials &t, const vlmp_grid &grid, const float *x,
                                  const float *weight, int cols)
{
    VLMP_UNROLL
    for (int i = 0; i < OWN_TRIALS; i++) {
        if ((int)threadIdx.x % 32 + 32 * i >= t.count) continue;
        float scale = t.scale[i], inverse = 1.0f / scale, sum = t.loss[i];
        float least = grid.low - t.zero[i], most = grid.high - t.zero[i];
        for (int c = 0; c < cols; c++) {
            float e = x[c] - nearest(grid, x[c] * inverse, least, most) * scale;
            sum += weight[c] * (e * e);
        }
        t.loss[i] = sum;
    }
}

/* The first of the least losses; in all lanes. */
static __device__ void pick(const trials &t, const vlmp_grid &grid, float &scale, float &zero)
{
    float loss = INFINITY;
    int best = t.count;
    scale = INFINITY;
    zero = grid.middle;
    VLMP_UNROLL
    for (int i = 0; i < OWN_TRIALS; i++) {
        int trial = (int)threadIdx.x % 32 + 32 * i;
        if (trial >= t.count || !(t.loss[i] < loss)) continue;
        loss = t.loss[i], best = trial, scale = t.scale[i], zero = t.zero[i];
    }
    for (int step = 16; step > 0; step /= 2) {
        float other = __shfl_xor_sync(0xffffffffu, loss, step);
        int trial = __shfl_xor_sync(0xffffffffu, best, step);
        float its_scale = __shfl_xor_sync(0xffffffffu, scale, step);
        float its_zero = __shfl_xor_sync(0xffffffffu, zero, step);
        if (other < loss || (other == loss && trial < best))
            loss = other, best = trial, scale = its_scale, zero = its_zero;
    }
    if (t.low != 0.0f || t.high != 0.0f) return;
    scale = vlmp_grid_scale(&grid, 1.0f);
    zero = grid.middle;
}

/* x = `cols` values of a row from position `first` on. */
static __device__ void load_chunk(float *x, const vlmp_search_job &job, size_t row, int k,
                                  int first, int cols)
{
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < cols; i += 32) {
        int column = job.order != NULL ? job.order[first + i] : first + i;
        float value = job.w[row * (size_t)k + (size_t)column];
        x[i] = job.factor != NULL ? value * job.factor[first + i] : value;
    }
    __syncwarp();
}

/* A group of a row a warp. Groups wider than a block are loaded twice, for their range and for the
 * losses. */
static __global__ void search(vlmp_coded q, vlmp_grid grid, vlmp_search_job job, factors all)
{
    VLMP_SHARED(float, room, WARPS *VLMP_BLOCK);
    float *x = room + (int)threadIdx.x / 32 * VLMP_BLOCK, scale, zero;
    size_t groups = (size_t)(q.k / q.group);
    size_t task = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (task >= (size_t)q.n * groups) return;
    size_t row = task / groups;
    int begin = (int)(task % groups) * q.group, end = begin + q.group;
    trials t = {};
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) list_trials(t, grid, all);
        for (int first = begin; first < end; first += VLMP_BLOCK) {
            int cols = end - first < VLMP_BLOCK ? end - first : VLMP_BLOCK;
            if (pass == 0 || q.group > VLMP_BLOCK) load_chunk(x, job, row, q.k, first, cols);
            for (int i = (int)threadIdx.x % 32; i < cols && pass == 0; i += 32)
                widen(t, x[i]);
            if (pass == 1) add_losses(t, grid, x, job.weight + first, cols);
        }
    }
    pick(t, grid, scale, zero);
    if (threadIdx.x % 32 != 0) return;
    q.scales[task] = scale;
    q.zeros[task] = (uint8_t)(int)zero;
}

void vlmp_cuda_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_search_job *job)
{
    size_t tasks = (size_t)q->n * (size_t)(q->k / q->group);
    VLMP_LAUNCH(search, (unsigned)((tasks + WARPS - 1) / WARPS), BLOCK, 0,
                vlmp_cuda_of(ctx)->stream, *q, *grid, *job, factors_of(grid));
    vlmp_cuda_launched(ctx, "search");
}

/* ---- A block of GPTQ ---- */

/* A row's columns of the block, in shared memory. */
struct row_block {
    float live[VLMP_BLOCK], target[VLMP_BLOCK], error[VLMP_BLOCK];
    float settled[VLMP_BLOCK];
};

/* columns[i] += by·factor[i], i < count; lanes share them. */
static __device__ void pass_on(float *columns, int count, const float *factor, float by)
{
    for (int i = (int)threadIdx.x % 32; i < count; i += 32)
        columns[i] += by * factor[i];
    __syncwarp();
}

/* Scale and zero of the group at columns from … from + group − 1, on what these would be if none of
 * them were rounded. factor: of the block, leading dimension k. */
static __device__ void search_settled(row_block &b, const vlmp_grid &grid, const factors &all,
                                      const float *factor, int k, const float *pivot, int from,
                                      int group, float &scale, float &zero)
{
    trials t = {};
    for (int i = (int)threadIdx.x % 32; i < group; i += 32)
        b.settled[i] = b.live[from + i];
    __syncwarp();
    for (int c = group - 1; c > 0; c--)
        pass_on(b.settled, c, factor + (size_t)(from + c) * (size_t)k + (size_t)from,
                b.target[from + c] - b.settled[c]);
    for (int i = (int)threadIdx.x % 32; i < group; i += 32)
        widen(t, b.settled[i]);
    list_trials(t, grid, all);
    add_losses(t, grid, b.settled, pivot + from, group);
    pick(t, grid, scale, zero);
    __syncwarp();
}

/* Rounds columns from + group − 1 … from and passes each error on. order, pivot, codes: the
 * block's and the row's. */
static __device__ float round_group(row_block &b, const vlmp_grid &grid, const float *factor, int k,
                                    const float *pivot, const int *order, uint8_t *codes, int from,
                                    int group, float scale, float zero, float loss)
{
    float inverse = 1.0f / scale, least = grid.low - zero, most = grid.high - zero;
    for (int c = from + group - 1; c >= from; c--) {
        float x = b.live[c], level = nearest(grid, x * inverse, least, most);
        float value = level * scale, miss = x - value, error = b.target[c] - value;
        loss += pivot[c] * (miss * miss);
        if (threadIdx.x % 32 == 0) {
            codes[order[c]] = vlmp_grid_code(&grid, level, zero);
            b.error[c] = error;
        }
        pass_on(b.live, c, factor + (size_t)c * (size_t)k, error);
    }
    return loss;
}

static __global__ void propagate(vlmp_coded q, vlmp_grid grid, vlmp_propagate_job job, factors all)
{
    VLMP_SHARED(row_block, rows, WARPS);
    row_block &b = rows[threadIdx.x / 32];
    int lane = (int)threadIdx.x % 32, cols = job.cols, group = q.group < cols ? q.group : cols;
    if (row_of_warp() >= q.n) return;
    size_t row = (size_t)row_of_warp(), width = (size_t)q.k;
    const int *order = job.order + job.first;
    const float *factor = job.factor + (size_t)job.first * (width + 1);
    const float *pivot = job.pivot + job.first;
    float loss = 0;
    for (int i = lane; i < cols; i += 32) {
        b.target[i] = job.target[row * width + (size_t)order[i]];
        b.live[i] = job.passed[row * VLMP_BLOCK + (size_t)i] + b.target[i];
    }
    __syncwarp();
    for (int from = cols - group; from >= 0; from -= group) {
        size_t g = group_at(q, row, order[from]);
        float scale = 0, zero = 0;
        if (job.searched) {
            scale = q.scales[g], zero = (float)q.zeros[g];
        } else {
            search_settled(b, grid, all, factor, q.k, pivot, from, group, scale, zero);
            if (lane == 0) q.scales[g] = scale, q.zeros[g] = (uint8_t)(int)zero;
        }
        loss = round_group(b, grid, factor, q.k, pivot, order, q.codes + row * width, from, group,
                           scale, zero, loss);
    }
    for (int i = lane; i < cols; i += 32)
        job.error[row * width + (size_t)(job.first + i)] = b.error[i];
    if (lane == 0) job.loss[row] += (double)loss;
}

void vlmp_cuda_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                               const vlmp_propagate_job *job)
{
    VLMP_LAUNCH(propagate, blocks_of_rows(q->n), BLOCK, 0, vlmp_cuda_of(ctx)->stream, *q, *grid,
                *job, factors_of(grid));
    vlmp_cuda_launched(ctx, "propagate");
}
