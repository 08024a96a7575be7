#include "formats/dataset.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "formats/dataset_build.h"
#include "src/base/file.h"
#include "src/base/json.h"

int vlmp_record_parse(const vlmp_dataset *dataset, const vlmp_record *record, const char *where,
                      cJSON **out, vlmp_error *err)
{
    *out = NULL;
    if (record->length > VLMP_MAX_RECORD)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: longer than %u MiB, the limit of a sample",
                         where, VLMP_MAX_RECORD >> 20);
    char *text = vlmp_alloc((size_t)record->length + 1, 1);
    if (text == NULL) return vlmp_fail_memory(err, where);
    int status =
        vlmp_file_read_at(dataset->fd, text, record->length, record->offset, dataset->path, err);
    text[record->length] = '\0';
    if (status == VLMP_OK) status = vlmp_json_parse(out, text, record->length, where, err);
    free(text);
    return status;
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

static int read_answers(vlmp_sample *sample, const cJSON *answers, vlmp_error *err)
{
    if (answers == NULL) return VLMP_OK;
    if (!cJSON_IsArray(answers))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'answers' is not a list", sample->where);
    size_t count = (size_t)cJSON_GetArraySize(answers);
    sample->answers = vlmp_arena_alloc(&sample->arena, count, sizeof *sample->answers);
    if (sample->answers == NULL) return vlmp_fail_memory(err, sample->where);
    for (const cJSON *item = answers->child; item != NULL; item = item->next) {
        if (!cJSON_IsString(item))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'answers' holds something that is no string",
                             sample->where);
        VLMP_TRY(vlmp_sample_text(sample, &sample->answers[sample->answer_count], item->valuestring,
                                  "an answer", err));
        sample->answer_count++;
    }
    return VLMP_OK;
}

static int read_plain(const vlmp_dataset *d, vlmp_sample *sample, const cJSON *record,
                      vlmp_error *err)
{
    VLMP_TRY(vlmp_sample_no_video(sample, record, err));
    VLMP_TRY(check_keys(record, sample->where, err));
    VLMP_TRY(vlmp_sample_images(d, sample, vlmp_json_get(record, "image"), err));
    const char *prompt;
    VLMP_TRY(vlmp_json_string(record, "prompt", NULL, &prompt, sample->where, err));
    if (prompt == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'prompt' is missing", sample->where);
    if (strstr(prompt, "<image>") != NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'prompt' contains '<image>'; remove it: pictures are put before the "
                         "text",
                         sample->where);
    char *copy;
    VLMP_TRY(vlmp_sample_text(sample, &copy, prompt, "'prompt'", err));
    VLMP_TRY(vlmp_sample_question(sample, copy, err));
    return read_answers(sample, vlmp_json_get(record, "answers"), err);
}

static int read_record(const vlmp_dataset *d, size_t index, vlmp_sample *sample, vlmp_error *err)
{
    cJSON *json;
    VLMP_TRY(vlmp_record_parse(d, &d->records.items[index], sample->where, &json, err));
    int status;
    if (d->kind == VLMP_DATA_COCO)
        status = vlmp_sample_coco(d, index, sample, json, err);
    else if (!cJSON_IsObject(json))
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", sample->where);
    else if (d->kind == VLMP_DATA_LLAVA || vlmp_json_get(json, "conversations") != NULL)
        status = vlmp_sample_conversation(d, sample, json, err);
    else
        status = read_plain(d, sample, json, err);
    cJSON_Delete(json);
    return status;
}

static int read_picture(const vlmp_dataset *d, size_t index, vlmp_sample *sample, vlmp_error *err)
{
    cJSON *name = cJSON_CreateStringReference(d->names[index]);
    if (name == NULL) return vlmp_fail_memory(err, sample->where);
    int status = vlmp_sample_images(d, sample, name, err);
    cJSON_Delete(name);
    char *prompt;
    if (status == VLMP_OK)
        status = vlmp_sample_text(sample, &prompt, VLMP_DEFAULT_PROMPT, "the prompt", err);
    return status == VLMP_OK ? vlmp_sample_question(sample, prompt, err) : status;
}

int vlmp_dataset_sample(const vlmp_dataset *d, size_t index, vlmp_sample *out, vlmp_error *err)
{
    const vlmp_record *record = d->kind != VLMP_DATA_FOLDER ? &d->records.items[index] : NULL;
    char where[VLMP_RECORD_WHERE];
    *out = (vlmp_sample){.line = record != NULL ? (int)record->number : 0};
    if (record == NULL)
        snprintf(where, sizeof where, "%s/%s", d->path, d->names[index]);
    else if (d->kind == VLMP_DATA_JSONL)
        snprintf(where, sizeof where, "%s:%d", d->path, out->line);
    else
        snprintf(where, sizeof where, "%s: %sentry %d", d->path,
                 d->kind != VLMP_DATA_COCO            ? ""
                 : record->kind == VLMP_RECORD_ORPHAN ? "annotations, "
                                                      : "images, ",
                 out->line);
    out->where = vlmp_arena_copy(&out->arena, where, strlen(where));
    if (out->where == NULL) return vlmp_fail_memory(err, where);
    int status =
        record == NULL ? read_picture(d, index, out, err) : read_record(d, index, out, err);
    if (status != VLMP_OK) {
        vlmp_sample_free(out);
        out->line = record != NULL ? (int)record->number : 0;
    }
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

static int list_folder(vlmp_dataset *d, vlmp_error *err)
{
    struct dirent **entries;
    int count = scandir(d->path, &entries, is_picture, by_name);
    if (count < 0) return vlmp_fail_errno(err, "%s: cannot list the folder", d->path);
    d->names = vlmp_calloc((size_t)count, sizeof *d->names);
    int status = d->names != NULL ? VLMP_OK : vlmp_fail_memory(err, d->path);
    for (int i = 0; i < count; i++) {
        if (status == VLMP_OK && (d->names[i] = strdup(entries[i]->d_name)) == NULL)
            status = vlmp_fail_memory(err, d->path);
        free(entries[i]);
    }
    free(entries);
    d->kind = VLMP_DATA_FOLDER;
    d->records.count = (size_t)count;
    if (status == VLMP_OK && count == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: a folder without PNG, JPEG or WebP files; if it holds a data "
                           "file, name that file",
                           d->path);
    return status;
}

static int index_file(vlmp_dataset *d, vlmp_error *err)
{
    size_t length, name = strlen(d->path);
    VLMP_TRY(vlmp_file_open(&d->fd, &length, d->path, err));
    d->length = length;
    if (length == 0) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: empty; no samples", d->path);
    d->kind = VLMP_DATA_JSONL;
    if (name <= 6 || strcasecmp(d->path + name - 6, ".jsonl") != 0)
        VLMP_TRY(vlmp_index_document(d, err));
    if (d->kind == VLMP_DATA_JSONL) VLMP_TRY(vlmp_index_lines(d, err));
    if (d->kind == VLMP_DATA_COCO) VLMP_TRY(vlmp_index_coco(d, err));
    if (d->records.count > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s; no samples", d->path,
                     d->kind == VLMP_DATA_LLAVA ? "an empty list" : "only blank lines");
}

/* The folder that picture names are relative to. */
static int find_root(vlmp_dataset *d, const char *image_root, bool folder, vlmp_error *err)
{
    d->image_root_is_given = image_root != NULL;
    if (image_root == NULL && !folder) {
        const char *slash = strrchr(d->path, '/');
        size_t length = slash == d->path ? 1 : slash != NULL ? (size_t)(slash - d->path) : 1;
        snprintf(d->image_root, sizeof d->image_root, "%.*s", (int)length,
                 slash != NULL ? d->path : ".");
    } else {
        snprintf(d->image_root, sizeof d->image_root, "%s", folder ? d->path : image_root);
    }
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, d->image_root, err));
    char *real;
    VLMP_TRY(vlmp_path_resolve(&real, d->image_root, err));
    if (kind != VLMP_PATH_FOLDER || real == NULL || strlen(real) >= sizeof d->real_root) {
        free(real);
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such folder of pictures", d->image_root);
    }
    memcpy(d->real_root, real, strlen(real) + 1);
    free(real);
    return VLMP_OK;
}

int vlmp_dataset_open(vlmp_dataset **out, const char *path, const char *image_root, vlmp_error *err)
{
    *out = NULL;
    vlmp_dataset *d = vlmp_calloc(1, sizeof *d);
    if (d == NULL) return vlmp_fail_memory(err, path);
    d->path = path;
    d->fd = -1;
    vlmp_path_kind kind;
    int status = vlmp_path_look(&kind, path, err);
    bool folder = kind == VLMP_PATH_FOLDER;
    if (status == VLMP_OK && kind == VLMP_PATH_ABSENT)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file or folder", path);
    if (status == VLMP_OK) status = find_root(d, folder ? NULL : image_root, folder, err);
    if (status == VLMP_OK) status = folder ? list_folder(d, err) : index_file(d, err);
    if (status == VLMP_OK)
        *out = d;
    else
        vlmp_dataset_close(d);
    return status;
}

void vlmp_dataset_close(vlmp_dataset *d)
{
    if (d == NULL) return;
    for (size_t i = 0; d->names != NULL && i < d->records.count; i++)
        free(d->names[i]);
    free(d->names);
    if (d->fd >= 0) close(d->fd);
    free(d->records.items);
    free(d->captions.items);
    free(d->caption_first);
    free(d);
}

const char *vlmp_dataset_path(const vlmp_dataset *d)
{
    return d->path;
}

size_t vlmp_dataset_count(const vlmp_dataset *d)
{
    return d->records.count;
}
