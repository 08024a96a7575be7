/* One block of a stack quantized, committed to the sink, and run with its new weights. */
#pragma once

#include "src/quant/site.h"

/* x: the block's input over all batches, replaced by its output; NULL when nothing downstream needs
 * activations. A block that the sink has already is only run. */
int vlmp_quantize_block(const vlmp_quantize_job *job, const vlmp_stack *stack, int layer,
                        vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err);

/* Ends a step: its record is the results and the names of tensors that it replaced (NULL-terminated
 * list or NULL). */
int vlmp_commit_results(const vlmp_quantize_job *job, const char *step,
                        const vlmp_linear_result *results, int count, const char *const *replaced,
                        vlmp_error *err);
