#include "formats/hf_folder.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/import.h"
#include "formats/safetensors.h"
#include "formats/source_files.h"
#include "formats/tensor_table.h"
#include "src/base/json.h"
#include "src/model/family.h"
#include "src/model/names.h"

#define MAX_SHARDS 10000

typedef struct {
    vlmp_source base; /* first: the source is the folder */
    char boundary[PATH_MAX];
    char digest[VLMP_SHA256_HEX];
    vlmp_arena arena;
    vlmp_source_files files;
    vlmp_safetensors *shards; /* [shard_count] */
    size_t shard_count;
    vlmp_tensor_table table;
    vlmp_config config;
    vlmp_import *import; /* NULL: its weights are as they were trained */
} folder;

static const folder *as_folder(const vlmp_source *self)
{
    return (const folder *)self;
}

static size_t folder_count(const vlmp_source *self)
{
    return as_folder(self)->table.count;
}

static const vlmp_tensor *folder_at(const vlmp_source *self, size_t index)
{
    return &as_folder(self)->table.tensors[index];
}

static const vlmp_tensor *folder_find(const vlmp_source *self, const char *name)
{
    return vlmp_tensor_table_find(&as_folder(self)->table, name);
}

static const vlmp_scheme *folder_scheme(const vlmp_source *self, const char *name)
{
    (void)self;
    (void)name;
    return NULL;
}

static const char *folder_file(const vlmp_source *self, const char *name, size_t *length)
{
    const vlmp_source_file *file = vlmp_source_files_find(&as_folder(self)->files, name);
    *length = file != NULL ? file->length : 0;
    return file != NULL ? file->data : NULL;
}

static const char *folder_file_at(const vlmp_source *self, size_t index)
{
    const vlmp_source_files *files = &as_folder(self)->files;
    return index < files->count ? files->entries[index].name : NULL;
}

static const vlmp_map *map_of(const folder *f, const vlmp_tensor *tensor)
{
    size_t i = 0;
    while (tensor->file != f->shards[i].path)
        i++;
    return &f->shards[i].map;
}

static void folder_release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    vlmp_map_release(map_of(as_folder(self), tensor), (size_t)tensor->file_offset, tensor->bytes);
}

static int folder_digest(vlmp_source *self, char hex[65], vlmp_error *err)
{
    folder *f = (folder *)self;
    if (self->digest == NULL) {
        char(*hashes)[VLMP_SHA256_HEX] = vlmp_alloc(f->table.count, sizeof *hashes);
        if (hashes == NULL) return vlmp_fail_memory(err, "hashes");
        for (size_t i = 0; i < f->table.count; i++) {
            const vlmp_tensor *tensor = &f->table.tensors[i];
            vlmp_map_sha256(map_of(f, tensor), (size_t)tensor->file_offset, tensor->bytes,
                            hashes[i]);
        }
        int status = vlmp_tensor_table_digest(&f->table, hashes, f->digest, err);
        free(hashes);
        VLMP_TRY(status);
        self->digest = f->digest;
    }
    memcpy(hex, self->digest, VLMP_SHA256_HEX);
    return VLMP_OK;
}

static void folder_close(vlmp_source *self)
{
    folder *f = (folder *)self;
    for (size_t i = 0; i < f->shard_count; i++)
        vlmp_safetensors_close(&f->shards[i]);
    free(f->shards);
    vlmp_tensor_table_free(&f->table);
    vlmp_source_files_close(&f->files);
    vlmp_import_free(f->import);
    vlmp_arena_free(&f->arena);
    free(f);
}

/* Another tool's folder is read as its configuration was before. */
static int read_config(folder *f, vlmp_error *err)
{
    vlmp_source_file *file = vlmp_source_files_find(&f->files, "config.json");
    if (file == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json; give a Hugging Face model folder", f->base.path);
    char where[PATH_MAX];
    snprintf(where, sizeof where, "%.4000s/config.json", f->base.path);
    VLMP_TRY(vlmp_import_begin(&f->import, file->data, file->length, where, err));
    if (f->import != NULL) {
        file->data = f->import->config;
        file->length = f->import->config_length;
        /* They repeat what is taken away. */
        vlmp_source_files_drop(&f->files, "quantize_config.json");
        vlmp_source_files_drop(&f->files, "quant_config.json");
        file = vlmp_source_files_find(&f->files, "config.json");
    }
    return vlmp_config_read(&f->config, file->data, file->length, where, err);
}

static int open_shard(folder *f, const char *name, vlmp_error *err)
{
    char path[PATH_MAX];
    if (!vlmp_path_join(path, sizeof path, f->base.path, name))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", f->base.path);
    VLMP_TRY(vlmp_check_inside(path, f->boundary, err));
    VLMP_TRY(vlmp_safetensors_open(&f->shards[f->shard_count], path, err));
    f->shard_count++;
    return VLMP_OK;
}

/* A plain file name, so that an index cannot point outside the folder. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strpbrk(name, "/\\") == NULL && strlen(name) < 256;
}

static int check_shard_name(const cJSON *item, const char *where, vlmp_error *err)
{
    if (cJSON_IsString(item) && is_plain_name(item->valuestring)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the file of tensor '%.200s' is '%.200s', which is not a plain file name "
                     "inside the model folder; correct the index",
                     where, item->string, cJSON_IsString(item) ? item->valuestring : "no string");
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Opens each file that the map names, once, in order of names. */
static int open_mapped_shards(folder *f, const cJSON *map, const char *where, vlmp_error *err)
{
    size_t count = 0, n = 0;
    for (const cJSON *item = map->child; item != NULL; item = item->next, count++)
        VLMP_TRY(check_shard_name(item, where, err));
    if (count == 0) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'weight_map' is empty", where);
    const char **names = vlmp_alloc(count, sizeof *names);
    if (names == NULL) return vlmp_fail_memory(err, where);
    for (const cJSON *item = map->child; item != NULL; item = item->next)
        names[n++] = item->valuestring;
    qsort(names, n, sizeof *names, compare_text);
    size_t unique = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) names[unique++] = names[i];
    int status = VLMP_OK;
    f->shards = unique > MAX_SHARDS ? NULL : vlmp_calloc(unique, sizeof *f->shards);
    if (unique > MAX_SHARDS)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: more than %d shards", where, MAX_SHARDS);
    else if (f->shards == NULL)
        status = vlmp_fail_memory(err, where);
    for (size_t i = 0; i < unique && status == VLMP_OK; i++)
        status = open_shard(f, names[i], err);
    free(names);
    return status;
}

static const vlmp_safetensors *shard_named(const folder *f, const char *name)
{
    for (size_t i = 0; i < f->shard_count; i++) {
        const char *base = strrchr(f->shards[i].path, '/');
        if (strcmp(base + 1, name) == 0) return &f->shards[i];
    }
    return NULL;
}

/* Each mapped tensor is in its file, and each tensor of a file is mapped to it. Counting suffices
 * for the second: names are unique in the map and in each file. */
static int check_map(const folder *f, const cJSON *map, const char *where, vlmp_error *err)
{
    size_t mapped = 0, stored = 0;
    for (const cJSON *item = map->child; item != NULL; item = item->next, mapped++) {
        const vlmp_safetensors *shard = shard_named(f, item->valuestring);
        if (vlmp_safetensors_find(shard, item->string) == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: tensor '%.200s' is not in %s as the index says; download the "
                             "model again",
                             where, item->string, item->valuestring);
    }
    for (size_t i = 0; i < f->shard_count; i++)
        stored += f->shards[i].count;
    if (stored == mapped) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the index names %zu tensors but its files hold %zu; a tensor is in two "
                     "files or not in the index, download the model again",
                     where, mapped, stored);
}

static int open_index(folder *f, const char *where, vlmp_error *err)
{
    cJSON *index;
    VLMP_TRY(vlmp_json_load(&index, where, VLMP_MAX_INDEX, err));
    const cJSON *map = vlmp_json_get(index, "weight_map");
    int status = VLMP_OK;
    if (!cJSON_IsObject(map))
        status =
            vlmp_fail(err, VLMP_ERR_INPUT, "%s: no object 'weight_map'; download it again", where);
    if (status == VLMP_OK) status = open_mapped_shards(f, map, where, err);
    if (status == VLMP_OK) status = check_map(f, map, where, err);
    cJSON_Delete(index);
    return status;
}

static bool holds_pickles(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return false;
    bool found = false;
    for (const struct dirent *e; !found && (e = readdir(dir)) != NULL;) {
        size_t length = strlen(e->d_name);
        found = (length > 4 && strcmp(e->d_name + length - 4, ".bin") == 0) ||
                (length > 4 && strcmp(e->d_name + length - 4, ".pth") == 0);
    }
    closedir(dir);
    return found;
}

static int open_shards(folder *f, vlmp_error *err)
{
    char path[PATH_MAX];
    if (!vlmp_path_join(path, sizeof path, f->base.path, "model.safetensors.index.json"))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", f->base.path);
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind != VLMP_PATH_ABSENT) {
        VLMP_TRY(vlmp_check_inside(path, f->boundary, err));
        return open_index(f, path, err);
    }
    vlmp_path_join(path, sizeof path, f->base.path, "model.safetensors");
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_ABSENT)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no model.safetensors and no index of shards; %s",
                         f->base.path,
                         holds_pickles(f->base.path)
                             ? "convert the PyTorch pickles to safetensors first"
                             : "is the download complete?");
    f->shards = vlmp_calloc(1, sizeof *f->shards);
    if (f->shards == NULL) return vlmp_fail_memory(err, path);
    return open_shard(f, "model.safetensors", err);
}

/* The next of the table gets its canonical name. */
static int place(folder *f, vlmp_tensor *tensor, const char *name, vlmp_error *err)
{
    tensor->name = vlmp_arena_copy(&f->arena, name, strlen(name));
    if (tensor->name == NULL) return vlmp_fail_memory(err, tensor->file);
    const vlmp_vision_config *vision = &f->config.vision;
    tensor->unused = vlmp_family_runs(f->config.family) &&
                     vlmp_name_is_unused(name, vision->run_layers, vision->has_post_norm);
    f->table.count++;
    return VLMP_OK;
}

/* A vlmp_import_add. There is room: a linear has more parts in the folder than weights. */
static int add_weight(void *arg, const vlmp_tensor *weight, vlmp_error *err)
{
    folder *f = arg;
    vlmp_tensor *tensor = &f->table.tensors[f->table.count];
    *tensor = *weight;
    return place(f, tensor, weight->name, err);
}

static int add_tensor(folder *f, const vlmp_safetensors *shard, const vlmp_st_tensor *from,
                      vlmp_error *err)
{
    char name[VLMP_NAME_BYTES];
    const vlmp_family *family = f->config.family;
    vlmp_tensor *tensor = &f->table.tensors[f->table.count];
    *tensor = (vlmp_tensor){.source_name = from->name,
                            .file = shard->path,
                            .file_offset = shard->data_start + from->begin,
                            .dtype = from->dtype,
                            .rank = from->rank,
                            .data = vlmp_safetensors_data(shard, from),
                            .bytes = (size_t)(from->end - from->begin)};
    memcpy(tensor->shape, from->shape, sizeof tensor->shape);
    bool taken = false;
    if (f->import != NULL)
        VLMP_TRY(vlmp_import_take(f->import, tensor, family->canonical_name, &taken, err));
    if (taken) return VLMP_OK;
    vlmp_name_kind kind = family->canonical_name(name, from->name);
    if (kind == VLMP_NAME_IGNORED) return VLMP_OK;
    if (kind == VLMP_NAME_UNKNOWN && !vlmp_family_runs(family))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: header byte %zu: the name of tensor '%.200s' is too long for a "
                         "packed file; rename it",
                         shard->path, from->header_at, from->name);
    if (kind == VLMP_NAME_UNKNOWN)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: header byte %zu: tensor '%.200s' has no place in a model of type "
                         "%s; remove it from the checkpoint, or use a supported model",
                         shard->path, from->header_at, from->name, family->model_type);
    return place(f, tensor, name, err);
}

static int by_computation(const void *a, const void *b)
{
    return vlmp_name_compare(((const vlmp_tensor *)a)->name, ((const vlmp_tensor *)b)->name);
}

static int name_tensors(folder *f, vlmp_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < f->shard_count; i++)
        total += f->shards[i].count;
    f->table.tensors = vlmp_alloc(total, sizeof *f->table.tensors);
    if (f->table.tensors == NULL) return vlmp_fail_memory(err, f->base.path);
    for (size_t i = 0; i < f->shard_count; i++)
        for (size_t j = 0; j < f->shards[i].count; j++)
            VLMP_TRY(add_tensor(f, &f->shards[i], &f->shards[i].tensors[j], err));
    if (f->import != NULL) VLMP_TRY(vlmp_import_finish(f->import, add_weight, f, err));
    if (f->table.count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no tensors; is the download complete?",
                         f->base.path);
    qsort(f->table.tensors, f->table.count, sizeof *f->table.tensors, by_computation);
    return vlmp_tensor_table_index(&f->table, err);
}

static int fill(folder *f, vlmp_error *err)
{
    VLMP_TRY(vlmp_folder_boundary(f->boundary, sizeof f->boundary, f->base.path, err));
    VLMP_TRY(vlmp_source_files_map(&f->files, f->base.path, f->boundary, &f->arena, err));
    VLMP_TRY(read_config(f, err));
    VLMP_TRY(open_shards(f, err));
    return name_tensors(f, err);
}

int vlmp_folder_open(vlmp_source **out, const char *path, vlmp_error *err)
{
    *out = NULL;
    folder *f = vlmp_calloc(1, sizeof *f);
    if (f == NULL) return vlmp_fail_memory(err, path);
    f->base = (vlmp_source){
        .path = vlmp_arena_copy(&f->arena, path, strlen(path)),
        .kind = "folder",
        .digest_now = folder_digest,
        .count = folder_count,
        .at = folder_at,
        .find = folder_find,
        .scheme = folder_scheme,
        .file = folder_file,
        .file_at = folder_file_at,
        .release = folder_release,
        .close = folder_close,
    };
    int status = f->base.path == NULL ? vlmp_fail_memory(err, path) : fill(f, err);
    if (status != VLMP_OK) {
        folder_close(&f->base);
        return status;
    }
    if (f->import == NULL) {
        *out = &f->base;
        return VLMP_OK;
    }
    status = vlmp_import_open(out, f->import, &f->base, err);
    folder_close(&f->base);
    return status;
}
