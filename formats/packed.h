/* The packed model file (.vlmp): formats/FORMAT.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/st_hash.h"
#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"
#include "src/base/sha256.h"
#include "src/store/source.h"

#define VLMP_PACKED_VERSION     "1"
#define VLMP_PACKED_FILE_PREFIX "file/" /* of the U8 tensors that hold the model folder's files */
#define VLMP_PACKED_IMPORT      "vlmp.import" /* JSON: what was read from another format, and how */

/* Reading. Opening checks the header completely (its own hash included) and reads no tensor data.
 * The source's path is as given; close with (*out)->close(*out). */
int vlmp_packed_open(vlmp_source **out, const char *path, vlmp_error *err);

/* The same of a file without a name, which messages and the source call path. fd is not kept. */
int vlmp_packed_open_work(vlmp_source **out, int fd, const char *path, vlmp_error *err);

/* Reads every byte: the hash of each tensor and file, scales finite and above zero, padding bits
 * zero. source is from vlmp_packed_open; progress may be NULL. */
int vlmp_packed_verify(const vlmp_source *source, vlmp_st_progress *progress, void *arg,
                       vlmp_error *err);

/* A metadata value ("vlmp.recipe", "vlmp.provenance", "vlmp.decisions": JSON texts), NULL when
 * absent. source is from vlmp_packed_open. */
const char *vlmp_packed_note(const vlmp_source *source, const char *key, size_t *length);

/* The linears that are quantized, in order of computation. */
typedef struct {
    const char *name; /* canonical, without ".codes" */
    vlmp_scheme scheme;
    int64_t n; /* outputs */
    int64_t k; /* inputs */
} vlmp_packed_linear;

const vlmp_packed_linear *vlmp_packed_linears(const vlmp_source *source, size_t *count);

/* The one whose name is the first `length` bytes of name; NULL: it is not quantized. source is from
 * vlmp_packed_open. */
const vlmp_packed_linear *vlmp_packed_linear_find(const vlmp_source *source, const char *name,
                                                  size_t length);

/* Writing. A plan lists what the file will hold; its exact size is known before any weight is
 * quantized. */
typedef struct {
    const vlmp_source *source; /* kept tensors and files come from here; not owned */
    vlmp_tensor *tensors;      /* data NULL: the bytes come from the read function */
    size_t tensor_count;
    size_t tensor_capacity;
    vlmp_packed_linear *linears;
    size_t linear_count;
    size_t linear_capacity;
    vlmp_arena arena; /* names */
} vlmp_packed_plan;

/* Everything is kept. Free the plan also after a failure. */
int vlmp_packed_plan_init(vlmp_packed_plan *plan, const vlmp_source *source, vlmp_error *err);
void vlmp_packed_plan_free(vlmp_packed_plan *plan);

/* name.weight [n][k] gives way to the parts of src/base/packed_parts.h. scheme->group divides k, or
 * is VLMP_GROUP_CHANNEL. */
int vlmp_packed_plan_quantize(vlmp_packed_plan *plan, const char *name, const vlmp_scheme *scheme,
                              vlmp_error *err);

/* The tensor's bytes come from the read function instead, with this type and the same shape (a norm
 * that AWQ has folded a scale into). */
int vlmp_packed_plan_replace(vlmp_packed_plan *plan, const char *name, vlmp_dtype dtype,
                             vlmp_error *err);

/* A metadata entry. reserve: bytes that the quoted text gets in the header at least, so that the
 * size of the file is known before the text is; value NULL: not known yet. */
typedef struct {
    const char *key; /* "vlmp.recipe" … */
    const char *value;
    size_t reserve;
} vlmp_packed_entry;

/* Exact while no value outgrows its reserve. */
int vlmp_packed_size(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                     size_t entry_count, uint64_t *bytes, vlmp_error *err);

/* Gives length bytes of the tensor from offset on. */
typedef int vlmp_packed_read_fn(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                                size_t length, vlmp_error *err);

/* Writes tensor after tensor, so memory stays small; the file appears complete or not at all.
 * digest gets the digest over all tensors. */
int vlmp_packed_write(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                      size_t entry_count, const char *path, bool force, vlmp_packed_read_fn *read,
                      void *arg, char digest[VLMP_SHA256_HEX], vlmp_error *err);

/* The same to a file that the caller has opened, and commits and aborts. */
int vlmp_packed_put(const vlmp_packed_plan *plan, const vlmp_packed_entry *entries,
                    size_t entry_count, vlmp_outfile *file, vlmp_packed_read_fn *read, void *arg,
                    char digest[VLMP_SHA256_HEX], vlmp_error *err);
