/* The small files of a model folder (configuration, tokenizer, template, licence), mapped. */
#pragma once

#include "src/base/error.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/memory.h"

#define VLMP_MAX_CONFIG    ((size_t)8 << 20)   /* bytes; config.json */
#define VLMP_MAX_TOKENIZER ((size_t)256 << 20) /* bytes; tokenizer.json */
#define VLMP_MAX_INDEX     ((size_t)64 << 20)  /* bytes; the index of the shards, and other files */

typedef struct {
    const char *name;
    const char *data; /* not NUL-terminated, never NULL */
    size_t length;
    vlmp_map map; /* empty for a packed file, whose map holds the bytes */
} vlmp_source_file;

typedef struct {
    vlmp_source_file *entries; /* sorted by name */
    size_t count;
} vlmp_source_files;

/* Whether a packed file carries a folder's file of this name: JSON but the index of the shards,
 * templates, text, licences. Weights, pictures and hidden files are left. */
bool vlmp_is_carried_file(const char *name);

/* The limit on the size of a carried file. */
size_t vlmp_carried_limit(const char *name);

/* Maps every carried file of the folder. Names go to the arena. A link must not leave `inside`
 * (resolved path). */
int vlmp_source_files_map(vlmp_source_files *files, const char *folder, const char *inside,
                          vlmp_arena *arena, vlmp_error *err);

/* Sorts entries by name; a name twice is VLMP_ERR_INPUT. where: file, for the message. */
int vlmp_source_files_sort(vlmp_source_files *files, const char *where, vlmp_error *err);

void vlmp_source_files_close(vlmp_source_files *files);

/* NULL when absent. */
vlmp_source_file *vlmp_source_files_find(const vlmp_source_files *files, const char *name);

/* The file of this name is these bytes from now on, which are not copied, nor is the name. */
int vlmp_source_files_put(vlmp_source_files *files, const char *name, const char *data,
                          size_t length, vlmp_error *err);

/* The same of a writer's text, which goes to the arena; ends the writer. */
int vlmp_source_files_write(vlmp_source_files *files, const char *name, vlmp_json_writer *w,
                            vlmp_arena *arena, vlmp_error *err);

/* The object that a file of the folder holds; *out NULL: there is no such file. cJSON_Delete. */
int vlmp_source_files_object(cJSON **out, const vlmp_source_files *files, const char *name,
                             const char *folder, vlmp_error *err);

/* Leaves out a file, if it is there. */
void vlmp_source_files_drop(vlmp_source_files *files, const char *name);

/* The folder that links may point into: the folder itself, or, for a snapshot in a hub cache, the
 * cached repository around it. */
int vlmp_folder_boundary(char *out, size_t capacity, const char *folder, vlmp_error *err);

/* VLMP_ERR_INPUT when path, links resolved, lies outside `inside`, or does not exist. */
int vlmp_check_inside(const char *path, const char *inside, vlmp_error *err);
