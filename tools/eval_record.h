/* What a packed file records of the run that made it, for the report of an evaluation. */
#pragma once

#include "src/base/json.h"
#include "src/eval/results.h"
#include "src/store/source.h"

enum { VLMP_SCHEME_NAME = 48 };

/* "gptq W4g128" of a decision, or "gguf Q4_K" of a format whose types have names; false: it says
 * too little. */
bool vlmp_record_scheme(char name[VLMP_SCHEME_NAME], const cJSON *decision);

/* Fills linears, facts and recipe. Both documents may be NULL. */
int vlmp_eval_record(const vlmp_source *source, const cJSON *provenance, const cJSON *decisions,
                     vlmp_eval_result *result, vlmp_error *err);
