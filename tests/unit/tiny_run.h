/* Whole runs of the quantizer on the tiny model, for tests: samples, recipes, the packed file. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "formats/journal_sink.h"
#include "formats/packed.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/quant/run/driver.h"
#include "src/quant/run/fold.h"
#include "tests/unit/tiny_model.h"

enum { SAMPLES = 6, LENGTH = 14, IMAGE_TOKEN = 4, SIDE = 16, LINEARS = 64 };

static vlmp_pool *pool;
static vlmp_ctx *ctx;
static size_t memory_limit = 1 << 20; /* bytes of a store in memory */
static vlmp_preprocess preprocess = {.do_rescale = true, .rescale_factor = 1.0 / 255};

static inline void good(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail_msg("%s", err->message);
}

/* Folders: one with a head of its own, one whose table is the head, one with a large weight in
 * text.layers.1.attn.k. */
static inline int set_up(void **state)
{
    tiny_model tiny;
    vlmp_error err = {0};
    if (temp_folder_make(state) != 0) return 1;
    tiny_make(&tiny);
    tiny_write(&tiny, "model");
    tiny.count--;
    tiny_write(&tiny, "tied");
    tiny.count++;
    for (size_t i = 0; i < tiny.count; i++)
        if (strstr(tiny.names[i], "layers.1.self_attn.k_proj.weight") != NULL &&
            strstr(tiny.names[i], "language") != NULL)
            memcpy((unsigned char *)(uintptr_t)tiny.tensors[i].data, &(uint16_t){0x4270}, 2);
    tiny_write(&tiny, "large"); /* 60 */
    char config[sizeof tiny_config + 64];
    snprintf(config, sizeof config, "{\"tie_word_embeddings\":true,%s", tiny_config + 1);
    temp_write("tied/config.json", config, strlen(config));
    tiny_free(&tiny);
    good(vlmp_pool_create(&pool, 2, &err), &err);
    good(vlmp_ctx_create(&ctx, VLMP_BACKEND_REF, NULL, pool, &err), &err);
    return 0;
}

static inline int tear_down(void **state)
{
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
    return temp_folder_remove(state);
}

/* Samples with random tokens; picture[i]: sample i has one. */
struct samples {
    vlmp_calibration calibration;
    vlmp_calib_sample samples[32];
    int32_t ids[32][LENGTH];
    uint8_t pixels[32][SIDE * SIDE * 3];
    vlmp_image_plan plans[32];
};

static inline void make_samples(struct samples *s, const char *pictures)
{
    vlmp_rng rng = {11};
    memset(s, 0, sizeof *s);
    s->calibration.count = strlen(pictures);
    s->calibration.samples = s->samples;
    for (size_t i = 0; i < s->calibration.count; i++) {
        bool picture = pictures[i] == 'p';
        for (int t = 0; t < LENGTH; t++)
            s->ids[i][t] =
                picture && t >= 2 && t < 6 ? IMAGE_TOKEN : 5 + (int)(27 * vlmp_rng_uniform(&rng));
        for (int p = 0; p < SIDE * SIDE * 3; p++)
            s->pixels[i][p] = (uint8_t)(256 * vlmp_rng_uniform(&rng));
        s->plans[i] = (vlmp_image_plan){.tiles = 1, .tokens = 4};
        s->samples[i].sequence = (vlmp_sequence){.length = LENGTH,
                                                 .ids = s->ids[i],
                                                 .image_count = picture,
                                                 .plans = &s->plans[i],
                                                 .tiles = picture,
                                                 .pixels = s->pixels[i]};
    }
}

/* A run and what it said. */
struct run {
    vlmp_source *source;
    vlmp_model model;
    vlmp_linear_info *linears;
    int linear_count;
    vlmp_recipe recipe;
    vlmp_plan plan;
    vlmp_linear_result results[LINEARS];
    int result_count;
    int stop_after; /* results; 0: runs through */
    volatile sig_atomic_t interrupted;
};

static inline void on_linear(void *arg, const vlmp_linear_result *result)
{
    struct run *r = arg;
    assert_true(r->result_count < LINEARS);
    r->results[r->result_count++] = *result;
    if (r->result_count == r->stop_after) r->interrupted = 1;
}

static inline void on_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static inline void start(struct run *r, const char *folder, const char *recipe)
{
    vlmp_error err = {0};
    cJSON *document;
    vlmp_plan_linear list[LINEARS] = {0};
    memset(r, 0, sizeof *r);
    good(vlmp_folder_open(&r->source, temp_path(folder), &err), &err);
    good(vlmp_model_open(&r->model, r->source, &err), &err);
    good(vlmp_model_linears(&r->model, &r->linears, &r->linear_count, &err), &err);
    good(vlmp_json_parse(&document, recipe, strlen(recipe), "recipe", &err), &err);
    good(vlmp_recipe_parse(&r->recipe, document, "recipe", &err), &err);
    cJSON_Delete(document);
    for (int i = 0; i < r->linear_count; i++) {
        bool table = r->linears[i].component == VLMP_COMPONENT_EMBED;
        list[i] = (vlmp_plan_linear){.name = r->linears[i].name,
                                     .n = r->linears[i].n,
                                     .k = r->linears[i].k,
                                     .embedding = table,
                                     .tied = table && r->model.config.text.tied};
    }
    good(vlmp_plan_make(&r->plan, &r->recipe, list, r->linear_count, "recipe", &err), &err);
}

static inline void end(struct run *r)
{
    vlmp_plan_free(&r->plan);
    vlmp_recipe_free(&r->recipe);
    free(r->linears);
    vlmp_model_close(&r->model);
    r->source->close(r->source);
}

static inline int quantize(struct run *r, const struct samples *s, bool sequential, vlmp_sink *sink,
                           vlmp_error *err)
{
    vlmp_quantize_job job = {.sweep = {.ctx = ctx,
                                       .model = &r->model,
                                       .preprocess = &preprocess,
                                       .work_folder = temp_folder,
                                       .memory_limit = memory_limit,
                                       .interrupted = &r->interrupted},
                             .linears = r->linears,
                             .linear_count = r->linear_count,
                             .plan = &r->plan,
                             .calibration = &s->calibration,
                             .sequential = sequential,
                             .gptq = vlmp_gptq_defaults(),
                             .sink = sink,
                             .boundary = temp_path("border"),
                             .on_linear = on_linear,
                             .on_notice = on_notice,
                             .arg = r};
    return vlmp_quantize(&job, err);
}

/* The packed file of a finished run. */
static inline void write_file(struct run *r, vlmp_sink *sink, const char *name)
{
    vlmp_error err = {0};
    vlmp_packed_plan packed;
    char digest[VLMP_SHA256_HEX];
    good(vlmp_packed_plan_init(&packed, r->source, &err), &err);
    for (int i = 0; i < r->linear_count; i++) {
        const vlmp_plan_entry *entry = &r->plan.entries[i];
        char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX];
        if (entry->method == VLMP_METHOD_KEEP) continue;
        good(vlmp_packed_plan_quantize(&packed, r->linears[i].name, &entry->scheme, &err), &err);
        int count = vlmp_fold_vectors(names, &r->linears[i], entry->method);
        for (int v = 0; v < count; v++)
            if (r->source->find(r->source, names[v]) != NULL)
                good(vlmp_packed_plan_replace(&packed, names[v], VLMP_F32, &err), &err);
    }
    good(vlmp_packed_write(&packed, NULL, 0, temp_path(name), true, vlmp_journal_sink_read, sink,
                           digest, &err),
         &err);
    vlmp_packed_plan_free(&packed);
}

/* From the start or, with resume, on. Returns the status of a run that was stopped, else writes
 * the file. */
static inline int run_to_file(struct run *r, const struct samples *s, bool sequential, bool resume,
                              const char *name)
{
    vlmp_error err = {0};
    vlmp_sink *sink;
    r->interrupted = 0;
    r->result_count = 0;
    good(vlmp_journal_sink_open(&sink, temp_path("journal"), "test",
                                resume ? VLMP_JOURNAL_RESUME : VLMP_JOURNAL_REPLACE, &err),
         &err);
    int status = quantize(r, s, sequential, sink, &err);
    if (status == VLMP_OK)
        write_file(r, sink, name);
    else
        assert_int_equal(status, VLMP_ERR_INTERRUPTED);
    vlmp_journal_sink_close(sink);
    return status;
}

static inline vlmp_source *open_packed(const char *name)
{
    vlmp_error err = {0};
    vlmp_source *source;
    good(vlmp_packed_open(&source, temp_path(name), &err), &err);
    return source;
}
