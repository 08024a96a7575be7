/* The structure of a packed file: tensors against their list, linears against their tensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed_read.h"
#include "src/model/names.h"

void vlmp_packed_where(const vlmp_packed *p, const char *key, char out[1024])
{
    snprintf(out, 1024, "%.900s: metadata '%.80s'", p->base.path, key);
}

static int check_alignment(const vlmp_packed *p, const vlmp_st_tensor *t, vlmp_error *err)
{
    size_t at = p->file.data_start + (size_t)t->begin, bytes = (size_t)(t->end - t->begin);
    size_t need = bytes % VLMP_ALIGN == 0 ? VLMP_ALIGN : vlmp_dtype_size(t->dtype);
    if (vlmp_packed_is_file(t->name)) need = 1;
    if (bytes == 0 || at % need == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%.200s' at byte %zu is not aligned to %zu bytes; make the file "
                     "again",
                     p->base.path, t->name, at, need);
}

static int add_tensor(vlmp_packed *p, const vlmp_st_tensor *from, const cJSON *entry,
                      vlmp_error *err)
{
    char where[1024];
    vlmp_packed_where(p, "vlmp.tensors", where);
    const char *source;
    bool unused;
    int64_t stored = 0;
    VLMP_TRY(vlmp_json_string(entry, "source", NULL, &source, where, err));
    VLMP_TRY(vlmp_json_bool(entry, "unused", false, &unused, where, err));
    VLMP_TRY(vlmp_json_int(entry, "stored", 0, 0, (int64_t)1 << 52, &stored, where, err));
    VLMP_TRY(check_alignment(p, from, err));
    if (vlmp_packed_is_file(from->name)) return VLMP_OK;
    if (source == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '%.200s' has no source name; the file is damaged, make it again",
                         where, from->name);
    vlmp_tensor *tensor = &p->table.tensors[p->table.count++];
    *tensor = (vlmp_tensor){
        .name = from->name,
        .source_name = source,
        .file = p->base.path,
        .file_offset = p->file.data_start + from->begin,
        .dtype = from->dtype,
        .rank = from->rank,
        .data = vlmp_safetensors_data(&p->file, from),
        .bytes = (size_t)(from->end - from->begin),
        .stored = (size_t)stored,
        .unused = unused,
    };
    memcpy(tensor->shape, from->shape, sizeof tensor->shape);
    return VLMP_OK;
}

static int by_computation(const void *a, const void *b)
{
    return vlmp_name_compare(((const vlmp_tensor *)a)->name, ((const vlmp_tensor *)b)->name);
}

int vlmp_packed_read_tensors(vlmp_packed *p, vlmp_error *err)
{
    if (p->file.data_start % VLMP_ALIGN != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the data begins at byte %zu, which is not a multiple of %d; make the "
                         "file again",
                         p->base.path, p->file.data_start, VLMP_ALIGN);
    const cJSON **entries;
    size_t count = p->file.count;
    int status = vlmp_st_read_hashes(&p->file, p->tensor_list, &entries, &p->hashes, err);
    if (status == VLMP_OK) {
        p->table.tensors = vlmp_alloc(count, sizeof *p->table.tensors);
        if (p->table.tensors == NULL) status = vlmp_fail_memory(err, p->base.path);
    }
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = add_tensor(p, &p->file.tensors[p->file.by_name[i]], entries[i], err);
    free(entries);
    VLMP_TRY(status);
    if (p->table.count > 0)
        qsort(p->table.tensors, p->table.count, sizeof *p->table.tensors, by_computation);
    return vlmp_tensor_table_index(&p->table, err);
}

static int bad_linear(const vlmp_packed *p, const char *name, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: metadata 'vlmp.linears': '%.200s' %s; the file is damaged, make it again",
                     p->base.path, name, what);
}

/* NAME.PART has exactly this type and shape; columns 0: it must be absent. */
static int check_part(const vlmp_packed *p, const char *name, const char *part, vlmp_dtype dtype,
                      int64_t rows, int64_t columns, vlmp_error *err)
{
    char full[VLMP_ST_MAX_NAME + 16];
    snprintf(full, sizeof full, "%s.%s", name, part);
    const vlmp_tensor *tensor = vlmp_tensor_table_find(&p->table, full);
    if (columns == 0) {
        if (tensor == NULL) return VLMP_OK;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%.200s' at byte %llu is there although its linear has no %s; "
                         "make the file again",
                         p->base.path, full, (unsigned long long)tensor->file_offset, part);
    }
    if (tensor == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%.200s' is missing; make the file again",
                         p->base.path, full);
    if (tensor->dtype == dtype && tensor->rank == 2 && tensor->shape[0] == rows &&
        tensor->shape[1] == columns)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%.200s' at byte %llu is not %s of shape %lld × %lld, which its "
                     "scheme needs; make the file again",
                     p->base.path, full, (unsigned long long)tensor->file_offset,
                     vlmp_dtype_name(dtype), (long long)rows, (long long)columns);
}

static int read_shape(const vlmp_packed *p, const cJSON *item, vlmp_packed_linear *out,
                      vlmp_error *err)
{
    const cJSON *shape = vlmp_json_get(item, "shape");
    if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) != 2)
        return bad_linear(p, item->string, "has no 'shape' of two numbers", err);
    int64_t *sizes[] = {&out->n, &out->k};
    const cJSON *number = shape->child;
    for (int i = 0; i < 2; i++, number = number->next) {
        double value = cJSON_IsNumber(number) ? number->valuedouble : 0;
        if (!(value >= 1 && value <= INT32_MAX) || value != (double)(int64_t)value)
            return bad_linear(p, item->string, "has a size that is out of range", err);
        *sizes[i] = (int64_t)value;
    }
    return VLMP_OK;
}

/* "scales" of a linear: its type, where it is another one than codes and group settle. */
static int read_scales(const vlmp_packed *p, const cJSON *item, const char *where,
                       vlmp_scheme *scheme, vlmp_error *err)
{
    const char *name;
    VLMP_TRY(vlmp_json_string(item, "scales", NULL, &name, where, err));
    if (name == NULL) return VLMP_OK;
    vlmp_scheme named = *scheme;
    named.scales = vlmp_dtype_from_name(name);
    if (!vlmp_scheme_has_wide_scales(scheme) || !vlmp_scheme_has_wide_scales(&named))
        return bad_linear(p, item->string, "has scales of a type that its codes cannot have", err);
    *scheme = named;
    return VLMP_OK;
}

static int read_linear(vlmp_packed *p, const cJSON *item, vlmp_packed_linear *out, vlmp_error *err)
{
    char where[1024];
    vlmp_packed_where(p, "vlmp.linears", where);
    if (!cJSON_IsObject(item)) return bad_linear(p, item->string, "is not an object", err);
    if (strlen(item->string) >= VLMP_NAME_BYTES)
        return bad_linear(p, item->string, "has too long a name", err);
    int64_t bits, group;
    bool symmetric;
    const char *activations, *codes;
    VLMP_TRY(read_shape(p, item, out, err));
    VLMP_TRY(vlmp_json_int(item, "bits", 0, 0, 8, &bits, where, err));
    VLMP_TRY(vlmp_json_int(item, "group", -1, -1, INT32_MAX, &group, where, err));
    VLMP_TRY(vlmp_json_bool(item, "symmetric", true, &symmetric, where, err));
    VLMP_TRY(vlmp_json_string(item, "activations", "", &activations, where, err));
    VLMP_TRY(vlmp_json_string(item, "codes", NULL, &codes, where, err));
    out->scheme = vlmp_scheme_make(vlmp_code_type_of(codes, (int)bits), (int)group,
                                   symmetric ? VLMP_ZEROS_NONE : VLMP_ZEROS_PACKED,
                                   strcmp(activations, "int8") == 0);
    VLMP_TRY(read_scales(p, item, where, &out->scheme, err));
    if (!out->scheme.int8_activations && strcmp(activations, "float") != 0)
        return bad_linear(p, item->string, "has neither float nor int8 activations", err);
    out->name = vlmp_arena_copy(&p->arena, item->string, strlen(item->string));
    if (out->name == NULL) return vlmp_fail_memory(err, p->base.path);
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, out->n, out->k, &out->scheme))
        return bad_linear(p, item->string, "has codes, bits, group and shape that do not fit", err);
    for (int i = 0; i < VLMP_PACKED_PARTS; i++)
        VLMP_TRY(
            check_part(p, out->name, vlmp_packed_part_name((vlmp_packed_part)i, out->scheme.codes),
                       shape.parts[i].dtype, shape.parts[i].rows, shape.parts[i].columns, err));
    return check_part(p, out->name, "weight", VLMP_U8, 0, 0, err);
}

static int linears_by_computation(const void *a, const void *b)
{
    return vlmp_name_compare(((const vlmp_packed_linear *)a)->name,
                             ((const vlmp_packed_linear *)b)->name);
}

/* Parts that no linear claims. A linear claims its own, all of which exist. */
static int check_strays(const vlmp_packed *p, vlmp_error *err)
{
    size_t have[VLMP_PACKED_PARTS + 1] = {0};
    size_t want[VLMP_PACKED_PARTS] = {
        [VLMP_PACKED_CODES] = p->linear_count, [VLMP_PACKED_SCALES] = p->linear_count};
    for (size_t i = 0; i < p->linear_count; i++) {
        want[VLMP_PACKED_HIGH] += vlmp_code_types[p->linears[i].scheme.codes].high_bits != 0;
        want[VLMP_PACKED_ZEROS] += p->linears[i].scheme.zeros == VLMP_ZEROS_PACKED;
        want[VLMP_PACKED_GLOBAL] += vlmp_scheme_has_global(&p->linears[i].scheme);
    }
    for (size_t i = 0; i < p->table.count; i++) {
        const char *name = p->table.tensors[i].name;
        have[vlmp_packed_part_of(name + vlmp_name_stem(name))]++;
    }
    for (int k = 0; k < VLMP_PACKED_PARTS; k++)
        if (have[k] != want[k])
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "%s: %zu tensors end in '.%s', the linears have %zu; make the file again",
                p->base.path, have[k], vlmp_packed_part_name((vlmp_packed_part)k, VLMP_CODES_NONE),
                want[k]);
    return VLMP_OK;
}

int vlmp_packed_read_linears(vlmp_packed *p, const cJSON *linears, vlmp_error *err)
{
    if (!cJSON_IsObject(linears)) return bad_linear(p, "it", "is not an object", err);
    size_t count = 0;
    for (const cJSON *item = linears->child; item != NULL; item = item->next)
        count++;
    p->linears = vlmp_calloc(count, sizeof *p->linears);
    if (p->linears == NULL) return vlmp_fail_memory(err, p->base.path);
    for (const cJSON *item = linears->child; item != NULL; item = item->next)
        VLMP_TRY(read_linear(p, item, &p->linears[p->linear_count++], err));
    if (count > 0) qsort(p->linears, count, sizeof *p->linears, linears_by_computation);
    return check_strays(p, err);
}
