/* Pictures of awkward shapes, several in a prompt, and answers that a model gives by itself,
 * against the reference implementation (scripts/golden-answers.py): token ids and pixels by their
 * hashes, losses of the given answer's tokens within the 10⁻³ that the project promises, the tokens
 * of greedy answers, as far as the reference itself is sure of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/hf_folder.h"
#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/base/sha256.h"
#include "src/flow/reader.h"
#include "src/runtime/runtime.h"

#define FOLDER       VLMP_SOURCE_ROOT "/tests/golden/models/"
#define MAX_PICTURES 4
#define MAX_LOSS     1e-3

static cJSON *golden;

struct fixture {
    const char *name;
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_source *source;
    vlmp_model model;
    vlmp_reader reader;
    vlmp_runtime *runtime;
    double worst_loss;
    int greedy; /* tokens that were compared */
};

static void good(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail_msg("%s", err->message);
}

static void open_fixture(struct fixture *f, const char *name)
{
    vlmp_error err = {0};
    char path[512];
    *f = (struct fixture){.name = name};
    snprintf(path, sizeof path, FOLDER "%s", name);
    good(vlmp_pool_create(&f->pool, 2, &err), &err);
    good(vlmp_ctx_create(&f->ctx, VLMP_BACKEND_CPU, NULL, f->pool, &err), &err);
    good(vlmp_folder_open(&f->source, path, &err), &err);
    good(vlmp_model_open(&f->model, f->source, &err), &err);
    good(vlmp_reader_open(&f->reader, &f->model, &err), &err);
    good(vlmp_runtime_create(&f->runtime, f->ctx, &f->model, &f->reader.preprocess, NULL, 1, &err),
         &err);
}

static void close_fixture(struct fixture *f)
{
    vlmp_runtime_free(f->runtime);
    vlmp_reader_close(&f->reader);
    vlmp_model_close(&f->model);
    f->source->close(f->source);
    vlmp_ctx_free(f->ctx);
    vlmp_pool_free(f->pool);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static int number_at(const cJSON *list, int index)
{
    const cJSON *item = cJSON_GetArrayItem(list, index);
    assert_true(cJSON_IsNumber(item));
    return item->valueint;
}

/* golden-models.py's picture(). */
static void paint(vlmp_image *image, const cJSON *size)
{
    int width = number_at(size, 0), height = number_at(size, 1), seed = number_at(size, 2);
    *image = (vlmp_image){
        .width = width, .height = height, .pixels = vlmp_alloc((size_t)width * (size_t)height, 3)};
    assert_non_null(image->pixels);
    uint8_t *next = image->pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *next++ = (uint8_t)(x * (3 + seed) + 2 * y * (1 + c) + 50 * c +
                                    40 * ((x / 9 + y / 7) % 2));
}

static void read_case(const struct fixture *f, const cJSON *asked, vlmp_sequence *out)
{
    vlmp_error err = {0};
    const cJSON *sizes = vlmp_json_get(asked, "pictures");
    vlmp_image pictures[MAX_PICTURES];
    char *names[MAX_PICTURES];
    const char *parts[MAX_PICTURES + 1];
    int count = cJSON_GetArraySize(sizes);
    assert_in_range(count, 1, MAX_PICTURES);
    for (int i = 0; i < count; i++) {
        paint(&pictures[i], cJSON_GetArrayItem(sizes, i));
        names[i] = (char *)(uintptr_t) "a painted picture";
        parts[i] = VLMP_CHAT_PICTURE;
    }
    parts[count] = text_of(asked, "prompt");
    vlmp_chat_message turn = {"user", parts, (size_t)count + 1};
    vlmp_question question = {.turns = &turn,
                              .turn_count = 1,
                              .answer = text_of(asked, "answer"),
                              .image_count = count,
                              .images = pictures,
                              .image_names = names};
    good(vlmp_reader_sequence(&f->reader, &question, out, NULL, &err), &err);
    for (int i = 0; i < count; i++)
        free(pictures[i].pixels);
}

static void check_ids(const vlmp_sequence *s, const cJSON *want)
{
    char hex[VLMP_SHA256_HEX];
    assert_int_equal(s->length, vlmp_json_get(want, "length")->valueint);
    vlmp_sha256_hex(s->ids, (size_t)s->length * sizeof *s->ids, hex);
    assert_string_equal(hex, text_of(want, "ids"));
}

/* The reference has a tile's channels one after the other. */
static void check_pixels(const struct fixture *f, const vlmp_sequence *s, const cJSON *want)
{
    const vlmp_config *config = &f->model.config;
    char hex[VLMP_SHA256_HEX];
    vlmp_sha256 hash;
    const uint8_t *tile = s->pixels;
    vlmp_sha256_start(&hash);
    for (int t = 0; t < s->tiles; t++) {
        size_t size = vlmp_grid_bytes(&config->vision, vlmp_sequence_grid(s, config, t));
        uint8_t *planes = vlmp_alloc(size, 1);
        assert_non_null(planes);
        for (size_t i = 0; i < size; i++)
            planes[i % 3 * (size / 3) + i / 3] = tile[i];
        vlmp_sha256_update(&hash, planes, size);
        free(planes);
        tile += size;
    }
    vlmp_sha256_finish(&hash, hex);
    assert_string_equal(hex, text_of(want, "pixels"));
}

static double loss_of(const struct fixture *f, const float *logits, int32_t token)
{
    int vocab = f->model.config.text.vocab;
    double largest = -INFINITY, sum = 0;
    for (int v = 0; v < vocab; v++)
        largest = fmax(largest, logits[v]);
    for (int v = 0; v < vocab; v++)
        sum += exp(logits[v] - largest);
    return largest + log(sum) - logits[token];
}

/* Goes on behind the prompt: with the given answer's tokens, or with the model's own. */
static void answer(struct fixture *f, const vlmp_sequence *s, const cJSON *want, bool own)
{
    vlmp_error err = {0};
    vlmp_stream *stream;
    const cJSON *list = vlmp_json_get(want, own ? "greedy" : "nll");
    int count = cJSON_GetArraySize(list), from = s->answers[0].from, done = 0;
    assert_true(own ? count >= 2 : count == s->length - from);
    float *logits = vlmp_alloc((size_t)f->model.config.text.vocab, sizeof *logits);
    good(vlmp_stream_open(f->runtime, s, from, count, &stream, &err), &err);
    assert_non_null(stream);
    vlmp_step_item item = {.stream = stream, .logits = logits};
    while (done < count) {
        good(vlmp_runtime_step(f->runtime, &item, 1, &err), &err);
        if (vlmp_stream_left(stream) > 0) continue;
        const cJSON *wanted = cJSON_GetArrayItem(list, done);
        if (own) {
            if (item.best != wanted->valueint)
                fail_msg("%s: greedy token %d is %d, the reference's is %d", f->name, done,
                         item.best, wanted->valueint);
            f->greedy++;
        } else {
            double error = fabs(loss_of(f, logits, s->ids[from + done]) - wanted->valuedouble);
            f->worst_loss = fmax(f->worst_loss, isfinite(error) ? error : INFINITY);
            if (!(error <= MAX_LOSS))
                fail_msg("%s: the loss of token %d is off by %.3g", f->name, done, error);
        }
        item.token = own ? item.best : s->ids[from + done];
        done++;
    }
    vlmp_stream_close(stream);
    free(logits);
}

static void awkward_pictures_and_greedy_answers(void **state)
{
    (void)state;
    const cJSON *cases = vlmp_json_get(golden, "cases"), *models = vlmp_json_get(golden, "models");
    const cJSON *model;
    assert_true(cJSON_GetArraySize(models) >= 14);
    cJSON_ArrayForEach(model, models)
    {
        struct fixture f;
        open_fixture(&f, model->string);
        assert_int_equal(cJSON_GetArraySize(model), cJSON_GetArraySize(cases));
        for (int i = 0; i < cJSON_GetArraySize(cases); i++) {
            const cJSON *want = cJSON_GetArrayItem(model, i);
            vlmp_sequence sequence;
            read_case(&f, cJSON_GetArrayItem(cases, i), &sequence);
            check_ids(&sequence, want);
            check_pixels(&f, &sequence, want);
            answer(&f, &sequence, want, false);
            answer(&f, &sequence, want, true);
            vlmp_sequence_free(&sequence);
        }
        print_message("%-15s losses off by %.1e, %d greedy tokens\n", f.name, f.worst_loss,
                      f.greedy);
        close_fixture(&f);
    }
}

int main(void)
{
    vlmp_error err = {0};
    if (vlmp_json_load(&golden, FOLDER "answers.json", 1 << 20, &err) != VLMP_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(awkward_pictures_and_greedy_answers)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(golden);
    return failed;
}
