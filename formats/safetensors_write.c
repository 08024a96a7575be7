#include "formats/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

#include "formats/st_hash.h"
#include "src/base/json.h"

#define PIECE ((size_t)1 << 20) /* bytes asked from a reader at a time */

int vlmp_st_bytes(const vlmp_tensor *tensor, size_t *bytes, vlmp_error *err)
{
    size_t count = 1;
    bool good = true;
    for (int i = 0; i < tensor->rank && good; i++)
        good = tensor->shape[i] >= 0 && vlmp_mul_size(count, (size_t)tensor->shape[i], &count);
    if (good && vlmp_dtype_bytes(tensor->dtype, count, bytes)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "tensor '%.200s': its size overflows", tensor->name);
}

void vlmp_st_put_header(vlmp_buffer *out, const vlmp_st_pair *pairs, size_t pair_count,
                        const vlmp_tensor *tensors, size_t tensor_count)
{
    vlmp_json_writer w = {.out = *out};
    vlmp_json_open(&w, '{');
    if (pair_count > 0) {
        vlmp_json_key(&w, "__metadata__");
        vlmp_json_open(&w, '{');
        for (size_t i = 0; i < pair_count; i++) {
            vlmp_json_key(&w, pairs[i].key);
            vlmp_json_put_bytes(&w, pairs[i].value, pairs[i].length);
        }
        vlmp_json_close(&w, '}');
    }
    int64_t begin = 0;
    for (size_t i = 0; i < tensor_count; i++) {
        vlmp_json_key(&w, tensors[i].name);
        vlmp_json_open(&w, '{');
        vlmp_json_key(&w, "dtype");
        vlmp_json_put_string(&w, vlmp_dtype_name(tensors[i].dtype));
        vlmp_json_key(&w, "shape");
        vlmp_json_open(&w, '[');
        size_t elements = 1, bytes = 0;
        for (int d = 0; d < tensors[i].rank; d++) {
            vlmp_json_put_int(&w, tensors[i].shape[d]);
            elements *= (size_t)tensors[i].shape[d];
        }
        vlmp_dtype_bytes(tensors[i].dtype, elements, &bytes); /* checked by vlmp_st_bytes */
        vlmp_json_close(&w, ']');
        vlmp_json_key(&w, "data_offsets");
        vlmp_json_open(&w, '[');
        vlmp_json_put_int(&w, begin);
        vlmp_json_put_int(&w, begin += (int64_t)bytes);
        vlmp_json_close(&w, ']');
        vlmp_json_close(&w, '}');
    }
    vlmp_json_close(&w, '}');
    *out = w.out;
}

typedef struct {
    vlmp_tensor tensor;
    size_t index; /* in the caller's list */
} ordered;

static int by_width(const void *a, const void *b)
{
    const ordered *x = a, *y = b;
    int width = (int)y->tensor.dtype - (int)x->tensor.dtype; /* the reference's order */
    return width != 0 ? width : strcmp(x->tensor.name, y->tensor.name);
}

static int write_tensor(vlmp_outfile *file, const ordered *item, unsigned char *piece,
                        vlmp_st_read_fn *read, void *arg, vlmp_error *err)
{
    size_t bytes;
    VLMP_TRY(vlmp_st_bytes(&item->tensor, &bytes, err));
    if (item->tensor.data != NULL) return vlmp_outfile_write(file, item->tensor.data, bytes, err);
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t length = bytes - at < PIECE ? bytes - at : PIECE;
        VLMP_TRY(read(arg, item->index, at, piece, length, err));
        VLMP_TRY(vlmp_outfile_write(file, piece, length, err));
    }
    return VLMP_OK;
}

static int write_header(vlmp_outfile *file, const ordered *order, size_t count,
                        const vlmp_st_pair *pairs, size_t pair_count, vlmp_error *err)
{
    vlmp_tensor *tensors = vlmp_alloc(count, sizeof *tensors);
    if (tensors == NULL) return vlmp_fail_memory(err, file->path);
    for (size_t i = 0; i < count; i++)
        tensors[i] = order[i].tensor;
    vlmp_buffer header = {0};
    vlmp_buffer_append(&header, "\0\0\0\0\0\0\0\0", 8);
    vlmp_st_put_header(&header, pairs, pair_count, tensors, count);
    free(tensors);
    while (header.length % 8 != 0 && !header.failed)
        vlmp_buffer_text(&header, " ");
    int status = VLMP_OK;
    if (header.failed)
        status = vlmp_fail_memory(err, file->path);
    else if (header.length - 8 > VLMP_ST_MAX_HEADER)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: a header of %zu bytes is too large",
                           file->path, header.length - 8);
    for (int i = 0; i < 8 && status == VLMP_OK; i++)
        header.data[i] = (char)((uint64_t)(header.length - 8) >> 8 * i);
    for (size_t i = 0; i < pair_count && status == VLMP_OK; i++)
        if (strcmp(pairs[i].key, "vlmp.header") == 0)
            status = vlmp_st_seal_header((unsigned char *)header.data, header.length, err);
    if (status == VLMP_OK) status = vlmp_outfile_write(file, header.data, header.length, err);
    vlmp_buffer_free(&header);
    return status;
}

static int write_all(vlmp_outfile *file, ordered *order, size_t count, const vlmp_st_pair *pairs,
                     size_t pair_count, vlmp_st_read_fn *read, void *arg, vlmp_error *err)
{
    for (size_t i = 0, bytes; i < count; i++)
        VLMP_TRY(vlmp_st_bytes(&order[i].tensor, &bytes, err));
    if (count > 0) qsort(order, count, sizeof *order, by_width);
    VLMP_TRY(write_header(file, order, count, pairs, pair_count, err));
    unsigned char *piece = vlmp_alloc(PIECE, 1);
    if (piece == NULL) return vlmp_fail_memory(err, file->path);
    int status = VLMP_OK;
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = write_tensor(file, &order[i], piece, read, arg, err);
    free(piece);
    return status;
}

int vlmp_safetensors_put(vlmp_outfile *file, const vlmp_tensor *tensors, size_t tensor_count,
                         const vlmp_st_pair *pairs, size_t pair_count, vlmp_st_read_fn *read,
                         void *arg, vlmp_error *err)
{
    ordered *order = vlmp_alloc(tensor_count, sizeof *order);
    if (order == NULL) return vlmp_fail_memory(err, file->path);
    for (size_t i = 0; i < tensor_count; i++)
        order[i] = (ordered){tensors[i], i};
    int status = write_all(file, order, tensor_count, pairs, pair_count, read, arg, err);
    free(order);
    return status == VLMP_OK ? vlmp_outfile_commit(file, err) : status;
}

int vlmp_safetensors_write(const char *path, bool force, const vlmp_tensor *tensors,
                           size_t tensor_count, const vlmp_st_pair *pairs, size_t pair_count,
                           vlmp_st_read_fn *read, void *arg, vlmp_error *err)
{
    vlmp_outfile file;
    VLMP_TRY(vlmp_outfile_open(&file, path, force, err));
    int status =
        vlmp_safetensors_put(&file, tensors, tensor_count, pairs, pair_count, read, arg, err);
    vlmp_outfile_abort(&file);
    return status;
}
