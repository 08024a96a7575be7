/* Rows of activations between blocks: in memory up to a limit, else in an unlinked work file. The
 * values are the same either way. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "src/base/error.h"
#include "src/base/sha256.h"

typedef struct {
    size_t rows;
    int dim;
    float *memory; /* NULL when spilled */
    int fd;        /* −1 when in memory */
    float *bounce; /* rows between a spill file and a context */
    size_t bounce_rows;
} vlmp_activations;

/* Bytes: the limit for work whose samples are many. Page cache serves what is beyond about as fast.
 */
#define VLMP_ACTIVATIONS_IN_MEMORY ((size_t)16 << 20)

/* folder: where a spill file goes. */
int vlmp_activations_create(vlmp_activations *a, size_t rows, int dim, size_t memory_limit,
                            const char *folder, vlmp_error *err);
void vlmp_activations_free(vlmp_activations *a);

/* rows × dim values from first_row: a pointer into memory, or scratch filled from the file. */
int vlmp_activations_get(const vlmp_activations *a, size_t first_row, size_t rows, float *scratch,
                         float **out, vlmp_error *err);

/* Stores values changed through get (nothing to do in memory) or computed elsewhere. */
int vlmp_activations_put(vlmp_activations *a, size_t first_row, size_t rows, const float *values,
                         vlmp_error *err);

/* out: created, with the same rows. */
int vlmp_activations_copy(vlmp_activations *out, const vlmp_activations *from, size_t memory_limit,
                          const char *folder, vlmp_error *err);

/* rows × dim values from first_row to a context's memory, and back; _act: from and to its own type.
 */
int vlmp_activations_upload(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                            vlmp_f32 to, vlmp_error *err);
int vlmp_activations_download(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                              vlmp_f32 from, vlmp_error *err);
int vlmp_activations_upload_act(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                                vlmp_act to, vlmp_error *err);
int vlmp_activations_download_act(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                                  vlmp_act from, vlmp_error *err);

/* length bytes of the values from byte `offset` on, for a writer. */
int vlmp_activations_read(const vlmp_activations *a, uint64_t offset, void *out, size_t length,
                          vlmp_error *err);

/* All rows in order, to where fd stands; path is for messages, hash gets every byte. */
int vlmp_activations_save(const vlmp_activations *a, int fd, const char *path, vlmp_sha256 *hash,
                          vlmp_error *err);

/* All rows from where fd stands. A file that ends before is VLMP_ERR_INPUT. */
int vlmp_activations_load(vlmp_activations *a, int fd, const char *path, vlmp_error *err);
