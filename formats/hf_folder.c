#include "formats/hf_folder.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/folder_config.h"
#include "formats/promised.h"
#include "src/model/family.h"
#include "src/model/names.h"

typedef struct {
    vlmp_table_source t; /* first: the source is the folder */
    char boundary[PATH_MAX];
    char digest[VLMP_SHA256_HEX];
    vlmp_folder_config says;
    vlmp_shards tower; /* of an original LLaVA folder, where its tower is in another one */
    bool headers;      /* no data are read */
    bool is_file;      /* the path is that of a configuration */
} folder;

static const folder *as_folder(const vlmp_source *self)
{
    return (const folder *)self;
}

static const vlmp_map *map_of(const folder *f, const vlmp_tensor *tensor)
{
    const vlmp_map *map = vlmp_shards_map(&f->says.shards, tensor->file);
    return map != NULL ? map : vlmp_shards_map(&f->tower, tensor->file);
}

static void folder_release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    if (as_folder(self)->headers) return;
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
    vlmp_shards_close(&f->tower);
    vlmp_table_source_free(&f->t);
    vlmp_folder_config_free(&f->says);
    free(f);
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
                          .data = shard->is_cut ? NULL : vlmp_safetensors_data(shard, from),
                          .bytes = (size_t)(from->end - from->begin)};
    memcpy(tensor.shape, from->shape, sizeof tensor.shape);
    bool taken = false;
    if (f->says.import != NULL)
        VLMP_TRY(vlmp_import_take(f->says.import, &tensor, family->canonical_name, &taken, err));
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
        if (f->says.is_original) {
            if (!vlmp_original_name(name, from->name, &f->says.original, tower)) continue;
            source_name = vlmp_arena_copy(&f->t.arena, name, strlen(name));
            if (source_name == NULL) return vlmp_fail_memory(err, shard->path);
        }
        VLMP_TRY(add_tensor(f, shard, from, source_name, err));
    }
    return VLMP_OK;
}

static int name_tensors(folder *f, vlmp_error *err)
{
    const vlmp_shards *const sets[] = {&f->says.shards, &f->tower};
    size_t total = 0;
    for (int tower = 0; tower < 2; tower++)
        for (size_t i = 0; i < sets[tower]->count; i++)
            total += sets[tower]->files[i].count;
    f->t.table.tensors = vlmp_alloc(total, sizeof *f->t.table.tensors);
    if (f->t.table.tensors == NULL) return vlmp_fail_memory(err, f->t.base.path);
    for (int tower = 0; tower < 2; tower++)
        for (size_t i = 0; i < sets[tower]->count; i++)
            VLMP_TRY(add_file(f, &sets[tower]->files[i], tower, err));
    if (f->says.import != NULL) f->says.import->from = &f->t.base;
    if (f->says.import != NULL)
        VLMP_TRY(vlmp_import_finish(f->says.import, add_weight, &f->t, err));
    return vlmp_table_source_sort(&f->t, err);
}

/* The weights: in the folder, and of an original one perhaps in its tower's. */
static int open_shards(folder *f, vlmp_error *err)
{
    char boundary[PATH_MAX];
    const vlmp_original *original = &f->says.original;
    if (!f->says.is_original)
        return vlmp_shards_open(&f->says.shards, f->t.base.path, f->boundary, f->headers, err);
    if (original->holds_tower) return VLMP_OK;
    VLMP_TRY(vlmp_folder_boundary(boundary, sizeof boundary, original->tower.folder, err));
    return vlmp_shards_open(&f->tower, original->tower.folder, boundary, f->headers, err);
}

/* A configuration without a folder is all that there is of its model. */
static int read_file(folder *f, vlmp_error *err)
{
    char *text;
    size_t length;
    VLMP_TRY(vlmp_file_read(&text, &length, f->t.base.path, VLMP_MAX_CONFIG, err));
    const char *copy = vlmp_arena_copy(&f->t.arena, text, length);
    free(text);
    if (copy == NULL) return vlmp_fail_memory(err, f->t.base.path);
    VLMP_TRY(vlmp_source_files_put(&f->t.files, "config.json", copy, length, err));
    bool is_original;
    VLMP_TRY(vlmp_original_look(&is_original, vlmp_source_files_find(&f->t.files, "config.json"),
                                f->t.base.path, err));
    if (is_original)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: of an original LLaVA checkpoint, which does not describe its tower; "
                         "give the folder with its weights' headers",
                         f->t.base.path);
    return vlmp_config_read(&f->t.config, copy, length, f->t.base.path, err);
}

static int fill(folder *f, vlmp_error *err)
{
    bool weights = true;
    if (f->is_file) {
        VLMP_TRY(read_file(f, err));
        return vlmp_promise_tensors(&f->t, err);
    }
    VLMP_TRY(vlmp_folder_boundary(f->boundary, sizeof f->boundary, f->t.base.path, err));
    if (f->headers) VLMP_TRY(vlmp_shards_look(&weights, f->t.base.path, err));
    VLMP_TRY(
        vlmp_folder_config_read(&f->says, &f->t, f->t.base.path, f->boundary, f->headers, err));
    if (f->headers && f->says.import != NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its weights are quantized already, and their sizes are known when "
                         "they are read; give the model that it was made from",
                         f->t.base.path);
    if (!weights) return vlmp_promise_tensors(&f->t, err);
    VLMP_TRY(open_shards(f, err));
    return name_tensors(f, err);
}

static int open_folder(vlmp_source **out, const char *path, bool headers, bool is_file,
                       vlmp_error *err)
{
    *out = NULL;
    folder *f = vlmp_calloc(1, sizeof *f);
    if (f == NULL) return vlmp_fail_memory(err, path);
    f->headers = headers;
    f->is_file = is_file;
    int status = vlmp_table_source_init(&f->t, path, err);
    f->t.base.digest_now = folder_digest;
    f->t.base.release = folder_release;
    f->t.base.close = folder_close;
    if (status == VLMP_OK) status = fill(f, err);
    if (status != VLMP_OK) {
        folder_close(&f->t.base);
        return status;
    }
    if (f->says.import == NULL) {
        *out = &f->t.base;
        return VLMP_OK;
    }
    status = vlmp_import_open(out, f->says.import, &f->t.base, err);
    folder_close(&f->t.base);
    return status;
}

int vlmp_folder_open(vlmp_source **out, const char *path, vlmp_error *err)
{
    return open_folder(out, path, false, false, err);
}

int vlmp_folder_open_headers(vlmp_source **out, const char *path, vlmp_error *err)
{
    vlmp_path_kind kind;
    *out = NULL;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    return open_folder(out, path, true, kind != VLMP_PATH_FOLDER, err);
}
