/* Generation: resident weights, a pool of pages for keys and values, and sequences (streams) that
 * advance together, step by step. What a stream computes has the same bits whichever streams
 * advance beside it. */
#pragma once

#include "src/flow/sweep.h"

typedef struct vlmp_runtime vlmp_runtime;
typedef struct vlmp_stream vlmp_stream;

enum { VLMP_STEP_ROWS = 512 }; /* of prompts that a pass computes at a time */

typedef struct {
    size_t weights_bytes; /* of all used tensors, as stored */
    size_t kv_bytes;      /* allocated */
} vlmp_runtime_memory;

/* Bytes of keys and values that streams share; where one alone needs more, it gets that. */
#define VLMP_KV_BYTES ((size_t)1 << 30)

/* Loads all weights. streams: how many may be open at a time. data: the file whose lines sequences
 * are, for messages; may be NULL. ctx, model, preprocess and data must outlive the runtime. */
int vlmp_runtime_create(vlmp_runtime **runtime, vlmp_ctx *ctx, const vlmp_model *model,
                        const vlmp_preprocess *preprocess, const char *data, int streams,
                        vlmp_error *err);
void vlmp_runtime_free(vlmp_runtime *runtime); /* close its streams before; NULL is allowed */
vlmp_runtime_memory vlmp_runtime_memory_used(const vlmp_runtime *runtime);

/* A sequence whose prompt is the first `length` tokens of `sequence` (pictures included, which pass
 * the tower here), with room for max_new more; nothing of `sequence` is needed afterwards. *stream
 * is NULL where there is no room until another closes. More tokens than the model's positions is
 * VLMP_ERR_INPUT. */
int vlmp_stream_open(vlmp_runtime *runtime, const vlmp_sequence *sequence, int length, int max_new,
                     vlmp_stream **stream, vlmp_error *err);
void vlmp_stream_close(vlmp_stream *stream); /* NULL is allowed */

/* Tokens of the prompt that have not been computed. */
int vlmp_stream_left(const vlmp_stream *stream);

/* One stream's part of a step: the next rows of its prompt, at most VLMP_STEP_ROWS, or, behind the
 * prompt, one token. */
typedef struct {
    vlmp_stream *stream;
    int32_t token;
    float *logits; /* [vocabulary] for what follows; NULL: not wanted */
    /* Set by the step, once the prompt is computed: the most likely token, the first of equals. */
    int32_t best;
} vlmp_step_item;

/* Advances each of the streams, which are different ones. NaN or infinity of a layer or in logits
 * is VLMP_ERR_INPUT and names the place and the stream's sample. */
int vlmp_runtime_step(vlmp_runtime *runtime, vlmp_step_item *items, int count, vlmp_error *err);
