#include "tools/outputs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* After a look at path that failed: nothing is there, or nothing that may be written over. */
static int nothing_there(const char *path, vlmp_error *err)
{
    static const int known[] = {ENOENT, ENOTDIR, ENAMETOOLONG, EACCES, ELOOP};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (errno == known[i]) return VLMP_OK;
    return vlmp_fail_errno(err, "%s: cannot be looked at", path);
}

static int is_same_file(bool *same, const char *a, const char *b, vlmp_error *err)
{
    struct stat x, y;
    *same = false;
    if (stat(a, &x) != 0) return nothing_there(a, err);
    if (stat(b, &y) != 0) return nothing_there(b, err);
    *same = x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return VLMP_OK;
}

/* The name that path will have when it is there: its folder resolved. "": no such folder. */
static int resolve(char out[2 * PATH_MAX], const char *path, vlmp_error *err)
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path + 1) : 1,
             slash != NULL ? path : ".");
    out[0] = '\0';
    if (realpath(folder, real) == NULL) return nothing_there(folder, err);
    snprintf(out, 2 * PATH_MAX, "%s/%s", real, name);
    return VLMP_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* *is: what is there already, lies in the folder and is of a kind that models consist of. */
static int is_file_of(bool *is, const char *path, const char *folder, vlmp_error *err)
{
    static const char *const kinds[] = {".safetensors", ".json", ".jinja", ".txt", ".model"};
    char full[2 * PATH_MAX], real[PATH_MAX];
    *is = false;
    if (access(path, F_OK) != 0) return nothing_there(path, err);
    if (realpath(folder, real) == NULL) return nothing_there(folder, err);
    VLMP_TRY(resolve(full, path, err));
    size_t length = strlen(real);
    if (strncmp(full, real, length) != 0 || full[length] != '/') return VLMP_OK;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        *is |= ends_with(full, kinds[i]);
    return VLMP_OK;
}

static int check_one(const char *path, const char *const *inputs, size_t input_count,
                     vlmp_error *err)
{
    for (size_t i = 0; i < input_count; i++) {
        bool hit;
        if (inputs[i] == NULL) continue;
        VLMP_TRY(is_same_file(&hit, path, inputs[i], err));
        if (hit)
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "%s: is an input of this command; name another output", path);
        VLMP_TRY(is_file_of(&hit, path, inputs[i], err));
        if (hit)
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "%s: is a file of the input %s; name another output", path, inputs[i]);
    }
    return VLMP_OK;
}

int vlmp_outputs_apart(const char *const *outputs, size_t output_count, const char *const *inputs,
                       size_t input_count, vlmp_error *err)
{
    for (size_t i = 0; i < output_count; i++) {
        char full[2 * PATH_MAX], other[2 * PATH_MAX];
        if (outputs[i] == NULL) continue;
        VLMP_TRY(check_one(outputs[i], inputs, input_count, err));
        VLMP_TRY(resolve(full, outputs[i], err));
        for (size_t k = 0; k < i; k++) {
            if (outputs[k] == NULL) continue;
            VLMP_TRY(resolve(other, outputs[k], err));
            if (full[0] != '\0' && strcmp(full, other) == 0)
                return vlmp_fail(err, VLMP_ERR_USAGE,
                                 "%s: two outputs have this name; give each its own", outputs[i]);
        }
    }
    return VLMP_OK;
}
