/* Second moments of a site's inputs x, apart for the samples that methods see and those held out
 * from them. */
#pragma once

#include "kernels/ops.h"

typedef struct {
    vlmp_ctx *ctx;
    int k;
    vlmp_f32 sums[6]; /* of what follows, while rows are added; at NULL: not wanted */
    float *gram;      /* [k][k] Σ x·xᵀ over the samples seen; NULL: no statistics */
    float *held;      /* [k][k] the same over the samples held out; NULL when there are none */
    /* Where the original model's inputs x₀ are known, else NULL: [k][k] Σ (x₀ − x)·xᵀ and
     * Σ (x₀ − x)·(x₀ − x)ᵀ over both. */
    float *cross, *held_cross;
    float *shift, *held_shift;
} vlmp_moments;

/* All zero. held: some samples are held out; original: x₀ is known. Free after a failure too. */
int vlmp_moments_create(vlmp_moments *moments, vlmp_ctx *ctx, int k, bool held, bool original,
                        vlmp_error *err);
void vlmp_moments_free(vlmp_moments *moments); /* leaves it empty; harmless when empty */

/* Adds rows of x[rows][k], all of samples seen or all of samples held out. */
void vlmp_moments_add(vlmp_moments *moments, bool seen, vlmp_act x, int rows);

/* Adds what the same rows miss of the original inputs: difference[rows][k] = x₀ − x. */
void vlmp_moments_add_difference(vlmp_moments *moments, bool seen, vlmp_act difference, vlmp_act x,
                                 int rows);

/* No rows follow: gram and the others are there for the host. */
int vlmp_moments_finish(vlmp_moments *moments, vlmp_error *err);

/* From inputs x/s to the inputs x. */
void vlmp_moments_unscale(vlmp_moments *moments, const float *scales);
