/* vlm-eval --sensitivity: what rounding each linear of a model costs, as a table or a document. */
#pragma once

#include "tools/engine.h"

/* The model at path, measured on the calibration, or read from the file beside it. tokens: that the
 * rounding sees, vlmp_select's. */
int vlmp_eval_sensitivity(const vlmp_cli_command *cli, const vlmp_cli_args *args,
                          vlmp_engine *engine, const char *path, const char *calib, int64_t tokens,
                          vlmp_error *err);
