/* Hashes that our own safetensors files carry of themselves (formats/FORMAT.md, section 6): one of
 * the header, one a tensor, one digest over all. Shared by packed files, calibrations and saved
 * references. */
#pragma once

#include "formats/safetensors.h"
#include "formats/tensor_table.h"
#include "src/base/json.h"

/* What stands in vlmp.header until the header is complete, and what its hash is taken over. */
#define VLMP_ST_NO_HASH "0000000000000000000000000000000000000000000000000000000000000000"

/* vlmp.header: SHA-256 over the first `length` bytes of the file (length field, header, padding)
 * with the 64 digits of the hash itself, which stand at byte `at`, taken as '0'. */
void vlmp_st_header_hash(const unsigned char *bytes, size_t length, size_t at,
                         char hex[VLMP_SHA256_HEX]);

/* The byte of the first digit of vlmp.header's value; 0 when it is not there exactly once. */
size_t vlmp_st_header_hash_at(const unsigned char *bytes, size_t length);

/* Puts the hash of a complete header into its place, which holds VLMP_ST_NO_HASH. VLMP_ERR_USAGE
 * when the key is not there exactly once. */
int vlmp_st_seal_header(unsigned char *bytes, size_t length, vlmp_error *err);

/* The stored hash against the bytes: a flipped bit anywhere in the header is found here. */
int vlmp_st_check_header(const vlmp_safetensors *file, vlmp_error *err);

/* The value of vlmp.tensors: name → source name (where there is one), hash, whether unused. */
void vlmp_st_put_hashes(vlmp_json_writer *w, const vlmp_tensor *tensors,
                        char (*hashes)[VLMP_SHA256_HEX], size_t count);

/* The members of vlmp.tensors, one for each tensor of the file and none besides:
 * entries[i] belongs to file->tensors[file->by_name[i]], hashes[i] to file->tensors[i]; both point
 * into list and are the caller's to free, also after a failure. */
int vlmp_st_read_hashes(const vlmp_safetensors *file, const cJSON *list, const cJSON ***entries,
                        const char ***hashes, vlmp_error *err);

/* done of total bytes are checked. Return non-zero to stop (VLMP_ERR_INTERRUPTED). */
typedef int vlmp_st_progress(void *arg, uint64_t done, uint64_t total);

/* Reads every tensor's bytes and compares with hashes[file->count]. progress may be NULL. */
int vlmp_st_check_tensors(const vlmp_safetensors *file, const char *const *hashes,
                          vlmp_st_progress *progress, void *arg, vlmp_error *err);

/* The digest over the table's tensors, all of them in the file, against the stored one. */
int vlmp_st_check_digest(const vlmp_safetensors *file, const char *const *hashes,
                         const vlmp_tensor_table *table, const char *digest, vlmp_error *err);
