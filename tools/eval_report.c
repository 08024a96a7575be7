#include "tools/eval_report.h"

#include <stdlib.h>
#include <string.h>

#include "formats/png_write.h"
#include "src/picture/resize.h"
#include "tools/eval_answers.h"

static void quote(vlmp_buffer *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./_-";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        vlmp_buffer_text(out, word);
        return;
    }
    vlmp_buffer_text(out, "'");
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            vlmp_buffer_text(out, "'\\''");
        else
            vlmp_buffer_append(out, word, 1);
    }
    vlmp_buffer_text(out, "'");
}

void vlmp_command_line(vlmp_buffer *out, int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        const char *slash = i == 0 ? strrchr(argv[0], '/') : NULL;
        if (i > 0) vlmp_buffer_text(out, " ");
        quote(out, slash != NULL ? slash + 1 : argv[i]);
    }
}

static char *in_base64(vlmp_arena *arena, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = vlmp_arena_alloc(arena, (length + 2) / 3 * 4 + 1, 1), *at = text;
    for (size_t i = 0; text != NULL && i < length; i += 3) {
        uint32_t three = 0;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < length ? bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            *at++ = i + k > length ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    return text;
}

/* The first picture, SIDE pixels at its longer side. */
static int take_picture(const vlmp_eval_data *data, const vlmp_sample *sample, vlmp_arena *arena,
                        const char **out, vlmp_error *err)
{
    enum { SIDE = 144 };
    vlmp_image image, small = {.pixels = NULL};
    vlmp_buffer png = {0};
    if (sample->image_count == 0) return VLMP_OK;
    VLMP_TRY(vlmp_picture_read(&image, sample->images[0], data->pictures, err));
    int longer = image.width > image.height ? image.width : image.height;
    int width = (int)((int64_t)image.width * SIDE / longer),
        height = (int)((int64_t)image.height * SIDE / longer);
    int status = vlmp_resize(&small, &image, width > 0 ? width : 1, height > 0 ? height : 1, NULL,
                             VLMP_RESAMPLE_BICUBIC, VLMP_RESIZE_PILLOW, err);
    if (status == VLMP_OK) status = vlmp_png_write(&png, &small, err);
    if (status == VLMP_OK) {
        *out = in_base64(arena, (const unsigned char *)png.data, png.length);
        if (*out == NULL) status = vlmp_fail_memory(err, "picture of the report");
    }
    free(image.pixels);
    free(small.pixels);
    vlmp_buffer_free(&png);
    return status;
}

static int take_sample(const vlmp_eval_data *data, const vlmp_sample *sample, vlmp_arena *arena,
                       vlmp_worst_sample *out, vlmp_error *err)
{
    const vlmp_chat_message *turn =
        sample->turn_count > 0 ? &sample->turns[sample->turn_count - 1] : NULL;
    vlmp_buffer prompt = {0};
    for (size_t p = 0; turn != NULL && p < turn->part_count; p++)
        if (turn->parts[p] != VLMP_CHAT_PICTURE) vlmp_buffer_text(&prompt, turn->parts[p]);
    const char *answer = sample->answer_count > 0 ? sample->answers[0] : NULL;
    out->where = vlmp_arena_copy(arena, sample->where, strlen(sample->where));
    out->prompt = vlmp_arena_copy(arena, prompt.data != NULL ? prompt.data : "", prompt.length);
    out->expected = answer != NULL ? vlmp_arena_copy(arena, answer, strlen(answer)) : NULL;
    bool failed = prompt.failed || out->where == NULL || out->prompt == NULL ||
                  (answer != NULL && out->expected == NULL);
    vlmp_buffer_free(&prompt);
    if (failed) return vlmp_fail_memory(err, "worst samples");
    return take_picture(data, sample, arena, &out->picture, err);
}

static int ask_reference(const vlmp_eval_job *job, vlmp_engine *engine, const size_t *places,
                         size_t count, vlmp_arena *arena, vlmp_worst_sample *out, vlmp_error *err)
{
    vlmp_eval_job asked = *job;
    vlmp_given_answers answers;
    asked.path = job->reference->where;
    VLMP_TRY(vlmp_given_answers_make(&answers, count, arena, err));
    VLMP_TRY(vlmp_eval_answer_some(&asked, engine, places, count, &answers, err));
    for (size_t i = 0; i < count; i++) {
        out[i].original = answers.texts[i];
        out[i].original_tokens = answers.tokens[i];
    }
    return VLMP_OK;
}

static int take_original(const vlmp_eval_job *job, vlmp_engine *engine,
                         const vlmp_eval_result *results, size_t count, const size_t *places,
                         vlmp_arena *arena, vlmp_worst_sample *out, size_t found, vlmp_error *err)
{
    const vlmp_eval_result *original = NULL;
    bool answered = found > 0 && results[0].per_sample[places[0]].answer != NULL;
    for (size_t i = count; i-- > 0;)
        if (results[i].original) original = &results[i];
    if (answered && original == NULL && !job->reference->saved)
        return ask_reference(job, engine, places, found, arena, out, err);
    for (size_t i = 0; i < found; i++) {
        const char *stand_in =
            job->data->stand_ins != NULL ? job->data->stand_ins[places[i]] : NULL;
        if (original == NULL || !answered) {
            out[i].original = stand_in;
            continue;
        }
        out[i].original = original->per_sample[places[i]].answer;
        out[i].original_tokens = original->per_sample[places[i]].answer_tokens;
    }
    return VLMP_OK;
}

int vlmp_eval_worst(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_eval_result *results,
                    size_t count, vlmp_arena *arena, vlmp_worst_sample out[VLMP_WORST],
                    size_t *found, vlmp_error *err)
{
    size_t places[VLMP_WORST];
    VLMP_TRY(vlmp_report_worst(results, count, places, found, err));
    for (size_t i = 0; i < *found; i++) {
        vlmp_sample sample;
        out[i] = (vlmp_worst_sample){.index = places[i]};
        VLMP_TRY(vlmp_eval_sample(job->data, places[i], &sample, err));
        int status = take_sample(job->data, &sample, arena, &out[i], err);
        vlmp_sample_free(&sample);
        VLMP_TRY(status);
    }
    return take_original(job, engine, results, count, places, arena, out, *found, err);
}
