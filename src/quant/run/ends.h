/* The linears outside the stacks: projector, embedding table, head. */
#pragma once

#include "src/quant/run/driver.h"
#include "src/quant/scheme/packed_arrays.h"

#define VLMP_ENDS (3 + 2 * VLMP_MAX_TAPS)

/* What makes the input of the text blocks, in the model as it is quantized: of a sequential run the
 * finished linears as the packed file has them, else the source's. */
typedef struct {
    vlmp_ctx *ctx;
    vlmp_resident weights; /* projector and embed alone */
    void *prepared[VLMP_ENDS];
    vlmp_packed_arrays packed[VLMP_ENDS];
} vlmp_ends;

int vlmp_ends_load(vlmp_ends *ends, const vlmp_quantize_job *job, vlmp_error *err);
void vlmp_ends_free(vlmp_ends *ends); /* also after a failure */

/* The linears of a model that is not run, one after another; no method may need statistics. */
int vlmp_quantize_by_name(const vlmp_quantize_job *job, vlmp_error *err);

/* The projector's linears, a second on what the first then gives. features: what the projector
 * sees, rows of the seen samples first; empty when no method needs statistics. */
int vlmp_quantize_projector(const vlmp_quantize_job *job, vlmp_activations *features,
                            size_t seen_rows, vlmp_error *err);

/* The embedding table, unless it waits to be quantized as the head. features as above; a tied table
 * may need them and the sequences. */
int vlmp_quantize_embedding(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                            vlmp_activations *features, vlmp_error *err);

/* The head, or the tied table. x: outputs of the last block; not read when no method needs them. */
int vlmp_quantize_head_linear(const vlmp_quantize_job *job, vlmp_activations *x,
                              const vlmp_batches *batches, vlmp_error *err);
