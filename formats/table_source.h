/* What the sources that read a model folder have in common: the folder's files, and a table of
 * tensors whose weights are none that are quantized here. */
#pragma once

#include "formats/source_files.h"
#include "formats/tensor_table.h"
#include "src/base/memory.h"
#include "src/model/config.h"

typedef struct {
    vlmp_source base; /* first: the source is this */
    vlmp_source_files files;
    vlmp_tensor_table table; /* in order of computation */
    vlmp_config config;
    vlmp_arena arena;
} vlmp_table_source;

/* path is copied. What is left to set: digest_now, release and close. Free also after a failure. */
int vlmp_table_source_init(vlmp_table_source *source, const char *path, vlmp_error *err);
void vlmp_table_source_free(vlmp_table_source *source);

/* The next tensor of the table, for which there is room, gets its canonical name. */
int vlmp_table_source_add(vlmp_table_source *source, const vlmp_tensor *tensor, const char *name,
                          vlmp_error *err);

/* Sorts the table when it is complete. */
int vlmp_table_source_sort(vlmp_table_source *source, vlmp_error *err);
