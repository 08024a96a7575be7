/* Every text model of the LLaVA line and every layout of its files against the reference
 * implementation (scripts/golden-models.py): from picture files and questions to token ids, tiles,
 * the tower, packed pictures, text blocks, logits and the loss of each answer token, all questions
 * of a model as segments of one sweep. Then the answers once more token by token over a key/value
 * store.
 *
 * Bound. As in test_stages.c: a product of K terms in F32 (unit roundoff u = 2⁻²⁴) differs between
 * two summation orders by at most about 2·√K·u of its terms' norm, a block makes six in a row, and
 * norms pass relative errors on unamplified; so after d blocks a row differs by at most
 * 2·6·√K·u·(d + 1) of the stage's largest row norm, K the widest input. The projector counts as a
 * block. The golden files keep two columns of each row: an error in these is at most the row's.
 * The losses have the bound that the project promises, 10⁻³. */
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
#include "formats/image_file.h"
#include "formats/safetensors.h"
#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/flow/reader.h"
#include "src/flow/sweep.h"
#include "src/runtime/runtime.h"
#include "tests/hostile/hostile.h"

#define FOLDER       VLMP_SOURCE_ROOT "/tests/golden/models/"
#define MAX_PICTURES 4
#define MAX_LOSS     1e-3
#define COLUMNS      2

struct fixture {
    vlmp_safetensors golden;
    cJSON *questions;
    int count;
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_source *source;
    vlmp_model model;
    vlmp_reader reader;
    vlmp_sequence *sequences; /* [count] */
    vlmp_sweep sweep;
    int depth;          /* blocks behind the stage */
    int widest;         /* products' terms */
    double worst_stage; /* error over bound */
    double worst_loss;
};

static void good(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail_msg("%s", err->message);
}

/* Question i's golden tensor, its elements and a pointer to its bytes. */
static const unsigned char *golden(const struct fixture *f, int i, const char *name, size_t size,
                                   size_t *count)
{
    char full[128];
    snprintf(full, sizeof full, "%d.%s", i, name);
    const vlmp_st_tensor *tensor = vlmp_safetensors_find(&f->golden, full);
    *count = 0;
    if (tensor == NULL) return NULL;
    assert_int_equal(vlmp_dtype_size(tensor->dtype), size);
    *count = (size_t)(tensor->end - tensor->begin) / size;
    return vlmp_safetensors_data(&f->golden, tensor);
}

static float f32_at(const unsigned char *data, size_t index)
{
    float value;
    memcpy(&value, data + index * sizeof value, sizeof value);
    return value;
}

/* Rows of question i at one stage. */
static void compare(struct fixture *f, int i, const char *stage, const float *got, size_t rows,
                    size_t dim)
{
    size_t count;
    const unsigned char *want = golden(f, i, stage, sizeof(float), &count);
    if (want == NULL) fail_msg("no golden tensor %d.%s", i, stage);
    assert_int_equal(count, rows * COLUMNS);
    double norm = 0, worst = 0;
    for (size_t r = 0; r < rows; r++) {
        double row = 0, error = 0;
        for (size_t c = 0; c < dim; c++)
            row += (double)got[r * dim + c] * (double)got[r * dim + c];
        for (size_t c = 0; c < COLUMNS; c++) {
            size_t column = (5 * r + c * (dim / 2)) % dim;
            error += pow((double)got[r * dim + column] - f32_at(want, r * COLUMNS + c), 2);
        }
        norm = fmax(norm, row);
        worst = isfinite(row) ? fmax(worst, error) : INFINITY;
    }
    double bound = 12 * sqrt(f->widest) * 0x1p-24 * (f->depth + 1);
    double relative = sqrt(worst / norm);
    f->worst_stage = fmax(f->worst_stage, relative / bound);
    if (!(relative <= bound))
        fail_msg("question %d, %s: relative error %.3g, bound %.3g", i, stage, relative, bound);
}

/* A store's rows, question after question; tiles: the rows are those of the tower. */
static void compare_all(struct fixture *f, const char *stage, const float *x, size_t dim,
                        bool tiles)
{
    for (int i = 0; i < f->count; i++) {
        size_t rows = tiles ? vlmp_sequence_tower_rows(&f->sequences[i], &f->model.config)
                            : (size_t)f->sequences[i].length;
        if (rows > 0) compare(f, i, stage, x, rows, dim);
        x += rows * dim;
    }
}

static const char *member(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

static void check_ids(const struct fixture *f, int i)
{
    size_t count;
    const vlmp_sequence *s = &f->sequences[i];
    const unsigned char *ids = golden(f, i, "input_ids", sizeof *s->ids, &count);
    assert_non_null(ids);
    if (count != (size_t)s->length)
        fail_msg("question %d: %d tokens, the reference has %zu", i, s->length, count);
    assert_memory_equal(ids, s->ids, count * sizeof *s->ids);
    int32_t from;
    memcpy(&from, golden(f, i, "answer_from", sizeof from, &count), sizeof from);
    assert_int_equal(from, s->answers[0].from);
}

static void check_pixels(const struct fixture *f, int i)
{
    const vlmp_config *config = &f->model.config;
    const vlmp_sequence *s = &f->sequences[i];
    size_t count, bytes = vlmp_sequence_pixel_bytes(s, config);
    const unsigned char *want = golden(f, i, "pixels", 1, &count);
    const uint8_t *tile = s->pixels;
    if (count != bytes)
        fail_msg("question %d: %zu bytes of pixels, the reference has %zu", i, bytes, count);
    for (int t = 0; t < s->tiles; t++) {
        size_t size = vlmp_grid_bytes(&config->vision, vlmp_sequence_grid(s, config, t));
        size_t plane = size / 3;
        for (size_t at = 0; at < size; at++) {
            size_t channel = at / plane, ours = at % plane * 3 + channel;
            if (tile[ours] != want[at])
                fail_msg("question %d, tile %d, channel %zu, pixel %zu: %d, the reference has %d",
                         i, t, channel, at % plane, tile[ours], want[at]);
        }
        tile += size;
        want += size;
    }
}

static void read_question(struct fixture *f, int i)
{
    vlmp_error err = {0};
    const cJSON *question = cJSON_GetArrayItem(f->questions, i);
    const cJSON *images = vlmp_json_get(question, "images");
    vlmp_image pictures[MAX_PICTURES];
    char *names[MAX_PICTURES], path[512];
    const char *parts[MAX_PICTURES + 1] = {VLMP_CHAT_PICTURE};
    vlmp_chat_message turn = {"user", parts, (size_t)cJSON_GetArraySize(images) + 1};
    vlmp_question q = {.turns = &turn,
                       .turn_count = 1,
                       .answer = member(question, "answer"),
                       .image_count = cJSON_GetArraySize(images),
                       .images = pictures,
                       .image_names = names};
    assert_in_range(q.image_count, 0, MAX_PICTURES);
    parts[q.image_count] = member(question, "prompt");
    for (int p = 0; p < q.image_count; p++) {
        names[p] = cJSON_GetArrayItem(images, p)->valuestring;
        snprintf(path, sizeof path, FOLDER "pictures/%s", names[p]);
        /* as scripts/golden-models.py loads them: convert("RGB") */
        vlmp_image_options options = {.alpha = VLMP_ALPHA_DROP};
        good(vlmp_image_load(&pictures[p], path, &options, NULL, &err), &err);
    }
    good(vlmp_reader_sequence(&f->reader, &q, &f->sequences[i], NULL, &err), &err);
    for (int p = 0; p < q.image_count; p++)
        free(pictures[p].pixels);
    check_ids(f, i);
    check_pixels(f, i);
}

enum backend { REFERENCE, FAST, HOSTILE };

static int create_ctx(vlmp_ctx **ctx, enum backend backend, vlmp_pool *pool, vlmp_error *err)
{
    if (backend == HOSTILE) return vlmp_hostile_ctx_create(ctx, pool, NULL, NULL, err);
    return vlmp_ctx_create(ctx, backend == FAST ? VLMP_BACKEND_CPU : VLMP_BACKEND_REF, NULL, pool,
                           err);
}

static void open_fixture(struct fixture *f, const char *folder, const char *model,
                         enum backend backend)
{
    vlmp_error err = {0};
    char path[512];
    *f = (struct fixture){0};
    snprintf(path, sizeof path, FOLDER "%s.safetensors", model);
    good(vlmp_safetensors_open(&f->golden, path, &err), &err);
    good(vlmp_json_load(&f->questions, FOLDER "questions.json", 1 << 20, &err), &err);
    char first[32];
    do /* a model may have been asked some of the questions only */
        snprintf(first, sizeof first, "%d.input_ids", ++f->count);
    while (vlmp_safetensors_find(&f->golden, first) != NULL);
    assert_in_range(f->count, 5, cJSON_GetArraySize(f->questions));
    f->sequences = vlmp_calloc((size_t)f->count, sizeof *f->sequences);
    good(vlmp_pool_create(&f->pool, 2, &err), &err);
    good(create_ctx(&f->ctx, backend, f->pool, &err), &err);
    snprintf(path, sizeof path, FOLDER "%s", folder);
    good(vlmp_folder_open(&f->source, path, &err), &err);
    good(vlmp_model_open(&f->model, f->source, &err), &err);
    good(vlmp_reader_open(&f->reader, &f->model, &err), &err);
    f->sweep = (vlmp_sweep){.ctx = f->ctx,
                            .model = &f->model,
                            .preprocess = &f->reader.preprocess,
                            .work_folder = "/tmp",
                            .memory_limit = SIZE_MAX};
    int text = vlmp_widest_site(&f->model.text.shape);
    int vision = vlmp_widest_site(&f->model.vision.shape);
    int patch = 3 * f->model.config.vision.patch_size * f->model.config.vision.patch_size;
    int features = vlmp_feature_width(&f->model.config);
    f->widest = text > vision ? text : vision;
    f->widest = f->widest > patch ? f->widest : patch;
    f->widest = f->widest > features ? f->widest : features;
}

static void close_fixture(struct fixture *f)
{
    for (int i = 0; i < f->count; i++)
        vlmp_sequence_free(&f->sequences[i]);
    free(f->sequences);
    cJSON_Delete(f->questions);
    vlmp_reader_close(&f->reader);
    vlmp_model_close(&f->model);
    f->source->close(f->source);
    vlmp_ctx_free(f->ctx);
    vlmp_pool_free(f->pool);
    vlmp_safetensors_close(&f->golden);
}

static void run_layer(struct fixture *f, const vlmp_stack *stack, int layer, vlmp_activations *x,
                      const vlmp_batches *batches)
{
    vlmp_error err = {0};
    vlmp_loaded loaded = {0};
    vlmp_block block;
    char stage[64];
    good(vlmp_load_block(&loaded, &f->model, stack, layer, &block, &err), &err);
    good(vlmp_sweep_block(&f->sweep, stack, layer, &block, x, batches, NULL, NULL, &err), &err);
    vlmp_unload(&loaded);
    f->depth++;
    snprintf(stage, sizeof stage, "%s.%d", stack->prefix, layer);
    compare_all(f, stage, x->memory, (size_t)x->dim, stack == &f->model.vision);
}

static void run_vision(struct fixture *f, vlmp_activations *features)
{
    vlmp_error err = {0};
    vlmp_activations x;
    vlmp_batches tiles;
    const vlmp_sweep *sweep = &f->sweep;
    good(vlmp_sweep_vision_input(sweep, f->sequences, f->count, &x, &tiles, &err), &err);
    compare_all(f, "vision.input", x.memory, (size_t)x.dim, true);
    good(vlmp_sweep_create_features(sweep, &tiles, features, &err), &err);
    good(vlmp_sweep_take_features(sweep, &x, &tiles, 0, features, &err), &err);
    for (int i = 0; i < f->model.vision.layers; i++) {
        run_layer(f, &f->model.vision, i, &x, &tiles);
        good(vlmp_sweep_take_features(sweep, &x, &tiles, i + 1, features, &err), &err);
    }
    vlmp_activations_free(&x);
    vlmp_batches_free(&tiles);
}

/* Of answer token t of question i, from the logits of the row before it. */
static void check_loss(struct fixture *f, int i, int t, const float *logits)
{
    size_t count;
    const vlmp_sequence *s = &f->sequences[i];
    const unsigned char *want = golden(f, i, "nll", sizeof(float), &count);
    assert_int_equal(count, s->length - s->answers[0].from);
    double largest = -INFINITY, sum = 0;
    for (int v = 0; v < f->model.config.text.vocab; v++)
        largest = fmax(largest, logits[v]);
    for (int v = 0; v < f->model.config.text.vocab; v++)
        sum += exp(logits[v] - largest);
    double loss = largest + log(sum) - logits[s->ids[t]];
    double error = fabs(loss - f32_at(want, (size_t)(t - s->answers[0].from)));
    f->worst_loss = fmax(f->worst_loss, isfinite(error) ? error : INFINITY);
    if (!(error <= MAX_LOSS))
        fail_msg("question %d, token %d: loss %.6f is off by %.3g", i, t, loss, error);
}

static void run_head(struct fixture *f, vlmp_activations *x)
{
    vlmp_error err = {0};
    vlmp_ctx *ctx = f->ctx;
    vlmp_loaded loaded = {.ctx = ctx};
    vlmp_linear head;
    vlmp_vector norm;
    vlmp_f32 rows, predicted;
    vlmp_act normed;
    const vlmp_text_config *text = &f->model.config.text;
    size_t hidden = x->rows * (size_t)text->hidden, count = x->rows * (size_t)text->vocab;
    float *logits = vlmp_alloc(count, sizeof *logits);
    good(vlmp_load_text_norm(&loaded, &f->model, &norm, &err), &err);
    good(vlmp_load_text_head(&loaded, &f->model, &head, &err), &err);
    good(vlmp_ctx_reserve(ctx, (int)x->rows, text->hidden, &err), &err);
    good(vlmp_ctx_alloc(ctx, &rows, hidden, sizeof(float), "rows", &err), &err);
    good(vlmp_ctx_alloc(ctx, &normed, hidden, ctx->ops->act_bytes, "rows", &err), &err);
    good(vlmp_ctx_alloc(ctx, &predicted, count, sizeof(float), "logits", &err), &err);
    good(vlmp_activations_upload(x, 0, x->rows, ctx, rows, &err), &err);
    ctx->ops->rms_norm(ctx, normed, rows, (int)x->rows, text->hidden, norm.own, text->norm_eps);
    good(vlmp_activations_download_act(x, 0, x->rows, ctx, normed, &err), &err);
    compare_all(f, "text.norm", x->memory, (size_t)text->hidden, false);
    ctx->ops->linear_f32(ctx, predicted, normed, (vlmp_rows){(int)x->rows, false}, &head, false);
    good(vlmp_ctx_read(ctx, logits, predicted.at, count * sizeof *logits, &err), &err);
    compare_all(f, "logits", logits, (size_t)text->vocab, false);
    const float *row = logits;
    for (int i = 0; i < f->count; i++) {
        const vlmp_sequence *s = &f->sequences[i];
        for (int t = s->answers[0].from; t < s->length; t++)
            check_loss(f, i, t, row + (size_t)(t - 1) * (size_t)text->vocab);
        row += (size_t)s->length * (size_t)text->vocab;
    }
    free(logits);
    vlmp_ctx_free_memory(ctx, rows.at);
    vlmp_ctx_free_memory(ctx, normed.at);
    vlmp_ctx_free_memory(ctx, predicted.at);
    vlmp_unload(&loaded);
}

static void run_text(struct fixture *f, vlmp_activations *features)
{
    vlmp_error err = {0};
    vlmp_activations x;
    vlmp_batches batches;
    f->depth++;
    good(vlmp_sweep_text_input(&f->sweep, f->sequences, f->count, features, &x, &batches, &err),
         &err);
    compare_all(f, "text.input", x.memory, (size_t)x.dim, false);
    for (int i = 0; i < f->model.text.layers; i++) {
        run_layer(f, &f->model.text, i, &x, &batches);
        good(vlmp_sweep_add_taps(&f->sweep, &x, &batches, i + 1, &err), &err);
    }
    run_head(f, &x);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
}

/* The same losses, one token at a time, all questions beside one another. */
static void run_streams(struct fixture *f)
{
    vlmp_error err = {0};
    vlmp_runtime *runtime;
    enum { MOST = 16 };
    vlmp_step_item items[MOST];
    vlmp_stream *streams[MOST];
    size_t vocab = (size_t)f->model.config.text.vocab;
    float *logits = vlmp_alloc(MOST * vocab, sizeof *logits);
    int left = f->count;
    assert_true(f->count <= MOST);
    good(vlmp_runtime_create(&runtime, f->ctx, &f->model, &f->reader.preprocess, NULL, f->count,
                             &err),
         &err);
    int longest = 0;
    for (int i = 0; i < f->count; i++)
        if (f->sequences[i].length > longest) longest = f->sequences[i].length;
    int next[MOST]; /* the token of its answer that a question's logits are of */
    for (int i = 0; i < f->count; i++) {
        const vlmp_sequence *s = &f->sequences[i];
        next[i] = s->answers[0].from;
        good(vlmp_stream_open(runtime, s, next[i], longest - next[i], &streams[i], &err), &err);
        assert_non_null(streams[i]);
    }
    while (left > 0) {
        int count = 0, of[MOST];
        for (int i = 0; i < f->count; i++) {
            const vlmp_sequence *s = &f->sequences[i];
            if (streams[i] == NULL) continue;
            of[count] = i;
            items[count++] = (vlmp_step_item){.stream = streams[i],
                                              .token = s->ids[next[i] - 1],
                                              .logits = logits + (size_t)i * vocab};
        }
        good(vlmp_runtime_step(runtime, items, count, &err), &err);
        for (int c = 0; c < count; c++) {
            int i = of[c];
            if (vlmp_stream_left(streams[i]) > 0) continue;
            check_loss(f, i, next[i], items[c].logits);
            if (++next[i] < f->sequences[i].length) continue;
            vlmp_stream_close(streams[i]);
            streams[i] = NULL;
            left--;
        }
    }
    vlmp_runtime_free(runtime);
    free(logits);
}

static void check_model(const char *folder, const char *model, enum backend backend)
{
    struct fixture f;
    vlmp_activations features;
    open_fixture(&f, folder, model, backend);
    for (int i = 0; i < f.count; i++)
        read_question(&f, i);
    run_vision(&f, &features);
    run_text(&f, &features);
    vlmp_activations_free(&features);
    run_streams(&f);
    print_message("%-15s %-10s stages at most %.2f of their bound, losses off by %.1e\n", folder,
                  f.ctx->ops->name, f.worst_stage, f.worst_loss);
    close_fixture(&f);
}

static const char *const models[] = {
    "llava-llama",  "llava-mistral",   "llava-qwen2",     "next-llama",   "next-mistral",
    "next-llama3",  "next-qwen2",      "qwen2.5-vl",      "qwen2-vl",     "qwen3-vl",
    "siglip-llama", "onevision-qwen2", "idefics3-llama3", "smolvlm-llama"};

static void reference_kernels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_model(models[i], models[i], REFERENCE);
}

static void fast_kernels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_model(models[i], models[i], FAST);
}

/* Memory that the host must not touch, and operations that wait. */
static void hostile_kernels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_model(models[i], models[i], HOSTILE);
}

/* Tensor names and configuration files of other versions, in one file and in shards. */
static void layouts(void **state)
{
    (void)state;
    static const char *const variants[][2] = {
        {"next-llama-A", "next-llama"},   {"next-llama3-B", "next-llama3"},
        {"llava-qwen2-D", "llava-qwen2"}, {"next-mistral-E", "next-mistral"},
        {"qwen2.5-vl-old", "qwen2.5-vl"}, {"qwen2-vl-old", "qwen2-vl"},
        {"qwen3-vl-old", "qwen3-vl"}};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        check_model(variants[i][0], variants[i][1], FAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_kernels), cmocka_unit_test(fast_kernels),
        cmocka_unit_test(hostile_kernels), cmocka_unit_test(layouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
