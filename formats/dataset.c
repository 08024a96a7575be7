#include "formats/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "formats/dataset_build.h"
#include "src/base/file.h"
#include "src/base/json.h"

#define MAX_LINE     (16u << 20) /* bytes: one sample */
#define MAX_SAMPLES  10000000
#define MAX_PICTURES 64 /* of one sample */

vlmp_sample *vlmp_dataset_add(vlmp_dataset_build *b, int line, vlmp_error *err)
{
    if (b->count == MAX_SAMPLES) {
        vlmp_fail(err, VLMP_ERR_INPUT, "%s: more than %d samples", b->path, MAX_SAMPLES);
        return NULL;
    }
    if (b->count == b->capacity) {
        size_t capacity = b->capacity == 0 ? 256 : 2 * b->capacity;
        vlmp_sample *grown = realloc(b->samples, capacity * sizeof *grown);
        if (grown == NULL) {
            vlmp_fail_memory(err, b->path);
            return NULL;
        }
        b->samples = grown;
        b->capacity = capacity;
    }
    b->samples[b->count] = (vlmp_sample){.line = line};
    return &b->samples[b->count++];
}

int vlmp_dataset_text(vlmp_dataset_build *b, char **out, const char *text, const char *where,
                      const char *what, vlmp_error *err)
{
    if (text[strspn(text, " \t\r\n")] == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s is empty", where, what);
    *out = vlmp_arena_copy(b->arena, text, strlen(text));
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(err, where);
}

/* Names stay inside the image root: no absolute path, no "..", no link that leads out. */
static int resolve_image(vlmp_dataset_build *b, const char *name, char **out, const char *where,
                         vlmp_error *err)
{
    if (name[0] == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the picture's name is empty", where);
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
    if (!vlmp_path_join(joined, sizeof joined, b->image_root, name))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: picture '%.80s…': the path is too long", where,
                         name);
    const char *path = joined;
    /* What does not exist fails when it is decoded, where --skip-broken may let it through. */
    VLMP_TRY(vlmp_path_resolve(&real, joined, err));
    if (real != NULL) {
        size_t root = strcmp(b->real_root, "/") == 0 ? 0 : strlen(b->real_root);
        if (strncmp(real, b->real_root, root) != 0 || real[root] != '/') {
            free(real);
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: picture '%.200s' leaves the folder through a link; copy the "
                             "file, or use --image-root",
                             where, name);
        }
        path = real;
    }
    *out = vlmp_arena_copy(b->arena, path, strlen(path));
    free(real);
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(err, where);
}

int vlmp_dataset_images(vlmp_dataset_build *b, vlmp_sample *sample, const cJSON *value,
                        const char *where, vlmp_error *err)
{
    if (value == NULL) return VLMP_OK;
    bool list = cJSON_IsArray(value);
    if (!list && !cJSON_IsString(value))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image' is neither a string nor a list", where);
    int count = list ? cJSON_GetArraySize(value) : 1;
    if (count > MAX_PICTURES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d pictures, more than the limit of %d", where,
                         count, MAX_PICTURES);
    if (count == 0) return VLMP_OK;
    sample->images = vlmp_arena_alloc(b->arena, (size_t)count, sizeof *sample->images);
    sample->image_names = vlmp_arena_alloc(b->arena, (size_t)count, sizeof *sample->image_names);
    if (sample->images == NULL || sample->image_names == NULL) return vlmp_fail_memory(err, where);
    const cJSON *item = list ? value->child : value;
    for (int i = 0; i < count; i++, item = item->next) {
        if (!cJSON_IsString(item))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image' holds something that is no string",
                             where);
        VLMP_TRY(resolve_image(b, item->valuestring, &sample->images[i], where, err));
        sample->image_names[i] =
            vlmp_arena_copy(b->arena, item->valuestring, strlen(item->valuestring));
        if (sample->image_names[i] == NULL) return vlmp_fail_memory(err, where);
        sample->image_count = i + 1;
    }
    return VLMP_OK;
}

/* Misspellings that would lose data without a word if unknown keys were simply passed over. */
static int check_keys(const cJSON *record, const char *where, vlmp_error *err)
{
    static const char *const pairs[][2] = {
        {"images", "image"},     {"picture", "image"},      {"img", "image"},
        {"question", "prompt"},  {"instruction", "prompt"}, {"answer", "answers"},
        {"response", "answers"}, {"caption", "answers"},    {"captions", "answers"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (cJSON_HasObjectItem(record, pairs[i][0]) && vlmp_json_get(record, pairs[i][1]) == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown key '%s'; did you mean '%s'?", where,
                             pairs[i][0], pairs[i][1]);
    return VLMP_OK;
}

static int read_record(vlmp_dataset_build *b, const cJSON *record, int line, const char *where,
                       vlmp_error *err)
{
    if (!cJSON_IsObject(record))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
    if (vlmp_json_get(record, "conversations") != NULL)
        return vlmp_dataset_conversation(b, record, line, where, err);
    VLMP_TRY(check_keys(record, where, err));
    vlmp_sample *sample = vlmp_dataset_add(b, line, err);
    if (sample == NULL) return err->code;
    VLMP_TRY(vlmp_dataset_images(b, sample, vlmp_json_get(record, "image"), where, err));
    const char *prompt;
    VLMP_TRY(vlmp_json_string(record, "prompt", NULL, &prompt, where, err));
    if (prompt == NULL) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'prompt' is missing", where);
    if (strstr(prompt, "<image>") != NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'prompt' contains '<image>'; remove it: pictures are put before the "
                         "text",
                         where);
    VLMP_TRY(vlmp_dataset_text(b, &sample->prompt, prompt, where, "'prompt'", err));
    const cJSON *answers = vlmp_json_get(record, "answers");
    if (answers == NULL) return VLMP_OK;
    if (!cJSON_IsArray(answers))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'answers' is not a list", where);
    size_t count = (size_t)cJSON_GetArraySize(answers);
    sample->answers = vlmp_arena_alloc(b->arena, count, sizeof *sample->answers);
    if (sample->answers == NULL) return vlmp_fail_memory(err, where);
    for (const cJSON *item = answers->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'answers' holds something that is no string",
                             where);
        VLMP_TRY(vlmp_dataset_text(b, &sample->answers[sample->answer_count], item->valuestring,
                                   where, "an answer", err));
        sample->answer_count++;
    }
    return VLMP_OK;
}

static int check_utf8(const char *text, size_t length, const char *where, vlmp_error *err)
{
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                 (utf8proc_ssize_t)(length - at), &code);
        if (used <= 0)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: not valid UTF-8", where, at);
        at += (size_t)used;
    }
    return VLMP_OK;
}

static int read_line(vlmp_dataset_build *b, const char *text, size_t length, int line,
                     vlmp_error *err)
{
    char where[PATH_MAX + 16];
    snprintf(where, sizeof where, "%s:%d", b->path, line);
    if (length > MAX_LINE)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: longer than %u MiB", where, MAX_LINE >> 20);
    size_t blank = 0;
    while (blank < length && strchr(" \t\r", text[blank]) != NULL && text[blank] != '\0')
        blank++;
    if (blank == length)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: an empty line; remove it", where);
    VLMP_TRY(check_utf8(text, length, where, err));
    cJSON *record;
    VLMP_TRY(vlmp_json_parse(&record, text, length, where, err));
    int status = read_record(b, record, line, where, err);
    cJSON_Delete(record);
    return status;
}

static int read_lines(vlmp_dataset_build *b, const char *text, size_t length, vlmp_error *err)
{
    int line = 0;
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t size = end != NULL ? (size_t)(end - (text + at)) : length - at;
        VLMP_TRY(read_line(b, text + at, size, ++line, err));
        at += size + 1;
    }
    return VLMP_OK;
}

static int is_jsonl(bool *is, const char *path, const char *text, size_t length, vlmp_error *err)
{
    size_t name = strlen(path);
    *is = name > 6 && strcasecmp(path + name - 6, ".jsonl") == 0;
    if (*is || length == 0 || text[0] != '{') return VLMP_OK;
    const char *end = memchr(text, '\n', length);
    size_t size = end != NULL ? (size_t)(end - text) : length;
    if (size > MAX_LINE) return VLMP_OK;
    vlmp_error refused = {0};
    cJSON *first;
    if (vlmp_json_parse(&first, text, size, path, &refused) != VLMP_OK)
        return vlmp_fail_tried(err, &refused);
    *is = !cJSON_HasObjectItem(first, "annotations");
    cJSON_Delete(first);
    return VLMP_OK;
}

static int read_document(vlmp_dataset_build *b, const char *text, size_t length, vlmp_error *err)
{
    VLMP_TRY(check_utf8(text, length, b->path, err));
    cJSON *document;
    VLMP_TRY(vlmp_json_parse(&document, text, length, b->path, err));
    int status;
    if (cJSON_IsArray(document))
        status = vlmp_dataset_llava(b, document, err);
    else if (vlmp_json_get(document, "annotations") != NULL)
        status = vlmp_dataset_coco(b, document, err);
    else
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: neither JSONL, nor a list of LLaVA conversations, nor COCO "
                           "captions",
                           b->path);
    cJSON_Delete(document);
    return status;
}

static int read_file(vlmp_dataset_build *b, vlmp_error *err)
{
    vlmp_map map;
    VLMP_TRY(vlmp_map_open(&map, b->path, err));
    const char *text = (const char *)map.data;
    size_t length = map.length;
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        text += 3;
        length -= 3;
    }
    bool jsonl = false;
    int status = VLMP_OK;
    if (length == 0) status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: empty; no samples", b->path);
    if (status == VLMP_OK) status = is_jsonl(&jsonl, b->path, text, length, err);
    if (status == VLMP_OK && jsonl)
        status = read_lines(b, text, length, err);
    else if (status == VLMP_OK)
        status = read_document(b, text, length, err);
    vlmp_map_close(&map);
    return status;
}

/* By its name, of whatever kind: one that cannot be read is named in the audit, not passed over. */
static int is_picture(const struct dirent *entry)
{
    static const char *const endings[] = {".png",  ".jpg",  ".jpeg", ".jpe",  ".jfif", ".webp",
                                          ".gif",  ".bmp",  ".tif",  ".tiff", ".heic", ".heif",
                                          ".avif", ".svg",  ".pdf",  ".jxl",  ".jp2",  ".ppm",
                                          ".pgm",  ".apng", ".ico",  ".psd"};
    const char *dot = strrchr(entry->d_name, '.');
    if (entry->d_name[0] == '.' || dot == NULL) return 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return 1;
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort: it depends on the locale */
}

static int add_picture(vlmp_dataset_build *b, const char *name, vlmp_error *err)
{
    vlmp_sample *sample = vlmp_dataset_add(b, 0, err);
    if (sample == NULL) return err->code;
    VLMP_TRY(vlmp_dataset_text(b, &sample->prompt, VLMP_DEFAULT_PROMPT, b->path, "prompt", err));
    cJSON *value = cJSON_CreateStringReference(name);
    if (value == NULL) return vlmp_fail_memory(err, b->path);
    int status = vlmp_dataset_images(b, sample, value, b->path, err);
    cJSON_Delete(value);
    return status;
}

static int read_folder(vlmp_dataset_build *b, vlmp_error *err)
{
    struct dirent **entries;
    int count = scandir(b->path, &entries, is_picture, by_name);
    if (count < 0) return vlmp_fail_errno(err, "%s: cannot list the folder", b->path);
    int status = VLMP_OK;
    for (int i = 0; i < count; i++) {
        if (status == VLMP_OK) status = add_picture(b, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    if (status == VLMP_OK && count == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: a folder without PNG, JPEG or WebP files; if it holds a data "
                           "file, name that file",
                           b->path);
    return status;
}

/* The folder that picture names are relative to. */
static int find_root(vlmp_dataset_build *b, const char *image_root, bool folder, vlmp_error *err)
{
    b->image_root_is_given = image_root != NULL;
    if (image_root != NULL) {
        b->image_root = image_root;
    } else if (folder) {
        b->image_root = b->path;
    } else {
        const char *slash = strrchr(b->path, '/');
        size_t length = slash == b->path ? 1 : slash != NULL ? (size_t)(slash - b->path) : 0;
        b->image_root = slash != NULL ? vlmp_arena_copy(b->arena, b->path, length) : ".";
        if (b->image_root == NULL) return vlmp_fail_memory(err, b->path);
    }
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, b->image_root, err));
    char *real;
    VLMP_TRY(vlmp_path_resolve(&real, b->image_root, err));
    if (kind != VLMP_PATH_FOLDER || real == NULL || strlen(real) >= sizeof b->real_root) {
        free(real);
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such folder of pictures", b->image_root);
    }
    memcpy(b->real_root, real, strlen(real) + 1);
    free(real);
    return VLMP_OK;
}

int vlmp_dataset_read(vlmp_dataset *out, const char *path, const char *image_root, vlmp_error *err)
{
    *out = (vlmp_dataset){.path = path};
    vlmp_dataset_build b = {.path = path};
    b.arena = out->arena = calloc(1, sizeof *out->arena);
    if (out->arena == NULL) return vlmp_fail_memory(err, path);
    vlmp_path_kind kind;
    int status = vlmp_path_look(&kind, path, err);
    bool folder = kind == VLMP_PATH_FOLDER;
    if (status == VLMP_OK && kind == VLMP_PATH_ABSENT)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file or folder", path);
    if (status == VLMP_OK) status = find_root(&b, folder ? NULL : image_root, folder, err);
    if (status == VLMP_OK) status = folder ? read_folder(&b, err) : read_file(&b, err);
    if (status == VLMP_OK) {
        out->count = b.count;
        out->samples = vlmp_arena_alloc(b.arena, b.count, sizeof *out->samples);
        if (out->samples == NULL)
            status = vlmp_fail_memory(err, path);
        else if (b.count > 0)
            memcpy(out->samples, b.samples, b.count * sizeof *out->samples);
    }
    free(b.samples);
    if (status != VLMP_OK) vlmp_dataset_free(out);
    return status;
}

void vlmp_dataset_free(vlmp_dataset *dataset)
{
    if (dataset->arena != NULL) {
        vlmp_arena_free(dataset->arena);
        free(dataset->arena);
    }
    *dataset = (vlmp_dataset){0};
}
