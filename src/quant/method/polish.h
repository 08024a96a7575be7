/* Coordinate descent on a finished quantization: codes, then scales and zeros, group by group, each
 * move lowering tr(E·(H + ridge·I)·Eᵀ), E = target − ŵ. Where codes move, scales are refitted in
 * the first sweep only (per channel: before it): E·H is kept, and what the few codes that later
 * sweeps change do to it costs little. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/scheme/quantized.h"

typedef struct {
    bool codes;  /* move codes */
    bool scales; /* refit scales and zeros */
    int sweeps;
    double ridge;     /* over the mean of gram's diagonal */
    double converged; /* stop when a sweep gains at most this fraction of what the first gained */
} vlmp_polish_options;

typedef struct {
    double gain;
    int sweeps;
} vlmp_polish_report;

/* target [n][k], gram [k][k] symmetric. */
int vlmp_polish(vlmp_quantized *q, vlmp_ctx *ctx, const float *gram, const float *target,
                const vlmp_polish_options *options, vlmp_polish_report *report, vlmp_error *err);
