/* Which files a user means. llama.cpp's users name the text model's, and call the other "mmproj".
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "formats/gguf_pair.h"

/* Files of one kind in a folder. */
typedef struct {
    char name[NAME_MAX + 1]; /* of one of them */
    int count;
} finding;

static bool is_gguf(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && name[0] != '.' && strcasecmp(name + length - 5, ".gguf") == 0;
}

/* By vlmp_gguf_part; none where the folder may not be read, which others tell. */
static int look(finding found[2], const char *folder, vlmp_error *err)
{
    found[VLMP_GGUF_TEXT].count = found[VLMP_GGUF_TOWER].count = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL && errno == EACCES) return VLMP_OK;
    if (dir == NULL) return vlmp_fail_errno(err, "%s: cannot read the folder", folder);
    errno = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (!is_gguf(e->d_name)) continue;
        bool tower = strcasestr(e->d_name, "mmproj") != NULL;
        finding *one = &found[tower ? VLMP_GGUF_TOWER : VLMP_GGUF_TEXT];
        snprintf(one->name, sizeof one->name, "%s", e->d_name);
        one->count++;
    }
    int status = errno == 0 ? VLMP_OK : vlmp_fail_errno(err, "%s: cannot read the folder", folder);
    closedir(dir);
    return status;
}

static int join(char *out, const char *folder, const char *name, vlmp_error *err)
{
    if (vlmp_path_join(out, PATH_MAX, folder, name)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", folder);
}

static int find_text(vlmp_gguf_paths *paths, const finding *found, vlmp_error *err)
{
    if (found->count == 1) return join(paths->text, paths->folder, found->name, err);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %d GGUF files of a text model; name the file that is meant",
                     paths->folder, found->count);
}

static int find_tower(vlmp_gguf_paths *paths, const finding *found, vlmp_error *err)
{
    if (found->count == 1) return join(paths->tower, paths->folder, found->name, err);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %d GGUF files with 'mmproj' in their names beside the text model; give "
                     "that of tower and projector by --mmproj",
                     paths->folder, found->count);
}

int vlmp_gguf_find(vlmp_gguf_paths *paths, const char *path, const char *mmproj, vlmp_error *err)
{
    finding found[2];
    vlmp_path_kind kind;
    const char *slash = strrchr(path, '/');
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    bool folder = kind == VLMP_PATH_FOLDER;
    size_t length = folder          ? strlen(path)
                    : slash == NULL ? 1
                    : slash == path ? 1
                                    : (size_t)(slash - path);
    if (strlen(path) >= PATH_MAX || (mmproj != NULL && strlen(mmproj) >= PATH_MAX))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%.200s…: the path is too long", path);
    snprintf(paths->folder, PATH_MAX, "%.*s", (int)length, folder || slash != NULL ? path : ".");
    VLMP_TRY(look(found, paths->folder, err));
    if (folder)
        VLMP_TRY(find_text(paths, &found[VLMP_GGUF_TEXT], err));
    else
        snprintf(paths->text, PATH_MAX, "%s", path);
    if (mmproj == NULL) return find_tower(paths, &found[VLMP_GGUF_TOWER], err);
    snprintf(paths->tower, PATH_MAX, "%s", mmproj);
    return VLMP_OK;
}

int vlmp_gguf_folder_is(bool *out, const char *path, vlmp_error *err)
{
    static const char *const others[] = {"model.safetensors", "model.safetensors.index.json"};
    finding found[2];
    VLMP_TRY(look(found, path, err));
    *out = found[VLMP_GGUF_TEXT].count > 0;
    for (size_t i = 0; i < sizeof others / sizeof *others && *out; i++) {
        char file[PATH_MAX];
        vlmp_path_kind kind;
        VLMP_TRY(join(file, path, others[i], err));
        VLMP_TRY(vlmp_path_look(&kind, file, err));
        *out = kind == VLMP_PATH_ABSENT;
    }
    return VLMP_OK;
}
