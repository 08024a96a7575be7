#include "tools/outputs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The name that path will have when it is there: its folder resolved. false: no such folder. */
static bool resolved(char out[2 * PATH_MAX], const char *path)
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path + 1) : 1,
             slash != NULL ? path : ".");
    if (realpath(folder, real) == NULL) return false;
    snprintf(out, 2 * PATH_MAX, "%s/%s", real, name);
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* What is there already, lies in the folder and is of a kind that models consist of. */
static bool is_file_of(const char *path, const char *folder)
{
    static const char *const kinds[] = {".safetensors", ".json", ".jinja", ".txt", ".model"};
    char full[2 * PATH_MAX], real[PATH_MAX];
    if (access(path, F_OK) != 0 || !resolved(full, path) || realpath(folder, real) == NULL)
        return false;
    size_t length = strlen(real);
    if (strncmp(full, real, length) != 0 || full[length] != '/') return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (ends_with(full, kinds[i])) return true;
    return false;
}

static int check_one(const char *path, const char *const *inputs, size_t input_count,
                     vlmp_error *err)
{
    for (size_t i = 0; i < input_count; i++) {
        if (inputs[i] == NULL) continue;
        if (same_file(path, inputs[i]))
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "%s: is an input of this command; name another output", path);
        if (is_file_of(path, inputs[i]))
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
        for (size_t k = 0; k < i; k++)
            if (outputs[k] != NULL && resolved(full, outputs[i]) && resolved(other, outputs[k]) &&
                strcmp(full, other) == 0)
                return vlmp_fail(err, VLMP_ERR_USAGE,
                                 "%s: two outputs have this name; give each its own", outputs[i]);
    }
    return VLMP_OK;
}
