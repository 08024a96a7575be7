#include "formats/promised.h"

#include <string.h>

#include "src/base/json.h"
#include "src/model/family.h"
#include "src/model/weights.h"

static int type_of(const vlmp_table_source *source, vlmp_dtype *out, vlmp_error *err)
{
    static const char *const keys[] = {"dtype", "torch_dtype"};
    const vlmp_source_file *file = vlmp_source_files_find(&source->files, "config.json");
    const char *where = source->base.path, *name = NULL;
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, file->data, file->length, where, err));
    const cJSON *const places[] = {root, vlmp_json_get(root, "text_config")};
    int status = VLMP_OK;
    for (int i = 0; i < 4 && status == VLMP_OK && name == NULL; i++)
        if (cJSON_IsObject(places[i / 2]))
            status = vlmp_json_string(places[i / 2], keys[i % 2], NULL, &name, where, err);
    *out = VLMP_BF16;
    if (name != NULL && strcmp(name, "float16") == 0) *out = VLMP_F16;
    if (name != NULL && strcmp(name, "float32") == 0) *out = VLMP_F32;
    cJSON_Delete(root);
    return status;
}

struct promise {
    vlmp_table_source *source;
    vlmp_dtype dtype;
    size_t count;
};

static int count_tensor(void *arg, const char *name, int rank, const int64_t *shape,
                        vlmp_error *err)
{
    (void)name, (void)rank, (void)shape, (void)err;
    ((struct promise *)arg)->count++;
    return VLMP_OK;
}

static int add_tensor(void *arg, const char *name, int rank, const int64_t *shape, vlmp_error *err)
{
    const struct promise *p = arg;
    vlmp_table_source *source = p->source;
    vlmp_tensor tensor = {.file = source->base.path, .dtype = p->dtype, .rank = rank};
    size_t count = 1;
    bool fits = true;
    for (int i = 0; i < rank && fits; i++) {
        tensor.shape[i] = shape[i];
        fits = vlmp_mul_size(count, (size_t)shape[i], &count);
    }
    if (!fits || !vlmp_dtype_bytes(p->dtype, count, &tensor.bytes))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the size of tensor '%s' overflows; correct the configuration",
                         source->base.path, name);
    tensor.source_name = vlmp_arena_copy(&source->arena, name, strlen(name));
    if (tensor.source_name == NULL) return vlmp_fail_memory(err, name);
    return vlmp_table_source_add(source, &tensor, name, err);
}

int vlmp_promise_tensors(vlmp_table_source *source, vlmp_error *err)
{
    const vlmp_config *config = &source->config;
    struct promise promise = {.source = source};
    if (!vlmp_family_runs(config->family))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: there are no weights, and of models of type '%s' config.json alone "
                         "tells no sizes; give the folder with the headers of its safetensors "
                         "files",
                         source->base.path, config->model_type);
    VLMP_TRY(type_of(source, &promise.dtype, err));
    VLMP_TRY(vlmp_model_tensors(config, count_tensor, &promise, err));
    source->table.tensors = vlmp_alloc(promise.count, sizeof *source->table.tensors);
    if (source->table.tensors == NULL) return vlmp_fail_memory(err, source->base.path);
    VLMP_TRY(vlmp_model_tensors(config, add_tensor, &promise, err));
    source->base.promised = true;
    return vlmp_table_source_sort(source, err);
}
