/* The linears outside the stacks: projector, embedding table, head. */
#pragma once

#include "src/quant/driver.h"

/* Both projector linears, the second on what the first then gives. features: what the projector
 * sees, rows of the seen samples first; NULL when no method needs statistics. */
int vlmp_quantize_projector(const vlmp_quantize_job *job, const vlmp_activations *features,
                            size_t seen_rows, vlmp_error *err);

/* The embedding table, when it is not the head too. It has no inputs to weigh errors with: every
 * column counts the same. */
int vlmp_quantize_embedding(const vlmp_quantize_job *job, vlmp_error *err);

/* The head, or the tied table. x: outputs of the last block; NULL when no method needs them. */
int vlmp_quantize_head_linear(const vlmp_quantize_job *job, const vlmp_activations *x,
                              const vlmp_batches *batches, vlmp_error *err);
