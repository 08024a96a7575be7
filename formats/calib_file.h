/* The .calib file: a safetensors file with one metadata entry, see formats/FORMAT.md. */
#pragma once

#include "src/model/source.h"

#define VLMP_CALIB_KEY "vlmp.calibration"

/* An open .calib file, as tensors by name. */
typedef struct vlmp_calib_file vlmp_calib_file;

int vlmp_calib_file_write(const char *path, bool force, const vlmp_tensor *tensors, size_t count,
                          const char *metadata, vlmp_error *err);

/* Not a calibration file: VLMP_ERR_INPUT. */
int vlmp_calib_file_open(vlmp_calib_file **out, const char *path, vlmp_error *err);
void vlmp_calib_file_close(vlmp_calib_file *file); /* NULL is allowed */

const char *vlmp_calib_file_metadata(const vlmp_calib_file *file);

/* NULL when absent. file is a vlmp_calib_file (the type fits callers that know no formats). */
const vlmp_tensor *vlmp_calib_file_find(void *file, const char *name);

/* SHA-256 of the whole file. */
void vlmp_calib_file_digest(const vlmp_calib_file *file, char hex[65]);
