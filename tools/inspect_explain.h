/* What vlm-inspect says of one linear: how it is stored, what decided that, and what it costs. */
#pragma once

#include <stdbool.h>

#include "src/store/source.h"

/* name: canonical or as in the source's files, with or without ".weight". Prints on stdout; a name
 * that is no linear of the model is VLMP_ERR_USAGE with the nearest one. */
int vlmp_inspect_explain(vlmp_source *source, const char *name, bool json, vlmp_error *err);
