/* What quantizers compute on whole matrices: a table beside that of kernels/ops.h, with its rules.
 * Matrices are F32, row-major. All pointers, those in structs too, are addresses of the context's
 * memory but for the structs themselves: a device runs all of it, and the host sees what it reads
 * back.
 *
 * Operations on codes work row by row: rows of weights do not meet. Their arithmetic is F32 without
 * contraction, sums over columns one after another: rounding, codes, scales and errors have the
 * same bits at every level of the CPU and on a device. The reference adds in double, and may choose
 * otherwise where two choices are within rounding of each other. */
#pragma once

#include "kernels/ops.h"
#include "src/base/packed_parts.h"

#define VLMP_BLOCK      128 /* columns handled between two matrix products */
#define VLMP_MAX_TRIALS 64  /* scales tried for a group: 1 + candidates·(2·zero_moves + 1) */

/* The code grid of a scheme, and how its scales are searched. */
typedef struct {
    float low, high;       /* codes; of codes that stand for floats: the floats */
    float middle;          /* z when symmetric */
    float span;            /* min-max: scale = range/span (symmetric: range = 2·amax) */
    vlmp_minifloat floats; /* what codes stand for (z is 0 then); mantissa 0: themselves */
    bool symmetric;
    vlmp_dtype scales;  /* as stored, over the global scale */
    float global_scale; /* a power of two */

    int candidates;               /* scales tried beside min-max */
    float shrink_from, shrink_to; /* factors of the min-max scale, geometric */
    int zero_moves;               /* zeros tried on each side of the centred one (asymmetric) */
} vlmp_grid;

/* ŵ = level·scale, level = code − zero or the float that the code stands for. */
typedef struct {
    int n, k;
    int group;      /* columns that share a scale; k when per channel */
    uint8_t *codes; /* [n][k] */
    float *scales;  /* [n][k/group] */
    uint8_t *zeros; /* [n][k/group] */
} vlmp_coded;

VLMP_DEVICE static inline float vlmp_grid_scale(const vlmp_grid *grid, float scale)
{
    return vlmp_scale_under(scale, grid->scales, grid->global_scale);
}

VLMP_DEVICE static inline float vlmp_grid_level(const vlmp_grid *grid, uint8_t code, uint8_t zero)
{
    if (grid->floats.mantissa != 0) return vlmp_minifloat_value(&grid->floats, code);
    return (float)(code - zero);
}

/* The code of a level that has one. */
VLMP_DEVICE static inline uint8_t vlmp_grid_code(const vlmp_grid *grid, float level, float zero)
{
    if (grid->floats.mantissa != 0) return (uint8_t)vlmp_minifloat_code(&grid->floats, level);
    return (uint8_t)(int)(level + zero);
}

/* Scale and zero of every group: those that minimise Σ weight[i]·(x − ŵ)² over the group's columns,
 * x = w·factor; min-max is the first candidate, a later one must be strictly better. A group of
 * zeros gets scale 1 (as stored) and the middle. A scale that does not fit its type comes out
 * infinite. */
typedef struct {
    const float *w;      /* [n][k] */
    const float *factor; /* [k]; NULL: 1 */
    const float *weight; /* [k], by position where there is an order */
    const int *order;    /* [k]: column at each position; NULL: the same. Only where group == k */
} vlmp_search_job;

/* One block of GPTQ. Columns are named by position; groups stay together and are entered whole, the
 * last first. On entry to a group its scale and zero are searched (unless `searched`) on what its
 * columns would be if none of them were rounded; then columns are rounded, last first, and each
 * error (target − ŵ) is passed on: live[i] += error·factor[column][i] for i < column. */
typedef struct {
    int first, cols;  /* the block: positions first … first + cols − 1, cols ≤ VLMP_BLOCK */
    const int *order; /* [k] column at each position */
    const float *target; /* [n][k] by column */
    const float *passed; /* [n][VLMP_BLOCK] what later blocks have passed on: live − target */
    const float *factor; /* [k][k] by position, below the diagonal */
    const float *pivot;  /* [k] by position: weights of the search and of the loss */
    bool searched;       /* scales and zeros are there */
    float *error;        /* out [n][k] by position: target − ŵ of the block's columns */
    double *loss;        /* [n] += Σ pivot·(live − ŵ)² */
} vlmp_propagate_job;

/* One pass of coordinate descent over a block of whole groups (or a part of one group): for each
 * group its codes, column after column, then its zero (asymmetric) and its scale with codes fixed,
 * each where that lowers error·(gram + ridge·I)·errorᵀ. */
typedef struct {
    int first, cols;   /* columns first … first + cols − 1, cols ≤ VLMP_BLOCK */
    const float *gram; /* [k][k] symmetric */
    float ridge;
    bool codes, scales; /* what may move; scales only where group ≤ VLMP_BLOCK */
    float *error;       /* [n][k] target − ŵ, kept so */
    float *slope;       /* [n][VLMP_BLOCK] error·gram of the block's columns, becomes
                         * error·(gram + ridge·I) */
    double *gain;       /* [n] += the decrease of error·(gram + ridge·I)·errorᵀ */
} vlmp_descend_job;

/* The sums of a scale per row over the columns of a block: curve = levels·(gram + ridge·I). */
typedef struct {
    int first, cols;
    float ridge;
    const float *levels; /* [n][k] */
    const float *curve;  /* [n][VLMP_BLOCK] levels·gram of the block's columns */
    const float *error;  /* [n][k] */
    double *linear;      /* [n] += Σ curve·error; = for the block at column 0 */
    double *square;      /* [n] += Σ curve·level; the same */
} vlmp_channel_sums_job;

/* Floats of room that factor needs; bytes that weighted_error and dot need for n rows. */
static inline size_t vlmp_factor_room(int k)
{
    return (size_t)VLMP_BLOCK * (2 * (size_t)k + VLMP_BLOCK);
}

#define VLMP_SUM_COLUMNS 256 /* of one product of weighted_error */

static inline size_t vlmp_sum_room(int n)
{
    return (size_t)n * (sizeof(double) + VLMP_SUM_COLUMNS * sizeof(float));
}

typedef struct vlmp_quant_ops {
    /* error [n][k] = target − ŵ/factor[k]; NULL: 1. One rounding a step. */
    void (*error)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *target,
                  const float *factor, float *error);

    /* levels [n][k]. */
    void (*levels)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, float *levels);

    /* Writes q's scales and zeros. */
    void (*search)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                   const vlmp_search_job *job);

    /* Codes of w·factor [n][k] rounded to nearest under q's scales and zeros: clamp(round(x·(1/s)))
     * + z or the float nearest to x·(1/s), ties to even. */
    void (*round)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid, const float *w,
                  const float *factor);

    /* Writes the block's codes, and its scales and zeros unless searched. */
    void (*propagate)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                      const vlmp_propagate_job *job);

    /* Updates the block's codes, scales and zeros. */
    void (*descend)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                    const vlmp_descend_job *job);

    void (*channel_sums)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_channel_sums_job *job);

    /* Moves the one scale of each row by linear/square where that lowers the error; keeps error
     * [n][k] and gain [n] up to date. */
    void (*channel_move)(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                         const float *levels, const double *linear, const double *square,
                         float *error, double *gain);

    /* Of symmetric a [k][k]: the upper triangle becomes what the lower is. */
    void (*mirror)(vlmp_ctx *ctx, float *a, int k);

    /* a[i][j] ·= s[i]·s[j], or with divide /= it. */
    void (*scale_both)(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide);

    /* out [k]. */
    void (*diagonal)(vlmp_ctx *ctx, float *out, const float *a, int k);

    /* Lower triangle of out [k][k] = that of a[order[i]][order[j]] + ridge·I. */
    void (*arrange)(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                    float ridge);

    /* a = M·diag(pivot)·Mᵀ with M unit lower triangular: a's lower triangle is read and replaced by
     * M's; what is on and above the diagonal is left undefined. *failed = 1 when a pivot falls
     * below least or is not finite, as the matrix is not positive definite in F32: a is spoiled.
     * Else 0. */
    void (*factor)(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                   int32_t *failed);

    /* x·(M·diag(pivot)·Mᵀ) = t in place: x [n][k] holds t on entry. */
    void (*solve)(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n);

    /* out[r][i] = x[r][order[i]], or with back out[r][order[i]] = x[r][i]; [n][k]. */
    void (*permute)(vlmp_ctx *ctx, float *out, const float *x, int n, int k, const int *order,
                    bool back);

    /* out[r] = x[r·n/taken], `taken` ≤ n rows evenly spaced among those of x [n][k]. */
    void (*sample_rows)(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k);

    /* y[i] += by·x[i]. */
    void (*add_multiple)(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count);

    /* *out = Σ a∘b, [n][k], in double; room: vlmp_sum_room(n) bytes. */
    void (*dot)(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                void *room);

    /* *out = Σ rows e·gram·eᵀ + 2·Σ cross∘e of e [n][k], gram [k][k] symmetric, cross [n][k] or
     * NULL; products F32, their sum double. */
    void (*weighted_error)(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                           const float *gram, const float *cross, void *room);
} vlmp_quant_ops;
