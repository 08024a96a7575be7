/* A Hugging Face model folder as a tensor source. */
#pragma once

#include "src/base/error.h"
#include "src/store/source.h"

/* Reads config.json, the safetensors files (one, or shards behind an index) and the small files
 * beside them. Checks everything that can be checked without reading tensor data. The source's
 * tensors are in order of computation; its files are not NUL-terminated. Close with
 * (*out)->close(*out). */
int vlmp_folder_open(vlmp_source **out, const char *path, vlmp_error *err);
