/* Calibration files as commands read them. */
#pragma once

#include "src/calib/calibration.h"

/* Checks every hash of the file, then reads it for the model. identity: the model's; NULL: not
 * compared. digest: becomes the SHA-256 of the file. Free with vlmp_calibration_free. Faults of the
 * file, and one that was made with another model: VLMP_ERR_INPUT. */
int vlmp_calibration_load(vlmp_calibration *out, const char *path, const vlmp_model *model,
                          const vlmp_identity *identity, char digest[VLMP_SHA256_HEX],
                          vlmp_error *err);
