/* NaN and infinity: found where they enter, in weights, or where they arise, in activations. */
#pragma once

#include "src/store/source.h"

/* The first value that is NaN or infinite; count when all are finite. */
size_t vlmp_first_not_finite(const float *values, size_t count);

/* A tensor with such an element is VLMP_ERR_INPUT with file, name and element. Other types than
 * F32, F16 and BF16 pass. */
int vlmp_tensor_check_finite(const vlmp_tensor *tensor, vlmp_error *err);

/* All tensors that the model reads, in one pass over their bytes, before hours of work on them.
 * release drops each tensor's pages behind it. */
int vlmp_source_check_finite(const vlmp_source *source, vlmp_error *err);
