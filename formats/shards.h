/* The weights of a folder: model.safetensors, or the files that its index names. */
#pragma once

#include "formats/safetensors.h"
#include "src/base/error.h"
#include "src/base/file.h"

typedef struct {
    vlmp_safetensors *files; /* [count] in order of names */
    size_t count;
} vlmp_shards;

/* A tensor that is in two files, or not where the index says, is VLMP_ERR_INPUT, and so is a link
 * that leaves `boundary` (resolved path). headers: files may end anywhere behind theirs. */
int vlmp_shards_open(vlmp_shards *shards, const char *folder, const char *boundary, bool headers,
                     vlmp_error *err);

/* Whether the folder has weights: model.safetensors or an index. */
int vlmp_shards_look(bool *there, const char *folder, vlmp_error *err);
void vlmp_shards_close(vlmp_shards *shards);

/* The map of the file whose path this is, by address; NULL: none of them. */
const vlmp_map *vlmp_shards_map(const vlmp_shards *shards, const char *path);
