#include "src/calib/calibration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

#define VERSION 2 /* of the metadata; 1 carried no hashes */

static const char *const size_names[VLMP_CALIB_SIZES] = {
    "image_size",   "vocabulary",  "vision_layers", "vision_width",
    "vision_inner", "text_layers", "text_width",    "text_inner"};

void vlmp_calibration_sizes(int sizes[VLMP_CALIB_SIZES], const vlmp_model *model)
{
    sizes[VLMP_CALIB_IMAGE_SIZE] = model->config.vision.image_size;
    sizes[VLMP_CALIB_VOCABULARY] = model->config.text.vocab;
    sizes[VLMP_CALIB_VISION_LAYERS] = model->vision.layers;
    sizes[VLMP_CALIB_VISION_WIDTH] = model->vision.shape.dim;
    sizes[VLMP_CALIB_VISION_INNER] = model->vision.shape.intermediate;
    sizes[VLMP_CALIB_TEXT_LAYERS] = model->text.layers;
    sizes[VLMP_CALIB_TEXT_WIDTH] = model->text.shape.dim;
    sizes[VLMP_CALIB_TEXT_INNER] = model->text.shape.intermediate;
}

void vlmp_calibration_free(vlmp_calibration *calibration)
{
    for (size_t i = 0; i < calibration->count; i++)
        vlmp_sequence_free(&calibration->samples[i].sequence);
    free(calibration->samples);
    vlmp_statistics_free(&calibration->statistics);
    free(calibration->audit);
    *calibration = (vlmp_calibration){0};
}

static void hash_loosely(vlmp_sha256 *hash, const char *text)
{
    static const char spaces[] = " \t\r\n\v\f";
    text += strspn(text, spaces);
    while (*text != '\0') {
        size_t word = strcspn(text, spaces);
        vlmp_sha256_update(hash, text, word);
        text += word;
        text += strspn(text, spaces);
        if (*text != '\0') vlmp_sha256_update(hash, " ", 1);
    }
    vlmp_sha256_update(hash, "", 1);
}

void vlmp_sample_id(const vlmp_bytes *pictures, size_t picture_count, const char *const *texts,
                    size_t text_count, bool loose, char id[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < picture_count; i++)
        vlmp_sha256_update(&hash, pictures[i].bytes, pictures[i].length);
    for (size_t i = 0; i < text_count; i++) {
        if (loose)
            hash_loosely(&hash, texts[i]);
        else
            vlmp_sha256_update(&hash, texts[i], strlen(texts[i]) + 1);
    }
    vlmp_sha256_finish(&hash, id);
}

/* Integers of one sample, in "samples.table". */
enum {
    COLUMN_LINE,
    COLUMN_LENGTH,
    COLUMN_ANSWERS,
    COLUMN_BORDER,
    COLUMN_IMAGES,
    COLUMN_TILES,
    COLUMNS
};
/* Integers of one answer, in "samples.answers": a vlmp_span. */
enum { SPAN_COLUMNS = 2 };
/* Integers of one picture, in "samples.pictures": a vlmp_image_plan. */
enum { PLAN_COLUMNS = 8 };

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

static int export_samples(const vlmp_calibration *c, struct exporter *e, vlmp_error *err)
{
    const int64_t side = c->sizes[VLMP_CALIB_IMAGE_SIZE];
    size_t tokens = 0, tiles = 0, pictures = 0, answers = 0;
    for (size_t i = 0; i < c->count; i++) {
        tokens += (size_t)c->samples[i].sequence.length;
        tiles += (size_t)c->samples[i].sequence.tiles;
        pictures += (size_t)c->samples[i].sequence.image_count;
        answers += (size_t)c->samples[i].sequence.answer_count;
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
    VLMP_TRY(add(e, "samples.table", VLMP_I32, 2, shapes[0], table, err));
    VLMP_TRY(add(e, "samples.pictures", VLMP_I32, 2, shapes[1], plans, err));
    VLMP_TRY(add(e, "samples.ids", VLMP_I32, 1, shapes[2], ids, err));
    VLMP_TRY(add(e, "samples.pixels", VLMP_U8, 4, shapes[3], NULL, err));
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
        snprintf(name, sizeof name, "statistics.%s.max_abs", s->name);
        VLMP_TRY(add(e, name, VLMP_F32, 2, shape, s->max_abs, err));
        snprintf(name, sizeof name, "statistics.%s.count", s->name);
        VLMP_TRY(add(e, name, VLMP_I64, 1, shape, s->count, err));
    }
    return VLMP_OK;
}

/* Over the samples' identities, and over their tokens. */
static void digest_samples(const vlmp_calibration *c, char data[VLMP_SHA256_HEX],
                           char tokens[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < c->count; i++)
        vlmp_sha256_update(&hash, c->samples[i].id, sizeof c->samples[i].id);
    vlmp_sha256_finish(&hash, data);
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < c->count; i++)
        vlmp_tokens_digest_add(&hash, &c->samples[i].sequence);
    vlmp_sha256_finish(&hash, tokens);
}

static int export_metadata(const vlmp_calibration *c, vlmp_arena *arena, const char **out,
                           vlmp_error *err)
{
    char data[VLMP_SHA256_HEX], tokens[VLMP_SHA256_HEX];
    digest_samples(c, data, tokens);
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "version");
    vlmp_json_put_int(&w, VERSION);
    vlmp_json_key(&w, "model");
    vlmp_identity_write(&c->model, &w);
    vlmp_json_key(&w, "sizes");
    vlmp_json_open(&w, '{');
    for (int i = 0; i < VLMP_CALIB_SIZES; i++) {
        vlmp_json_key(&w, size_names[i]);
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

int vlmp_calibration_export(const vlmp_calibration *calibration, vlmp_arena *arena,
                            vlmp_tensor **out, size_t *count, const char **metadata,
                            vlmp_error *err)
{
    *metadata = NULL;
    size_t capacity = 5 + 3 * (size_t)calibration->statistics.count;
    struct exporter e = {.arena = arena};
    e.tensors = vlmp_arena_alloc(arena, capacity, sizeof *e.tensors);
    if (e.tensors == NULL) return vlmp_fail_memory(err, "calibration file");
    VLMP_TRY(export_samples(calibration, &e, err));
    VLMP_TRY(export_statistics(calibration, &e, err));
    VLMP_TRY(export_metadata(calibration, arena, metadata, err));
    *out = e.tensors;
    *count = e.count;
    return VLMP_OK;
}

struct importer {
    vlmp_find_fn *find;
    void *arg;
    const char *where;
    vlmp_error *err;
};

/* A tensor of this type; a shape entry of −1 matches anything. */
static int need(const struct importer *in, const char *name, vlmp_dtype dtype, int rank,
                const int64_t *shape, const vlmp_tensor **out)
{
    *out = in->find(in->arg, name);
    bool good = *out != NULL && (*out)->dtype == dtype && (*out)->rank == rank;
    for (int i = 0; i < rank && good; i++)
        good = shape[i] < 0 || (*out)->shape[i] == shape[i];
    if (good) return VLMP_OK;
    return vlmp_fail(in->err, VLMP_ERR_INPUT,
                     "%s: tensor '%s' is missing or has another shape; the calibration file is "
                     "damaged or of another model",
                     in->where, name);
}

static int check_sample(const struct importer *in, const vlmp_model *model, const int32_t *row,
                        size_t index)
{
    bool good = row[COLUMN_LENGTH] > 0 && row[COLUMN_ANSWERS] >= 0 && row[COLUMN_IMAGES] >= 0 &&
                row[COLUMN_TILES] >= 0 && row[COLUMN_LENGTH] <= model->config.text.max_positions;
    if (good) return VLMP_OK;
    return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: sample %zu is inconsistent", in->where, index);
}

static int copy_bytes(void **out, const void *data, size_t *offset, size_t bytes, size_t total,
                      const struct importer *in)
{
    if (bytes > total - *offset)
        return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: the samples need more data than is stored",
                         in->where);
    *out = vlmp_alloc(bytes, 1);
    if (*out == NULL) return vlmp_fail_memory(in->err, "calibration samples");
    memcpy(*out, (const char *)data + *offset, bytes);
    *offset += bytes;
    return VLMP_OK;
}

/* Token ids and picture plans must agree with each other and with the model. */
static int check_contents(const struct importer *in, const vlmp_model *model,
                          const vlmp_sequence *s, size_t index)
{
    int64_t pictures = 0, tokens = 0, tiles = 0;
    for (int i = 0; i < s->length; i++) {
        if (s->ids[i] < 0 || s->ids[i] >= model->config.text.vocab)
            return vlmp_fail(in->err, VLMP_ERR_INPUT,
                             "%s: sample %zu has token id %d outside the vocabulary", in->where,
                             index, s->ids[i]);
        pictures += s->ids[i] == model->config.image_token;
    }
    for (int i = 0; i < s->image_count; i++) {
        const vlmp_image_plan *p = &s->plans[i];
        bool good = p->tiles <= s->tiles && p->tokens <= s->length &&
                    vlmp_image_plan_is_valid(&model->config, p);
        if (!good)
            return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: sample %zu has a bad picture plan",
                             in->where, index);
        tokens += p->tokens;
        tiles += p->tiles;
    }
    int end = 0;
    for (int i = 0; i < s->answer_count; i++) {
        vlmp_span answer = s->answers[i];
        if (answer.from < end || answer.end < answer.from || answer.end > s->length)
            return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: sample %zu has a bad answer", in->where,
                             index);
        end = answer.end;
    }
    if (pictures == tokens && tiles == s->tiles) return VLMP_OK;
    return vlmp_fail(in->err, VLMP_ERR_INPUT,
                     "%s: sample %zu: its picture tokens do not fit its pictures", in->where,
                     index);
}

static int import_samples(vlmp_calibration *c, const struct importer *in, const vlmp_model *model)
{
    const int64_t side = c->sizes[VLMP_CALIB_IMAGE_SIZE];
    const vlmp_tensor *table, *plans, *ids, *pixels, *spans;
    VLMP_TRY(
        need(in, "samples.table", VLMP_I32, 2, (int64_t[]){(int64_t)c->count, COLUMNS}, &table));
    VLMP_TRY(need(in, "samples.pictures", VLMP_I32, 2, (int64_t[]){-1, PLAN_COLUMNS}, &plans));
    VLMP_TRY(need(in, "samples.answers", VLMP_I32, 2, (int64_t[]){-1, SPAN_COLUMNS}, &spans));
    VLMP_TRY(need(in, "samples.ids", VLMP_I32, 1, (int64_t[]){-1}, &ids));
    VLMP_TRY(need(in, "samples.pixels", VLMP_U8, 4, (int64_t[]){-1, side, side, 3}, &pixels));
    size_t plan_at = 0, id_at = 0, pixel_at = 0, span_at = 0;
    size_t tile_bytes = 3 * (size_t)side * (size_t)side;
    for (size_t i = 0; i < c->count; i++) {
        int32_t row[COLUMNS];
        memcpy(row, table->data + i * sizeof row, sizeof row);
        VLMP_TRY(check_sample(in, model, row, i));
        vlmp_sequence *s = &c->samples[i].sequence;
        c->samples[i].line = c->samples[i].sequence.line = row[COLUMN_LINE];
        s->length = row[COLUMN_LENGTH];
        s->answer_count = row[COLUMN_ANSWERS];
        s->border_moved = row[COLUMN_BORDER] != 0;
        s->image_count = row[COLUMN_IMAGES];
        s->tiles = row[COLUMN_TILES];
        void *copy;
        VLMP_TRY(copy_bytes(&copy, ids->data, &id_at, (size_t)s->length * sizeof(int32_t),
                            ids->bytes, in));
        s->ids = copy;
        VLMP_TRY(copy_bytes(&copy, pixels->data, &pixel_at, (size_t)s->tiles * tile_bytes,
                            pixels->bytes, in));
        s->pixels = copy;
        size_t plan_bytes = (size_t)s->image_count * PLAN_COLUMNS * sizeof(int32_t);
        _Static_assert(sizeof(vlmp_image_plan) == PLAN_COLUMNS * sizeof(int32_t),
                       "a plan is its table row");
        VLMP_TRY(copy_bytes(&copy, plans->data, &plan_at, plan_bytes, plans->bytes, in));
        s->plans = copy;
        _Static_assert(sizeof(vlmp_span) == SPAN_COLUMNS * sizeof(int32_t),
                       "a span is its table row");
        VLMP_TRY(copy_bytes(&copy, spans->data, &span_at,
                            (size_t)s->answer_count * sizeof(vlmp_span), spans->bytes, in));
        s->answers = copy;
        VLMP_TRY(check_contents(in, model, s, i));
    }
    if (id_at == ids->bytes && pixel_at == pixels->bytes && plan_at == plans->bytes &&
        span_at == spans->bytes)
        return VLMP_OK;
    return vlmp_fail(in->err, VLMP_ERR_INPUT,
                     "%s: more data is stored than its samples need; calibrate again", in->where);
}

/* Magnitudes are finite and not negative, no mean is above its maximum, and where no token was
 * counted there is none. */
static int check_statistics(const struct importer *in, const vlmp_site_statistics *s)
{
    for (size_t kind = 0; kind < VLMP_TOKEN_KINDS; kind++) {
        if (s->count[kind] < 0)
            return vlmp_fail(in->err, VLMP_ERR_INPUT,
                             "%s: 'statistics.%s.count' is negative; calibrate again", in->where,
                             s->name);
        for (size_t j = 0; j < (size_t)s->dim; j++) {
            size_t at = kind * (size_t)s->dim + j;
            float mean = s->mean_abs[at], max = s->max_abs[at];
            /* A mean of equal values may be rounded up by a unit in the last place. */
            bool good = mean >= 0 && max >= 0 && isfinite(max) &&
                        mean <= nextafterf(max, INFINITY) && (s->count[kind] > 0 || max == 0);
            if (!good)
                return vlmp_fail(in->err, VLMP_ERR_INPUT,
                                 "%s: the statistics of %s, channel %zu, are no magnitudes (mean "
                                 "%g, largest %g); calibrate again",
                                 in->where, s->name, j, (double)mean, (double)max);
        }
    }
    return VLMP_OK;
}

static int import_statistics(vlmp_calibration *c, const struct importer *in,
                             const vlmp_model *model)
{
    VLMP_TRY(vlmp_statistics_create(&c->statistics, model, in->err));
    for (int i = 0; i < c->statistics.count; i++) {
        vlmp_site_statistics *s = &c->statistics.sites[i];
        char name[VLMP_NAME_MAX + 32];
        int64_t shape[] = {VLMP_TOKEN_KINDS, s->dim};
        const vlmp_tensor *tensor;
        snprintf(name, sizeof name, "statistics.%s.mean_abs", s->name);
        VLMP_TRY(need(in, name, VLMP_F32, 2, shape, &tensor));
        memcpy(s->mean_abs, tensor->data, tensor->bytes);
        snprintf(name, sizeof name, "statistics.%s.max_abs", s->name);
        VLMP_TRY(need(in, name, VLMP_F32, 2, shape, &tensor));
        memcpy(s->max_abs, tensor->data, tensor->bytes);
        snprintf(name, sizeof name, "statistics.%s.count", s->name);
        VLMP_TRY(need(in, name, VLMP_I64, 1, shape, &tensor));
        memcpy(s->count, tensor->data, tensor->bytes);
        VLMP_TRY(check_statistics(in, s));
    }
    return VLMP_OK;
}

static int import_sizes(vlmp_calibration *c, const cJSON *root, const struct importer *in,
                        const vlmp_model *model)
{
    int wanted[VLMP_CALIB_SIZES];
    vlmp_calibration_sizes(wanted, model);
    const cJSON *sizes = vlmp_json_get(root, "sizes");
    for (int i = 0; i < VLMP_CALIB_SIZES; i++) {
        int64_t value;
        VLMP_TRY(vlmp_json_int(sizes, size_names[i], 0, 0, INT32_MAX, &value, in->where, in->err));
        c->sizes[i] = (int)value;
        if (c->sizes[i] == wanted[i]) continue;
        return vlmp_fail(in->err, VLMP_ERR_INPUT,
                         "%s: made with another model: its %s is %lld, this model's %d; run "
                         "vlm-calibrate on this one",
                         in->where, size_names[i], (long long)value, wanted[i]);
    }
    return VLMP_OK;
}

static int import_identity(vlmp_calibration *c, const cJSON *root, const struct importer *in,
                           const vlmp_identity *wanted)
{
    VLMP_TRY(vlmp_identity_read(&c->model, vlmp_json_get(root, "model"), in->where, in->err));
    const char *what = wanted != NULL ? vlmp_identity_difference(&c->model, wanted) : NULL;
    if (what == NULL) return VLMP_OK;
    if (strcmp(c->model.tensors, wanted->tensors) != 0)
        return vlmp_fail(in->err, VLMP_ERR_INPUT,
                         "%s: made with another model (weights %.12s…, this model has %.12s…); "
                         "run vlm-calibrate on this one",
                         in->where, c->model.tensors, wanted->tensors);
    return vlmp_fail(in->err, VLMP_ERR_INPUT,
                     "%s: the model's %s differs from the one calibrated with; run vlm-calibrate "
                     "again, or take that file back",
                     in->where, what);
}

static int import_ids(vlmp_calibration *c, const cJSON *samples, const struct importer *in)
{
    size_t count = (size_t)cJSON_GetArraySize(samples);
    if (!cJSON_IsArray(samples) || count == 0)
        return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: no samples; calibrate again", in->where);
    c->samples = vlmp_calloc(count, sizeof *c->samples);
    if (c->samples == NULL) return vlmp_fail_memory(in->err, in->where);
    c->count = count;
    size_t i = 0;
    for (const cJSON *item = samples->child; item != NULL; item = item->next, i++) {
        if (!cJSON_IsString(item) || strlen(item->valuestring) != VLMP_SHA256_HEX - 1)
            return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: sample %zu has no identity", in->where,
                             i);
        memcpy(c->samples[i].id, item->valuestring, VLMP_SHA256_HEX);
    }
    return VLMP_OK;
}

static int import_loose_ids(vlmp_calibration *c, const cJSON *list, const struct importer *in)
{
    const cJSON *item = cJSON_IsArray(list) ? list->child : NULL;
    for (size_t i = 0; i < c->count; i++, item = item->next) {
        if (!cJSON_IsString(item) || strlen(item->valuestring) != VLMP_SHA256_HEX - 1)
            return vlmp_fail(in->err, VLMP_ERR_INPUT, "%s: sample %zu has no loose identity",
                             in->where, i);
        memcpy(c->samples[i].loose_id, item->valuestring, VLMP_SHA256_HEX);
    }
    return VLMP_OK;
}

static int import_metadata(vlmp_calibration *c, const cJSON *root, const struct importer *in,
                           const vlmp_model *model, const vlmp_identity *identity)
{
    const char *alpha, *audit;
    int64_t version;
    VLMP_TRY(vlmp_json_int(root, "version", 0, 0, 1 << 20, &version, in->where, in->err));
    if (version != VERSION)
        return vlmp_fail(in->err, VLMP_ERR_INPUT,
                         "%s: calibration version %lld, this program reads %d; run vlm-calibrate "
                         "again",
                         in->where, (long long)version, VERSION);
    VLMP_TRY(import_sizes(c, root, in, model));
    VLMP_TRY(import_identity(c, root, in, identity));
    VLMP_TRY(vlmp_json_string(root, "alpha", "", &alpha, in->where, in->err));
    snprintf(c->alpha, sizeof c->alpha, "%s", alpha);
    VLMP_TRY(vlmp_json_string(root, "audit", "{}", &audit, in->where, in->err));
    c->audit = strdup(audit);
    if (c->audit == NULL) return vlmp_fail_memory(in->err, in->where);
    VLMP_TRY(import_ids(c, vlmp_json_get(root, "samples"), in));
    return import_loose_ids(c, vlmp_json_get(root, "loose"), in);
}

/* The stored hashes of data and tokens against the samples. */
static int check_digests(const vlmp_calibration *c, const cJSON *root, const struct importer *in)
{
    char digests[2][VLMP_SHA256_HEX];
    static const char *const keys[] = {"data", "tokens"};
    digest_samples(c, digests[0], digests[1]);
    for (int i = 0; i < 2; i++) {
        const char *stored;
        VLMP_TRY(vlmp_json_string(root, keys[i], "", &stored, in->where, in->err));
        if (strcmp(stored, digests[i]) != 0)
            return vlmp_fail(in->err, VLMP_ERR_INPUT,
                             "%s: its samples do not match its hash of the %s; calibrate again",
                             in->where, keys[i]);
    }
    return VLMP_OK;
}

int vlmp_calibration_import(vlmp_calibration *out, const vlmp_model *model,
                            const vlmp_identity *identity, vlmp_find_fn *find, void *arg,
                            const char *metadata, const char *where, vlmp_error *err)
{
    *out = (vlmp_calibration){0};
    const struct importer in = {.find = find, .arg = arg, .where = where, .err = err};
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, metadata, strlen(metadata), where, err));
    int status = import_metadata(out, root, &in, model, identity);
    if (status == VLMP_OK) status = import_samples(out, &in, model);
    if (status == VLMP_OK) status = check_digests(out, root, &in);
    if (status == VLMP_OK) status = import_statistics(out, &in, model);
    cJSON_Delete(root);
    if (status != VLMP_OK) vlmp_calibration_free(out);
    return status;
}
