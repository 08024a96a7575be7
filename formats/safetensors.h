/* Reading safetensors files, strictly: every rule of the format is checked before a byte of data is
 * used, and each fault is one message with file, tensor, byte and hint. See formats/FORMAT.md. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/store/source.h"

#define VLMP_ST_MAX_HEADER  ((size_t)100000000) /* bytes; the reference implementation's limit */
#define VLMP_ST_MAX_TENSORS ((size_t)1000000)   /* and metadata keys */
#define VLMP_ST_MAX_NAME    ((size_t)1024)      /* bytes */

typedef struct {
    const char *name; /* no control characters, never empty */
    vlmp_dtype dtype;
    int rank; /* 0: a scalar, one element */
    int64_t shape[VLMP_MAX_RANK];
    uint64_t begin; /* bytes, relative to the data section */
    uint64_t end;
    size_t header_at; /* byte in the file where its name stands, for messages */
} vlmp_st_tensor;

typedef struct {
    const char *key;   /* may be empty */
    const char *value; /* NUL-terminated; may hold NUL and control characters */
    size_t length;     /* of value */
} vlmp_st_pair;

typedef struct {
    char *path;
    vlmp_map map;
    size_t data_start; /* byte in the file where the data section begins: 8 + header length */
    bool is_cut;       /* data are missing at its end; of vlmp_safetensors_open_header alone */
    size_t count;
    vlmp_st_tensor *tensors; /* [count] in the order of their data */
    size_t *by_name;         /* [count] indices, sorted by name */
    size_t pair_count;
    vlmp_st_pair *pairs; /* __metadata__, in file order */
    vlmp_arena arena;
} vlmp_safetensors;

/* Maps the file and checks its header completely. On failure nothing is left to close. */
int vlmp_safetensors_open(vlmp_safetensors *file, const char *path, vlmp_error *err);

/* The same of a file that may end anywhere behind its header: for who reads no data. */
int vlmp_safetensors_open_header(vlmp_safetensors *file, const char *path, vlmp_error *err);

/* The same of a file without a name, which messages call path. fd is not kept. */
int vlmp_safetensors_open_work(vlmp_safetensors *file, int fd, const char *path, vlmp_error *err);
void vlmp_safetensors_close(vlmp_safetensors *file);

/* NULL when absent. */
const vlmp_st_tensor *vlmp_safetensors_find(const vlmp_safetensors *file, const char *name);

/* The tensor's bytes in the map; any alignment; not NULL even when there are none. */
const unsigned char *vlmp_safetensors_data(const vlmp_safetensors *file,
                                           const vlmp_st_tensor *tensor);

/* A metadata value, NULL when absent. length may be NULL. */
const char *vlmp_safetensors_metadata(const vlmp_safetensors *file, const char *key,
                                      size_t *length);
