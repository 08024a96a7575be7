/* A calibration as named tensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/calib/calibration_layout.h"

struct exporter {
    vlmp_arena *arena;
    vlmp_tensor *tensors;
    size_t count;
};

static int add(struct exporter *e, const char *name, vlmp_dtype dtype, int rank,
               const int64_t *shape, const void *data, vlmp_error *err)
{
    vlmp_tensor *tensor = &e->tensors[e->count++];
    *tensor = (vlmp_tensor){.dtype = dtype, .rank = rank, .data = data};
    tensor->name = vlmp_arena_copy(e->arena, name, strlen(name));
    if (tensor->name == NULL) return vlmp_fail_memory(err, "calibration file");
    tensor->bytes = vlmp_dtype_size(dtype);
    for (int i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->bytes *= (size_t)shape[i];
    }
    return VLMP_OK;
}

static int export_samples(const vlmp_calibration *c, const vlmp_config *config, struct exporter *e,
                          vlmp_error *err)
{
    const int64_t side = c->sizes[VLMP_CALIB_IMAGE_SIZE];
    size_t tokens = 0, tiles = 0, pictures = 0, answers = 0, bytes = 0;
    for (size_t i = 0; i < c->count; i++) {
        tokens += (size_t)c->samples[i].sequence.length;
        tiles += (size_t)c->samples[i].sequence.tiles;
        pictures += (size_t)c->samples[i].sequence.image_count;
        answers += (size_t)c->samples[i].sequence.answer_count;
        bytes += vlmp_sequence_pixel_bytes(&c->samples[i].sequence, config);
    }
    int32_t *table = vlmp_arena_alloc(e->arena, c->count * COLUMNS, sizeof *table);
    int32_t *spans = vlmp_arena_alloc(e->arena, answers * SPAN_COLUMNS, sizeof *spans);
    int32_t *plans = vlmp_arena_alloc(e->arena, pictures * PLAN_COLUMNS, sizeof *plans);
    int32_t *ids = vlmp_arena_alloc(e->arena, tokens, sizeof *ids);
    if (table == NULL || spans == NULL || plans == NULL || ids == NULL)
        return vlmp_fail_memory(err, "calibration file");
    int64_t shapes[5][4] = {{(int64_t)c->count, COLUMNS},
                            {(int64_t)pictures, PLAN_COLUMNS},
                            {(int64_t)tokens},
                            {(int64_t)tiles, side, side, 3},
                            {(int64_t)answers, SPAN_COLUMNS}};
    if (side == 0) shapes[3][0] = (int64_t)bytes;
    VLMP_TRY(add(e, "samples.table", VLMP_I32, 2, shapes[0], table, err));
    VLMP_TRY(add(e, "samples.pictures", VLMP_I32, 2, shapes[1], plans, err));
    VLMP_TRY(add(e, "samples.ids", VLMP_I32, 1, shapes[2], ids, err));
    VLMP_TRY(add(e, "samples.pixels", VLMP_U8, side == 0 ? 1 : 4, shapes[3], NULL, err));
    VLMP_TRY(add(e, "samples.answers", VLMP_I32, 2, shapes[4], spans, err));
    for (size_t i = 0; i < c->count; i++) {
        const vlmp_sequence *s = &c->samples[i].sequence;
        int32_t row[COLUMNS] = {c->samples[i].line, s->length,      s->answer_count,
                                s->border_moved,    s->image_count, s->tiles};
        memcpy(table, row, sizeof row), table += COLUMNS;
        memcpy(ids, s->ids, (size_t)s->length * sizeof *ids), ids += s->length;
        for (int a = 0; a < s->answer_count; a++) {
            int32_t span[SPAN_COLUMNS] = {s->answers[a].from, s->answers[a].end};
            memcpy(spans, span, sizeof span), spans += SPAN_COLUMNS;
        }
        for (int p = 0; p < s->image_count; p++) {
            const vlmp_image_plan *plan = &s->plans[p];
            int32_t values[PLAN_COLUMNS] = {plan->tiles,     plan->tokens,    plan->grid_rows,
                                            plan->grid_cols, plan->first_row, plan->rows,
                                            plan->first_col, plan->cols};
            memcpy(plans, values, sizeof values), plans += PLAN_COLUMNS;
        }
    }
    return VLMP_OK;
}

static int export_statistics(const vlmp_calibration *c, struct exporter *e, vlmp_error *err)
{
    for (int i = 0; i < c->statistics.count; i++) {
        const vlmp_site_statistics *s = &c->statistics.sites[i];
        char name[VLMP_NAME_MAX + 32];
        int64_t shape[] = {VLMP_TOKEN_KINDS, s->dim};
        snprintf(name, sizeof name, "statistics.%s.mean_abs", s->name);
        VLMP_TRY(add(e, name, VLMP_F32, 2, shape, s->mean_abs, err));
        snprintf(name, sizeof name, "statistics.%s.rms", s->name);
        VLMP_TRY(add(e, name, VLMP_F32, 2, shape, s->rms, err));
        snprintf(name, sizeof name, "statistics.%s.max_abs", s->name);
        VLMP_TRY(add(e, name, VLMP_F32, 2, shape, s->max_abs, err));
        snprintf(name, sizeof name, "statistics.%s.count", s->name);
        VLMP_TRY(add(e, name, VLMP_I64, 1, shape, s->count, err));
    }
    return VLMP_OK;
}

static int export_metadata(const vlmp_calibration *c, vlmp_arena *arena, const char **out,
                           vlmp_error *err)
{
    char data[VLMP_SHA256_HEX], tokens[VLMP_SHA256_HEX];
    vlmp_calib_digests(c, data, tokens);
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "version");
    vlmp_json_put_int(&w, VLMP_CALIB_VERSION);
    vlmp_json_key(&w, "model");
    vlmp_identity_write(&c->model, &w);
    vlmp_json_key(&w, "sizes");
    vlmp_json_open(&w, '{');
    for (int i = 0; i < VLMP_CALIB_SIZES; i++) {
        vlmp_json_key(&w, vlmp_calib_size_names[i]);
        vlmp_json_put_int(&w, c->sizes[i]);
    }
    vlmp_json_close(&w, '}');
    vlmp_json_key(&w, "alpha");
    vlmp_json_put_string(&w, c->alpha);
    vlmp_json_key(&w, "data");
    vlmp_json_put_string(&w, data);
    vlmp_json_key(&w, "tokens");
    vlmp_json_put_string(&w, tokens);
    vlmp_json_key(&w, "samples");
    vlmp_json_open(&w, '[');
    for (size_t i = 0; i < c->count; i++)
        vlmp_json_put_string(&w, c->samples[i].id);
    vlmp_json_close(&w, ']');
    vlmp_json_key(&w, "loose");
    vlmp_json_open(&w, '[');
    for (size_t i = 0; i < c->count; i++)
        vlmp_json_put_string(&w, c->samples[i].loose_id);
    vlmp_json_close(&w, ']');
    vlmp_json_key(&w, "audit");
    vlmp_json_put_string(&w, c->audit);
    vlmp_json_close(&w, '}');
    if (!w.out.failed) *out = vlmp_arena_copy(arena, w.out.data, w.out.length);
    bool failed = w.out.failed || *out == NULL;
    vlmp_buffer_free(&w.out);
    return failed ? vlmp_fail_memory(err, "calibration file") : VLMP_OK;
}

int vlmp_calibration_export(const vlmp_calibration *calibration, const vlmp_config *config,
                            vlmp_arena *arena, vlmp_tensor **out, size_t *count,
                            const char **metadata, vlmp_error *err)
{
    *metadata = NULL;
    size_t capacity = 5 + 4 * (size_t)calibration->statistics.count;
    struct exporter e = {.arena = arena};
    e.tensors = vlmp_arena_alloc(arena, capacity, sizeof *e.tensors);
    if (e.tensors == NULL) return vlmp_fail_memory(err, "calibration file");
    VLMP_TRY(export_samples(calibration, config, &e, err));
    VLMP_TRY(export_statistics(calibration, &e, err));
    VLMP_TRY(export_metadata(calibration, arena, metadata, err));
    *out = e.tensors;
    *count = e.count;
    return VLMP_OK;
}
