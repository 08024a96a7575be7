/* Which arithmetic suits which phase, and what a common decision tree says instead. */
#pragma once

#include "src/plan/latency.h"

typedef enum { VLMP_W16A16, VLMP_W8A8, VLMP_W4A16, VLMP_ARITHMETICS } vlmp_arithmetic;

const char *vlmp_arithmetic_name(vlmp_arithmetic arithmetic); /* "W4A16" */

typedef struct {
    vlmp_arithmetic best;
    double seconds[VLMP_ARITHMETICS]; /* of one pass, bounds */
    bool reads;                       /* of the best: memory decides, not arithmetic */
} vlmp_phase_advice;

/* The text model's linears, so many weights, over rows of one pass. Groups of 128: 4.125 bits. */
vlmp_phase_advice vlmp_advise_phase(double weights, double rows, const vlmp_rates *rates);

/* Rows from which on a pass with 4-bit weights is bound by arithmetic. */
double vlmp_rows_to_compute(const vlmp_rates *rates);

/* The tree: memory enough → FP16; else latency matters → INT8; else accuracy high → GPTQ 4-bit,
 * else AWQ 4-bit. */
const char *vlmp_common_tree(bool memory_is_enough, bool latency_matters, bool accuracy_is_high);
