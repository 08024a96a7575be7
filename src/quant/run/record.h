/* What a finished step decided, as JSON: kept in the journal and in the packed file. */
#pragma once

#include "src/base/json.h"
#include "src/quant/run/driver.h"

/* Appends one result as an object. */
void vlmp_record_write(vlmp_json_writer *w, const vlmp_linear_result *result);

/* Reads one back. */
int vlmp_record_read(vlmp_linear_result *result, const cJSON *object, const char *where,
                     vlmp_error *err);

/* Step names: "vision.3", "projector", "text.embed", "text.7", "text.head". */
void vlmp_step_name(char out[VLMP_NAME_MAX], const char *prefix, int layer);

/* Whether the sink has the step already. */
int vlmp_step_is_done(const vlmp_quantize_job *job, const char *step, bool *done, vlmp_error *err);

/* Ends a step: its record is the results and the names of tensors that it replaced (NULL-terminated
 * list or NULL). */
int vlmp_commit_results(const vlmp_quantize_job *job, const char *step,
                        const vlmp_linear_result *results, int count, const char *const *replaced,
                        vlmp_error *err);
