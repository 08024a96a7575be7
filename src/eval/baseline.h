/* An earlier evaluation that this one is held against: a document of `vlm-eval --json`, whose
 * samples are compared with the same samples here. */
#pragma once

#include "src/eval/results.h"

typedef struct {
    cJSON *document;
    const char *path;
    struct vlmp_baseline_result *results; /* [models of the check] what each is held against */
    vlmp_arena arena;
} vlmp_baseline;

/* A document without the values of each sample is VLMP_ERR_INPUT. */
int vlmp_baseline_load(vlmp_baseline *out, const char *path, vlmp_error *err);

void vlmp_baseline_free(vlmp_baseline *baseline);

/* Before any work: whether it is of the samples with this digest, of answers as long, and has
 * results of each model, by the last part of its name, or of one only where one is evaluated, whose
 * values of each sample are whole. */
int vlmp_baseline_check(vlmp_baseline *baseline, const vlmp_eval_run *run,
                        const char *const *models, size_t count, vlmp_error *err);

/* Fills the changes of the result of models[index], and adds a gate for each metric that both
 * measured; adds to *failed the number of those that got worse: whose change has an interval
 * beyond 0 on the bad side, or which could not be computed any more. */
int vlmp_baseline_judge(const vlmp_baseline *baseline, size_t index, vlmp_eval_result *result,
                        uint64_t seed, size_t *failed, vlmp_error *err);
