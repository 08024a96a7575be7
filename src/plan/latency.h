/* How long requests take on a device, by the roofline: a pass reads its weights once for all
 * requests in it and computes; the slower of both is its time. */
#pragma once

#include "src/plan/formulas.h"
#include "src/plan/running.h"

/* The parts of the best engines' rates, for an estimate beside the bound: products of many rows at
 * 0.7 of the peak (cuBLAS on an H100 reaches 700 to 790 of 989 TFLOP/s), single rows at 0.6 of the
 * bandwidth (published 4-bit kernels: 0.39 on an A100 to 0.85 on a 4090). */
#define VLMP_REACHED_RATE      0.7
#define VLMP_REACHED_BANDWIDTH 0.6

/* Weights of a component under a recipe. */
typedef struct {
    double weights, bytes;
    double int8; /* of the weights, those that int8 activations multiply */
} vlmp_plan_part;

typedef struct {
    vlmp_plan_part vision, projector, text, head; /* head: also a tied table */
} vlmp_plan_weights;

typedef struct {
    double encode;  /* one picture: tower and projector */
    double prefill; /* one prompt */
    double decode;  /* one step of the whole batch, half of the answers there */
    double request; /* all of the batch */
    double rate;    /* requests a second that this goes on for */
} vlmp_phase_times;

/* overlap: a batch's request is a bound, which no engine beats: the time of one alone, or of all
 * reads and of all products, whichever is the longest, since some engines compute prompts while
 * steps of others read. Else its phases come one after the other. */
vlmp_phase_times vlmp_phase_times_of(const vlmp_model *model, const vlmp_plan_weights *weights,
                                     const vlmp_workload *load, const vlmp_rates *rates,
                                     bool overlap);

/* Of one request's products with weights: two for each weight and row that passes it. */
double vlmp_request_operations(const vlmp_plan_weights *weights, const vlmp_workload *load);

/* The rates that good engines reach of a device's. */
vlmp_rates vlmp_rates_reached(const vlmp_rates *rates);

/* The most requests a second within a latency (0: any) and with at most so many at a time; *batch:
 * how many are at work then, 0 where none keeps the latency. */
double vlmp_requests_within(const vlmp_model *model, const vlmp_plan_weights *weights,
                            const vlmp_workload *load, const vlmp_rates *rates, bool overlap,
                            double latency, double most, double *batch);
