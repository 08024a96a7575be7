/* One model or packed file evaluated: scores, answers, speed, memory. */
#pragma once

#include "src/eval/reference.h"
#include "src/eval/results.h"
#include "tools/engine.h"
#include "tools/samples.h"

typedef struct {
    const vlmp_cli_args *args;
    const char *path;         /* of the model */
    const vlmp_dataset *data; /* its first `count` samples */
    size_t count;
    /* Samples that had more than `context` tokens and were taken out before; the first one's line
     * in the data file and its tokens. */
    size_t left_out;
    int context, first_left_out, first_left_out_tokens;
    unsigned metrics;
    int max_new_tokens;
    bool fast_activations;
    bool allow_overlap;
    const vlmp_reference *reference; /* NULL: none */
    vlmp_picture_reading *pictures;
    const char *work_folder;
    char *const *stand_ins; /* [count] answers where the data has none; NULL: it has all */
} vlmp_eval_job;

/* The sequences of all samples, tokenized by the engine's model. Free each, then the array. */
int vlmp_eval_sequences(const vlmp_eval_job *job, const vlmp_reader *reader, vlmp_sequence **out,
                        vlmp_error *err);

/* Fills result (initialised). */
int vlmp_eval_model(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_eval_result *result,
                    vlmp_error *err);

/* Runs the reference: hidden states and head. */
int vlmp_eval_reference(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_reference *out,
                        vlmp_error *err);

/* SHA-256 over the identities of the samples. */
int vlmp_data_digest(const vlmp_dataset *data, size_t count, char hex[65], vlmp_error *err);
