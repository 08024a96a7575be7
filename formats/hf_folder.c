#include "formats/hf_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/import.h"
#include "formats/original.h"
#include "formats/shards.h"
#include "formats/table_source.h"
#include "src/base/json.h"
#include "src/model/family.h"
#include "src/model/names.h"

typedef struct {
    vlmp_table_source t; /* first: the source is the folder */
    char boundary[PATH_MAX];
    char digest[VLMP_SHA256_HEX];
    vlmp_shards shards;
    vlmp_shards tower;   /* of an original LLaVA folder, where its tower is in another one */
    vlmp_import *import; /* NULL: its weights are as they were trained */
    bool is_original;
    vlmp_original original;
} folder;

static const folder *as_folder(const vlmp_source *self)
{
    return (const folder *)self;
}

static const vlmp_map *map_of(const folder *f, const vlmp_tensor *tensor)
{
    const vlmp_map *map = vlmp_shards_map(&f->shards, tensor->file);
    return map != NULL ? map : vlmp_shards_map(&f->tower, tensor->file);
}

static void folder_release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    vlmp_map_release(map_of(as_folder(self), tensor), (size_t)tensor->file_offset, tensor->bytes);
}

static int folder_digest(vlmp_source *self, char hex[65], vlmp_error *err)
{
    folder *f = (folder *)self;
    if (self->digest == NULL) {
        char(*hashes)[VLMP_SHA256_HEX] = vlmp_alloc(f->t.table.count, sizeof *hashes);
        if (hashes == NULL) return vlmp_fail_memory(err, "hashes");
        for (size_t i = 0; i < f->t.table.count; i++) {
            const vlmp_tensor *tensor = &f->t.table.tensors[i];
            vlmp_map_sha256(map_of(f, tensor), (size_t)tensor->file_offset, tensor->bytes,
                            hashes[i]);
        }
        int status = vlmp_tensor_table_digest(&f->t.table, hashes, f->digest, err);
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
    vlmp_shards_close(&f->shards);
    vlmp_shards_close(&f->tower);
    vlmp_import_free(f->import);
    vlmp_table_source_free(&f->t);
    free(f);
}

/* What is said about the weights is taken away: another tool's folder is read as its configuration
 * was before. */
static int begin_import(folder *f, vlmp_error *err)
{
    vlmp_source_file *file = vlmp_source_files_find(&f->t.files, "config.json");
    if (file == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json; give a Hugging Face model folder", f->t.base.path);
    VLMP_TRY(vlmp_import_begin(&f->import, &f->t.files, f->t.base.path, err));
    if (f->import == NULL) return VLMP_OK;
    file->data = f->import->config;
    file->length = f->import->config_length;
    /* They repeat what is taken away. */
    for (size_t i = 0; i < vlmp_import_file_count; i++)
        vlmp_source_files_drop(&f->t.files, vlmp_import_files[i].name);
    return VLMP_OK;
}

static int convert_original(folder *f, vlmp_error *err)
{
    char boundary[PATH_MAX];
    const char *tower = f->original.tower.folder;
    VLMP_TRY(vlmp_original_convert(&f->original, &f->t.files, &f->shards, f->t.base.path,
                                   &f->t.arena, err));
    if (f->original.holds_tower) return VLMP_OK;
    VLMP_TRY(vlmp_folder_boundary(boundary, sizeof boundary, tower, err));
    return vlmp_shards_open(&f->tower, tower, boundary, err);
}

static int read_config(folder *f, vlmp_error *err)
{
    char where[PATH_MAX];
    snprintf(where, sizeof where, "%.4000s/config.json", f->t.base.path);
    VLMP_TRY(begin_import(f, err));
    VLMP_TRY(vlmp_original_look(&f->is_original, vlmp_source_files_find(&f->t.files, "config.json"),
                                where, err));
    if (f->is_original) {
        VLMP_TRY(vlmp_shards_open(&f->shards, f->t.base.path, f->boundary, err));
        VLMP_TRY(convert_original(f, err));
    }
    const vlmp_source_file *file = vlmp_source_files_find(&f->t.files, "config.json");
    VLMP_TRY(vlmp_config_read(&f->t.config, file->data, file->length, where, err));
    return f->is_original ? VLMP_OK
                          : vlmp_shards_open(&f->shards, f->t.base.path, f->boundary, err);
}

/* A vlmp_import_add. There is room: a linear has more parts in the folder than weights. */
static int add_weight(void *arg, const vlmp_tensor *weight, vlmp_error *err)
{
    return vlmp_table_source_add(arg, weight, weight->name, err);
}

static int add_tensor(folder *f, const vlmp_safetensors *shard, const vlmp_st_tensor *from,
                      const char *source_name, vlmp_error *err)
{
    char name[VLMP_NAME_BYTES];
    const vlmp_family *family = f->t.config.family;
    vlmp_tensor tensor = {.source_name = source_name,
                          .file = shard->path,
                          .file_offset = shard->data_start + from->begin,
                          .dtype = from->dtype,
                          .rank = from->rank,
                          .data = vlmp_safetensors_data(shard, from),
                          .bytes = (size_t)(from->end - from->begin)};
    memcpy(tensor.shape, from->shape, sizeof tensor.shape);
    bool taken = false;
    if (f->import != NULL)
        VLMP_TRY(vlmp_import_take(f->import, &tensor, family->canonical_name, &taken, err));
    if (taken) return VLMP_OK;
    vlmp_name_kind kind = family->canonical_name(name, source_name);
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
    return vlmp_table_source_add(&f->t, &tensor, name, err);
}

static int add_file(folder *f, const vlmp_safetensors *shard, bool tower, vlmp_error *err)
{
    for (size_t i = 0; i < shard->count; i++) {
        const vlmp_st_tensor *from = &shard->tensors[i];
        char name[VLMP_ORIGINAL_NAME_BYTES];
        const char *source_name = from->name;
        if (f->is_original) {
            if (!vlmp_original_name(name, from->name, &f->original, tower)) continue;
            source_name = vlmp_arena_copy(&f->t.arena, name, strlen(name));
            if (source_name == NULL) return vlmp_fail_memory(err, shard->path);
        }
        VLMP_TRY(add_tensor(f, shard, from, source_name, err));
    }
    return VLMP_OK;
}

static int name_tensors(folder *f, vlmp_error *err)
{
    const vlmp_shards *const sets[] = {&f->shards, &f->tower};
    size_t total = 0;
    for (int tower = 0; tower < 2; tower++)
        for (size_t i = 0; i < sets[tower]->count; i++)
            total += sets[tower]->files[i].count;
    f->t.table.tensors = vlmp_alloc(total, sizeof *f->t.table.tensors);
    if (f->t.table.tensors == NULL) return vlmp_fail_memory(err, f->t.base.path);
    for (int tower = 0; tower < 2; tower++)
        for (size_t i = 0; i < sets[tower]->count; i++)
            VLMP_TRY(add_file(f, &sets[tower]->files[i], tower, err));
    if (f->import != NULL) f->import->from = &f->t.base;
    if (f->import != NULL) VLMP_TRY(vlmp_import_finish(f->import, add_weight, &f->t, err));
    return vlmp_table_source_sort(&f->t, err);
}

static int fill(folder *f, vlmp_error *err)
{
    VLMP_TRY(vlmp_folder_boundary(f->boundary, sizeof f->boundary, f->t.base.path, err));
    VLMP_TRY(vlmp_source_files_map(&f->t.files, f->t.base.path, f->boundary, &f->t.arena, err));
    VLMP_TRY(read_config(f, err));
    return name_tensors(f, err);
}

int vlmp_folder_open(vlmp_source **out, const char *path, vlmp_error *err)
{
    *out = NULL;
    folder *f = vlmp_calloc(1, sizeof *f);
    if (f == NULL) return vlmp_fail_memory(err, path);
    int status = vlmp_table_source_init(&f->t, path, err);
    f->t.base.digest_now = folder_digest;
    f->t.base.release = folder_release;
    f->t.base.close = folder_close;
    if (status == VLMP_OK) status = fill(f, err);
    if (status != VLMP_OK) {
        folder_close(&f->t.base);
        return status;
    }
    if (f->import == NULL) {
        *out = &f->t.base;
        return VLMP_OK;
    }
    status = vlmp_import_open(out, f->import, &f->t.base, err);
    folder_close(&f->t.base);
    return status;
}
