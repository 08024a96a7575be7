#include "formats/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"

#define ALIGNMENT ((size_t)32) /* GGUF's default, so that no key has to say it */
#define PIECE     ((size_t)1 << 20)

/* Types of values (gguf.h). */
enum { KEY_U32 = 4, KEY_I32 = 5, KEY_F32 = 6, KEY_BOOL = 7, KEY_STRING = 8, KEY_ARRAY = 9 };

/* GGUF is little-endian, as the processors that this is built for. */
static void put_u32(vlmp_buffer *out, uint32_t value)
{
    vlmp_buffer_append(out, &value, sizeof value);
}

static void put_u64(vlmp_buffer *out, uint64_t value)
{
    vlmp_buffer_append(out, &value, sizeof value);
}

static void put_text(vlmp_buffer *out, const char *text, size_t length)
{
    put_u64(out, length);
    vlmp_buffer_append(out, text, length);
}

static void put_key(vlmp_gguf_keys *keys, const char *key, uint32_t type)
{
    keys->count++;
    put_text(&keys->bytes, key, strlen(key));
    put_u32(&keys->bytes, type);
}

static void put_array(vlmp_gguf_keys *keys, const char *key, uint32_t type, size_t count)
{
    put_key(keys, key, KEY_ARRAY);
    put_u32(&keys->bytes, type);
    put_u64(&keys->bytes, count);
}

void vlmp_gguf_put_u32(vlmp_gguf_keys *keys, const char *key, uint32_t value)
{
    put_key(keys, key, KEY_U32);
    put_u32(&keys->bytes, value);
}

void vlmp_gguf_put_f32(vlmp_gguf_keys *keys, const char *key, float value)
{
    put_key(keys, key, KEY_F32);
    vlmp_buffer_append(&keys->bytes, &value, sizeof value);
}

void vlmp_gguf_put_bool(vlmp_gguf_keys *keys, const char *key, bool value)
{
    put_key(keys, key, KEY_BOOL);
    vlmp_buffer_append(&keys->bytes, value ? "\1" : "\0", 1);
}

void vlmp_gguf_put_text(vlmp_gguf_keys *keys, const char *key, const char *text, size_t length)
{
    put_key(keys, key, KEY_STRING);
    put_text(&keys->bytes, text, length);
}

void vlmp_gguf_put_string(vlmp_gguf_keys *keys, const char *key, const char *text)
{
    vlmp_gguf_put_text(keys, key, text, strlen(text));
}

void vlmp_gguf_put_i32s(vlmp_gguf_keys *keys, const char *key, const int32_t *values, size_t count)
{
    put_array(keys, key, KEY_I32, count);
    vlmp_buffer_append(&keys->bytes, values, count * sizeof *values);
}

void vlmp_gguf_put_f32s(vlmp_gguf_keys *keys, const char *key, const float *values, size_t count)
{
    put_array(keys, key, KEY_F32, count);
    vlmp_buffer_append(&keys->bytes, values, count * sizeof *values);
}

void vlmp_gguf_put_texts(vlmp_gguf_keys *keys, const char *key, size_t count)
{
    put_array(keys, key, KEY_STRING, count);
}

void vlmp_gguf_add_text(vlmp_gguf_keys *keys, const char *text, size_t length)
{
    put_text(&keys->bytes, text, length);
}

void vlmp_gguf_keys_free(vlmp_gguf_keys *keys)
{
    vlmp_buffer_free(&keys->bytes);
}

int vlmp_gguf_row_bytes(const vlmp_gguf_tensor *tensor, size_t *bytes, vlmp_error *err)
{
    vlmp_gguf_block block = vlmp_gguf_block_of(tensor->type);
    int64_t inputs = tensor->shape[tensor->rank - 1];
    if (inputs > 0 && inputs % block.inputs == 0 &&
        vlmp_mul_size((size_t)(inputs / block.inputs), (size_t)block.bytes, bytes))
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "tensor '%.200s': a row of %lld is not made of blocks of %d", tensor->name,
                     (long long)inputs, block.inputs);
}

static int64_t rows_of(const vlmp_gguf_tensor *tensor)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < tensor->rank; i++)
        rows *= tensor->shape[i];
    return rows;
}

/* Bytes of the data, padded. Shapes are those of tensors that are in memory's reach. */
static int data_bytes(const vlmp_gguf_tensor *tensor, uint64_t *bytes, vlmp_error *err)
{
    size_t row = 0, all = 0;
    VLMP_TRY(vlmp_gguf_row_bytes(tensor, &row, err));
    if (!vlmp_mul_size((size_t)rows_of(tensor), row, &all) ||
        !vlmp_add_size(all, ALIGNMENT - 1, &all))
        return vlmp_fail(err, VLMP_ERR_INPUT, "tensor '%.200s': its size overflows", tensor->name);
    *bytes = all / ALIGNMENT * ALIGNMENT;
    return VLMP_OK;
}

static int put_header(vlmp_buffer *out, const vlmp_gguf_keys *keys, const vlmp_gguf_tensor *tensors,
                      size_t count, uint64_t *data, vlmp_error *err)
{
    vlmp_buffer_append(out, "GGUF", 4);
    put_u32(out, 3);
    put_u64(out, count);
    put_u64(out, keys->count);
    vlmp_buffer_append(out, keys->bytes.data, keys->bytes.length);
    *data = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(tensors[i].name);
        if (length > VLMP_GGUF_MAX_NAME)
            return vlmp_fail(err, VLMP_ERR_INPUT, "tensor '%.200s': GGUF names have %d bytes",
                             tensors[i].name, VLMP_GGUF_MAX_NAME);
        put_text(out, tensors[i].name, length);
        put_u32(out, (uint32_t)tensors[i].rank);
        for (int d = tensors[i].rank - 1; d >= 0; d--)
            put_u64(out, (uint64_t)tensors[i].shape[d]);
        put_u32(out, (uint32_t)tensors[i].type);
        put_u64(out, *data);
        uint64_t bytes = 0;
        VLMP_TRY(data_bytes(&tensors[i], &bytes, err));
        if (__builtin_add_overflow(*data, bytes, data))
            return vlmp_fail(err, VLMP_ERR_INPUT, "the file's size overflows");
    }
    while (out->length % ALIGNMENT != 0 && !out->failed)
        vlmp_buffer_append(out, "", 1);
    return out->failed || keys->bytes.failed ? vlmp_fail_memory(err, "header of a GGUF file")
                                             : VLMP_OK;
}

int vlmp_gguf_size(const vlmp_gguf_keys *keys, const vlmp_gguf_tensor *tensors, size_t count,
                   uint64_t *bytes, vlmp_error *err)
{
    vlmp_buffer header = {0};
    uint64_t data;
    int status = put_header(&header, keys, tensors, count, &data, err);
    *bytes = header.length + data;
    vlmp_buffer_free(&header);
    return status;
}

static int write_tensor(vlmp_outfile *file, const vlmp_gguf_tensor *tensor, size_t index,
                        vlmp_gguf_read_fn *read, void *arg, vlmp_error *err)
{
    size_t row = 0;
    VLMP_TRY(vlmp_gguf_row_bytes(tensor, &row, err));
    int64_t rows = rows_of(tensor);
    int64_t step = row < PIECE ? (int64_t)(PIECE / row) : 1;
    if (step > rows) step = rows;
    unsigned char *piece = vlmp_alloc((size_t)step, row);
    if (piece == NULL) return vlmp_fail_memory(err, tensor->name);
    int status = VLMP_OK;
    for (int64_t at = 0; at < rows && status == VLMP_OK; at += step) {
        int64_t count = rows - at < step ? rows - at : step;
        status = read(arg, index, at, count, piece, err);
        if (status == VLMP_OK) status = vlmp_outfile_write(file, piece, (size_t)count * row, err);
    }
    free(piece);
    static const unsigned char zeros[ALIGNMENT];
    size_t over = (size_t)rows * row % ALIGNMENT;
    if (status == VLMP_OK && over > 0)
        status = vlmp_outfile_write(file, zeros, ALIGNMENT - over, err);
    return status;
}

int vlmp_gguf_write(vlmp_outfile *file, const vlmp_gguf_keys *keys, const vlmp_gguf_tensor *tensors,
                    size_t count, vlmp_gguf_read_fn *read, void *arg, vlmp_error *err)
{
    vlmp_buffer header = {0};
    uint64_t data;
    int status = put_header(&header, keys, tensors, count, &data, err);
    if (status == VLMP_OK) status = vlmp_outfile_write(file, header.data, header.length, err);
    vlmp_buffer_free(&header);
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = write_tensor(file, &tensors[i], i, read, arg, err);
    return status;
}
