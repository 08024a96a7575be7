/* COCO captions: pictures and annotations, joined by the pictures' ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dataset_build.h"
#include "src/base/json.h"

typedef struct {
    int64_t id;
    uint32_t picture; /* index */
} image_id;

static int by_id(const void *a, const void *b)
{
    const image_id *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->picture > y->picture) - (x->picture < y->picture);
}

/* The first picture that has the id; NULL: none. */
static const image_id *find_id(const image_id *ids, size_t count, int64_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ids[low].id == id ? &ids[low] : NULL;
}

/* An id of a record; −1: it has none, or cannot be read, which is said when it is asked for. */
static int read_id(const vlmp_dataset *d, const vlmp_record *record, const char *key, int64_t *id,
                   vlmp_error *err)
{
    cJSON *json;
    vlmp_error fault = {0};
    *id = -1;
    int status = vlmp_record_parse(d, record, d->path, &json, &fault);
    if (status == VLMP_OK && cJSON_IsObject(json))
        status = vlmp_json_int(json, key, -1, 0, INT64_MAX, id, d->path, &fault);
    cJSON_Delete(json);
    if (status == VLMP_OK || status == VLMP_ERR_INPUT) return VLMP_OK;
    return vlmp_fail(err, status, "%s", fault.message);
}

static int read_picture_ids(vlmp_dataset *d, image_id **ids, size_t *count, vlmp_error *err)
{
    *ids = vlmp_alloc(d->records.count, sizeof **ids);
    *count = 0;
    if (*ids == NULL) return vlmp_fail_memory(err, d->path);
    for (size_t i = 0; i < d->records.count; i++) {
        int64_t id;
        VLMP_TRY(read_id(d, &d->records.items[i], "id", &id, err));
        if (id >= 0) (*ids)[(*count)++] = (image_id){id, (uint32_t)i};
    }
    qsort(*ids, *count, sizeof **ids, by_id);
    for (size_t i = 1; i < *count; i++)
        if ((*ids)[i].id == (*ids)[i - 1].id)
            d->records.items[(*ids)[i].picture].kind = VLMP_RECORD_TWICE;
    return VLMP_OK;
}

/* Captions by picture, each picture's in the order of the file; picture_of[i] is caption i's, or
 * the number of pictures: it is an orphan, and becomes a record of its own. */
static int group_captions(vlmp_dataset *d, const uint32_t *picture_of, size_t pictures,
                          vlmp_error *err)
{
    size_t count = d->captions.count;
    vlmp_record *sorted = vlmp_alloc(count, sizeof *sorted);
    d->caption_first = vlmp_calloc(pictures + 2, sizeof *d->caption_first);
    if (sorted == NULL || d->caption_first == NULL) {
        free(sorted);
        return vlmp_fail_memory(err, d->path);
    }
    uint32_t *first = d->caption_first;
    for (size_t i = 0; i < count; i++)
        first[picture_of[i] + 1]++;
    for (size_t p = 1; p <= pictures; p++)
        first[p] += first[p - 1];
    int status = VLMP_OK;
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        vlmp_record caption = d->captions.items[i];
        if (picture_of[i] == pictures) {
            caption.kind = VLMP_RECORD_ORPHAN;
            status = vlmp_records_add(&d->records, caption, d->path, err);
        } else {
            sorted[first[picture_of[i]]++] = caption;
        }
    }
    /* Each first has moved on to the next one's. */
    memmove(first + 1, first, pictures * sizeof *first);
    first[0] = 0;
    free(d->captions.items);
    d->captions.items = sorted;
    return status;
}

int vlmp_index_coco(vlmp_dataset *d, vlmp_error *err)
{
    size_t pictures = d->records.count, known;
    if (!d->image_root_is_given)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: COCO captions need --image-root, the folder of their pictures",
                         d->path);
    if (pictures == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'images' or 'annotations' is not a list, or empty", d->path);
    image_id *ids = NULL;
    uint32_t *picture_of = vlmp_alloc(d->captions.count, sizeof *picture_of);
    int status = picture_of != NULL ? read_picture_ids(d, &ids, &known, err)
                                    : vlmp_fail_memory(err, d->path);
    for (size_t i = 0; i < d->captions.count && status == VLMP_OK; i++) {
        int64_t id;
        status = read_id(d, &d->captions.items[i], "image_id", &id, err);
        const image_id *found = status == VLMP_OK && id >= 0 ? find_id(ids, known, id) : NULL;
        picture_of[i] = found != NULL ? found->picture : (uint32_t)pictures;
    }
    if (status == VLMP_OK) status = group_captions(d, picture_of, pictures, err);
    free(ids);
    free(picture_of);
    return status;
}

static int read_caption(const vlmp_dataset *d, const vlmp_record *record, vlmp_sample *sample,
                        vlmp_error *err)
{
    char where[VLMP_RECORD_WHERE];
    snprintf(where, sizeof where, "%s: annotations, entry %d", d->path, (int)record->number);
    cJSON *json;
    VLMP_TRY(vlmp_record_parse(d, record, where, &json, err));
    const cJSON *caption = vlmp_json_get(json, "caption");
    int status = VLMP_OK;
    vlmp_sample named = {.where = where, .arena = sample->arena};
    if (!cJSON_IsString(caption))
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'caption'", where);
    else
        status = vlmp_sample_text(&named, &sample->answers[sample->answer_count],
                                  caption->valuestring, "'caption'", err);
    sample->arena = named.arena;
    sample->answer_count += status == VLMP_OK;
    cJSON_Delete(json);
    return status;
}

int vlmp_sample_coco(const vlmp_dataset *d, size_t index, vlmp_sample *sample, const cJSON *image,
                     vlmp_error *err)
{
    const char *where = sample->where;
    const vlmp_record *record = &d->records.items[index];
    int64_t id = -1;
    if (record->kind == VLMP_RECORD_ORPHAN)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image_id' is missing or names no picture",
                         where);
    if (!cJSON_IsObject(image))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
    VLMP_TRY(vlmp_json_int(image, "id", -1, 0, INT64_MAX, &id, where, err));
    if (id < 0) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'id'", where);
    if (record->kind == VLMP_RECORD_TWICE)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the id %lld appears twice", where,
                         (long long)id);
    const cJSON *name = vlmp_json_get(image, "file_name");
    if (!cJSON_IsString(name)) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'file_name'", where);
    VLMP_TRY(vlmp_sample_images(d, sample, name, err));
    char *prompt;
    VLMP_TRY(vlmp_sample_text(sample, &prompt, VLMP_DEFAULT_PROMPT, "the prompt", err));
    VLMP_TRY(vlmp_sample_question(sample, prompt, err));
    size_t first = d->caption_first[index], end = d->caption_first[index + 1];
    if (end - first > VLMP_MAX_CAPTIONS)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu captions, more than the limit of %u", where,
                         end - first, VLMP_MAX_CAPTIONS);
    if (end == first) return VLMP_OK;
    sample->answers = vlmp_arena_alloc(&sample->arena, end - first, sizeof *sample->answers);
    if (sample->answers == NULL) return vlmp_fail_memory(err, where);
    for (size_t i = first; i < end; i++)
        VLMP_TRY(read_caption(d, &d->captions.items[i], sample, err));
    return VLMP_OK;
}
