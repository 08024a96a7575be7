/* NaN and infinity where they enter, in weights. */
#pragma once

#include "src/store/source.h"

/* A tensor with such an element is VLMP_ERR_INPUT with file, name and element. Other types than
 * F32, F16 and BF16 pass. */
int vlmp_tensor_check_finite(const vlmp_tensor *tensor, vlmp_error *err);

/* done of total bytes are read. Return non-zero to stop (VLMP_ERR_INTERRUPTED). */
typedef int vlmp_finite_progress(void *arg, uint64_t done, uint64_t total);

/* All tensors that the model reads, in one pass over their bytes, before hours of work on them.
 * release drops each tensor's pages behind it; progress may be NULL. */
int vlmp_source_check_finite(const vlmp_source *source, vlmp_finite_progress *progress, void *arg,
                             vlmp_error *err);
