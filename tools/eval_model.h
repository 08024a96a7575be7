/* One model or packed file evaluated: scores, answers, speed, memory. */
#pragma once

#include "src/eval/metrics.h"
#include "src/eval/reference.h"
#include "src/eval/results.h"
#include "tools/engine.h"
#include "tools/eval_data.h"

typedef struct {
    const vlmp_cli_args *args;
    const char *path; /* of the model */
    const vlmp_eval_data *data;
    unsigned metrics;
    int max_new_tokens;
    int batch; /* answers that share steps */
    bool fast_activations;
    bool allow_overlap;
    vlmp_reference *reference; /* NULL: none */
    vlmp_picture_reading *pictures;
    const char *work_folder;
    const char *date_text; /* --date; NULL: not given */
} vlmp_eval_job;

/* Fills result (initialised). */
int vlmp_eval_model(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_eval_result *result,
                    vlmp_error *err);

/* The answers' tokens as the engine's model scores them, against job->reference where there is one;
 * vocab: rows of the head that count. */
int vlmp_eval_score(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                    int vocab, vlmp_token_scores *scores, vlmp_error *err);

/* Runs the reference: hidden states, head, and the answers that stood in. */
int vlmp_eval_reference(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_reference *out,
                        vlmp_error *err);
