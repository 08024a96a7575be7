#include "tools/samples.h"

#include <stdlib.h>

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

int vlmp_sample_identity(const vlmp_sample *sample, char id[VLMP_SHA256_HEX], vlmp_error *err)
{
    size_t count = (size_t)sample->image_count;
    char **files = vlmp_calloc(count, sizeof *files);
    vlmp_bytes *bytes = vlmp_calloc(count, sizeof *bytes);
    int status = files != NULL && bytes != NULL ? VLMP_OK : vlmp_fail_memory(err, "pictures");
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        status =
            vlmp_file_read(&files[i], &bytes[i].length, sample->images[i], MAX_PICTURE_BYTES, err);
        bytes[i].bytes = files[i];
    }
    if (status == VLMP_OK)
        vlmp_sample_id(bytes, sample->image_count, sample->prompt,
                       sample->answer_count > 0 ? sample->answers[0] : "", id);
    for (size_t i = 0; files != NULL && i < count; i++)
        free(files[i]);
    free(files);
    free(bytes);
    return status;
}

int vlmp_sample_sequence(const vlmp_reader *reader, const vlmp_sample *sample, const char *answer,
                         vlmp_picture_reading *reading, vlmp_sequence *out, vlmp_error *err)
{
    vlmp_pictures pictures;
    VLMP_TRY(vlmp_pictures_load(&pictures, sample->images, sample->image_count, reading, err));
    vlmp_question question = {.prompt = sample->prompt,
                              .answer = answer,
                              .image_count = pictures.count,
                              .images = pictures.images,
                              .image_names = sample->images};
    int status = vlmp_reader_sequence(reader, &question, out, NULL, err);
    out->line = sample->line;
    vlmp_pictures_free(&pictures);
    return status;
}
