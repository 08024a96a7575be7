/* The tensors of a model of which there is the configuration alone. */
#pragma once

#include "formats/table_source.h"

/* Fills the table with what the source's configuration, read from its config.json, asks for: of the
 * type that the file names (BF16 where it names none), data NULL. The source is `promised` then. Of
 * a family that does not run: VLMP_ERR_INPUT. */
int vlmp_promise_tensors(vlmp_table_source *source, vlmp_error *err);
