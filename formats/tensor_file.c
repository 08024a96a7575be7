#include "formats/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"

struct vlmp_tensor_file {
    vlmp_safetensors file;
    const char *metadata, *digest;
    cJSON *list;          /* vlmp.tensors; hashes point into it */
    const char **hashes;  /* of file.tensors */
    vlmp_tensor *tensors; /* in the file's order */
};

#define PIECE ((size_t)1 << 20) /* bytes asked from a reader at a time */

static int hash_tensor(const vlmp_tensor *tensor, size_t index, vlmp_st_read_fn *read, void *arg,
                       char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    if (tensor->data != NULL) {
        vlmp_sha256_hex(tensor->data, tensor->bytes, hex);
        return VLMP_OK;
    }
    unsigned char *piece = vlmp_alloc(PIECE, 1);
    int status = piece != NULL ? VLMP_OK : vlmp_fail_memory(err, tensor->name);
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t at = 0; at < tensor->bytes && status == VLMP_OK; at += PIECE) {
        size_t length = tensor->bytes - at < PIECE ? tensor->bytes - at : PIECE;
        status = read(arg, index, at, piece, length, err);
        if (status == VLMP_OK) vlmp_sha256_update(&hash, piece, length);
    }
    vlmp_sha256_finish(&hash, hex);
    free(piece);
    return status;
}

int vlmp_tensor_file_write(vlmp_outfile *output, const char *key, const char *metadata,
                           const vlmp_tensor *tensors, size_t count, vlmp_st_read_fn *read,
                           void *arg, vlmp_error *err)
{
    char(*hashes)[VLMP_SHA256_HEX] = vlmp_alloc(count, sizeof *hashes), digest[VLMP_SHA256_HEX];
    vlmp_json_writer list = {0};
    int status = hashes != NULL ? VLMP_OK : vlmp_fail_memory(err, output->path);
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = hash_tensor(&tensors[i], i, read, arg, hashes[i], err);
    if (status == VLMP_OK) status = vlmp_tensors_digest(tensors, hashes, count, digest, err);
    if (status == VLMP_OK) {
        vlmp_st_put_hashes(&list, tensors, hashes, count);
        if (list.out.failed) status = vlmp_fail_memory(err, output->path);
    }
    if (status == VLMP_OK) {
        vlmp_st_pair pairs[] = {{key, metadata, strlen(metadata)},
                                {"vlmp.header", VLMP_ST_NO_HASH, 64},
                                {"vlmp.digest", digest, 64},
                                {"vlmp.tensors", list.out.data, list.out.length}};
        status = vlmp_safetensors_put(output, tensors, count, pairs, sizeof pairs / sizeof *pairs,
                                      read, arg, err);
    }
    vlmp_buffer_free(&list.out);
    free(hashes);
    return status;
}

static vlmp_tensor view(const vlmp_safetensors *file, const vlmp_st_tensor *stored)
{
    vlmp_tensor tensor = {.name = stored->name,
                          .source_name = stored->name,
                          .file = file->path,
                          .file_offset = file->data_start + stored->begin,
                          .dtype = stored->dtype,
                          .rank = stored->rank,
                          .data = vlmp_safetensors_data(file, stored),
                          .bytes = (size_t)(stored->end - stored->begin)};
    memcpy(tensor.shape, stored->shape, sizeof tensor.shape);
    return tensor;
}

static int read_header(vlmp_tensor_file *file, const char *key, const char *hint, vlmp_error *err)
{
    const vlmp_safetensors *st = &file->file;
    file->metadata = vlmp_safetensors_metadata(st, key, NULL);
    if (file->metadata == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: there is no '%s' in its header; %s", st->path,
                         key, hint);
    size_t length, digest_length;
    const char *list = vlmp_safetensors_metadata(st, "vlmp.tensors", &length);
    file->digest = vlmp_safetensors_metadata(st, "vlmp.digest", &digest_length);
    if (list == NULL || file->digest == NULL || digest_length != 64)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: carries no hashes of itself, as files of older versions; %s",
                         st->path, hint);
    VLMP_TRY(vlmp_st_check_header(st, err));
    VLMP_TRY(vlmp_json_parse(&file->list, list, length, st->path, err));
    const cJSON **entries;
    int status = vlmp_st_read_hashes(st, file->list, &entries, &file->hashes, err);
    free(entries);
    VLMP_TRY(status);
    file->tensors = vlmp_alloc(st->count, sizeof *file->tensors);
    if (file->tensors == NULL) return vlmp_fail_memory(err, st->path);
    for (size_t i = 0; i < st->count; i++)
        file->tensors[i] = view(st, &st->tensors[i]);
    return VLMP_OK;
}

int vlmp_tensor_file_open(vlmp_tensor_file **out, const char *path, const char *key,
                          const char *hint, vlmp_error *err)
{
    *out = NULL;
    vlmp_tensor_file *file = vlmp_calloc(1, sizeof *file);
    if (file == NULL) return vlmp_fail_memory(err, path);
    int status = vlmp_safetensors_open(&file->file, path, err);
    if (status == VLMP_OK) status = read_header(file, key, hint, err);
    if (status == VLMP_OK)
        *out = file;
    else
        vlmp_tensor_file_close(file);
    return status;
}

void vlmp_tensor_file_close(vlmp_tensor_file *file)
{
    if (file == NULL) return;
    vlmp_safetensors_close(&file->file);
    cJSON_Delete(file->list);
    free(file->hashes);
    free(file->tensors);
    free(file);
}

int vlmp_tensor_file_verify(const vlmp_tensor_file *file, vlmp_st_progress *progress, void *arg,
                            vlmp_error *err)
{
    const vlmp_safetensors *st = &file->file;
    VLMP_TRY(vlmp_st_check_tensors(st, file->hashes, progress, arg, err));
    vlmp_tensor_table table = {
        .tensors = file->tensors, .by_name = st->by_name, .count = st->count};
    return vlmp_st_check_digest(st, file->hashes, &table, file->digest, err);
}

int vlmp_tensor_file_is(bool *is, const char *path, const char *key, vlmp_error *err)
{
    vlmp_error refused = {0};
    vlmp_safetensors file;
    vlmp_path_kind kind;
    *is = false;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind != VLMP_PATH_FILE) return VLMP_OK;
    if (vlmp_safetensors_open(&file, path, &refused) != VLMP_OK)
        return vlmp_fail_tried(err, &refused);
    *is = vlmp_safetensors_metadata(&file, key, NULL) != NULL;
    vlmp_safetensors_close(&file);
    return VLMP_OK;
}

const char *vlmp_tensor_file_metadata(const vlmp_tensor_file *file)
{
    return file->metadata;
}

const vlmp_tensor *vlmp_tensor_file_find(void *arg, const char *name)
{
    const vlmp_tensor_file *file = arg;
    const vlmp_st_tensor *stored = vlmp_safetensors_find(&file->file, name);
    return stored != NULL ? &file->tensors[stored - file->file.tensors] : NULL;
}

void vlmp_tensor_file_release(void *arg, const vlmp_tensor *tensor, size_t offset, size_t length)
{
    const vlmp_tensor_file *file = arg;
    vlmp_map_release(&file->file.map, (size_t)tensor->file_offset + offset, length);
}

void vlmp_tensor_file_sha256(const vlmp_tensor_file *file, char hex[VLMP_SHA256_HEX])
{
    vlmp_map_sha256(&file->file.map, 0, file->file.map.length, hex);
}
