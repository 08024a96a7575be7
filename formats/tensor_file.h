/* Our own work files: a safetensors file with one metadata entry, whose key says what it is
 * (formats/FORMAT.md). */
#pragma once

#include <stdbool.h>

#include "formats/safetensors_write.h"
#include "src/model/source.h"

#define VLMP_CALIBRATION_KEY "vlmp.calibration" /* .calib: src/calib/calibration.h */
#define VLMP_REFERENCE_KEY   "vlmp.reference"   /* .ref: src/eval/reference.h */

typedef struct vlmp_tensor_file vlmp_tensor_file;

/* Tensors without data come from read, see vlmp_safetensors_write. */
int vlmp_tensor_file_write(const char *path, bool force, const char *key, const char *metadata,
                           const vlmp_tensor *tensors, size_t count, vlmp_st_read_fn *read,
                           void *arg, vlmp_error *err);

/* Another kind of file is VLMP_ERR_INPUT; hint says how to make one. */
int vlmp_tensor_file_open(vlmp_tensor_file **out, const char *path, const char *key,
                          const char *hint, vlmp_error *err);
void vlmp_tensor_file_close(vlmp_tensor_file *file); /* NULL is allowed */

/* Whether path is a file of this kind; false on any doubt. */
bool vlmp_tensor_file_is(const char *path, const char *key);

const char *vlmp_tensor_file_metadata(const vlmp_tensor_file *file);

/* NULL when absent. file is a vlmp_tensor_file (the type fits callers that know no formats). */
const vlmp_tensor *vlmp_tensor_file_find(void *file, const char *name);

/* SHA-256 of the whole file. */
void vlmp_tensor_file_digest(const vlmp_tensor_file *file, char hex[65]);
