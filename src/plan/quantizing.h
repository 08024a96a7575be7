/* What quantizing on a processor takes: memory, disk, time. Estimates; docs/plan.md says how near
 * they come. */
#pragma once

#include "src/model/linears.h"
#include "src/plan/running.h"
#include "src/quant/scheme/plan.h"

/* The samples of the calibration, all alike: as large as the worst of them. */
typedef struct {
    vlmp_picture_cost picture;
    double tokens; /* of a sample, its picture's rows included */
    double samples;
    double seen_tokens; /* that methods see: --tokens; 0: as many as by default */
} vlmp_calibration_load;

/* Bytes at the moment that takes most, that of one linear. */
typedef struct {
    double weights;     /* of the block as stored, and what is packed of it */
    double activations; /* between two blocks or sites, as far as they stay in memory */
    double batch;       /* one batch on its way through the block: the largest sample decides */
    double moments;     /* second moments of the linear's inputs, and their factor */
    double linear;      /* its weights in F32, targets, errors, codes */
    double program;     /* code, BLAS, what is small */
    double total;
    char at[VLMP_NAME_MAX]; /* the linear */
} vlmp_quantizing_memory;

typedef struct {
    vlmp_quantizing_memory memory;
    double disk; /* bytes beside the output: the journal, borders, what memory does not hold */
    double operations; /* F32, of products */
    double bytes;      /* of weights read and written */
    double rows;       /* of the text model that statistics see */
} vlmp_quantizing;

/* load: NULL where no method of the plan needs statistics. */
vlmp_quantizing vlmp_quantizing_of(const vlmp_model *model, const vlmp_linear_info *linears,
                                   const vlmp_plan *plan, const vlmp_calibration_load *load);

/* Seconds, products being this fast. Products of small blocks, searches and waiting take 0.6 times
 * as long again as the products; weights are read and written at 0.4 GB/s: both fitted to the runs
 * of docs/measurements/2026-11-27-quantize-speed.md. */
double vlmp_quantizing_seconds(const vlmp_quantizing *quantizing, double flops);
