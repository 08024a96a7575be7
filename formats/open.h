/* Whatever a user names as a model. */
#pragma once

#include "src/base/error.h"
#include "src/store/source.h"

/* A model folder, a packed file, or ORG/NAME[@REVISION] in the local hub cache (then the source's
 * path is the snapshot folder, whose last part is the commit). */
int vlmp_model_source_open(vlmp_source **out, const char *model, vlmp_error *err);
