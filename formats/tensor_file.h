/* Our own work files: a safetensors file with one metadata entry, whose key says what it is
 * (formats/FORMAT.md). */
#pragma once

#include <stdbool.h>

#include "src/base/outfile.h"
#include "src/model/source.h"

#define VLMP_CALIBRATION_KEY "vlmp.calibration" /* .calib: src/calib/calibration.h */
#define VLMP_REFERENCE_KEY   "vlmp.reference"   /* .ref: src/eval/reference.h */

typedef struct vlmp_tensor_file vlmp_tensor_file;

/* Writes and commits; the caller aborts the output afterwards in any case. */
int vlmp_tensor_file_write(vlmp_outfile *output, const char *key, const char *metadata,
                           const vlmp_tensor *tensors, size_t count, vlmp_error *err);

/* Another kind of file is VLMP_ERR_INPUT; hint says how to make one. */
int vlmp_tensor_file_open(vlmp_tensor_file **out, const char *path, const char *key,
                          const char *hint, vlmp_error *err);
void vlmp_tensor_file_close(vlmp_tensor_file *file); /* NULL is allowed */

/* Whether path is a file of this kind; what cannot be read as one is not. Fails for want of memory
 * and when the disk does. */
int vlmp_tensor_file_is(bool *is, const char *path, const char *key, vlmp_error *err);

const char *vlmp_tensor_file_metadata(const vlmp_tensor_file *file);

/* NULL when absent. file is a vlmp_tensor_file (the type fits callers that know no formats). */
const vlmp_tensor *vlmp_tensor_file_find(void *file, const char *name);

/* SHA-256 of the whole file. */
void vlmp_tensor_file_digest(const vlmp_tensor_file *file, char hex[65]);
