/* A Hugging Face model folder as a tensor source. */
#pragma once

#include "src/base/error.h"
#include "src/store/source.h"

/* Reads config.json, the safetensors files (one, or shards behind an index) and the small files
 * beside them. Checks everything that can be checked without reading tensor data. The source's
 * tensors are in order of computation; its files are not NUL-terminated. Close with
 * (*out)->close(*out). */
int vlmp_folder_open(vlmp_source **out, const char *path, vlmp_error *err);

/* For who reads sizes alone: safetensors files may end anywhere behind their headers, the folder
 * may have none, or path may be that of a config.json. Without weights the tensors are those that
 * the configuration asks for, of the type that it names, and the source is `promised`. data may be
 * NULL everywhere; no digest is made. */
int vlmp_folder_open_headers(vlmp_source **out, const char *path, vlmp_error *err);
