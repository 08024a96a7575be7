/* What libvlmpack-cuda.so is to the programs: one symbol, vlmp_cuda_plugin. */
#pragma once

#include "kernels/ops.h"

/* Counted up when what the two share changes: this header, tables and structs of kernels/, the
 * error. */
#define VLMP_CUDA_ABI 6

typedef struct {
    int abi;
    const char *version; /* of the build; the same as the program's */

    /* A context on a device. VLMP_ERR_SYSTEM: no driver, one that is too old, no such device, one
     * that this build has no code for, or too little memory. The pool is not owned. */
    int (*create)(vlmp_ctx **ctx, vlmp_pool *pool, int device, vlmp_error *err);
} vlmp_cuda_plugin_table;

#define VLMP_CUDA_SYMBOL "vlmp_cuda_plugin"
extern const vlmp_cuda_plugin_table vlmp_cuda_plugin;
