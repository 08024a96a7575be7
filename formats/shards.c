#include "formats/shards.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "formats/source_files.h"
#include "src/base/json.h"
#include "src/base/memory.h"

#define MAX_SHARDS 10000

/* What is being opened, and out of which folder; links stay inside the boundary. */
struct opening {
    vlmp_shards *shards;
    const char *folder, *boundary;
    bool headers;
};

static int open_shard(const struct opening *o, const char *name, vlmp_error *err)
{
    char path[PATH_MAX];
    if (!vlmp_path_join(path, sizeof path, o->folder, name))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", o->folder);
    VLMP_TRY(vlmp_check_inside(path, o->boundary, err));
    VLMP_TRY((o->headers ? vlmp_safetensors_open_header
                         : vlmp_safetensors_open)(&o->shards->files[o->shards->count], path, err));
    o->shards->count++;
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
static int open_mapped_shards(const struct opening *o, const cJSON *map, const char *where,
                              vlmp_error *err)
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
    o->shards->files = unique > MAX_SHARDS ? NULL : vlmp_calloc(unique, sizeof *o->shards->files);
    if (unique > MAX_SHARDS)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: more than %d shards", where, MAX_SHARDS);
    else if (o->shards->files == NULL)
        status = vlmp_fail_memory(err, where);
    for (size_t i = 0; i < unique && status == VLMP_OK; i++)
        status = open_shard(o, names[i], err);
    free(names);
    return status;
}

static const vlmp_safetensors *shard_named(const struct opening *o, const char *name)
{
    for (size_t i = 0; i < o->shards->count; i++) {
        const char *base = strrchr(o->shards->files[i].path, '/');
        if (strcmp(base + 1, name) == 0) return &o->shards->files[i];
    }
    return NULL;
}

/* Each mapped tensor is in its file, and each tensor of a file is mapped to it. Counting suffices
 * for the second: names are unique in the map and in each file. */
static int check_map(const struct opening *o, const cJSON *map, const char *where, vlmp_error *err)
{
    size_t mapped = 0, stored = 0;
    for (const cJSON *item = map->child; item != NULL; item = item->next, mapped++) {
        const vlmp_safetensors *shard = shard_named(o, item->valuestring);
        if (vlmp_safetensors_find(shard, item->string) == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: tensor '%.200s' is not in %s as the index says; download the "
                             "model again",
                             where, item->string, item->valuestring);
    }
    for (size_t i = 0; i < o->shards->count; i++)
        stored += o->shards->files[i].count;
    if (stored == mapped) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the index names %zu tensors but its files hold %zu; a tensor is in two "
                     "files or not in the index, download the model again",
                     where, mapped, stored);
}

static int open_index(const struct opening *o, const char *where, vlmp_error *err)
{
    cJSON *index;
    VLMP_TRY(vlmp_json_load(&index, where, VLMP_MAX_INDEX, err));
    const cJSON *map = vlmp_json_get(index, "weight_map");
    int status = VLMP_OK;
    if (!cJSON_IsObject(map))
        status =
            vlmp_fail(err, VLMP_ERR_INPUT, "%s: no object 'weight_map'; download it again", where);
    if (status == VLMP_OK) status = open_mapped_shards(o, map, where, err);
    if (status == VLMP_OK) status = check_map(o, map, where, err);
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

int vlmp_shards_look(bool *there, const char *folder, vlmp_error *err)
{
    static const char *const names[] = {"model.safetensors.index.json", "model.safetensors"};
    *there = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !*there; i++) {
        char path[PATH_MAX];
        vlmp_path_kind kind;
        if (!vlmp_path_join(path, sizeof path, folder, names[i]))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", folder);
        VLMP_TRY(vlmp_path_look(&kind, path, err));
        *there = kind != VLMP_PATH_ABSENT;
    }
    return VLMP_OK;
}

static int open_all(const struct opening *o, vlmp_error *err)
{
    char path[PATH_MAX];
    if (!vlmp_path_join(path, sizeof path, o->folder, "model.safetensors.index.json"))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", o->folder);
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind != VLMP_PATH_ABSENT) {
        VLMP_TRY(vlmp_check_inside(path, o->boundary, err));
        return open_index(o, path, err);
    }
    vlmp_path_join(path, sizeof path, o->folder, "model.safetensors");
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_ABSENT)
        return vlmp_fail(
            err, VLMP_ERR_INPUT, "%s: no model.safetensors and no index of shards; %s", o->folder,
            holds_pickles(o->folder) ? "convert the PyTorch pickles to safetensors first"
                                     : "is the download complete?");
    o->shards->files = vlmp_calloc(1, sizeof *o->shards->files);
    if (o->shards->files == NULL) return vlmp_fail_memory(err, path);
    return open_shard(o, "model.safetensors", err);
}

int vlmp_shards_open(vlmp_shards *shards, const char *folder, const char *boundary, bool headers,
                     vlmp_error *err)
{
    *shards = (vlmp_shards){0};
    int status = open_all(&(struct opening){shards, folder, boundary, headers}, err);
    if (status != VLMP_OK) vlmp_shards_close(shards);
    return status;
}

void vlmp_shards_close(vlmp_shards *shards)
{
    for (size_t i = 0; i < shards->count; i++)
        vlmp_safetensors_close(&shards->files[i]);
    free(shards->files);
    *shards = (vlmp_shards){0};
}

const vlmp_map *vlmp_shards_map(const vlmp_shards *shards, const char *path)
{
    for (size_t i = 0; i < shards->count; i++)
        if (shards->files[i].path == path) return &shards->files[i].map;
    return NULL;
}
