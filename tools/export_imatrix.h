/* vlm-export --imatrix: what a calibration measured, for llama.cpp's own quantizer. */
#pragma once

#include "tools/cli.h"

/* Sums of squares, over picture and text tokens, of the inputs of each linear of the text model's
 * blocks. calib: made with vlm-calibrate on this model, else VLMP_ERR_INPUT; its weights are read
 * to compare them. Prints a summary, with --json a document. */
int vlmp_export_imatrix(const char *model, const char *calib, const char *output, bool force,
                        const vlmp_cli_args *args, vlmp_error *err);
