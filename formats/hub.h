/* The local Hugging Face hub cache, read-only and offline. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"

/* Whether text has the form ORG/NAME or ORG/NAME@REVISION. */
bool vlmp_is_hub_id(const char *text);

/* The cache: $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
 * ~/.cache/huggingface/hub, there or not. false: nothing names it. */
bool vlmp_hub_folder(char *out, size_t capacity);

/* The snapshot folder of ORG/NAME[@REVISION] into out; its last part is the commit. The revision is
 * a branch, tag or commit; main without one. A miss is VLMP_ERR_INPUT with the command that fetches
 * the model. */
int vlmp_hub_find(char *out, size_t capacity, const char *id, vlmp_error *err);

/* The same, where a miss is an empty out. */
int vlmp_hub_look(char *out, size_t capacity, const char *id, vlmp_error *err);
