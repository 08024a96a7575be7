#include "tools/samples.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/calib/calibration.h"

#define MAX_PICTURE_BYTES ((size_t)1 << 30)

int vlmp_pictures_load(vlmp_pictures *out, char *const *paths, int count,
                       vlmp_picture_reading *reading, vlmp_error *err)
{
    *out = (vlmp_pictures){.images = vlmp_calloc((size_t)count, sizeof *out->images)};
    if (out->images == NULL) return vlmp_fail_memory(err, "pictures");
    for (int i = 0; i < count; i++) {
        int status = vlmp_picture_read(&out->images[i], paths[i], reading, err);
        if (status != VLMP_OK) {
            vlmp_pictures_free(out);
            return status;
        }
        out->count++;
    }
    return VLMP_OK;
}

void vlmp_pictures_free(vlmp_pictures *pictures)
{
    for (int i = 0; i < pictures->count; i++)
        free(pictures->images[i].pixels);
    free(pictures->images);
    *pictures = (vlmp_pictures){0};
}

/* The parts of all turns, then the answer. Pictures that stand before everything else are no texts:
 * a plain sample is its prompt and its answer. Free *texts. */
static size_t collect_texts(const vlmp_sample *sample, const char ***texts)
{
    size_t most = 1, count = 0;
    for (int t = 0; t < sample->turn_count; t++)
        most += sample->turns[t].part_count;
    *texts = vlmp_alloc(most, sizeof **texts);
    for (int t = 0; *texts != NULL && t < sample->turn_count; t++)
        for (size_t p = 0; p < sample->turns[t].part_count; p++) {
            const char *part = sample->turns[t].parts[p];
            if (part != VLMP_CHAT_PICTURE || count > 0)
                (*texts)[count++] = part != VLMP_CHAT_PICTURE ? part : "<image>";
        }
    if (*texts != NULL) (*texts)[count++] = sample->answer_count > 0 ? sample->answers[0] : "";
    return count;
}

int vlmp_sample_identity(const vlmp_sample *sample, vlmp_sample_ids *ids, vlmp_error *err)
{
    size_t count = (size_t)sample->image_count;
    char **files = vlmp_calloc(count, sizeof *files);
    vlmp_bytes *bytes = vlmp_calloc(count, sizeof *bytes);
    const char **texts;
    size_t text_count = collect_texts(sample, &texts);
    int status = files != NULL && bytes != NULL && texts != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "pictures");
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        status =
            vlmp_file_read(&files[i], &bytes[i].length, sample->images[i], MAX_PICTURE_BYTES, err);
        bytes[i].bytes = files[i];
    }
    if (status == VLMP_OK) {
        vlmp_sample_id(bytes, count, texts, text_count, false, ids->exact);
        vlmp_sample_id(bytes, count, texts, text_count, true, ids->loose);
        if (ids->exact[0] == '\0' || ids->loose[0] == '\0')
            status = vlmp_fail_memory(err, "a hash");
    }
    for (size_t i = 0; files != NULL && i < count; i++)
        free(files[i]);
    free(files);
    free(bytes);
    free(texts);
    if (status == VLMP_ERR_INPUT) vlmp_error_at(err, sample->where);
    return status;
}

int vlmp_sample_read(const vlmp_reader *reader, const vlmp_sample *sample,
                     const vlmp_pictures *pictures, const char *answer, vlmp_sequence *out,
                     vlmp_error *err)
{
    vlmp_question question = {.turns = sample->turns,
                              .turn_count = sample->turn_count,
                              .answer = answer,
                              .image_count = pictures->count,
                              .images = pictures->images,
                              .image_names = sample->images,
                              .where = sample->where};
    int status = vlmp_reader_sequence(reader, &question, out, NULL, err);
    out->line = sample->line;
    if (status == VLMP_ERR_INPUT) vlmp_error_at(err, sample->where);
    return status;
}

int vlmp_sample_sequence(const vlmp_reader *reader, const vlmp_sample *sample, const char *answer,
                         vlmp_picture_reading *reading, vlmp_sequence *out, vlmp_error *err)
{
    vlmp_pictures pictures;
    int status = vlmp_pictures_load(&pictures, sample->images, sample->image_count, reading, err);
    if (status == VLMP_ERR_INPUT) vlmp_error_at(err, sample->where);
    VLMP_TRY(status);
    status = vlmp_sample_read(reader, sample, &pictures, answer, out, err);
    vlmp_pictures_free(&pictures);
    return status;
}

int vlmp_let_through(vlmp_broken *broken, const vlmp_error *fault, vlmp_error *err)
{
    if (fault->code != VLMP_ERR_INPUT) return vlmp_fail(err, fault->code, "%s", fault->message);
    if (++broken->count <= broken->allowed) return VLMP_OK;
    return vlmp_fail(err, fault->code, "%s; --skip-broken N lets N such samples through",
                     fault->message);
}
