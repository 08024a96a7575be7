/* Answer tokens scored: hidden states of a model, of the reference, and what their heads say. */
#pragma once

#include "src/eval/metrics.h"
#include "src/flow/sweep.h"

/* Final normed hidden states at the positions that predict answer tokens. */
typedef struct {
    int samples;
    int *first; /* [samples + 1]: tokens of sample i are first[i] … first[i + 1] − 1 */
    int tokens;
    int dim;
    int32_t *targets;        /* [tokens]: the answer's ids */
    vlmp_activations states; /* [tokens][dim] */
} vlmp_hidden;

void vlmp_hidden_free(vlmp_hidden *hidden);

/* Runs the model over all sequences, block by block. Every sequence has an answer. The states go
 * where the sweep's activations do. */
int vlmp_hidden_collect(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                        vlmp_hidden *out, vlmp_error *err);

/* The same of the text model's output x that is there already. */
int vlmp_hidden_take(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                     vlmp_activations *x, const vlmp_batches *batches, vlmp_hidden *out,
                     vlmp_error *err);

/* One side of a comparison: hidden states and the head over them, vocabulary × dim. */
typedef struct {
    vlmp_hidden *hidden;
    const vlmp_linear *head;
} vlmp_scored;

/* Appends the tokens of all samples to out. Probabilities are over the first `vocab` rows of the
 * heads. reference NULL: none (out->has_reference is set accordingly); else both are over the same
 * tokens (vlmp_reference_check) and have at least vocab rows, which hold every target. A logit that
 * is NaN or infinite is VLMP_ERR_INPUT and names the sample. */
int vlmp_score_tokens(vlmp_ctx *ctx, const vlmp_scored *model, const vlmp_scored *reference,
                      int vocab, vlmp_token_scores *out, vlmp_error *err);
