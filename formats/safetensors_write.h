/* Writing safetensors files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/safetensors.h"
#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"
#include "src/store/source.h"

/* Appends the header's JSON, unpadded, to out: metadata first, then the tensors in the order given,
 * their data without gaps from offset 0. Of a tensor it uses name, dtype, rank and shape. A
 * shortage of memory sets out->failed. */
void vlmp_st_put_header(vlmp_buffer *out, const vlmp_st_pair *pairs, size_t pair_count,
                        const vlmp_tensor *tensors, size_t tensor_count);

/* Bytes of a tensor by its type and shape; VLMP_ERR_INPUT on overflow. */
int vlmp_st_bytes(const vlmp_tensor *tensor, size_t *bytes, vlmp_error *err);

/* Gives length bytes of tensors[index] from offset on. */
typedef int vlmp_st_read_fn(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                            vlmp_error *err);

/* A whole file, laid out as the reference implementation does: wider types first, then by name; the
 * header padded to a multiple of 8. A tensor's bytes are at data, or, where that is NULL, come from
 * read (which may be NULL when no data is). A pair "vlmp.header" with the value VLMP_ST_NO_HASH
 * gets the hash of the header (st_hash.h). The file appears complete or not at all; the caller
 * opens the output, before its work, and aborts it afterwards in any case. */
int vlmp_safetensors_put(vlmp_outfile *file, const vlmp_tensor *tensors, size_t tensor_count,
                         const vlmp_st_pair *pairs, size_t pair_count, vlmp_st_read_fn *read,
                         void *arg, vlmp_error *err);

/* The same to a path, opened and closed here. */
int vlmp_safetensors_write(const char *path, bool force, const vlmp_tensor *tensors,
                           size_t tensor_count, const vlmp_st_pair *pairs, size_t pair_count,
                           vlmp_st_read_fn *read, void *arg, vlmp_error *err);
