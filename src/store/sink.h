/* Where a quantizer's tensors go: step by step, so that work survives an interruption. Implemented
 * in formats/ over an append-only journal. */
#pragma once

#include "src/store/source.h"

typedef struct vlmp_sink vlmp_sink;

struct vlmp_sink {
    /* Keeps a copy of a tensor of the packed file (name, dtype, rank, shape, data). */
    int (*put)(vlmp_sink *self, const vlmp_tensor *tensor, vlmp_error *err);

    /* Everything put since the last commit is one finished step (a block): durable when this
     * returns. record: a JSON object with what was decided; given back after a restart. */
    int (*commit)(vlmp_sink *self, const char *step, const char *record, vlmp_error *err);

    /* The record of a finished step: *record is NULL when the step is not finished, and otherwise
     * valid until record or noted is called again. A record that cannot be read is an error. */
    int (*record)(vlmp_sink *self, const char *step, const char **record, vlmp_error *err);

    /* Keeps a short text under a name, beside the steps; durable when this returns. A later one of
     * the same name replaces it. */
    int (*note)(vlmp_sink *self, const char *name, const char *text, vlmp_error *err);

    /* The latest note of this name, as record gives a step's. */
    int (*noted)(vlmp_sink *self, const char *name, const char **text, vlmp_error *err);

    /* A tensor that was put: data is copied to memory that the caller frees with free(out->data)
     * cast; VLMP_ERR_INPUT when there is none of this name. */
    int (*get)(vlmp_sink *self, const char *name, vlmp_tensor *out, void **memory, vlmp_error *err);
};
