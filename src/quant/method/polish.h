/* Coordinate descent on a finished quantization: codes, then scales and zeros, group by group, each
 * move lowering tr(E·(H + ridge·I)·Eᵀ), E = target − ŵ. A sweep costs a product E·H: scales move
 * in each, and with them all of E, though a hundredth of the codes does in the first and fewer
 * later. Sweeps of codes alone would be nearly free, but leave up to a quarter more KL. */
#pragma once

#include "kernels/quant.h"
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

/* target [n][k], gram [k][k] symmetric, and codes: all in the context's memory; q: their shape and
 * scheme. */
int vlmp_polish(const vlmp_coded *codes, const vlmp_quantized *q, vlmp_ctx *ctx, const float *gram,
                const float *target, const vlmp_polish_options *options, vlmp_polish_report *report,
                vlmp_error *err);
