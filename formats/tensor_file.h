/* Our own work files: a safetensors file with hashes of itself (st_hash.h) and one metadata entry,
 * whose key says what it is (formats/FORMAT.md). */
#pragma once

#include <stdbool.h>

#include "formats/safetensors_write.h"
#include "formats/st_hash.h"
#include "src/base/outfile.h"
#include "src/store/source.h"

#define VLMP_CALIBRATION_KEY "vlmp.calibration" /* .calib: src/calib/calibration.h */
#define VLMP_REFERENCE_KEY   "vlmp.reference"   /* .ref: src/eval/reference.h */

typedef struct vlmp_tensor_file vlmp_tensor_file;

/* Writes and commits; the caller opens the output before its work, and aborts it afterwards in any
 * case. Tensors without data come from read, see vlmp_safetensors_put. */
int vlmp_tensor_file_write(vlmp_outfile *output, const char *key, const char *metadata,
                           const vlmp_tensor *tensors, size_t count, vlmp_st_read_fn *read,
                           void *arg, vlmp_error *err);

/* Checks the header completely (its own hash included) and reads no tensor data. Another kind of
 * file, or one without hashes, is VLMP_ERR_INPUT; hint says how to make one. */
int vlmp_tensor_file_open(vlmp_tensor_file **out, const char *path, const char *key,
                          const char *hint, vlmp_error *err);
void vlmp_tensor_file_close(vlmp_tensor_file *file); /* NULL is allowed */

/* Reads every byte and checks the hash of each tensor, and the digest. progress may be NULL. */
int vlmp_tensor_file_verify(const vlmp_tensor_file *file, vlmp_st_progress *progress, void *arg,
                            vlmp_error *err);

/* Whether path is a file of this kind, damaged or not; what is no safetensors file is not. Fails
 * for want of memory and when the disk does. */
int vlmp_tensor_file_is(bool *is, const char *path, const char *key, vlmp_error *err);

const char *vlmp_tensor_file_metadata(const vlmp_tensor_file *file);

/* NULL when absent. file is a vlmp_tensor_file (the type fits callers that know no formats). */
const vlmp_tensor *vlmp_tensor_file_find(void *file, const char *name);

/* Drops bytes of a tensor's data from resident memory; they are read again when they are asked for.
 */
void vlmp_tensor_file_release(void *file, const vlmp_tensor *tensor, size_t offset, size_t length);

/* SHA-256 of the whole file. */
void vlmp_tensor_file_sha256(const vlmp_tensor_file *file, char hex[VLMP_SHA256_HEX]);
