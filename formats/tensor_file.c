#include "formats/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "src/base/sha256.h"

struct vlmp_tensor_file {
    vlmp_safetensors file;
    const char *metadata;
    vlmp_tensor *tensors; /* in the file's order */
};

int vlmp_tensor_file_write(const char *path, bool force, const char *key, const char *metadata,
                           const vlmp_tensor *tensors, size_t count, vlmp_st_read_fn *read,
                           void *arg, vlmp_error *err)
{
    vlmp_st_pair pair = {.key = key, .value = metadata, .length = strlen(metadata)};
    return vlmp_safetensors_write(path, force, tensors, count, &pair, 1, read, arg, err);
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

int vlmp_tensor_file_open(vlmp_tensor_file **out, const char *path, const char *key,
                          const char *hint, vlmp_error *err)
{
    *out = NULL;
    vlmp_tensor_file *file = vlmp_calloc(1, sizeof *file);
    if (file == NULL) return vlmp_fail_memory(err, path);
    int status = vlmp_safetensors_open(&file->file, path, err);
    if (status != VLMP_OK) {
        free(file);
        return status;
    }
    file->metadata = vlmp_safetensors_metadata(&file->file, key, NULL);
    file->tensors = vlmp_alloc(file->file.count, sizeof *file->tensors);
    if (file->metadata == NULL)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: there is no '%s' in its header; %s", path, key,
                           hint);
    else if (file->tensors == NULL)
        status = vlmp_fail_memory(err, path);
    if (status != VLMP_OK) {
        vlmp_tensor_file_close(file);
        return status;
    }
    for (size_t i = 0; i < file->file.count; i++)
        file->tensors[i] = view(&file->file, &file->file.tensors[i]);
    *out = file;
    return VLMP_OK;
}

void vlmp_tensor_file_close(vlmp_tensor_file *file)
{
    if (file == NULL) return;
    vlmp_safetensors_close(&file->file);
    free(file->tensors);
    free(file);
}

bool vlmp_tensor_file_is(const char *path, const char *key)
{
    vlmp_error err = {0};
    vlmp_tensor_file *file;
    bool is = vlmp_tensor_file_open(&file, path, key, "", &err) == VLMP_OK;
    if (is) vlmp_tensor_file_close(file);
    return is;
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

void vlmp_tensor_file_digest(const vlmp_tensor_file *file, char hex[65])
{
    vlmp_sha256_hex(file->file.map.data, file->file.map.length, hex);
}
