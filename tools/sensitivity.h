/* The sensitivity of a model's linears: from its file beside the calibration, or measured and kept
 * there, so that every further budget costs nothing. */
#pragma once

#include "src/budget/sensitivity.h"
#include "tools/engine.h"

typedef struct {
    const vlmp_cli_command *cli;
    const vlmp_cli_args *args;
    vlmp_engine *engine; /* with the model open */
    const char *calib;   /* path; the file is CALIB.sensitivity.json */
    int64_t tokens;      /* that the rounding sees: vlmp_select's */
    const char *work;    /* folder: candidates' weights lie there meanwhile */
    double seconds;      /* that measuring took; 0: it was read */
} vlmp_sensitivity_job;

/* Free *out, after a failure too. A file of another model or calibration is measured anew, and
 * that is said; a damaged one is VLMP_ERR_INPUT. One that cannot be written is a warning. What a
 * killed or interrupted run has done is kept in the work folder, and gone on from there. */
int vlmp_sensitivity_get(vlmp_sensitivity_job *job, vlmp_sensitivity *out, vlmp_error *err);
