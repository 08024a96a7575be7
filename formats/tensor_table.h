/* The tensors of a source by position and by name; shared by folders, packed and other files. */
#pragma once

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/sha256.h"
#include "src/store/source.h"

typedef struct {
    vlmp_tensor *tensors; /* [count] */
    size_t *by_name;      /* [count] indices, sorted by canonical name */
    size_t count;
} vlmp_tensor_table;

/* Sorts the names of table->tensors (from malloc, owned by the table afterwards, also on failure).
 * One canonical name twice is VLMP_ERR_INPUT naming both source tensors. */
int vlmp_tensor_table_index(vlmp_tensor_table *table, vlmp_error *err);
void vlmp_tensor_table_free(vlmp_tensor_table *table);

/* NULL when absent. */
const vlmp_tensor *vlmp_tensor_table_find(const vlmp_tensor_table *table, const char *name);

/* The lower-case hex SHA-256 of bytes of a map, read in pieces that are released behind. */
void vlmp_map_sha256(const vlmp_map *map, size_t offset, size_t bytes, char hex[VLMP_SHA256_HEX]);

/* The digest of a model: SHA-256 over one line a tensor, "NAME TYPE D0,D1,… SHA256\n", in byte
 * order of canonical names. hashes[i] belongs to tensors[i]. */
int vlmp_tensors_digest(const vlmp_tensor *tensors, char (*hashes)[VLMP_SHA256_HEX], size_t count,
                        char hex[VLMP_SHA256_HEX], vlmp_error *err);
int vlmp_tensor_table_digest(const vlmp_tensor_table *table, char (*hashes)[VLMP_SHA256_HEX],
                             char hex[VLMP_SHA256_HEX], vlmp_error *err);
