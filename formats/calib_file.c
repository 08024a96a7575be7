#include "formats/calib_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "formats/safetensors_write.h"
#include "src/base/sha256.h"

struct vlmp_calib_file {
    vlmp_safetensors file;
    const char *metadata;
    vlmp_tensor *tensors; /* in the file's order */
};

int vlmp_calib_file_write(const char *path, bool force, const vlmp_tensor *tensors, size_t count,
                          const char *metadata, vlmp_error *err)
{
    vlmp_st_pair pair = {.key = VLMP_CALIB_KEY, .value = metadata, .length = strlen(metadata)};
    return vlmp_safetensors_write(path, force, tensors, count, &pair, 1, NULL, NULL, err);
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

int vlmp_calib_file_open(vlmp_calib_file **out, const char *path, vlmp_error *err)
{
    *out = NULL;
    vlmp_calib_file *file = vlmp_calloc(1, sizeof *file);
    if (file == NULL) return vlmp_fail_memory(err, path);
    int status = vlmp_safetensors_open(&file->file, path, err);
    if (status != VLMP_OK) {
        free(file);
        return status;
    }
    file->metadata = vlmp_safetensors_metadata(&file->file, VLMP_CALIB_KEY, NULL);
    file->tensors = vlmp_alloc(file->file.count, sizeof *file->tensors);
    if (file->metadata == NULL)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: not a calibration file (no '%s' in its header); make one with "
                           "vlm-calibrate",
                           path, VLMP_CALIB_KEY);
    else if (file->tensors == NULL)
        status = vlmp_fail_memory(err, path);
    if (status != VLMP_OK) {
        vlmp_calib_file_close(file);
        return status;
    }
    for (size_t i = 0; i < file->file.count; i++)
        file->tensors[i] = view(&file->file, &file->file.tensors[i]);
    *out = file;
    return VLMP_OK;
}

void vlmp_calib_file_close(vlmp_calib_file *file)
{
    if (file == NULL) return;
    vlmp_safetensors_close(&file->file);
    free(file->tensors);
    free(file);
}

const char *vlmp_calib_file_metadata(const vlmp_calib_file *file)
{
    return file->metadata;
}

const vlmp_tensor *vlmp_calib_file_find(void *arg, const char *name)
{
    const vlmp_calib_file *file = arg;
    const vlmp_st_tensor *stored = vlmp_safetensors_find(&file->file, name);
    return stored != NULL ? &file->tensors[stored - file->file.tensors] : NULL;
}

void vlmp_calib_file_digest(const vlmp_calib_file *file, char hex[65])
{
    vlmp_sha256_hex(file->file.map.data, file->file.map.length, hex);
}
