#include <stdlib.h>
#include <string.h>

#include "formats/packed_read.h"
#include "src/base/json.h"
#include "src/model/names.h"

static size_t packed_count(const vlmp_source *self)
{
    return vlmp_as_packed(self)->table.count;
}

static const vlmp_tensor *packed_at(const vlmp_source *self, size_t index)
{
    return &vlmp_as_packed(self)->table.tensors[index];
}

static const vlmp_tensor *packed_find(const vlmp_source *self, const char *name)
{
    return vlmp_tensor_table_find(&vlmp_as_packed(self)->table, name);
}

const vlmp_packed_linear *vlmp_packed_linear_find(const vlmp_source *source, const char *name,
                                                  size_t length)
{
    const vlmp_packed *p = vlmp_as_packed(source);
    char linear[VLMP_NAME_BYTES];
    if (length >= sizeof linear) return NULL;
    memcpy(linear, name, length);
    linear[length] = '\0';
    size_t low = 0, high = p->linear_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = vlmp_name_compare(linear, p->linears[middle].name);
        if (order == 0) return &p->linears[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static const vlmp_scheme *packed_scheme(const vlmp_source *self, const char *name)
{
    const vlmp_packed_linear *linear = vlmp_packed_linear_find(self, name, strlen(name));
    return linear != NULL ? &linear->scheme : NULL;
}

static const char *packed_file(const vlmp_source *self, const char *name, size_t *length)
{
    const vlmp_source_file *file = vlmp_source_files_find(&vlmp_as_packed(self)->files, name);
    *length = file != NULL ? file->length : 0;
    return file != NULL ? file->data : NULL;
}

static const char *packed_file_at(const vlmp_source *self, size_t index)
{
    const vlmp_source_files *files = &vlmp_as_packed(self)->files;
    return index < files->count ? files->entries[index].name : NULL;
}

static void packed_release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    vlmp_map_release(&vlmp_as_packed(self)->file.map, (size_t)tensor->file_offset, tensor->bytes);
}

static int packed_digest(vlmp_source *self, char hex[65], vlmp_error *err)
{
    (void)err;
    memcpy(hex, self->digest, VLMP_SHA256_HEX);
    return VLMP_OK;
}

static void packed_close(vlmp_source *self)
{
    vlmp_packed *p = (vlmp_packed *)self;
    cJSON_Delete(p->tensor_list);
    vlmp_tensor_table_free(&p->table);
    vlmp_source_files_close(&p->files);
    free(p->linears);
    free(p->hashes);
    vlmp_safetensors_close(&p->file);
    vlmp_arena_free(&p->arena);
    free(p);
}

static int need_note(const vlmp_packed *p, const char *key, const char **value, size_t *length,
                     vlmp_error *err)
{
    *value = vlmp_safetensors_metadata(&p->file, key, length);
    if (*value != NULL) return VLMP_OK;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: no '%s' in the metadata; this is not a packed model, give a .vlmp file or "
        "a model folder",
        p->base.path, key);
}

static int note_json(const vlmp_packed *p, const char *key, cJSON **out, vlmp_error *err)
{
    const char *text;
    size_t length;
    *out = NULL;
    VLMP_TRY(need_note(p, key, &text, &length, err));
    char where[1024];
    vlmp_packed_where(p, key, where);
    return vlmp_json_parse(out, text, length, where, err);
}

static int check_features(const vlmp_packed *p, const cJSON *list, vlmp_error *err)
{
    if (!cJSON_IsArray(list))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'vlmp.requires' is not a list; the file is damaged", p->base.path);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        bool known = false;
        for (int i = 0; i < VLMP_PACKED_FEATURES && cJSON_IsString(item); i++)
            known |= strcmp(item->valuestring, vlmp_packed_feature(i)) == 0;
        if (!known)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: needs the feature '%.80s', which this version does not know; "
                             "use a newer vlmpack",
                             p->base.path, cJSON_IsString(item) ? item->valuestring : "?");
    }
    return VLMP_OK;
}

static int check_version(const vlmp_packed *p, vlmp_error *err)
{
    const char *version;
    size_t length;
    VLMP_TRY(need_note(p, "vlmp.version", &version, &length, err));
    if (strcmp(version, VLMP_PACKED_VERSION) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: format version '%.20s'; this version reads %s, use a newer vlmpack",
                         p->base.path, version, VLMP_PACKED_VERSION);
    cJSON *list;
    VLMP_TRY(note_json(p, "vlmp.requires", &list, err));
    int status = check_features(p, list, err);
    cJSON_Delete(list);
    return status;
}

static int read_file_list(vlmp_packed *p, vlmp_error *err)
{
    size_t prefix = strlen(VLMP_PACKED_FILE_PREFIX), count = 1;
    for (size_t i = 0; i < p->file.count; i++)
        count += vlmp_packed_is_file(p->file.tensors[i].name);
    p->files.entries = vlmp_calloc(count, sizeof *p->files.entries);
    if (p->files.entries == NULL) return vlmp_fail_memory(err, p->base.path);
    for (size_t i = 0; i < p->file.count; i++) {
        const vlmp_st_tensor *t = &p->file.tensors[i];
        if (!vlmp_packed_is_file(t->name)) continue;
        const char *name = t->name + prefix;
        if (t->dtype != VLMP_U8 || t->rank != 1 || strchr(name, '/') != NULL ||
            !vlmp_is_carried_file(name) || t->end - t->begin > vlmp_carried_limit(name))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: header byte %zu: '%.200s' is not a file of a model folder; the "
                             "file is damaged, make it again",
                             p->base.path, t->header_at, t->name);
        p->files.entries[p->files.count++] = (vlmp_source_file){
            .name = name,
            .data = (const char *)vlmp_safetensors_data(&p->file, t),
            .length = (size_t)(t->end - t->begin),
        };
    }
    vlmp_source_file config = {.name = "config.json"};
    VLMP_TRY(need_note(p, "vlmp.config", &config.data, &config.length, err));
    p->files.entries[p->files.count++] = config;
    return vlmp_source_files_sort(&p->files, p->base.path, err);
}

static int read_all(vlmp_packed *p, vlmp_error *err)
{
    VLMP_TRY(check_version(p, err));
    VLMP_TRY(vlmp_st_check_header(&p->file, err));
    VLMP_TRY(read_file_list(p, err));
    VLMP_TRY(note_json(p, "vlmp.tensors", &p->tensor_list, err));
    VLMP_TRY(vlmp_packed_read_tensors(p, err));
    cJSON *linears;
    VLMP_TRY(note_json(p, "vlmp.linears", &linears, err));
    int status = vlmp_packed_read_linears(p, linears, err);
    cJSON_Delete(linears);
    VLMP_TRY(status);
    size_t length;
    VLMP_TRY(need_note(p, "vlmp.digest", &p->base.digest, &length, err));
    if (length == 64) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'vlmp.digest' is not a SHA-256; make the file again",
                     p->base.path);
}

/* What the tensors were read from, where that was another format. */
static int read_import(vlmp_packed *p, vlmp_error *err)
{
    cJSON *import;
    const char *format = NULL, *named_by = NULL;
    if (vlmp_packed_note(&p->base, VLMP_PACKED_IMPORT, NULL) == NULL) return VLMP_OK;
    VLMP_TRY(note_json(p, VLMP_PACKED_IMPORT, &import, err));
    int status = vlmp_json_string(import, "format", "unknown", &format, p->base.path, err);
    if (status == VLMP_OK)
        status = vlmp_json_string(import, "named_by", NULL, &named_by, p->base.path, err);
    if (status == VLMP_OK) {
        p->base.imported = vlmp_arena_copy(&p->arena, format, strlen(format));
        if (p->base.imported == NULL) status = vlmp_fail_memory(err, p->base.path);
    }
    if (status == VLMP_OK && named_by != NULL) {
        p->base.named_by = vlmp_arena_copy(&p->arena, named_by, strlen(named_by));
        if (p->base.named_by == NULL) status = vlmp_fail_memory(err, p->base.path);
    }
    cJSON_Delete(import);
    return status;
}

/* fd ≥ 0: of a file without a name. */
static int open_packed(vlmp_source **out, const char *path, int fd, vlmp_error *err)
{
    *out = NULL;
    vlmp_packed *p = vlmp_calloc(1, sizeof *p);
    if (p == NULL) return vlmp_fail_memory(err, path);
    p->base = (vlmp_source){
        .path = vlmp_arena_copy(&p->arena, path, strlen(path)),
        .kind = "packed",
        .digest_now = packed_digest,
        .count = packed_count,
        .at = packed_at,
        .find = packed_find,
        .scheme = packed_scheme,
        .file = packed_file,
        .file_at = packed_file_at,
        .release = packed_release,
        .close = packed_close,
    };
    int status = p->base.path == NULL ? vlmp_fail_memory(err, path) : VLMP_OK;
    if (status == VLMP_OK)
        status = fd >= 0 ? vlmp_safetensors_open_work(&p->file, fd, path, err)
                         : vlmp_safetensors_open(&p->file, path, err);
    if (status == VLMP_OK) status = read_all(p, err);
    if (status == VLMP_OK) status = read_import(p, err);
    if (status != VLMP_OK) {
        packed_close(&p->base);
        return status;
    }
    *out = &p->base;
    return VLMP_OK;
}

int vlmp_packed_open(vlmp_source **out, const char *path, vlmp_error *err)
{
    return open_packed(out, path, -1, err);
}

int vlmp_packed_open_work(vlmp_source **out, int fd, const char *path, vlmp_error *err)
{
    return open_packed(out, path, fd, err);
}

const char *vlmp_packed_note(const vlmp_source *source, const char *key, size_t *length)
{
    return vlmp_safetensors_metadata(&vlmp_as_packed(source)->file, key, length);
}

const vlmp_packed_linear *vlmp_packed_linears(const vlmp_source *source, size_t *count)
{
    *count = vlmp_as_packed(source)->linear_count;
    return vlmp_as_packed(source)->linears;
}
