/* What LLaVA-NeXT shares with LLaVA-1.5. */
#pragma once

#include "src/model/family.h"

int vlmp_llava_read_config(vlmp_config *config, const cJSON *root, const char *where,
                           vlmp_error *err);
