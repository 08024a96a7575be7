/* Before any work of an evaluation: what its models say of themselves, which samples fit them, and
 * the answers that the data lacks. */
#pragma once

#include "tools/eval_model.h"

/* The side of the model at path, which is opened and closed again; no weight is read. */
int vlmp_eval_look(vlmp_engine *engine, const char *path, vlmp_side *out, vlmp_error *err);

/* vlmp_eval_data_survey with the tokens that the model at path counts: one set of samples for all
 * models of a run, so that their intervals are paired. */
int vlmp_eval_look_at_data(vlmp_engine *engine, const char *path, vlmp_eval_data *data,
                           const vlmp_cli_args *args, vlmp_error *err);

/* Where the data has no answers, those of the model at path stand in. */
int vlmp_eval_stand_ins(vlmp_engine *engine, const char *path, vlmp_eval_data *data,
                        vlmp_error *err);
