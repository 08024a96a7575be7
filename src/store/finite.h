/* NaN and infinity where they enter, in weights. */
#pragma once

#include "src/store/source.h"

/* A tensor with such an element is VLMP_ERR_INPUT with file, name and element. Other types than
 * F32, F16 and BF16 pass. */
int vlmp_tensor_check_finite(const vlmp_tensor *tensor, vlmp_error *err);

/* All tensors that the model reads, in one pass over their bytes, before hours of work on them.
 * release drops each tensor's pages behind it. */
int vlmp_source_check_finite(const vlmp_source *source, vlmp_error *err);
