/* What the files of a model folder say of the model, in transformers' words: also those of a folder
 * that another tool has quantized, and of LLaVA's own code. */
#pragma once

#include "formats/import.h"
#include "formats/original.h"
#include "formats/shards.h"
#include "formats/table_source.h"

typedef struct {
    vlmp_import *import; /* NULL: its weights are as they were trained */
    bool is_original;
    vlmp_original original;
    vlmp_shards shards; /* its weights, opened where it is an original folder's */
} vlmp_folder_config;

/* Maps the folder's files into those of the source, puts what they say in place of config.json and
 * its companions, and reads the configuration. boundary: of vlmp_folder_boundary. headers: see
 * vlmp_shards_open. The source's files may lie in *out. Free also after a failure. */
int vlmp_folder_config_read(vlmp_folder_config *out, vlmp_table_source *source, const char *folder,
                            const char *boundary, bool headers, vlmp_error *err);
void vlmp_folder_config_free(vlmp_folder_config *config);
