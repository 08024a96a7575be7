/* How far a linear's outputs at a site's inputs x are from those at the original model's x₀:
 * Σ |w·(x₀ − x)|² over the rows w of its weights that errors are taken on (guard.h), apart for the
 * samples that methods see and those held out. Products of few rows: a second moment of x₀ − x
 * would say as much and cost as much as that of x. */
#pragma once

#include "kernels/linear.h"
#include "kernels/ops.h"

#define VLMP_MISSED_LINEARS 8 /* of one site */

typedef struct {
    vlmp_ctx *ctx;
    int count;                          /* linears */
    int first[VLMP_MISSED_LINEARS + 1]; /* where the rows of each begin */
    float *w;                           /* [rows.n][k] */
    vlmp_linear rows;                   /* the same, prepared */
    vlmp_f32 out;                       /* [batch rows][rows.n]; F16 would not hold all of them */
    vlmp_f64 sizes, squares[2];         /* [rows.n] of out; squares: seen, held out */
    vlmp_i32 kinds;                     /* [batch rows] all 0 */
} vlmp_missed;

/* For so many linears of k inputs, and batches of at most so many rows. Free it after a failure,
 * too. */
int vlmp_missed_create(vlmp_missed *missed, vlmp_ctx *ctx, int linears, int k, int batch_rows,
                       vlmp_error *err);
void vlmp_missed_free(vlmp_missed *missed); /* leaves it empty; harmless when empty */

/* The next linear, w [n][k], of which rows are copied; after the last one, begin. */
void vlmp_missed_linear(vlmp_missed *missed, const float *w, int n);
int vlmp_missed_begin(vlmp_missed *missed, vlmp_error *err);

/* Adds rows of difference[rows][k] = x₀ − x. */
void vlmp_missed_add(vlmp_missed *missed, bool held, vlmp_act difference, int rows);

/* What has been missed so far: out[linear][0] over the samples seen, [1] over those held out; not
 * scaled up to all rows of a linear. */
int vlmp_missed_take(const vlmp_missed *missed, double (*out)[2], vlmp_error *err);
