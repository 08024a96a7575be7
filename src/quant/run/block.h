/* One block of a stack quantized, committed to the sink, and run with its new weights. */
#pragma once

#include "src/quant/run/site.h"

/* Activations before a block, replaced by those behind it. */
typedef struct {
    vlmp_activations *x; /* in the model as it is quantized; NULL: nothing needs activations */
    vlmp_activations *original; /* in the original model; NULL: nothing asks for it */
    const vlmp_batches *batches;
} vlmp_block_flow;

/* A block that the sink has already is only run. */
int vlmp_quantize_block(const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                        const vlmp_block_flow *flow, vlmp_error *err);
