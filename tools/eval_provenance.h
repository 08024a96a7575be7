/* What a packed file says of itself, as far as its evaluation needs it. */
#pragma once

#include "tools/eval_model.h"

/* --alpha of the calibration, if it saw transparent pictures; else "". */
int vlmp_calibration_alpha(const vlmp_source *source, char out[8], vlmp_error *err);

/* Method, fallbacks, time of quantization; refuses samples that it was calibrated on, unless the
 * job allows the overlap. Does nothing for folders. */
int vlmp_eval_provenance(const vlmp_eval_job *job, vlmp_source *source, vlmp_eval_result *result,
                         vlmp_error *err);

/* The identity of a model, of a packed file that of the model it was made from. itself (may be
 * NULL): the digest of its own tensors. */
int vlmp_eval_origin(vlmp_identity *out, char itself[VLMP_SHA256_HEX], vlmp_source *source,
                     vlmp_error *err);

/* Says in the result whether it is the reference itself. A saved reference stands for the original
 * of what is evaluated: another model's, or one made with another configuration, tokenizer or
 * processor, is VLMP_ERR_INPUT. That a packed file was not made from a reference that is a model is
 * noted, and that another tool's folder may not have been. job->reference is not NULL. */
int vlmp_eval_check_origin(const vlmp_eval_job *job, vlmp_source *source, vlmp_eval_result *result,
                           vlmp_error *err);
