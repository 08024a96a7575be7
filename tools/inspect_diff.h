/* In what two models differ: tensors and how they are stored, errors, files, recipe. */
#pragma once

#include <stdbool.h>

#include "src/store/source.h"

/* Prints on stdout. Reads every byte of tensors that are stored alike. */
int vlmp_inspect_diff(const vlmp_source *a, const vlmp_source *b, bool json, vlmp_error *err);
