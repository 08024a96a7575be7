#include "src/flow/activations.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"

int vlmp_activations_create(vlmp_activations *a, size_t rows, int dim, size_t memory_limit,
                            const char *folder, vlmp_error *err)
{
    *a = (vlmp_activations){.rows = rows, .dim = dim, .fd = -1};
    size_t bytes;
    if (!vlmp_mul_size(rows, (size_t)dim * sizeof(float), &bytes))
        return vlmp_fail_memory(err, "activations between blocks");
    if (bytes <= memory_limit) {
        a->memory = vlmp_alloc(bytes, 1);
        return a->memory != NULL ? VLMP_OK : vlmp_fail_memory(err, "activations between blocks");
    }
    char path[4200];
    snprintf(path, sizeof path, "%s/activations-XXXXXX", folder);
    VLMP_TRY(vlmp_workfile_create(&a->fd, path, err));
    /* Rows that are read before they are written are zeros. */
    if (ftruncate(a->fd, (off_t)bytes) != 0)
        return vlmp_fail_errno(err, "%s: cannot make room for spilled activations", folder);
    return VLMP_OK;
}

void vlmp_activations_free(vlmp_activations *a)
{
    if (a->fd > 0) close(a->fd);
    free(a->memory);
    free(a->bounce);
    *a = (vlmp_activations){.fd = -1};
}

int vlmp_activations_read(const vlmp_activations *a, uint64_t offset, void *out, size_t length,
                          vlmp_error *err)
{
    if (a->memory != NULL) {
        memcpy(out, (const char *)a->memory + offset, length);
        return VLMP_OK;
    }
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(a->fd, (char *)out + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return vlmp_fail_errno(err, "cannot read spilled activations");
        done += (size_t)got;
    }
    return VLMP_OK;
}

int vlmp_activations_get(const vlmp_activations *a, size_t first_row, size_t rows, float *scratch,
                         float **out, vlmp_error *err)
{
    size_t row_bytes = (size_t)a->dim * sizeof(float);
    *out = a->memory != NULL ? a->memory + first_row * (size_t)a->dim : scratch;
    if (a->memory != NULL) return VLMP_OK;
    return vlmp_activations_read(a, first_row * row_bytes, scratch, rows * row_bytes, err);
}

int vlmp_activations_put(vlmp_activations *a, size_t first_row, size_t rows, const float *values,
                         vlmp_error *err)
{
    size_t row_bytes = (size_t)a->dim * sizeof(float);
    if (a->memory != NULL) {
        float *target = a->memory + first_row * (size_t)a->dim;
        if (target != values) memcpy(target, values, rows * row_bytes);
        return VLMP_OK;
    }
    size_t done = 0, bytes = rows * row_bytes;
    while (done < bytes) {
        ssize_t put = pwrite(a->fd, (const char *)values + done, bytes - done,
                             (off_t)(first_row * row_bytes + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return vlmp_fail_errno(err, "cannot spill activations");
        done += (size_t)put;
    }
    return VLMP_OK;
}

/* The rows' values where the host has them: of the store, or room for those of its file. */
static int values_of(vlmp_activations *a, size_t first_row, size_t rows, float **out,
                     vlmp_error *err)
{
    *out = a->memory != NULL ? a->memory + first_row * (size_t)a->dim : a->bounce;
    if (a->memory != NULL || rows <= a->bounce_rows) return VLMP_OK;
    free(a->bounce);
    a->bounce_rows = 0;
    *out = a->bounce = vlmp_alloc(rows, (size_t)a->dim * sizeof *a->bounce);
    if (a->bounce == NULL) return vlmp_fail_memory(err, "a batch of activations");
    a->bounce_rows = rows;
    return VLMP_OK;
}

/* The same, filled. */
static int read_values(vlmp_activations *a, size_t first_row, size_t rows, float **out,
                       vlmp_error *err)
{
    VLMP_TRY(values_of(a, first_row, rows, out, err));
    return vlmp_activations_get(a, first_row, rows, *out, out, err);
}

int vlmp_activations_copy(vlmp_activations *out, const vlmp_activations *from, size_t memory_limit,
                          const char *folder, vlmp_error *err)
{
    const size_t piece = 512; /* rows */
    VLMP_TRY(vlmp_activations_create(out, from->rows, from->dim, memory_limit, folder, err));
    float *scratch = vlmp_alloc(piece * (size_t)from->dim, sizeof *scratch);
    int status = scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, "a batch of activations");
    for (size_t at = 0; at < from->rows && status == VLMP_OK; at += piece) {
        size_t rows = from->rows - at < piece ? from->rows - at : piece;
        float *values;
        status = vlmp_activations_get(from, at, rows, scratch, &values, err);
        if (status == VLMP_OK) status = vlmp_activations_put(out, at, rows, values, err);
    }
    free(scratch);
    return status;
}

int vlmp_activations_upload(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                            vlmp_f32 to, vlmp_error *err)
{
    float *values;
    VLMP_TRY(read_values(a, first_row, rows, &values, err));
    vlmp_ctx_write(ctx, to.at, values, rows * (size_t)a->dim * sizeof *values);
    return VLMP_OK;
}

int vlmp_activations_upload_act(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                                vlmp_act to, vlmp_error *err)
{
    float *values;
    VLMP_TRY(read_values(a, first_row, rows, &values, err));
    ctx->ops->write_act(ctx, to, values, rows * (size_t)a->dim);
    return VLMP_OK;
}

int vlmp_activations_download(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                              vlmp_f32 from, vlmp_error *err)
{
    float *values;
    VLMP_TRY(values_of(a, first_row, rows, &values, err));
    VLMP_TRY(vlmp_ctx_read(ctx, values, from.at, rows * (size_t)a->dim * sizeof *values, err));
    return vlmp_activations_put(a, first_row, rows, values, err);
}

int vlmp_activations_download_act(vlmp_activations *a, size_t first_row, size_t rows, vlmp_ctx *ctx,
                                  vlmp_act from, vlmp_error *err)
{
    float *values;
    VLMP_TRY(values_of(a, first_row, rows, &values, err));
    VLMP_TRY(ctx->ops->read_act(ctx, values, from, rows * (size_t)a->dim, err));
    return vlmp_activations_put(a, first_row, rows, values, err);
}

/* Rows that a megabyte holds: what save and load move at a time. */
static size_t piece_rows(const vlmp_activations *a)
{
    size_t rows = ((size_t)1 << 20) / ((size_t)a->dim * sizeof(float));
    return rows > 0 ? rows : 1;
}

int vlmp_activations_save(const vlmp_activations *a, int fd, const char *path, vlmp_sha256 *hash,
                          vlmp_error *err)
{
    size_t piece = piece_rows(a), row_bytes = (size_t)a->dim * sizeof(float);
    float *scratch = vlmp_alloc(piece, row_bytes);
    int status = scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, path);
    for (size_t at = 0, rows; at < a->rows && status == VLMP_OK; at += rows) {
        float *values;
        rows = a->rows - at < piece ? a->rows - at : piece;
        status = vlmp_activations_get(a, at, rows, scratch, &values, err);
        if (status == VLMP_OK) status = vlmp_write_all(fd, values, rows * row_bytes, path, err);
        if (status == VLMP_OK) vlmp_sha256_update(hash, values, rows * row_bytes);
    }
    free(scratch);
    return status;
}

int vlmp_activations_load(vlmp_activations *a, int fd, const char *path, vlmp_error *err)
{
    size_t piece = piece_rows(a), row_bytes = (size_t)a->dim * sizeof(float);
    float *scratch = vlmp_alloc(piece, row_bytes);
    int status = scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, path);
    for (size_t at = 0, rows; at < a->rows && status == VLMP_OK; at += rows) {
        rows = a->rows - at < piece ? a->rows - at : piece;
        status = vlmp_read_all(fd, scratch, rows * row_bytes, path, err);
        if (status == VLMP_OK) status = vlmp_activations_put(a, at, rows, scratch, err);
    }
    free(scratch);
    return status;
}
