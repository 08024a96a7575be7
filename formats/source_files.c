#include "formats/source_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length > tail_length && strcasecmp(text + length - tail_length, tail) == 0;
}

bool vlmp_is_carried_file(const char *name)
{
    static const char *const tails[] = {".json", ".jinja", ".txt", ".md"};
    static const char *const heads[] = {"LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"};
    static const char *const left[] = {".index.json", ".safetensors", ".bin", ".pt", ".pth",
                                       ".ckpt",       ".gguf",        ".png", ".jpg"};
    if (name[0] == '.') return false;
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (ends_with(name, left[i])) return false;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (ends_with(name, tails[i])) return true;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (strncasecmp(name, heads[i], strlen(heads[i])) == 0) return true;
    return false;
}

size_t vlmp_carried_limit(const char *name)
{
    if (strcmp(name, "config.json") == 0) return VLMP_MAX_CONFIG;
    if (strcmp(name, "tokenizer.json") == 0) return VLMP_MAX_TOKENIZER;
    return VLMP_MAX_INDEX;
}

int vlmp_folder_boundary(char *out, size_t capacity, const char *folder, vlmp_error *err)
{
    char *real;
    VLMP_TRY(vlmp_path_resolve(&real, folder, err));
    if (real == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such folder; check the path", folder);
    /* …/models--ORG--NAME/snapshots/COMMIT holds links into …/models--ORG--NAME/blobs. */
    char *last = strrchr(real, '/');
    if (last != NULL && last != real) {
        char *parent = last;
        while (parent > real && parent[-1] != '/')
            parent--;
        if (strncmp(parent, "snapshots/", 10) == 0 && parent - 1 > real) parent[-1] = '\0';
    }
    bool fits = strlen(real) < capacity;
    if (fits) memcpy(out, real, strlen(real) + 1);
    free(real);
    return fits ? VLMP_OK : vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", folder);
}

int vlmp_check_inside(const char *path, const char *inside, vlmp_error *err)
{
    char *real;
    VLMP_TRY(vlmp_path_resolve(&real, path, err));
    if (real == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file; is the download complete?", path);
    size_t length = strlen(inside);
    bool good = strncmp(real, inside, length) == 0 && (real[length] == '/' || length == 1);
    free(real);
    if (good) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: a link that leaves the model folder; copy the file into the folder",
                     path);
}

static int add(vlmp_source_files *files, size_t *capacity, vlmp_source_file entry)
{
    if (files->count == *capacity) {
        size_t grown = *capacity == 0 ? 16 : *capacity * 2;
        void *entries = realloc(files->entries, grown * sizeof *files->entries);
        if (entries == NULL) return VLMP_ERR_SYSTEM;
        files->entries = entries;
        *capacity = grown;
    }
    files->entries[files->count++] = entry;
    return VLMP_OK;
}

static int map_one(vlmp_source_files *files, size_t *capacity, const char *folder, const char *name,
                   const char *inside, vlmp_arena *arena, vlmp_error *err)
{
    char path[PATH_MAX];
    if (!vlmp_path_join(path, sizeof path, folder, name))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s/%s: the path is too long", folder, name);
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_FOLDER) return VLMP_OK;
    VLMP_TRY(vlmp_check_inside(path, inside, err));
    vlmp_source_file entry = {.name = vlmp_arena_copy(arena, name, strlen(name))};
    if (entry.name == NULL) return vlmp_fail_memory(err, path);
    VLMP_TRY(vlmp_map_open(&entry.map, path, err));
    entry.length = entry.map.length;
    entry.data = entry.map.data != NULL ? (const char *)entry.map.data : "";
    size_t limit = vlmp_carried_limit(name);
    int status = VLMP_OK;
    if (entry.length > limit)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: %zu bytes, more than the limit of %zu; move it out of the folder",
                           path, entry.length, limit);
    else if (add(files, capacity, entry) != VLMP_OK)
        status = vlmp_fail_memory(err, path);
    if (status != VLMP_OK) vlmp_map_close(&entry.map);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vlmp_source_file *)a)->name, ((const vlmp_source_file *)b)->name);
}

int vlmp_source_files_sort(vlmp_source_files *files, const char *where, vlmp_error *err)
{
    if (files->count > 0) qsort(files->entries, files->count, sizeof *files->entries, by_name);
    for (size_t i = 1; i < files->count; i++)
        if (strcmp(files->entries[i - 1].name, files->entries[i].name) == 0)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the file '%.200s' appears twice", where,
                             files->entries[i].name);
    return VLMP_OK;
}

int vlmp_source_files_map(vlmp_source_files *files, const char *folder, const char *inside,
                          vlmp_arena *arena, vlmp_error *err)
{
    *files = (vlmp_source_files){0};
    DIR *dir = opendir(folder);
    if (dir == NULL) return vlmp_fail_errno(err, "%s: cannot list the folder", folder);
    int status = VLMP_OK;
    size_t capacity = 0;
    while (status == VLMP_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) status = vlmp_fail_errno(err, "%s: cannot list the folder", folder);
            break;
        }
        if (!vlmp_is_carried_file(entry->d_name)) continue;
        status = map_one(files, &capacity, folder, entry->d_name, inside, arena, err);
    }
    closedir(dir);
    if (status != VLMP_OK) {
        vlmp_source_files_close(files);
        return status;
    }
    return vlmp_source_files_sort(files, folder, err);
}

void vlmp_source_files_close(vlmp_source_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        vlmp_map_close(&files->entries[i].map);
    free(files->entries);
    *files = (vlmp_source_files){0};
}

vlmp_source_file *vlmp_source_files_find(const vlmp_source_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->entries[i].name, name) == 0) return &files->entries[i];
    return NULL;
}

int vlmp_source_files_put(vlmp_source_files *files, const char *name, const char *data,
                          size_t length, vlmp_error *err)
{
    vlmp_source_file *file = vlmp_source_files_find(files, name);
    if (file != NULL) {
        file->data = data;
        file->length = length;
        return VLMP_OK;
    }
    size_t capacity = files->count; /* of which nothing is known */
    vlmp_source_file entry = {.name = name, .data = data, .length = length};
    if (add(files, &capacity, entry) != VLMP_OK) return vlmp_fail_memory(err, name);
    return vlmp_source_files_sort(files, name, err);
}

int vlmp_source_files_write(vlmp_source_files *files, const char *name, vlmp_json_writer *w,
                            vlmp_arena *arena, vlmp_error *err)
{
    const char *text = w->out.failed ? NULL : vlmp_arena_copy(arena, w->out.data, w->out.length);
    size_t length = w->out.length;
    vlmp_buffer_free(&w->out);
    return text != NULL ? vlmp_source_files_put(files, name, text, length, err)
                        : vlmp_fail_memory(err, name);
}

int vlmp_source_files_object(cJSON **out, const vlmp_source_files *files, const char *name,
                             const char *folder, vlmp_error *err)
{
    char where[PATH_MAX];
    const vlmp_source_file *file = vlmp_source_files_find(files, name);
    *out = NULL;
    if (file == NULL) return VLMP_OK;
    snprintf(where, sizeof where, "%.4000s/%s", folder, name);
    VLMP_TRY(vlmp_json_parse(out, file->data, file->length, where, err));
    if (cJSON_IsObject(*out)) return VLMP_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
}

void vlmp_source_files_drop(vlmp_source_files *files, const char *name)
{
    vlmp_source_file *file = vlmp_source_files_find(files, name);
    if (file == NULL) return;
    vlmp_map_close(&file->map);
    memmove(file, file + 1, (size_t)(files->entries + files->count - (file + 1)) * sizeof *file);
    files->count--;
}
