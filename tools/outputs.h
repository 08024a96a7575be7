/* What outputs must not be, checked before any work. */
#pragma once

#include "tools/cli.h"

/* NULL entries are options that were not given. An output that is an input, or a file of a model
 * folder among the inputs, or named twice, is VLMP_ERR_USAGE, --force or not; one that cannot
 * be looked at, VLMP_ERR_SYSTEM. Whether it can be written is checked apart. */
int vlmp_outputs_apart(const char *const *outputs, size_t output_count, const char *const *inputs,
                       size_t input_count, vlmp_error *err);
