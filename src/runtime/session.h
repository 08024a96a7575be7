/* Generation: one sequence at a time through resident weights and a paged key/value store. */
#pragma once

#include "src/base/rng.h"
#include "src/flow/sweep.h"

typedef struct vlmp_session vlmp_session;

typedef struct {
    size_t weights_bytes; /* of all used tensors, as stored */
    size_t kv_bytes;      /* allocated */
} vlmp_session_memory;

/* Loads all weights. ctx, model and preprocess must outlive the session. */
int vlmp_session_create(vlmp_session **session, vlmp_ctx *ctx, const vlmp_model *model,
                        const vlmp_preprocess *preprocess, vlmp_error *err);
void vlmp_session_free(vlmp_session *session);

/* Starts over with the first `length` tokens of a sequence (its prompt, pictures included) and
 * makes room for max_new more. logits[vocab] of the last row. More tokens than the model's
 * positions is VLMP_ERR_INPUT, as is NaN or infinity of a layer or in logits. */
int vlmp_session_prefill(vlmp_session *session, const vlmp_sequence *sequence, int length,
                         int max_new, float *logits, vlmp_error *err);

/* Appends one token; logits of the next. */
int vlmp_session_step(vlmp_session *session, int32_t token, float *logits, vlmp_error *err);

vlmp_session_memory vlmp_session_memory_used(const vlmp_session *session);

/* The most likely token (the first of equals) at temperature 0, else a draw from
 * softmax(logits/temperature). */
int32_t vlmp_sample_token(const float *logits, int vocab, double temperature, vlmp_rng *rng);

/* Takes a token of the answer; sets *stop to end the answer with it. */
typedef int vlmp_token_fn(void *arg, int32_t token, bool *stop, vlmp_error *err);

typedef struct {
    int max_new_tokens;
    double temperature;
    uint64_t seed;
    const vlmp_stop_tokens *stop; /* that end the answer; NULL: none does */
} vlmp_generation;

typedef struct {
    int prompt_tokens;
    int new_tokens;        /* end-of-sequence not counted */
    int steps;             /* passes behind the first token, that to end-of-sequence included */
    double first_seconds;  /* prompt and pictures to the first token */
    double decode_seconds; /* of the steps */
} vlmp_generation_stats;

/* Prompt in, tokens out through on_token until an end-of-sequence token (not passed on), the limit,
 * *stop, or a failure, on_token's too. */
int vlmp_generate(vlmp_session *session, const vlmp_model *model, const vlmp_sequence *sequence,
                  int prompt_length, const vlmp_generation *options, vlmp_token_fn *on_token,
                  void *arg, vlmp_generation_stats *stats, vlmp_error *err);
