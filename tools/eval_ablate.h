/* vlm-eval --ablate components: what each component of a packed file costs, quantized alone in the
 * original model, and what is gained where it alone is put back. */
#pragma once

#include "tools/eval_model.h"

/* job->path: a packed file; original: the folder that job->reference was run on. Prints a table, or
 * with --json a document. */
int vlmp_eval_ablate(const vlmp_eval_job *job, vlmp_engine *engine, const char *original,
                     vlmp_error *err);
