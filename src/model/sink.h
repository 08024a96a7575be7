/* Where a quantizer's tensors go: step by step, so that work survives an interruption. Implemented
 * in formats/ over an append-only journal. */
#pragma once

#include "src/model/source.h"

typedef struct vlmp_sink vlmp_sink;

struct vlmp_sink {
    /* Keeps a copy of a tensor of the packed file (name, dtype, rank, shape, data). */
    int (*put)(vlmp_sink *self, const vlmp_tensor *tensor, vlmp_error *err);

    /* Everything put since the last commit is one finished step (a block): durable when this
     * returns. record: a JSON object with what was decided; given back after a restart. */
    int (*commit)(vlmp_sink *self, const char *step, const char *record, vlmp_error *err);

    /* The record of a finished step, or NULL. Valid until the next put. */
    const char *(*record)(vlmp_sink *self, const char *step);

    /* A tensor that was put: data is copied to memory that the caller frees with free(out->data)
     * cast; VLMP_ERR_INPUT when there is none of this name. */
    int (*get)(vlmp_sink *self, const char *name, vlmp_tensor *out, void **memory, vlmp_error *err);
};
