/* From a folder's tensors to its quantized linears. */
#include "formats/import.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/packed.h"

static const vlmp_import_layout *const layouts[] = {&vlmp_import_compressed_tensors,
                                                    &vlmp_import_gptq, &vlmp_import_awq};

/* A tensor that is a part of a linear. */
struct vlmp_import_found {
    const char *name;   /* canonical, of the linear */
    const char *source; /* of the linear in the folder */
    const vlmp_tensor *tensor;
    const vlmp_import_suffix *as;
};

int vlmp_import_refuse(const vlmp_tensor *tensor, vlmp_error *err, const char *what, ...)
{
    char text[600];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%.200s' %s", tensor->file,
                     tensor->source_name, text);
}

static const vlmp_import_layout *layout_named(const char *name)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (strcmp(layouts[i]->name, name) == 0) return layouts[i];
    return NULL;
}

/* The text of config.json without the description of the quantization. */
static int strip(vlmp_import *import, cJSON *root, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 2};
    cJSON *const holders[] = {root, cJSON_GetObjectItemCaseSensitive(root, "text_config")};
    for (int i = 0; i < 2; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(holders[i], "quantization_config");
        cJSON_DeleteItemFromObjectCaseSensitive(holders[i], "compression_config");
    }
    vlmp_json_put_tree(&w, root);
    if (!w.out.failed) import->config = vlmp_arena_copy(&import->arena, w.out.data, w.out.length);
    import->config_length = w.out.length;
    vlmp_buffer_free(&w.out);
    return import->config != NULL ? VLMP_OK : vlmp_fail_memory(err, import->where);
}

static int configure(vlmp_import *import, const cJSON *config, const char *fallback,
                     vlmp_error *err)
{
    const char *method;
    if (!cJSON_IsObject(config))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: what says how the model is quantized is no object; download the "
                         "model again",
                         import->where);
    VLMP_TRY(vlmp_json_string(config, "quant_method", fallback, &method, import->where, err));
    import->layout = layout_named(method);
    if (import->layout == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the model is quantized already, by the method '%.40s', which is not "
                         "read; compressed-tensors, gptq and awq are",
                         import->where, method);
    return import->layout->configure(import, config, err);
}

/* The description in config.json, under its old or its new name, of the model or of its text model
 * as some tools have it; NULL. */
static const cJSON *description(const cJSON *root)
{
    const cJSON *const holders[] = {root, vlmp_json_get(root, "text_config")}, *found = NULL;
    for (int i = 0; i < 2 && found == NULL; i++) {
        found = vlmp_json_get(holders[i], "quantization_config");
        if (found == NULL) found = vlmp_json_get(holders[i], "compression_config");
    }
    return found;
}

const vlmp_import_file vlmp_import_files[] = {{"quantize_config.json", "gptq"},
                                              {"quant_config.json", "awq"}};
const size_t vlmp_import_file_count = sizeof vlmp_import_files / sizeof *vlmp_import_files;

/* described is of the folder's file `name`; root of its config.json. */
static int begin(vlmp_import **out, cJSON *root, const cJSON *described, const char *fallback,
                 const char *folder, const char *name, vlmp_error *err)
{
    vlmp_import *import = vlmp_calloc(1, sizeof *import);
    if (import == NULL) return vlmp_fail_memory(err, folder);
    size_t length = strlen(folder) + strlen(name) + 2;
    char *where = vlmp_arena_alloc(&import->arena, length, 1);
    int status = where == NULL ? vlmp_fail_memory(err, folder) : VLMP_OK;
    if (status == VLMP_OK) {
        snprintf(where, length, "%s/%s", folder, name);
        import->where = where;
        status = configure(import, described, fallback, err);
    }
    if (status == VLMP_OK) status = strip(import, root, err);
    if (status == VLMP_OK)
        *out = import;
    else
        vlmp_import_free(import);
    return status;
}

static int begin_alone(vlmp_import **out, cJSON *root, const vlmp_source_files *files,
                       const char *folder, vlmp_error *err)
{
    const vlmp_source_file *file = NULL;
    size_t i = 0;
    while (i < vlmp_import_file_count && file == NULL)
        file = vlmp_source_files_find(files, vlmp_import_files[i++].name);
    if (file == NULL) return VLMP_OK;
    cJSON *described;
    char where[PATH_MAX];
    snprintf(where, sizeof where, "%.3800s/%s", folder, file->name);
    VLMP_TRY(vlmp_json_parse(&described, file->data, file->length, where, err));
    int status =
        begin(out, root, described, vlmp_import_files[i - 1].method, folder, file->name, err);
    cJSON_Delete(described);
    return status;
}

int vlmp_import_begin(vlmp_import **out, const vlmp_source_files *files, const char *folder,
                      vlmp_error *err)
{
    cJSON *root;
    char where[PATH_MAX];
    *out = NULL;
    const vlmp_source_file *config = vlmp_source_files_find(files, "config.json");
    snprintf(where, sizeof where, "%.4000s/config.json", folder);
    VLMP_TRY(vlmp_json_parse(&root, config->data, config->length, where, err));
    const cJSON *described = description(root);
    int status = described != NULL ? begin(out, root, described, "", folder, "config.json", err)
                                   : begin_alone(out, root, files, folder, err);
    cJSON_Delete(root);
    return status;
}

void vlmp_import_free(vlmp_import *import)
{
    if (import == NULL) return;
    free(import->found);
    free(import->linears);
    vlmp_arena_free(&import->arena);
    free(import);
}

/* The suffix that the name ends in, and the length of what is before it. */
static const vlmp_import_suffix *suffix_of(const vlmp_import_layout *layout, const char *name,
                                           size_t *stem)
{
    size_t length = strlen(name);
    for (const vlmp_import_suffix *s = layout->suffixes; s->suffix != NULL; s++) {
        size_t tail = strlen(s->suffix);
        if (length <= tail || strcmp(name + length - tail, s->suffix) != 0) continue;
        *stem = length - tail;
        return s;
    }
    return NULL;
}

static int remember(vlmp_import *import, const vlmp_tensor *tensor, const vlmp_import_suffix *as,
                    const char *name, size_t stem, vlmp_error *err)
{
    if (import->found_count == import->found_capacity) {
        size_t grown = import->found_capacity == 0 ? 256 : import->found_capacity * 2;
        void *found = realloc(import->found, grown * sizeof *import->found);
        if (found == NULL) return vlmp_fail_memory(err, tensor->file);
        import->found = found;
        import->found_capacity = grown;
    }
    vlmp_tensor *copy = vlmp_arena_alloc(&import->arena, 1, sizeof *copy);
    struct vlmp_import_found *found = &import->found[import->found_count];
    found->name = vlmp_arena_copy(&import->arena, name, strlen(name) - strlen(".weight"));
    found->source = vlmp_arena_copy(&import->arena, tensor->source_name, stem);
    found->tensor = copy;
    found->as = as;
    if (copy == NULL || found->name == NULL || found->source == NULL)
        return vlmp_fail_memory(err, tensor->file);
    *copy = *tensor;
    import->found_count++;
    return VLMP_OK;
}

int vlmp_import_take(vlmp_import *import, const vlmp_tensor *tensor, vlmp_import_naming *canonical,
                     bool *taken, vlmp_error *err)
{
    size_t stem;
    const vlmp_import_suffix *as = suffix_of(import->layout, tensor->source_name, &stem);
    /* A weight of a float type is one that was kept. */
    *taken =
        as != NULL && (strcmp(as->suffix, ".weight") != 0 || !vlmp_dtype_is_float(tensor->dtype));
    if (!*taken) return VLMP_OK;
    if (as->part == VLMP_IMPORT_REFUSED)
        return vlmp_import_refuse(tensor, err, "is there: %s", as->refused);
    char weight[1100], name[VLMP_NAME_BYTES];
    snprintf(weight, sizeof weight, "%.*s.weight", (int)stem, tensor->source_name);
    if (canonical(name, weight) != VLMP_NAME_KNOWN)
        return vlmp_import_refuse(tensor, err,
                                  "belongs to no linear of a model of this type; use a supported "
                                  "model");
    return remember(import, tensor, as, name, stem, err);
}

static int by_linear(const void *a, const void *b)
{
    const struct vlmp_import_found *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (int)x->as->part - (int)y->as->part;
}

/* Parts of one linear lie together; one comes once. */
static int gather(vlmp_import *import, vlmp_error *err)
{
    qsort(import->found, import->found_count, sizeof *import->found, by_linear);
    import->linears = vlmp_calloc(import->found_count, sizeof *import->linears);
    if (import->linears == NULL) return vlmp_fail_memory(err, import->where);
    for (size_t i = 0; i < import->found_count; i++) {
        const struct vlmp_import_found *f = &import->found[i];
        bool begins = i == 0 || strcmp(f->name, f[-1].name) != 0;
        vlmp_import_linear *linear = &import->linears[import->linear_count - !begins];
        if (begins) {
            linear->name = f->name;
            linear->source = f->source;
            import->linear_count++;
        }
        if (linear->parts[f->as->part] != NULL)
            return vlmp_import_refuse(f->tensor, err,
                                      "and tensor '%.200s' of %s are the same part "
                                      "of one linear; remove one of them",
                                      linear->parts[f->as->part]->source_name,
                                      linear->parts[f->as->part]->file);
        linear->parts[f->as->part] = f->tensor;
    }
    return VLMP_OK;
}

/* Any tensor that tells where the linear is. */
static const vlmp_tensor *any_part(const vlmp_import_linear *linear)
{
    int part = 0;
    while (linear->parts[part] == NULL)
        part++;
    return linear->parts[part];
}

static int fit(vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    static const vlmp_import_part needed[] = {VLMP_IMPORT_CODES, VLMP_IMPORT_SCALES};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (linear->parts[needed[i]] == NULL)
            return vlmp_import_refuse(any_part(linear), err,
                                      "is there, but not the %s of its linear; is the download "
                                      "complete?",
                                      needed[i] == VLMP_IMPORT_CODES ? "codes" : "scales");
    VLMP_TRY(import->layout->fit(import, linear, err));
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, linear->n, linear->k, &linear->scheme))
        return vlmp_import_refuse(linear->parts[VLMP_IMPORT_CODES], err,
                                  "has %lld outputs and %lld inputs in groups of %d, which no "
                                  "packed linear has: groups divide the inputs",
                                  (long long)linear->n, (long long)linear->k, linear->scheme.group);
    return vlmp_import_survey(import, linear, err);
}

int vlmp_import_finish(vlmp_import *import, vlmp_import_add *add, void *arg, vlmp_error *err)
{
    if (import->found_count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: says that the model is quantized (%s), but no tensor is; is the "
                         "download complete?",
                         import->where, import->layout->name);
    VLMP_TRY(gather(import, err));
    for (size_t i = 0; i < import->linear_count; i++) {
        vlmp_import_linear *linear = &import->linears[i];
        VLMP_TRY(fit(import, linear, err));
        vlmp_tensor weight = *linear->parts[VLMP_IMPORT_CODES];
        size_t length = strlen(linear->name), source = strlen(linear->source);
        char *name = vlmp_arena_alloc(&import->arena, length + sizeof ".weight", 1);
        char *source_name = vlmp_arena_alloc(&import->arena, source + sizeof ".weight", 1);
        if (name == NULL || source_name == NULL) return vlmp_fail_memory(err, import->where);
        sprintf(name, "%s.weight", linear->name);
        sprintf(source_name, "%s.weight", linear->source);
        weight.name = name;
        weight.source_name = source_name;
        weight.rank = 2;
        weight.shape[0] = linear->n;
        weight.shape[1] = linear->k;
        weight.data = NULL;
        VLMP_TRY(add(arg, &weight, err));
    }
    return VLMP_OK;
}

int vlmp_import_need(const vlmp_import_linear *linear, vlmp_import_part part, vlmp_dtype type,
                     int64_t rows, int64_t columns, vlmp_error *err)
{
    const vlmp_tensor *tensor = linear->parts[part];
    bool same = tensor->dtype == type && tensor->rank == (columns == 0 ? 1 : 2) &&
                tensor->shape[0] == rows && (columns == 0 || tensor->shape[1] == columns);
    if (same) return VLMP_OK;
    char wanted[64];
    if (columns == 0)
        snprintf(wanted, sizeof wanted, "%lld", (long long)rows);
    else
        snprintf(wanted, sizeof wanted, "%lld × %lld", (long long)rows, (long long)columns);
    return vlmp_import_refuse(tensor, err,
                              "at byte %llu is not %s of shape %s, as the linear's other tensors "
                              "need it; download the model again",
                              (unsigned long long)tensor->file_offset, vlmp_dtype_name(type),
                              wanted);
}

int vlmp_import_check_order(const vlmp_import_linear *linear, int64_t groups, vlmp_error *err)
{
    const vlmp_tensor *index = linear->parts[VLMP_IMPORT_INDEX];
    if (index == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_import_need(linear, VLMP_IMPORT_INDEX, VLMP_I32, linear->k, 0, err));
    for (int64_t i = 0; i < linear->k; i++) {
        int32_t group;
        memcpy(&group, index->data + (size_t)i * sizeof group, sizeof group);
        if (group != i / (linear->k / groups))
            return vlmp_import_refuse(
                index, err,
                "puts input %lld into group %d: groups by activation order are not read; quantize "
                "without it (desc_act false; actorder null or \"weight\")",
                (long long)i, group);
    }
    return VLMP_OK;
}

/* What was done to each linear, as vlm-quantize writes it. */
static void put_decisions(vlmp_json_writer *w, const vlmp_import *import)
{
    if (import->layout->put_decisions != NULL) {
        import->layout->put_decisions(w, import);
        return;
    }
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < import->linear_count; i++) {
        const vlmp_import_linear *linear = &import->linears[i];
        const vlmp_code_info *info = &vlmp_code_types[linear->scheme.codes];
        vlmp_json_open(w, '{');
        vlmp_json_pair_string(w, "name", linear->name);
        vlmp_json_pair_string(w, "method", import->layout->name);
        if (info->name != NULL) vlmp_json_pair_string(w, "codes", info->name);
        vlmp_json_pair_int(w, "bits", info->bits);
        vlmp_json_pair_int(w, "group", linear->scheme.group);
        vlmp_json_key(w, "symmetric");
        vlmp_json_put_bool(w, linear->scheme.zeros == VLMP_ZEROS_NONE);
        vlmp_json_pair_string(w, "activations", linear->scheme.int8_activations ? "int8" : "float");
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static void put_import(vlmp_json_writer *w, const vlmp_import *import)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "format", import->layout->name);
    if (import->layout->named_by != NULL)
        vlmp_json_pair_string(w, "named_by", import->layout->named_by);
    vlmp_json_pair_string(w, "note", import->note);
    vlmp_json_close(w, '}');
}

static int write_work(const vlmp_import *import, const vlmp_packed_plan *plan, vlmp_outfile *file,
                      vlmp_error *err)
{
    vlmp_json_writer texts[2];
    char digest[VLMP_SHA256_HEX];
    memset(texts, 0, sizeof texts);
    put_import(&texts[0], import);
    put_decisions(&texts[1], import);
    int status =
        texts[0].out.failed || texts[1].out.failed ? vlmp_fail_memory(err, file->path) : VLMP_OK;
    if (status == VLMP_OK) {
        const vlmp_packed_entry entries[] = {
            {.key = VLMP_PACKED_IMPORT, .value = texts[0].out.data},
            {.key = "vlmp.decisions", .value = texts[1].out.data}};
        /* The read function changes nothing of the import. */
        status = vlmp_packed_put(plan, entries, sizeof entries / sizeof *entries, file,
                                 vlmp_import_read, (void *)(uintptr_t)import, digest, err);
    }
    vlmp_buffer_free(&texts[0].out);
    vlmp_buffer_free(&texts[1].out);
    return status;
}

/* Bytes that the plan's tensors take where they are read from; a linear's are told of its codes. */
static void plan_stored(vlmp_packed_plan *plan, const vlmp_import *import)
{
    for (size_t i = 0; i < plan->tensor_count; i++) {
        vlmp_tensor *tensor = &plan->tensors[i];
        vlmp_packed_part part = vlmp_packed_part_of(tensor->name + vlmp_name_stem(tensor->name));
        if (part != VLMP_PACKED_CODES && part != VLMP_PACKED_PARTS) continue;
        tensor->stored = (size_t)import->layout->stored(import, tensor->name);
        const vlmp_import_linear *linear = vlmp_import_linear_of(import, tensor->name);
        if (part != VLMP_PACKED_CODES || linear == NULL) continue;
        vlmp_packed_shape shape;
        vlmp_packed_shape_of(&shape, linear->n, linear->k, &linear->scheme);
        tensor->stored -= shape.bytes - tensor->bytes;
    }
}

int vlmp_import_open(vlmp_source **out, const vlmp_import *import, const vlmp_source *folder,
                     vlmp_error *err)
{
    vlmp_packed_plan plan;
    vlmp_outfile work = {.fd = -1};
    int status = vlmp_packed_plan_init(&plan, folder, err);
    for (size_t i = 0; i < import->linear_count && status == VLMP_OK; i++)
        status = vlmp_packed_plan_quantize(&plan, import->linears[i].name,
                                           &import->linears[i].scheme, err);
    if (status == VLMP_OK && import->layout->stored != NULL) plan_stored(&plan, import);
    if (status == VLMP_OK) {
        snprintf(work.path, sizeof work.path, "%.4000s/vlmpack-import-XXXXXX",
                 vlmp_temporary_folder());
        status = vlmp_workfile_create(&work.fd, work.path, err);
    }
    if (status == VLMP_OK) status = write_work(import, &plan, &work, err);
    vlmp_packed_plan_free(&plan);
    if (status == VLMP_OK) status = vlmp_packed_open_work(out, work.fd, folder->path, err);
    if (work.fd >= 0) close(work.fd);
    return status;
}
