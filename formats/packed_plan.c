/* What a packed file will hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed_layout.h"
#include "src/base/utf8.h"
#include "src/model/names.h"

static int grow(void **list, size_t *capacity, size_t count, size_t size, vlmp_error *err)
{
    if (count < *capacity) return VLMP_OK;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(*list, wanted * size);
    if (grown == NULL) return vlmp_fail_memory(err, "plan of a packed file");
    *list = grown;
    *capacity = wanted;
    return VLMP_OK;
}

static int add_tensor(vlmp_packed_plan *plan, const vlmp_tensor *tensor, vlmp_error *err)
{
    void *list = plan->tensors;
    int status = grow(&list, &plan->tensor_capacity, plan->tensor_count, sizeof *tensor, err);
    plan->tensors = list;
    if (status == VLMP_OK) plan->tensors[plan->tensor_count++] = *tensor;
    return status;
}

/* A file's name becomes a tensor's, which every reader of the format must accept. */
static int check_file_name(const vlmp_packed_plan *plan, const char *name, vlmp_error *err)
{
    size_t length = strlen(name);
    const char *fault = NULL;
    if (vlmp_utf8_check(name, length) != length) fault = "is not UTF-8";
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) fault = "has a control character";
    if (fault == NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s/%s: the file's name %s and cannot be stored in a packed file; rename or "
                     "remove the file",
                     plan->source->path, name, fault);
}

static int add_file(vlmp_packed_plan *plan, const char *name, vlmp_error *err)
{
    VLMP_TRY(check_file_name(plan, name, err));
    char full[512];
    int length = snprintf(full, sizeof full, "%s%s", VLMP_PACKED_FILE_PREFIX, name);
    if (length < 0 || (size_t)length >= sizeof full)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the file name '%.80s…' is too long; rename it",
                         plan->source->path, name);
    vlmp_tensor tensor = {.dtype = VLMP_U8, .rank = 1, .file = name};
    tensor.data = (const unsigned char *)plan->source->file(plan->source, name, &tensor.bytes);
    tensor.shape[0] = (int64_t)tensor.bytes;
    tensor.name = vlmp_arena_copy(&plan->arena, full, (size_t)length);
    if (tensor.name == NULL) return vlmp_fail_memory(err, full);
    return add_tensor(plan, &tensor, err);
}

int vlmp_packed_plan_init(vlmp_packed_plan *plan, const vlmp_source *source, vlmp_error *err)
{
    *plan = (vlmp_packed_plan){.source = source};
    if (strcmp(source->kind, "packed") == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: is already a packed file; quantize the model it was made from",
                         source->path);
    for (size_t i = 0; i < source->count(source); i++)
        VLMP_TRY(add_tensor(plan, source->at(source, i), err));
    const char *name;
    for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++)
        if (strcmp(name, "config.json") != 0) VLMP_TRY(add_file(plan, name, err));
    return VLMP_OK;
}

void vlmp_packed_plan_free(vlmp_packed_plan *plan)
{
    free(plan->tensors);
    free(plan->linears);
    vlmp_arena_free(&plan->arena);
    *plan = (vlmp_packed_plan){0};
}

static vlmp_tensor *find(vlmp_packed_plan *plan, const char *name, vlmp_error *err)
{
    for (size_t i = 0; i < plan->tensor_count; i++)
        if (strcmp(plan->tensors[i].name, name) == 0) return &plan->tensors[i];
    vlmp_fail(err, VLMP_ERR_INPUT, "%s: no tensor '%.200s'; is the download complete?",
              plan->source->path, name);
    return NULL;
}

static int add_part(vlmp_packed_plan *plan, const char *name, vlmp_code_type codes,
                    vlmp_packed_part part, vlmp_tensor tensor, const vlmp_packed_shape *shape,
                    vlmp_error *err)
{
    char full[VLMP_NAME_BYTES];
    snprintf(full, sizeof full, "%s.%s", name, vlmp_packed_part_name(part, codes));
    tensor.name = vlmp_arena_copy(&plan->arena, full, strlen(full));
    if (tensor.name == NULL) return vlmp_fail_memory(err, full);
    tensor.dtype = shape->parts[part].dtype;
    tensor.shape[0] = shape->parts[part].rows;
    tensor.shape[1] = shape->parts[part].columns;
    tensor.bytes = shape->parts[part].bytes;
    tensor.data = NULL;
    return add_tensor(plan, &tensor, err);
}

int vlmp_packed_plan_quantize(vlmp_packed_plan *plan, const char *name, const vlmp_scheme *scheme,
                              vlmp_error *err)
{
    char full[VLMP_NAME_BYTES];
    int length = snprintf(full, sizeof full, "%s.weight", name);
    if (length < 0 || (size_t)length >= sizeof full)
        return vlmp_fail(err, VLMP_ERR_USAGE, "'%.80s…' is not the name of a linear", name);
    vlmp_tensor *weight = find(plan, full, err);
    if (weight == NULL) return err->code;
    vlmp_packed_linear linear = {.scheme = *scheme, .n = weight->shape[0], .k = weight->shape[1]};
    vlmp_packed_shape shape;
    if (weight->rank != 2 || !vlmp_packed_shape_of(&shape, linear.n, linear.k, scheme))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%s' cannot be stored with %d bits and group %d; choose "
                         "another scheme",
                         weight->file, weight->source_name, vlmp_code_types[scheme->codes].bits,
                         scheme->group);
    linear.name = vlmp_arena_copy(&plan->arena, name, strlen(name));
    if (linear.name == NULL) return vlmp_fail_memory(err, name);
    void *list = plan->linears;
    int status = grow(&list, &plan->linear_capacity, plan->linear_count, sizeof linear, err);
    plan->linears = list;
    VLMP_TRY(status);
    plan->linears[plan->linear_count++] = linear;
    vlmp_tensor base = *weight;
    *weight = plan->tensors[--plan->tensor_count];
    for (int i = 0; i < VLMP_PACKED_PARTS; i++)
        if (shape.parts[i].columns > 0)
            VLMP_TRY(add_part(plan, name, scheme->codes, (vlmp_packed_part)i, base, &shape, err));
    return VLMP_OK;
}

int vlmp_packed_plan_replace(vlmp_packed_plan *plan, const char *name, vlmp_dtype dtype,
                             vlmp_error *err)
{
    vlmp_tensor *tensor = find(plan, name, err);
    if (tensor == NULL) return err->code;
    tensor->bytes = tensor->bytes / vlmp_dtype_size(tensor->dtype) * vlmp_dtype_size(dtype);
    tensor->dtype = dtype;
    tensor->data = NULL;
    return VLMP_OK;
}
