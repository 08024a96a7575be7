/* What quantizers compute on whole matrices: a table beside that of kernels/ops.h, with its rules.
 * Every operation works row by row: rows of weights do not meet. Matrices are F32, row-major;
 * operations are described by structs and call nothing back, so that a device can run them.
 *
 * Arithmetic is F32 without contraction, sums over columns one after another: rounding, codes,
 * scales and errors have the same bits at every level of the CPU. The reference adds in double, and
 * may choose otherwise where two choices are within rounding of each other. */
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

static inline float vlmp_grid_scale(const vlmp_grid *grid, float scale)
{
    return vlmp_scale_under(scale, grid->scales, grid->global_scale);
}

static inline float vlmp_grid_level(const vlmp_grid *grid, uint8_t code, uint8_t zero)
{
    if (grid->floats.mantissa != 0) return vlmp_minifloat_value(&grid->floats, code);
    return (float)(code - zero);
}

/* The code of a level that has one. */
static inline uint8_t vlmp_grid_code(const vlmp_grid *grid, float level, float zero)
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
    double *linear;      /* [n] += Σ curve·error */
    double *square;      /* [n] += Σ curve·level */
} vlmp_channel_sums_job;

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
} vlmp_quant_ops;
