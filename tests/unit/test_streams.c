/* runtime: what a stream answers does not depend on those beside it, nor, but for rounding, on
 * which of its tokens were computed in one pass, by the processor's kernels at each level, dense
 * and packed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/runtime/runtime.h"
#include "tests/unit/tiny_run.h"

enum { PROMPTS = 9, LONGEST = VLMP_STEP_ROWS + 90, VOCAB = 32, NEW = 6 };

static vlmp_sequence prompts[PROMPTS];
static int32_t ids[PROMPTS][LONGEST];
static uint8_t pixels[SIDE * SIDE * 3];
static vlmp_image_plan plan = {.tiles = 1, .tokens = 4};

/* Some shorter than a page, some longer than a pass; every third with a picture. */
static void make_prompts(void)
{
    static const int lengths[PROMPTS] = {9, LONGEST, 70, 33, VLMP_STEP_ROWS, 14, 129, 513, 64};
    vlmp_rng rng = {3};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(256 * vlmp_rng_uniform(&rng));
    for (int p = 0; p < PROMPTS; p++) {
        bool picture = p % 3 == 0;
        for (int t = 0; t < lengths[p]; t++)
            ids[p][t] =
                picture && t >= 2 && t < 6 ? IMAGE_TOKEN : 5 + (int)(27 * vlmp_rng_uniform(&rng));
        prompts[p] = (vlmp_sequence){.length = lengths[p],
                                     .ids = ids[p],
                                     .image_count = picture,
                                     .plans = &plan,
                                     .tiles = picture,
                                     .pixels = pixels};
    }
}

struct answers {
    int32_t tokens[PROMPTS][NEW];
    float logits[PROMPTS][NEW][VOCAB];
};

/* Of different lengths, so that prompts begin beside answers. */
static int answer_length(int prompt)
{
    return NEW - prompt % 3;
}

static void answer(vlmp_ctx *kernels, const vlmp_model *model, int count, struct answers *out)
{
    vlmp_error err = {0};
    vlmp_runtime *runtime;
    vlmp_stream *streams[PROMPTS] = {NULL};
    int done[PROMPTS] = {0}, next = 0, open = 0;
    memset(out, 0, sizeof *out);
    good(vlmp_runtime_create(&runtime, kernels, model, &preprocess, NULL, count, &err), &err);
    while (next < PROMPTS || open > 0) {
        vlmp_step_item items[PROMPTS];
        int of[PROMPTS], active = 0;
        while (open < count && next < PROMPTS) {
            good(vlmp_stream_open(runtime, &prompts[next], prompts[next].length,
                                  LONGEST + NEW - prompts[next].length, &streams[next], &err),
                 &err);
            assert_non_null(streams[next++]);
            open++;
        }
        for (int p = 0; p < next; p++) {
            if (streams[p] == NULL) continue;
            of[active] = p;
            items[active++] =
                (vlmp_step_item){.stream = streams[p],
                                 .token = done[p] > 0 ? out->tokens[p][done[p] - 1] : 0,
                                 .logits = out->logits[p][done[p]]};
        }
        good(vlmp_runtime_step(runtime, items, active, &err), &err);
        for (int i = 0; i < active; i++) {
            int p = of[i];
            if (vlmp_stream_left(streams[p]) > 0) continue;
            out->tokens[p][done[p]++] = items[i].best;
            if (done[p] < answer_length(p)) continue;
            vlmp_stream_close(streams[p]);
            streams[p] = NULL;
            open--;
        }
    }
    vlmp_runtime_free(runtime);
}

static void compare(const char *level, int count, const struct answers *want,
                    const struct answers *got)
{
    for (int p = 0; p < PROMPTS; p++)
        for (int t = 0; t < answer_length(p); t++)
            if (want->tokens[p][t] != got->tokens[p][t] ||
                memcmp(want->logits[p][t], got->logits[p][t], sizeof want->logits[p][t]) != 0)
                fail_msg("%s: token %d of prompt %d differs with %d streams", level, t, p, count);
}

/* Logits behind the first `length` tokens of a prompt, of which `alone` are given one by one after
 * a pass over the others. */
static void logits_behind(vlmp_runtime *runtime, const vlmp_sequence *prompt, int length, int alone,
                          float *logits)
{
    vlmp_error err = {0};
    vlmp_stream *stream;
    vlmp_step_item item = {.logits = logits};
    good(vlmp_stream_open(runtime, prompt, length - alone, alone, &stream, &err), &err);
    assert_non_null(stream);
    item.stream = stream;
    while (vlmp_stream_left(stream) > 0)
        good(vlmp_runtime_step(runtime, &item, 1, &err), &err);
    for (int t = length - alone; t < length; t++) {
        item.token = prompt->ids[t];
        good(vlmp_runtime_step(runtime, &item, 1, &err), &err);
    }
    vlmp_stream_close(stream);
}

static double log_total(const float *logits)
{
    double largest = -INFINITY, total = 0;
    for (int v = 0; v < VOCAB; v++)
        largest = fmax(largest, (double)logits[v]);
    for (int v = 0; v < VOCAB; v++)
        total += exp((double)logits[v] - largest);
    return largest + log(total);
}

/* The promise for a token's loss, whichever token it is (MAX_LOSS of tests/golden/test_models.c).
 */
#define MAX_LOSS 1e-3

/* Rows of decoding against the pass of a sweep over the whole text. */
static void check_rows(vlmp_ctx *kernels, const char *level, const vlmp_model *model)
{
    vlmp_error err = {0};
    vlmp_runtime *runtime;
    good(vlmp_runtime_create(&runtime, kernels, model, &preprocess, NULL, 1, &err), &err);
    for (int p = 0; p < PROMPTS; p += 2) {
        float whole[VOCAB], rows[VOCAB];
        int length = prompts[p].length, alone = length > 64 ? 20 : length - 7;
        logits_behind(runtime, &prompts[p], length, 0, whole);
        logits_behind(runtime, &prompts[p], length, alone, rows);
        double shift = log_total(rows) - log_total(whole);
        for (int v = 0; v < VOCAB; v++) {
            double moved = fabs((double)rows[v] - (double)whole[v] - shift);
            if (!(moved <= MAX_LOSS))
                fail_msg("%s: prompt %d, token %d: %d rows alone move the loss by %.3g", level, p,
                         v, alone, moved);
        }
    }
    vlmp_runtime_free(runtime);
}

static void check_level(const char *level, const vlmp_model *model, bool exact)
{
    static struct answers alone, beside;
    static const int counts[] = {2, 3, 8};
    vlmp_error err = {0};
    vlmp_ctx *kernels;
    int status = vlmp_ctx_create(&kernels, VLMP_BACKEND_CPU, level, pool, &err);
    if (status == VLMP_ERR_USAGE) return; /* not this processor's */
    good(status, &err);
    answer(kernels, model, 1, &alone);
    assert_true(alone.logits[0][0][0] != alone.logits[1][0][0]);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        answer(kernels, model, counts[i], &beside);
        compare(level, counts[i], &alone, &beside);
    }
    if (exact) check_rows(kernels, level, model);
    vlmp_ctx_free(kernels);
}

/* exact: float activations. Codes of 8 bits may flip where rounding differs. */
static void check_source(vlmp_source *source, bool exact)
{
    static const char *const levels[] = {"portable", "avx2", "avx512", "avx512vnni"};
    vlmp_error err = {0};
    vlmp_model model;
    good(vlmp_model_open(&model, source, &err), &err);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        check_level(levels[i], &model, exact);
    vlmp_model_close(&model);
    source->close(source);
}

static void dense_weights(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *source;
    good(vlmp_folder_open(&source, temp_path("model"), &err), &err);
    check_source(source, true);
}

static void check_packed(const char *activations)
{
    struct run r;
    struct samples s;
    char recipe[200];
    make_samples(&s, "pt");
    snprintf(recipe, sizeof recipe,
             "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"rtn\",\"bits\":4,"
             "\"group\":32,\"activations\":\"%s\"}}]}",
             activations);
    start(&r, "model", recipe);
    assert_int_equal(run_to_file(&r, &s, false, false, "streams.vlmp"), VLMP_OK);
    end(&r);
    check_source(open_packed("streams.vlmp"), strcmp(activations, "float") == 0);
}

static void packed_weights(void **state)
{
    (void)state;
    check_packed("float");
}

static void int8_activations(void **state)
{
    (void)state;
    check_packed("int8");
}

/* More stored rows than a thread's scratch holds scores of are refused when they are asked for. */
static void too_many_scores(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_ctx *kernels;
    vlmp_source *source;
    vlmp_model model;
    vlmp_runtime *runtime;
    vlmp_stream *stream;
    good(vlmp_ctx_create(&kernels, VLMP_BACKEND_CPU, "portable", pool, &err), &err);
    good(vlmp_folder_open(&source, temp_path("model"), &err), &err);
    good(vlmp_model_open(&model, source, &err), &err);
    good(vlmp_runtime_create(&runtime, kernels, &model, &preprocess, NULL, 1, &err), &err);
    int heads = model.text.shape.heads / model.text.shape.kv_heads;
    int most = VLMP_MOST_SCORES / heads, length = prompts[0].length;
    model.config.text.max_positions = 2 * most;
    assert_int_equal(
        vlmp_stream_open(runtime, &prompts[0], length, most + 1 - length, &stream, &err),
        VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "are more than the 16777216 that are supported where 2"));
    vlmp_runtime_free(runtime);
    vlmp_model_close(&model);
    source->close(source);
    vlmp_ctx_free(kernels);
}

static int begin(void **state)
{
    make_prompts();
    return set_up(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_weights), cmocka_unit_test(packed_weights),
        cmocka_unit_test(int8_activations), cmocka_unit_test(too_many_scores)};
    return cmocka_run_group_tests(tests, begin, tear_down);
}
