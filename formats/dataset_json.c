/* LLaVA conversations and COCO captions. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dataset.h"
#include "formats/dataset_build.h"
#include "src/base/json.h"

/* Removes every "<image>" in place and white space at both ends; returns how many there were. */
static int strip_placeholders(char *text)
{
    static const char mark[] = "<image>";
    int found = 0;
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (strncmp(from, mark, sizeof mark - 1) == 0) {
            from += sizeof mark - 1;
            found++;
        } else {
            *to++ = *from++;
        }
    }
    while (to > text && strchr(" \t\r\n", to[-1]) != NULL)
        to--;
    *to = '\0';
    size_t skip = strspn(text, " \t\r\n");
    memmove(text, text + skip, strlen(text + skip) + 1);
    return found;
}

static bool is_from(const cJSON *turn, const char *a, const char *b)
{
    const cJSON *from = vlmp_json_get(turn, "from");
    return cJSON_IsString(from) &&
           (strcmp(from->valuestring, a) == 0 || strcmp(from->valuestring, b) == 0);
}

static int turn_text(const cJSON *turn, const char **out, const char *where, vlmp_error *err)
{
    VLMP_TRY(vlmp_json_string(turn, "value", NULL, out, where, err));
    if (*out != NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a turn without 'value'", where);
}

int vlmp_dataset_conversation(vlmp_dataset_build *b, const cJSON *record, int line,
                              const char *where, vlmp_error *err)
{
    vlmp_sample *sample = vlmp_dataset_add(b, line, err);
    if (sample == NULL) return err->code;
    VLMP_TRY(vlmp_dataset_images(b, sample, vlmp_json_get(record, "image"), where, err));
    const cJSON *turns = vlmp_json_get(record, "conversations");
    if (!cJSON_IsArray(turns))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'conversations' is not a list", where);
    const cJSON *turn = turns->child;
    while (turn != NULL && !is_from(turn, "human", "user"))
        turn = turn->next;
    if (turn == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no turn from 'human' in 'conversations'", where);
    const char *text;
    VLMP_TRY(turn_text(turn, &text, where, err));
    char *copy = vlmp_arena_copy(b->arena, text, strlen(text));
    if (copy == NULL) return vlmp_fail_memory(err, where);
    int marks = strip_placeholders(copy);
    if (marks > sample->image_count)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d times '<image>' but %d pictures", where,
                         marks, sample->image_count);
    if (*copy == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the human turn has no text", where);
    sample->prompt = copy;
    turn = turn->next;
    if (turn == NULL || !is_from(turn, "gpt", "assistant")) return VLMP_OK;
    VLMP_TRY(turn_text(turn, &text, where, err));
    sample->answers = vlmp_arena_alloc(b->arena, 1, sizeof *sample->answers);
    if (sample->answers == NULL) return vlmp_fail_memory(err, where);
    VLMP_TRY(vlmp_dataset_text(b, &sample->answers[0], text, where, "the answer", err));
    sample->answer_count = 1;
    return VLMP_OK;
}

int vlmp_dataset_llava(vlmp_dataset_build *b, const cJSON *list, vlmp_error *err)
{
    int number = 0;
    char where[PATH_MAX + 32];
    for (const cJSON *record = list->child; record != NULL; record = record->next) {
        snprintf(where, sizeof where, "%s: entry %d", b->path, ++number);
        if (!cJSON_IsObject(record) || vlmp_json_get(record, "conversations") == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'conversations'", where);
        VLMP_TRY(vlmp_dataset_conversation(b, record, number, where, err));
    }
    if (number == 0) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: an empty list", b->path);
    return VLMP_OK;
}

typedef struct {
    int64_t id;
    size_t sample;
} image_id;

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const image_id *)a)->id, y = ((const image_id *)b)->id;
    return (x > y) - (x < y);
}

static const image_id *find_id(const image_id *ids, size_t count, int64_t id)
{
    image_id key = {.id = id};
    return count == 0 ? NULL : bsearch(&key, ids, count, sizeof *ids, by_id);
}

static int coco_images(vlmp_dataset_build *b, const cJSON *images, image_id *ids, vlmp_error *err)
{
    char where[PATH_MAX + 32];
    int number = 0;
    for (const cJSON *image = images->child; image != NULL; image = image->next) {
        snprintf(where, sizeof where, "%s: images, entry %d", b->path, ++number);
        const cJSON *name = vlmp_json_get(image, "file_name");
        if (!cJSON_IsString(name))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'file_name'", where);
        int64_t id;
        VLMP_TRY(vlmp_json_int(image, "id", -1, 0, INT64_MAX, &id, where, err));
        if (id < 0) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'id'", where);
        vlmp_sample *sample = vlmp_dataset_add(b, number, err);
        if (sample == NULL) return err->code;
        VLMP_TRY(vlmp_dataset_text(b, &sample->prompt, VLMP_DEFAULT_PROMPT, where, "prompt", err));
        VLMP_TRY(vlmp_dataset_images(b, sample, name, where, err));
        ids[number - 1] = (image_id){.id = id, .sample = b->count - 1};
    }
    qsort(ids, (size_t)number, sizeof *ids, by_id);
    for (int i = 1; i < number; i++)
        if (ids[i].id == ids[i - 1].id)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: images: the id %lld appears twice", b->path,
                             (long long)ids[i].id);
    return VLMP_OK;
}

/* Two passes over the annotations: count each picture's captions, then copy them in order. */
static int coco_captions(vlmp_dataset_build *b, const cJSON *annotations, const image_id *ids,
                         size_t id_count, bool copy, vlmp_error *err)
{
    char where[PATH_MAX + 32];
    int number = 0;
    for (const cJSON *item = annotations->child; item != NULL; item = item->next) {
        snprintf(where, sizeof where, "%s: annotations, entry %d", b->path, ++number);
        int64_t id;
        VLMP_TRY(vlmp_json_int(item, "image_id", -1, 0, INT64_MAX, &id, where, err));
        const image_id *found = find_id(ids, id_count, id);
        if (found == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image_id' is missing or names no picture",
                             where);
        vlmp_sample *sample = &b->samples[found->sample];
        if (copy) {
            const cJSON *caption = vlmp_json_get(item, "caption");
            if (!cJSON_IsString(caption))
                return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'caption'", where);
            VLMP_TRY(vlmp_dataset_text(b, &sample->answers[sample->answer_count],
                                       caption->valuestring, where, "'caption'", err));
        }
        sample->answer_count++;
    }
    return VLMP_OK;
}

static int coco_build(vlmp_dataset_build *b, const cJSON *images, const cJSON *annotations,
                      image_id *ids, size_t count, vlmp_error *err)
{
    VLMP_TRY(coco_images(b, images, ids, err));
    VLMP_TRY(coco_captions(b, annotations, ids, count, false, err));
    for (size_t i = 0; i < b->count; i++) {
        vlmp_sample *sample = &b->samples[i];
        if (sample->answer_count == 0) continue;
        sample->answers =
            vlmp_arena_alloc(b->arena, (size_t)sample->answer_count, sizeof *sample->answers);
        if (sample->answers == NULL) return vlmp_fail_memory(err, b->path);
        sample->answer_count = 0;
    }
    return coco_captions(b, annotations, ids, count, true, err);
}

int vlmp_dataset_coco(vlmp_dataset_build *b, const cJSON *document, vlmp_error *err)
{
    if (!b->image_root_is_given)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: COCO captions need --image-root, the folder of their pictures",
                         b->path);
    const cJSON *images = vlmp_json_get(document, "images");
    const cJSON *annotations = vlmp_json_get(document, "annotations");
    if (!cJSON_IsArray(images) || !cJSON_IsArray(annotations) || images->child == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'images' or 'annotations' is not a list, or empty", b->path);
    size_t count = (size_t)cJSON_GetArraySize(images);
    image_id *ids = vlmp_alloc(count, sizeof *ids);
    if (ids == NULL) return vlmp_fail_memory(err, b->path);
    int status = coco_build(b, images, annotations, ids, count, err);
    free(ids);
    return status;
}
