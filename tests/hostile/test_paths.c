/* Everything above the interface of kernels, run on the hostile implementation: quantizing,
 * calibration, scoring and generation have the reference's bits, leave nothing behind, and pass on
 * that the device failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "src/calib/statistics.h"
#include "src/eval/scoring.h"
#include "src/runtime/generate.h"
#include "tests/hostile/hostile.h"
#include "tests/unit/tiny_run.h"

enum { ANSWER = 9, STREAMS = 3, MOST_NEW = 7 };

struct path;
typedef int run_fn(const struct path *path, vlmp_buffer *out, vlmp_error *err);

/* One way through the program; run appends what comes out of it. */
struct path {
    const char *name;
    run_fn *run;
    const char *method; /* of quantizing */
    const char *codes;  /* as a recipe says it; NULL: 4 bits in groups of 32 */
    bool sequential;
    double temperature; /* of generation */
};

static struct samples samples;
static vlmp_sequence sequences[SAMPLES];
static vlmp_span answer = {ANSWER, LENGTH};

static int run_quantize(const struct path *path, vlmp_buffer *out, vlmp_error *err)
{
    struct run r;
    vlmp_sink *sink;
    char recipe[200], *bytes;
    size_t length;
    snprintf(recipe, sizeof recipe,
             "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"%s\",%s}}]}",
             path->method, path->codes != NULL ? path->codes : "\"bits\":4,\"group\":32");
    start(&r, "model", recipe);
    good(vlmp_journal_sink_open(&sink, temp_path("journal"), "test", VLMP_JOURNAL_REPLACE, err),
         err);
    int status = quantize(&r, &samples, path->sequential, sink, err);
    if (status == VLMP_OK) {
        write_file(&r, sink, "path.vlmp");
        good(vlmp_file_read(&bytes, &length, temp_path("path.vlmp"), 1 << 24, err), err);
        vlmp_buffer_append(out, bytes, length);
        free(bytes);
    }
    vlmp_journal_sink_close(sink);
    end(&r);
    return status;
}

/* A model of the test folder, and the sweep over it. */
struct opened {
    vlmp_source *source;
    vlmp_model model;
    vlmp_sweep sweep;
};

static void open_model(struct opened *o, bool packed)
{
    vlmp_error err = {0};
    if (packed)
        o->source = open_packed("small.vlmp");
    else
        good(vlmp_folder_open(&o->source, temp_path("model"), &err), &err);
    good(vlmp_model_open(&o->model, o->source, &err), &err);
    o->sweep = (vlmp_sweep){.ctx = ctx,
                            .model = &o->model,
                            .preprocess = &preprocess,
                            .work_folder = temp_folder,
                            .memory_limit = memory_limit};
}

static void close_model(struct opened *o)
{
    vlmp_model_close(&o->model);
    o->source->close(o->source);
}

static int run_statistics(const struct path *path, vlmp_buffer *out, vlmp_error *err)
{
    (void)path;
    struct opened o;
    vlmp_statistics statistics;
    vlmp_collector collector;
    vlmp_activations x;
    vlmp_batches batches;
    open_model(&o, true);
    good(vlmp_statistics_create(&statistics, &o.model, err), err);
    good(vlmp_collector_create(&collector, ctx, &o.model, sequences, &statistics, err), err);
    int status =
        vlmp_sweep_all(&o.sweep, sequences, SAMPLES, vlmp_collect, &collector, &x, &batches, err);
    int finished = vlmp_collector_finish(&collector);
    if (status == VLMP_OK) status = finished;
    for (int i = 0; i < statistics.count; i++) {
        const vlmp_site_statistics *site = &statistics.sites[i];
        size_t bytes = VLMP_TOKEN_KINDS * (size_t)site->dim * sizeof(float);
        vlmp_buffer_append(out, site->count, sizeof site->count);
        vlmp_buffer_append(out, site->mean_abs, bytes);
        vlmp_buffer_append(out, site->rms, bytes);
        vlmp_buffer_append(out, site->max_abs, bytes);
    }
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    vlmp_statistics_free(&statistics);
    close_model(&o);
    return status;
}

/* A model's hidden states and its head. */
struct scored {
    struct opened opened;
    vlmp_hidden hidden;
    vlmp_loaded loaded;
    vlmp_linear head;
};

static int collect(struct scored *s, bool packed, vlmp_error *err)
{
    *s = (struct scored){.hidden.states.fd = -1};
    open_model(&s->opened, packed);
    good(vlmp_load_text_head(&s->loaded, &s->opened.model, &s->head, err), err);
    return vlmp_hidden_collect(&s->opened.sweep, sequences, SAMPLES, &s->hidden, err);
}

static void drop(struct scored *s)
{
    if (s->opened.source == NULL) return;
    vlmp_hidden_free(&s->hidden);
    vlmp_unload(&s->loaded);
    close_model(&s->opened);
}

static int run_scores(const struct path *path, vlmp_buffer *out, vlmp_error *err)
{
    (void)path;
    struct scored model, reference = {.opened.source = NULL};
    vlmp_token_scores scores = {0};
    int status = collect(&model, true, err);
    if (status == VLMP_OK) status = collect(&reference, false, err);
    if (status == VLMP_OK)
        status = vlmp_score_tokens(ctx, &(vlmp_scored){&model.hidden, &model.head},
                                   &(vlmp_scored){&reference.hidden, &reference.head}, model.head.n,
                                   &scores, err);
    if (status == VLMP_OK) {
        size_t bytes = scores.tokens * sizeof *scores.nll;
        assert_int_equal(scores.tokens, SAMPLES * (LENGTH - ANSWER));
        vlmp_buffer_append(out, model.hidden.states.memory,
                           scores.tokens * (size_t)model.hidden.dim * sizeof(float));
        vlmp_buffer_append(out, scores.nll, bytes);
        vlmp_buffer_append(out, scores.reference_nll, bytes);
        vlmp_buffer_append(out, scores.kl, bytes);
        vlmp_buffer_append(out, scores.top1, scores.tokens * sizeof *scores.top1);
    }
    vlmp_scores_free(&scores);
    drop(&model);
    drop(&reference);
    return status;
}

struct answers {
    int32_t tokens[SAMPLES][MOST_NEW];
    int counts[SAMPLES];
};

static int give_prompt(void *arg, int index, const vlmp_sequence **out, int *max_new,
                       vlmp_error *err)
{
    (void)arg, (void)err;
    *out = &sequences[index];
    *max_new = MOST_NEW - index % 3;
    return VLMP_OK;
}

static int take_token(void *arg, int index, int32_t token, bool *stop, vlmp_error *err)
{
    struct answers *a = arg;
    (void)stop, (void)err;
    a->tokens[index][a->counts[index]++] = token;
    return VLMP_OK;
}

static int take_end(void *arg, int index, const vlmp_generation_stats *stats, vlmp_error *err)
{
    const struct answers *a = arg;
    (void)err;
    assert_int_equal(a->counts[index], stats->new_tokens);
    return VLMP_OK;
}

static int run_generate(const struct path *path, vlmp_buffer *out, vlmp_error *err)
{
    struct opened o;
    vlmp_runtime *runtime;
    struct answers a = {.counts = {0}};
    open_model(&o, true);
    int status = vlmp_runtime_create(&runtime, ctx, &o.model, &preprocess, NULL, STREAMS, err);
    if (status == VLMP_OK)
        status = vlmp_generate(runtime, SAMPLES,
                               &(vlmp_generation){.temperature = path->temperature, .seed = 5},
                               &(vlmp_answers){&a, give_prompt, take_token, take_end}, err);
    vlmp_buffer_append(out, &a, sizeof a);
    vlmp_runtime_free(runtime);
    close_model(&o);
    return status;
}

static const struct path paths[] = {
    {"rtn", run_quantize, .method = "rtn"},
    {"rtn, sequential", run_quantize, .method = "rtn", .sequential = true},
    {"gptq", run_quantize, .method = "gptq"},
    {"gptq, sequential", run_quantize, .method = "gptq", .sequential = true},
    {"awq", run_quantize, .method = "awq"},
    {"awq, sequential", run_quantize, .method = "awq", .sequential = true},
    {"awq+gptq", run_quantize, .method = "awq+gptq"},
    {"awq+gptq, sequential", run_quantize, .method = "awq+gptq", .sequential = true},
    {"awq+gptq, 3 bits", run_quantize, .method = "awq+gptq",
     .codes = "\"bits\":3,\"symmetric\":false,\"group\":32"},
    {"gptq, fp8", run_quantize, .method = "gptq", .codes = "\"codes\":\"fp8\""},
    {"gptq, nvfp4, sequential", run_quantize, .method = "gptq", .codes = "\"codes\":\"nvfp4\"",
     .sequential = true},
    {.name = "statistics", .run = run_statistics},
    {.name = "scores", .run = run_scores},
    {.name = "the most likely tokens", .run = run_generate},
    {"tokens drawn", run_generate, .temperature = 0.8},
};

enum { PATHS = sizeof paths / sizeof *paths };

static void report(void *arg, const char *message)
{
    const struct path *path = arg;
    fail_msg("%s: %s", path->name, message);
}

/* Runs a path on a new hostile context, whose fail_after-th read fails; returns how many there
 * were. */
static int run_hostile(const struct path *path, int fail_after, vlmp_buffer *out)
{
    vlmp_error err = {0}, failure = {0};
    vlmp_ctx *reference = ctx;
    good(vlmp_hostile_ctx_create(&ctx, pool, report, (void *)(uintptr_t)path, &err), &err);
    vlmp_hostile_fail_after(ctx, fail_after);
    int status = path->run(path, out, &failure), reads = vlmp_hostile_reads(ctx);
    vlmp_ctx_free(ctx);
    ctx = reference;
    if (fail_after == 0) {
        good(status, &failure);
    } else if (status != VLMP_ERR_SYSTEM || strcmp(failure.message, VLMP_HOSTILE_ERROR) != 0) {
        fail_msg("%s: when read %d of the device fails, it says %d, '%s'", path->name, fail_after,
                 status, failure.message);
    }
    return reads;
}

static void the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < PATHS; i++) {
        vlmp_error err = {0};
        vlmp_buffer want = {0}, got = {0};
        good(paths[i].run(&paths[i], &want, &err), &err);
        run_hostile(&paths[i], 0, &got);
        assert_true(want.length > 0 && !want.failed && !got.failed);
        if (want.length != got.length || memcmp(want.data, got.data, got.length) != 0)
            fail_msg("%s: other bits than the reference's", paths[i].name);
        vlmp_buffer_free(&want);
        vlmp_buffer_free(&got);
    }
}

/* The first read, the last, and two between; of the quantizing ones, those that do the most. */
static void a_device_that_fails_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < PATHS; i++) {
        vlmp_buffer out = {0};
        if (paths[i].method != NULL && strcmp(paths[i].method, "awq+gptq") != 0) continue;
        int reads = run_hostile(&paths[i], 0, &out);
        assert_true(reads > 4);
        for (int part = 0; part < 4; part++)
            run_hostile(&paths[i], 1 + (reads - 1) * part / 3, &out);
        vlmp_buffer_free(&out);
    }
}

static int begin(void **state)
{
    struct run r;
    if (set_up(state) != 0) return 1;
    make_samples(&samples, "pptptp");
    start(&r, "model",
          "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"rtn\",\"bits\":4,"
          "\"group\":32}}]}");
    assert_int_equal(run_to_file(&r, &samples, false, false, "small.vlmp"), VLMP_OK);
    end(&r);
    for (int i = 0; i < SAMPLES; i++) {
        sequences[i] = samples.samples[i].sequence;
        sequences[i].answer_count = 1;
        sequences[i].answers = &answer;
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_bits),
                                       cmocka_unit_test(a_device_that_fails_is_told)};
    return cmocka_run_group_tests(tests, begin, tear_down);
}
