/* Before any work of an evaluation: what its models say of themselves, and which samples fit them.
 */
#pragma once

#include "tools/eval_model.h"

/* The side of the model at path, which is opened and closed again; no weight is read. */
int vlmp_eval_look(vlmp_engine *engine, const char *path, vlmp_side *out, vlmp_error *err);

/* Takes the samples that have more than `context` tokens, as the model at path counts them, out of
 * data and job->count, and counts them in job->left_out: one set for all models of a run, so that
 * their intervals are paired. A sample without an answer needs room for one. None left is
 * VLMP_ERR_INPUT. data is the job's. */
int vlmp_eval_leave_out(vlmp_eval_job *job, vlmp_dataset *data, vlmp_engine *engine,
                        const char *path, int context, vlmp_error *err);
