/* An open packed file; internal to formats/. */
#pragma once

#include "formats/packed_layout.h"
#include "formats/safetensors.h"
#include "formats/source_files.h"
#include "formats/st_hash.h"
#include "formats/tensor_table.h"
#include "src/base/json.h"

typedef struct {
    vlmp_source base; /* first: the source is the file */
    vlmp_safetensors file;
    vlmp_source_files files;
    vlmp_tensor_table table; /* in order of computation */
    cJSON *tensor_list;      /* vlmp.tensors; hashes and source names point into it */
    const char **hashes;     /* of file.tensors */
    vlmp_packed_linear *linears;
    size_t linear_count;
    vlmp_arena arena;
} vlmp_packed;

static inline const vlmp_packed *vlmp_as_packed(const vlmp_source *source)
{
    return (const vlmp_packed *)source;
}

/* "PATH: metadata 'KEY'" for messages. */
void vlmp_packed_where(const vlmp_packed *p, const char *key, char out[1024]);

/* p->hashes and p->table from the header and vlmp.tensors: each tensor has its entry and no entry
 * is left; alignment. */
int vlmp_packed_read_tensors(vlmp_packed *p, vlmp_error *err);

/* p->linears from vlmp.linears: their parts are there with the right types and shapes, and every
 * .codes, .scales and .zeros belongs to one. */
int vlmp_packed_read_linears(vlmp_packed *p, const cJSON *linears, vlmp_error *err);
