/* The activations of a model on a part of a calibration's samples. The audit alone reads them: the
 * methods see every sample, and look for numbers that are not finite, when they quantize. */
#pragma once

#include "src/calib/calibration.h"
#include "src/flow/sequence_store.h"
#include "tools/calibrate_audit.h"
#include "tools/engine.h"
#include "tools/progress.h"

/* How many tokens tell where activations are large: some dozen samples of one picture each, or
 * three of LLaVA-NeXT. */
#define VLMP_AUDIT_TOKENS 8000

typedef struct {
    const vlmp_engine *engine;
    const vlmp_cli_args *args;
    const vlmp_preprocess *preprocess;
    vlmp_sequence_store *chosen; /* all samples, with their pixels */
    const char *data, *output;
    vlmp_progress *progress;
} vlmp_measurement;

/* Fills calibration->statistics from samples of about `budget` tokens (0: from all). */
int vlmp_calibrate_measure(const vlmp_measurement *measurement, int64_t budget,
                           vlmp_calibration *calibration, vlmp_measured *measured, vlmp_error *err);
