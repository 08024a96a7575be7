/* What all kinds of records have: texts, and pictures whose names stay where they may. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/dataset_build.h"
#include "src/base/file.h"
#include "src/base/json.h"

#define MAX_PICTURES 64 /* of one sample */

int vlmp_sample_text(vlmp_sample *sample, char **out, const char *text, const char *what,
                     vlmp_error *err)
{
    if (text[strspn(text, " \t\r\n")] == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s is empty", sample->where, what);
    *out = vlmp_arena_copy(&sample->arena, text, strlen(text));
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(err, sample->where);
}

int vlmp_sample_question(vlmp_sample *sample, const char *text, vlmp_error *err)
{
    size_t count = (size_t)sample->image_count + 1;
    const char **parts = vlmp_arena_alloc(&sample->arena, count, sizeof *parts);
    sample->turns = vlmp_arena_alloc(&sample->arena, 1, sizeof *sample->turns);
    if (parts == NULL || sample->turns == NULL) return vlmp_fail_memory(err, sample->where);
    for (size_t i = 0; i + 1 < count; i++)
        parts[i] = VLMP_CHAT_PICTURE;
    parts[count - 1] = text;
    sample->turns[0] = (vlmp_chat_message){"user", parts, count};
    sample->turn_count = 1;
    return VLMP_OK;
}

/* Bytes of "scheme:" at the start of a name, RFC 3986; 0: none. */
static size_t scheme_length(const char *name)
{
    size_t n = 0;
    if (!isalpha((unsigned char)name[0])) return 0;
    while (isalnum((unsigned char)name[n]) || strchr("+-.", name[n]) != NULL) {
        if (name[n] == '\0') return 0;
        n++;
    }
    return name[n] == ':' ? n + 1 : 0;
}

int vlmp_check_picture_name(const char *name, const char *where, vlmp_error *err)
{
    size_t scheme = scheme_length(name);
    if (strncasecmp(name, "data:", 5) == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the picture is a data URI ('%.*s…'), which is not read; write its "
                         "bytes to a file and name that",
                         where, (int)strcspn(name, ",") < 40 ? (int)strcspn(name, ",") : 40, name);
    if (scheme > 0 && strncmp(name + scheme, "//", 2) == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the picture '%.200s' is a URL, and nothing is fetched; download it "
                         "and name the file",
                         where, name);
    return VLMP_OK;
}

static bool lies_in(const char *path, const char *folder, size_t length)
{
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* A hub cache keeps the bytes of …/datasets--ORG--NAME/snapshots/REVISION/… in its own blobs. */
static bool lies_in_blobs(const char *real, const char *root)
{
    static const char *const kinds[] = {"datasets--", "models--", "spaces--"};
    static const char snapshots[] = "/snapshots/", blobs[] = "/blobs";
    char folder[PATH_MAX + sizeof blobs];
    for (const char *at = strstr(root, snapshots); at != NULL; at = strstr(at + 1, snapshots)) {
        const char *name = at;
        while (name > root && name[-1] != '/')
            name--;
        bool is_cache = false;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            is_cache = is_cache || strncmp(name, kinds[i], strlen(kinds[i])) == 0;
        if (!is_cache) continue;
        int length = snprintf(folder, sizeof folder, "%.*s%s", (int)(at - root), root, blobs);
        if (lies_in(real, folder, (size_t)length)) return true;
    }
    return false;
}

/* Names stay inside the image root: no absolute path, no "..", no link that leads out. */
static int resolve_image(const vlmp_dataset *d, vlmp_sample *sample, const char *name, char **out,
                         vlmp_error *err)
{
    const char *where = sample->where;
    if (name[0] == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the picture's name is empty", where);
    VLMP_TRY(vlmp_check_picture_name(name, where, err));
    if (name[0] == '/')
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: picture '%.200s': absolute paths are refused; write it relative to "
                         "the data file or to --image-root",
                         where, name);
    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        if (*part == '/') part++;
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: picture '%.200s' leaves the folder; '..' is refused, use "
                             "--image-root",
                             where, name);
    }
    char joined[PATH_MAX], *real;
    if (!vlmp_path_join(joined, sizeof joined, d->image_root, name))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: picture '%.80s…': the path is too long", where,
                         name);
    /* What does not exist or may not be read fails when it is decoded. */
    vlmp_error refused = {0};
    if (vlmp_path_resolve(&real, joined, &refused) != VLMP_OK)
        VLMP_TRY(vlmp_fail_tried(err, &refused));
    size_t root = strcmp(d->real_root, "/") == 0 ? 0 : strlen(d->real_root);
    if (real != NULL && !lies_in(real, d->real_root, root) && !lies_in_blobs(real, d->real_root)) {
        free(real);
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: picture '%.200s' leaves the folder through a link; copy the file, or "
                         "use --image-root",
                         where, name);
    }
    const char *path = real != NULL ? real : joined;
    *out = vlmp_arena_copy(&sample->arena, path, strlen(path));
    free(real);
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(err, where);
}

int vlmp_sample_no_video(const vlmp_sample *sample, const cJSON *record, vlmp_error *err)
{
    static const char *const keys[] = {"video", "videos"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *value = vlmp_json_get(record, keys[i]);
        /* Sets with one column for all records leave it empty. */
        bool none = value == NULL || (cJSON_IsArray(value) && value->child == NULL) ||
                    (cJSON_IsString(value) && value->valuestring[0] == '\0');
        if (none) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the record has a '%s'; videos are not read, give pictures of it as "
                         "'image'",
                         sample->where, keys[i]);
    }
    return VLMP_OK;
}

int vlmp_sample_images(const vlmp_dataset *d, vlmp_sample *sample, const cJSON *value,
                       vlmp_error *err)
{
    const char *where = sample->where;
    if (value == NULL) return VLMP_OK;
    bool list = cJSON_IsArray(value);
    if (!list && !cJSON_IsString(value))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image' is neither a string nor a list", where);
    int count = list ? cJSON_GetArraySize(value) : 1;
    if (count > MAX_PICTURES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d pictures, more than the limit of %d", where,
                         count, MAX_PICTURES);
    if (count == 0) return VLMP_OK;
    sample->images = vlmp_arena_alloc(&sample->arena, (size_t)count, sizeof *sample->images);
    sample->image_names =
        vlmp_arena_alloc(&sample->arena, (size_t)count, sizeof *sample->image_names);
    if (sample->images == NULL || sample->image_names == NULL) return vlmp_fail_memory(err, where);
    const cJSON *item = list ? value->child : value;
    for (int i = 0; i < count; i++, item = item->next) {
        if (!cJSON_IsString(item))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image' holds something that is no string",
                             where);
        VLMP_TRY(resolve_image(d, sample, item->valuestring, &sample->images[i], err));
        sample->image_names[i] =
            vlmp_arena_copy(&sample->arena, item->valuestring, strlen(item->valuestring));
        if (sample->image_names[i] == NULL) return vlmp_fail_memory(err, where);
        sample->image_count = i + 1;
    }
    return VLMP_OK;
}
