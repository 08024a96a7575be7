/* What a measurement has done, kept until it ends, so that the next one goes on where a killed one
 * was: a journal in the work folder, and beside it each candidate's model. */
#pragma once

#include "src/base/journal.h"
#include "src/budget/sensitivity.h"
#include "src/store/sink.h"

typedef struct {
    const vlmp_sensitivity *table; /* what all depends on; its cells are filled */
    vlmp_journal *journal;
    vlmp_buffer identity; /* a line each */
    char stem[4096];      /* of all files: the same for every run of a calibration */
    bool again;           /* an earlier run left something to go on from */
} vlmp_sensitivity_work;

/* What an earlier run with another identity has left, or left damaged, is started over. Close it
 * after a failure too. */
int vlmp_sensitivity_work_open(vlmp_sensitivity_work *out, const vlmp_sensitivity *table,
                               const char *folder, vlmp_error *err);

/* keep: the files, for the next run. */
void vlmp_sensitivity_work_close(vlmp_sensitivity_work *work, bool keep);

/* The journal of a candidate that is being rounded, and the path in front of its borders. */
int vlmp_sensitivity_work_sink(const vlmp_sensitivity_work *work, int candidate, vlmp_sink **sink,
                               char border[4096], vlmp_error *err);

/* Files of the candidate's rounding go, once its model is there. */
void vlmp_sensitivity_work_sink_end(const vlmp_sensitivity_work *work, vlmp_sink *sink);

/* Path of a candidate's model. */
void vlmp_sensitivity_work_path(const vlmp_sensitivity_work *work, int candidate, char path[4096]);

/* That this model, of this digest, is whole, with the errors of its cells. */
int vlmp_sensitivity_work_rounded(vlmp_sensitivity_work *work, int candidate, const char *digest,
                                  vlmp_error *err);

/* What of that an earlier run kept: fills the candidate's errors. *digest: ""; nothing. */
int vlmp_sensitivity_work_find(const vlmp_sensitivity_work *work, int candidate,
                               char digest[VLMP_SHA256_HEX], vlmp_error *err);

/* The divergence of a site's probe; and those that an earlier run kept, into their cells. */
int vlmp_sensitivity_work_ran(vlmp_sensitivity_work *work, int site, double kl, vlmp_error *err);
int vlmp_sensitivity_work_runs(const vlmp_sensitivity_work *work, vlmp_error *err);
