#include "formats/hub.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"

#define PART 256

static const char name_letters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static bool is_part(const char *text, size_t length)
{
    if (length == 0 || length >= PART || text[0] == '.' || text[0] == '-') return false;
    for (size_t i = 0; i < length; i++)
        if (strchr(name_letters, text[i]) == NULL ||
            (i > 0 && text[i] == '.' && text[i - 1] == '.'))
            return false;
    return true;
}

/* A revision may have several parts (refs/pr/1). */
static bool is_revision(const char *text)
{
    for (;;) {
        size_t length = strcspn(text, "/");
        if (!is_part(text, length)) return false;
        if (text[length] == '\0') return true;
        text += length + 1;
    }
}

/* ORG, NAME and REVISION ("main" when not given); false when id does not have the form. */
static bool split(const char *id, char org[PART], char name[PART], char revision[PART])
{
    size_t org_length = strcspn(id, "/");
    if (id[org_length] != '/' || !is_part(id, org_length)) return false;
    const char *rest = id + org_length + 1;
    size_t name_length = strcspn(rest, "@");
    if (!is_part(rest, name_length)) return false;
    const char *wanted = rest[name_length] == '@' ? rest + name_length + 1 : "main";
    if (strlen(wanted) >= PART || !is_revision(wanted)) return false;
    memcpy(org, id, org_length);
    org[org_length] = '\0';
    memcpy(name, rest, name_length);
    name[name_length] = '\0';
    memcpy(revision, wanted, strlen(wanted) + 1);
    return true;
}

bool vlmp_is_hub_id(const char *text)
{
    char org[PART], name[PART], revision[PART];
    return split(text, org, name, revision);
}

/* false: no such variable, or the path is too long. */
static bool from_environment(char *out, size_t capacity, const char *variable, const char *below)
{
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' &&
           snprintf(out, capacity, "%s%s", value, below) < (int)capacity;
}

bool vlmp_hub_folder(char *out, size_t capacity)
{
    return from_environment(out, capacity, "HF_HUB_CACHE", "") ||
           from_environment(out, capacity, "HF_HOME", "/hub") ||
           from_environment(out, capacity, "XDG_CACHE_HOME", "/huggingface/hub") ||
           from_environment(out, capacity, "HOME", "/.cache/huggingface/hub");
}

/* The commit of a branch or tag: the content of refs/REVISION; a commit stands for itself. */
static int resolve(char commit[PART], const char *repository, const char *revision, vlmp_error *err)
{
    char path[PATH_MAX];
    vlmp_path_kind kind = VLMP_PATH_ABSENT;
    if (snprintf(path, sizeof path, "%s/refs/%s", repository, revision) < (int)sizeof path)
        VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_ABSENT) {
        snprintf(commit, PART, "%s", revision);
        return VLMP_OK;
    }
    char *text;
    size_t length;
    VLMP_TRY(vlmp_file_read(&text, &length, path, PART - 1, err));
    text[strcspn(text, "\r\n ")] = '\0';
    bool good = is_part(text, strlen(text));
    if (good) snprintf(commit, PART, "%s", text);
    free(text);
    return good ? VLMP_OK
                : vlmp_fail(err, VLMP_ERR_INPUT,
                            "%s: does not name a commit; download the model again", path);
}

int vlmp_hub_look(char *out, size_t capacity, const char *id, vlmp_error *err)
{
    char org[PART], name[PART], revision[PART], commit[PART], cache[PATH_MAX];
    out[0] = '\0';
    if (!split(id, org, name, revision) || !vlmp_hub_folder(cache, sizeof cache)) return VLMP_OK;
    char repository[PATH_MAX];
    int length =
        snprintf(repository, sizeof repository, "%.3000s/models--%s--%s", cache, org, name);
    if (length < 0 || (size_t)length >= sizeof repository) repository[0] = '\0';
    VLMP_TRY(resolve(commit, repository, revision, err));
    length = snprintf(out, capacity, "%s/snapshots/%s", repository, commit);
    vlmp_path_kind kind = VLMP_PATH_ABSENT;
    int status = VLMP_OK;
    if (length >= 0 && (size_t)length < capacity) status = vlmp_path_look(&kind, out, err);
    if (kind != VLMP_PATH_FOLDER) out[0] = '\0';
    return status;
}

int vlmp_hub_find(char *out, size_t capacity, const char *id, vlmp_error *err)
{
    char org[PART], name[PART], revision[PART], cache[PATH_MAX];
    VLMP_TRY(vlmp_hub_look(out, capacity, id, err));
    if (out[0] != '\0') return VLMP_OK;
    if (!split(id, org, name, revision))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%.200s: neither a model folder, a packed file nor ORG/NAME[@REVISION]",
                         id);
    if (!vlmp_hub_folder(cache, sizeof cache))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%.200s: no such folder, and no hub cache to look in; set HF_HOME", id);
    bool is_main = strcmp(revision, "main") == 0;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%.200s: no such folder, and not in the hub cache %s; fetch it with: hf "
                     "download %s/%s%s%s",
                     id, cache, org, name, is_main ? "" : " --revision ", is_main ? "" : revision);
}
