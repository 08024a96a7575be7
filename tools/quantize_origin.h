/* What the bytes of a packed file depend on: the journal's identity, and the file's provenance. */
#pragma once

#include "src/base/json.h"
#include "src/flow/identity.h"
#include "src/quant/run/selection.h"

typedef struct {
    const vlmp_identity *model;
    const vlmp_calibration *calibration; /* empty when no method needs statistics */
    const char *calibration_digest;      /* "" then */
    const vlmp_selection *selection;     /* what is taken of it; NULL then */
    const char *recipe;                  /* its rules as JSON */
    bool sequential, bf16;               /* bf16: of what products multiply; else F32 */
    const char *kernels;
    const char *program; /* its digest */
} vlmp_quantize_origin;

/* SHA-256 of the running program, libraries linked into it included: what another build has begun
 * may be of other bits. */
int vlmp_quantize_program(char hex[VLMP_SHA256_HEX], vlmp_error *err);

/* Appends lines of the form "key: value". */
void vlmp_quantize_identity(const vlmp_quantize_origin *origin, vlmp_buffer *out);

/* One object. Says nothing of kernels and selection where they make no difference. */
void vlmp_quantize_provenance(const vlmp_quantize_origin *origin, vlmp_json_writer *w);

/* {"budget": N or "all", "seen": …}: what was taken of the calibration. */
void vlmp_selection_write(const vlmp_selection *selection, vlmp_json_writer *w);

/* The same in a line for the user, without newline. */
void vlmp_selection_show(const vlmp_selection *selection, vlmp_buffer *out);
