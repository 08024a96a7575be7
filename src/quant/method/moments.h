/* Second moments of a site's inputs x, apart for the samples that methods see and those held out
 * from them. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/method/missed.h"

/* The matrices, as bits of a set; each one of held-out samples follows that of the samples seen. */
enum {
    VLMP_GRAM = 1,
    VLMP_HELD = 2,
    VLMP_CROSS = 4,
    VLMP_HELD_CROSS = 8,
    VLMP_MOMENTS = 4
};

typedef struct {
    vlmp_ctx *ctx;
    int k;
    bool held_out; /* some samples are */
    bool original; /* the original model's inputs x₀ are known */
    bool finished; /* no rows follow */
    /* [k][k] each in the context's memory, whole when finished: before, of a symmetric one the
     * lower triangle is. NULL: there is none, or it lies in the work file. */
    float *gram; /* Σ x·xᵀ over the samples seen, always in memory; NULL: no statistics */
    float *held; /* the same over the samples held out */
    float *cross, *held_cross; /* Σ (x₀ − x)·xᵀ over both */
    vlmp_missed *missed;       /* NULL; gets the rows that the crosses get; not owned */

    char *folder;        /* NULL: all are in memory */
    int fd;              /* of the work file, unlinked; −1: none yet */
    unsigned there;      /* set of the matrices that the file has */
    unsigned changed;    /* set of those in memory that differ from it */
    const float *scales; /* of the host; those in the file are of inputs over these; NULL */
} vlmp_moments;

/* All zero. held: some samples are held out; original: x₀ is known. folder: where matrices other
 * than gram lie while nothing holds them; NULL: all stay in memory. Free after a failure too. */
int vlmp_moments_create(vlmp_moments *moments, vlmp_ctx *ctx, int k, bool held, bool original,
                        const char *folder, vlmp_error *err);
void vlmp_moments_free(vlmp_moments *moments); /* leaves it empty; harmless when empty */

/* Brings a set of matrices into memory and puts the others but gram away; pointers taken before are
 * void. Nothing to do where all are in memory. While rows are added, a matrix that was put away
 * does not come back. */
int vlmp_moments_hold(vlmp_moments *moments, unsigned set, vlmp_error *err);

/* Adds rows of x[rows][k] and of what they miss of the original inputs, difference[rows][k] = x₀ −
 * x, to the matrices of a set, which are held. difference is read for crosses alone. */
void vlmp_moments_add(vlmp_moments *moments, unsigned set, vlmp_act x, vlmp_act difference,
                      int rows);

/* No rows follow: gram and what is held from now on is whole. */
int vlmp_moments_finish(vlmp_moments *moments, vlmp_error *err);

/* From inputs x/s to the inputs x. scales are the host's, and read until the moments are freed. */
int vlmp_moments_unscale(vlmp_moments *moments, const float *scales, vlmp_error *err);
