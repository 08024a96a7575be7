/* What a packed file says of itself, as far as its evaluation needs it. */
#pragma once

#include "tools/eval_model.h"

/* --alpha of the calibration, if it saw transparent pictures; else "". */
int vlmp_calibration_alpha(const vlmp_source *source, char out[8], vlmp_error *err);

/* Method, fallbacks, time of quantization; refuses samples that it was calibrated on, unless the
 * job allows the overlap. Does nothing for folders. */
int vlmp_eval_provenance(const vlmp_eval_job *job, vlmp_source *source, vlmp_eval_result *result,
                         vlmp_error *err);
