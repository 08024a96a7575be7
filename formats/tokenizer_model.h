/* Folders whose tokenizer is SentencePiece's file alone, as those of LLaVA's own code are. */
#pragma once

#include <stdbool.h>

#include "formats/source_files.h"
#include "src/base/error.h"
#include "src/base/memory.h"

/* Where the folder has a tokenizer.model and no tokenizer.json: adds the tokenizer.json that says
 * the same, with what tokenizer_config.json, special_tokens_map.json and added_tokens.json say, and
 * puts the first of these in order. Else nothing happens. inside: of vlmp_folder_boundary.
 * every_stretch: each stretch of text between added tokens begins with a space, whatever the
 * configuration says. */
int vlmp_tokenizer_model_convert(vlmp_source_files *files, const char *folder, const char *inside,
                                 bool every_stretch, vlmp_arena *arena, vlmp_error *err);
