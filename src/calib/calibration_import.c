/* Named tensors as a calibration: what does not fit the model, or itself, is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/calib/calibration_layout.h"

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
        bool picture = s->ids[i] == model->config.image_token;
        if (!picture && (s->ids[i] < 0 || s->ids[i] >= model->config.text.vocab))
            return vlmp_fail(in->err, VLMP_ERR_INPUT,
                             "%s: sample %zu has token id %d outside the vocabulary", in->where,
                             index, s->ids[i]);
        pictures += picture;
    }
    for (int i = 0; i < s->image_count; i++) {
        const vlmp_image_plan *p = &s->plans[i];
        bool good = p->tiles <= s->tiles && p->tokens <= s->length &&
                    model->config.family->plan_is_valid(&model->config, p);
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
    VLMP_TRY(need(in, "samples.pixels", VLMP_U8, side == 0 ? 1 : 4, (int64_t[]){-1, side, side, 3},
                  &pixels));
    size_t plan_at = 0, id_at = 0, pixel_at = 0, span_at = 0;
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
        VLMP_TRY(copy_bytes(&copy, pixels->data, &pixel_at,
                            vlmp_sequence_pixel_bytes(s, &model->config), pixels->bytes, in));
        s->pixels = copy;
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
            float mean = s->mean_abs[at], rms = s->rms[at], max = s->max_abs[at];
            /* A mean of equal values may be rounded up by a unit in the last place. */
            float most = nextafterf(max, INFINITY);
            bool good = mean >= 0 && rms >= 0 && max >= 0 && isfinite(max) && mean <= most &&
                        rms <= most && (s->count[kind] > 0 || max == 0);
            if (!good)
                return vlmp_fail(in->err, VLMP_ERR_INPUT,
                                 "%s: the statistics of %s, channel %zu, are no magnitudes (mean "
                                 "%g, rms %g, largest %g); calibrate again",
                                 in->where, s->name, j, (double)mean, (double)rms, (double)max);
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
        snprintf(name, sizeof name, "statistics.%s.rms", s->name);
        VLMP_TRY(need(in, name, VLMP_F32, 2, shape, &tensor));
        memcpy(s->rms, tensor->data, tensor->bytes);
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
        VLMP_TRY(vlmp_json_int(sizes, vlmp_calib_size_names[i], 0, 0, INT32_MAX, &value, in->where,
                               in->err));
        c->sizes[i] = (int)value;
        if (c->sizes[i] == wanted[i]) continue;
        return vlmp_fail(in->err, VLMP_ERR_INPUT,
                         "%s: made with another model: its %s is %lld, this model's %d; run "
                         "vlm-calibrate on this one",
                         in->where, vlmp_calib_size_names[i], (long long)value, wanted[i]);
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
    if (version != VLMP_CALIB_VERSION)
        return vlmp_fail(in->err, VLMP_ERR_INPUT,
                         "%s: calibration version %lld, this program reads %d; run vlm-calibrate "
                         "again",
                         in->where, (long long)version, VLMP_CALIB_VERSION);
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
    vlmp_calib_digests(c, digests[0], digests[1]);
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
