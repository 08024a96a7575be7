#include "src/eval/reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/store/finite.h"

#define VERSION 2 /* of the metadata; 1 carried no hashes */

void vlmp_reference_free(vlmp_reference *reference)
{
    free(reference->name);
    free(reference->head_memory);
    for (int i = 0; reference->stand_ins != NULL && i < reference->hidden.samples; i++)
        free(reference->stand_ins[i]);
    free(reference->stand_ins);
    vlmp_hidden_free(&reference->hidden);
    *reference = (vlmp_reference){0};
}

void vlmp_side_of(vlmp_side *out, const vlmp_reader *reader)
{
    const vlmp_config *config = &reader->model->config;
    *out = (vlmp_side){.width = config->text.hidden,
                       .vocabulary = config->text.vocab,
                       .token_ids = vlmp_tokenizer_size(reader->tokenizer),
                       .context = config->text.max_positions};
    vlmp_preprocess_digest(&reader->preprocess, out->processor);
}

int vlmp_side_check(const vlmp_side *model, const char *name, const vlmp_side *reference,
                    const char *reference_name, int *common, vlmp_error *err)
{
    bool smaller = model->vocabulary < reference->vocabulary;
    *common = smaller ? model->vocabulary : reference->vocabulary;
    if (model->width != reference->width)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: hidden states of width %d, the reference %s has %d; take the model "
                         "that it was made from as reference",
                         name, model->width, reference_name, reference->width);
    /* Rows behind the tokenizer's last id are never a token: padding, on either side. */
    int used = model->token_ids > reference->token_ids ? model->token_ids : reference->token_ids;
    if (model->vocabulary != reference->vocabulary && *common < used)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a vocabulary of %d rows, the reference %s has %d, and tokens up to "
                         "%d are in use, so it is more than padding; take the model that it was "
                         "made from as reference",
                         name, model->vocabulary, reference_name, reference->vocabulary, used - 1);
    if (strcmp(model->processor, reference->processor) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its picture processor (preprocessor_config.json) differs from that "
                         "of the reference %s, so they don't see the same pixels; take the same",
                         name, reference_name);
    return VLMP_OK;
}

static int other_tokens(const vlmp_reference *r, const char *name, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: its tokens of these samples differ from those of the reference %s "
                     "(another tokenizer, template or data); KL and ratios need the same",
                     name, r->where);
}

int vlmp_reference_check_sample(const vlmp_reference *r, int index, const vlmp_sequence *sequence,
                                const char *name, vlmp_error *err)
{
    const vlmp_hidden *h = &r->hidden;
    if (index >= h->samples) return other_tokens(r, name, err);
    int at = h->first[index];
    if (h->first[index + 1] - at != vlmp_sequence_answer_tokens(sequence))
        return other_tokens(r, name, err);
    for (int i = 0; i < sequence->answer_count; i++) {
        vlmp_span answer = sequence->answers[i];
        int tokens = answer.end - answer.from;
        if (memcmp(h->targets + at, sequence->ids + answer.from,
                   (size_t)tokens * sizeof *h->targets) != 0)
            return other_tokens(r, name, err);
        at += tokens;
    }
    return VLMP_OK;
}

int vlmp_reference_check_all(const vlmp_reference *r, int count, const char *tokens_digest,
                             const char *name, vlmp_error *err)
{
    if (r->hidden.samples != count)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the reference has %d samples, here are %d; give the data it was made "
                         "with",
                         r->where, r->hidden.samples, count);
    return strcmp(tokens_digest, r->tokens_digest) == 0 ? VLMP_OK : other_tokens(r, name, err);
}

static int write_metadata(const vlmp_reference *r, vlmp_arena *arena, const char **out,
                          vlmp_error *err)
{
    vlmp_json_writer w = {0};
    const char *const texts[][2] = {
        {"name", r->name},   {"data", r->data_digest}, {"tokens", r->tokens_digest},
        {"alpha", r->alpha}, {"itself", r->itself},    {"processor", r->side.processor}};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "version");
    vlmp_json_put_int(&w, VERSION);
    vlmp_json_key(&w, "model");
    vlmp_identity_write(&r->model, &w);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        vlmp_json_key(&w, texts[i][0]);
        vlmp_json_put_string(&w, texts[i][1]);
    }
    vlmp_json_key(&w, "token_ids");
    vlmp_json_put_int(&w, r->side.token_ids);
    vlmp_json_key(&w, "context");
    vlmp_json_put_int(&w, r->side.context);
    if (r->stand_ins != NULL) {
        vlmp_json_key(&w, "stand_ins");
        vlmp_json_open(&w, '[');
        for (int i = 0; i < r->hidden.samples; i++)
            vlmp_json_put_string(&w, r->stand_ins[i]);
        vlmp_json_close(&w, ']');
    }
    vlmp_json_close(&w, '}');
    *out = w.out.failed ? NULL : vlmp_arena_copy(arena, w.out.data, w.out.length);
    vlmp_buffer_free(&w.out);
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(err, "reference");
}

int vlmp_reference_export(const vlmp_reference *r, vlmp_arena *arena, vlmp_tensor **out,
                          size_t *count, const char **metadata, vlmp_error *err)
{
    const vlmp_hidden *h = &r->hidden;
    size_t head = (size_t)r->head.n * (size_t)r->head.k * vlmp_dtype_size(r->head.dtype);
    const vlmp_tensor tensors[] = {
        {.name = "states",
         .dtype = VLMP_F32,
         .rank = 2,
         .shape = {h->tokens, h->dim},
         .data = (const void *)h->states.memory,
         .bytes = (size_t)h->tokens * (size_t)h->dim * sizeof(float)},
        {.name = "targets",
         .dtype = VLMP_I32,
         .rank = 1,
         .shape = {h->tokens},
         .data = (const void *)h->targets,
         .bytes = (size_t)h->tokens * sizeof(int32_t)},
        {.name = "first",
         .dtype = VLMP_I32,
         .rank = 1,
         .shape = {h->samples + 1},
         .data = (const void *)h->first,
         .bytes = ((size_t)h->samples + 1) * sizeof(int)},
        {.name = "head",
         .dtype = r->head.dtype,
         .rank = 2,
         .shape = {r->head.n, r->head.k},
         .data = r->head.weight,
         .bytes = head},
    };
    *out = vlmp_arena_alloc(arena, sizeof tensors, 1);
    if (*out == NULL) return vlmp_fail_memory(err, "reference");
    memcpy(*out, tensors, sizeof tensors);
    *count = sizeof tensors / sizeof *tensors;
    return write_metadata(r, arena, metadata, err);
}

int vlmp_reference_read(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                        vlmp_error *err)
{
    const vlmp_reference *r = arg;
    (void)index; /* only the states come without data */
    return vlmp_activations_read(&r->hidden.states, offset, out, length, err);
}

struct importer {
    vlmp_reference_find *find;
    vlmp_reference_release *release;
    void *arg;
    const char *where, *work_folder;
};

static int inconsistent(const struct importer *in, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the reference is inconsistent, %s; make it again with --save-reference",
                     in->where, what);
}

/* A tensor of this rank; dtype VLMP_DTYPE_COUNT: any type of weights. */
static int find_tensor(const struct importer *in, const char *name, vlmp_dtype dtype, int rank,
                       const vlmp_tensor **out, vlmp_error *err)
{
    const vlmp_tensor *t = *out = in->find(in->arg, name);
    bool good = t != NULL && t->rank == rank &&
                (dtype == VLMP_DTYPE_COUNT ? vlmp_dtype_is_float(t->dtype) : t->dtype == dtype);
    for (int i = 0; i < rank && good; i++)
        good = t->shape[i] >= 1 && t->shape[i] < INT32_MAX;
    if (good) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%s' is missing or has another shape; make the reference again "
                     "with --save-reference",
                     in->where, name);
}

/* A copy of a tensor. Numbers of a float type are finite. */
static int take(const struct importer *in, const char *name, vlmp_dtype dtype, int rank,
                const vlmp_tensor **out, void **copy, vlmp_error *err)
{
    VLMP_TRY(find_tensor(in, name, dtype, rank, out, err));
    const vlmp_tensor *t = *out;
    vlmp_tensor named = *t;
    named.file = in->where;
    named.source_name = name;
    VLMP_TRY(vlmp_tensor_check_finite(&named, err));
    *copy = vlmp_alloc(t->bytes, 1);
    if (*copy == NULL) return vlmp_fail_memory(err, in->where);
    memcpy(*copy, t->data, t->bytes);
    return VLMP_OK;
}

static int check_contents(const vlmp_reference *r, const struct importer *in, vlmp_error *err)
{
    const vlmp_hidden *h = &r->hidden;
    bool good = h->first[0] == 0 && h->first[h->samples] == h->tokens;
    for (int i = 0; i < h->samples && good; i++)
        good = h->first[i] <= h->first[i + 1] && h->first[i + 1] <= h->tokens;
    if (!good) return inconsistent(in, "samples don't begin where they should", err);
    for (int i = 0; i < h->tokens; i++)
        if (h->targets[i] < 0 || h->targets[i] >= r->head.n)
            return inconsistent(in, "a token is outside its vocabulary", err);
    if (r->side.token_ids > r->head.n)
        return inconsistent(in, "its tokenizer knows more tokens than its head", err);
    return VLMP_OK;
}

/* The states, piece by piece to where they stay, so that a large file is never whole in memory. */
static int take_states(vlmp_hidden *h, const struct importer *in, const vlmp_tensor **out,
                       vlmp_error *err)
{
    const size_t piece_rows = 1024;
    const vlmp_tensor *t;
    VLMP_TRY(find_tensor(in, "states", VLMP_F32, 2, &t, err));
    *out = t;
    size_t rows = (size_t)t->shape[0], row = (size_t)t->shape[1] * sizeof(float);
    VLMP_TRY(vlmp_activations_create(&h->states, rows, (int)t->shape[1], VLMP_ACTIVATIONS_IN_MEMORY,
                                     in->work_folder, err));
    for (size_t at = 0; at < rows; at += piece_rows) {
        size_t count = rows - at < piece_rows ? rows - at : piece_rows;
        const float *values = (const float *)(const void *)(t->data + at * row);
        size_t elements = count * (size_t)t->shape[1];
        if (vlmp_first_not_finite(values, VLMP_F32, elements) < elements)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: tensor 'states' is NaN or infinite in rows %zu … %zu; make the "
                             "reference again with --save-reference",
                             in->where, at, at + count - 1);
        VLMP_TRY(vlmp_activations_put(&h->states, at, count, values, err));
        if (in->release != NULL) in->release(in->arg, t, at * row, count * row);
    }
    return VLMP_OK;
}

static int import_tensors(vlmp_reference *r, const struct importer *in, vlmp_error *err)
{
    const vlmp_tensor *states, *targets, *first, *head;
    vlmp_hidden *h = &r->hidden;
    void *copy;
    VLMP_TRY(take_states(h, in, &states, err));
    VLMP_TRY(take(in, "targets", VLMP_I32, 1, &targets, &copy, err));
    h->targets = copy;
    VLMP_TRY(take(in, "first", VLMP_I32, 1, &first, &copy, err));
    h->first = copy;
    VLMP_TRY(take(in, "head", VLMP_DTYPE_COUNT, 2, &head, &r->head_memory, err));
    if (targets->shape[0] != states->shape[0] || head->shape[1] != states->shape[1])
        return inconsistent(in, "its tensors' sizes contradict each other", err);
    h->samples = (int)(first->shape[0] - 1);
    h->tokens = (int)targets->shape[0];
    h->dim = r->side.width = (int)states->shape[1];
    r->side.vocabulary = (int)head->shape[0];
    r->head = (vlmp_linear){.n = (int)head->shape[0],
                            .k = (int)head->shape[1],
                            .weight = r->head_memory,
                            .dtype = head->dtype};
    return check_contents(r, in, err);
}

static int import_metadata(vlmp_reference *r, const cJSON *root, const char *where, vlmp_error *err)
{
    int64_t version, token_ids, context;
    const char *name, *alpha;
    VLMP_TRY(vlmp_json_int(root, "version", 0, 0, 1 << 20, &version, where, err));
    if (version != VERSION)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: reference version %lld, this program reads %d; make it again with "
                         "--save-reference",
                         where, (long long)version, VERSION);
    VLMP_TRY(vlmp_json_string(root, "name", "", &name, where, err));
    VLMP_TRY(vlmp_json_string(root, "alpha", "", &alpha, where, err));
    snprintf(r->alpha, sizeof r->alpha, "%s", alpha);
    VLMP_TRY(vlmp_json_int(root, "token_ids", -1, 1, INT32_MAX, &token_ids, where, err));
    VLMP_TRY(vlmp_json_int(root, "context", -1, 1, INT32_MAX, &context, where, err));
    VLMP_TRY(vlmp_identity_read(&r->model, vlmp_json_get(root, "model"), where, err));
    r->side.token_ids = (int)token_ids;
    r->side.context = (int)context;
    r->name = strdup(name);
    if (r->name == NULL) return vlmp_fail_memory(err, where);
    const struct {
        const char *key, *otherwise;
        char *out;
    } digests[] = {{"data", "", r->data_digest},
                   {"tokens", "", r->tokens_digest},
                   {"processor", "", r->side.processor},
                   {"itself", r->model.tensors, r->itself}};
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        const char *text;
        VLMP_TRY(vlmp_json_string(root, digests[i].key, digests[i].otherwise, &text, where, err));
        if (strlen(text) != VLMP_SHA256_HEX - 1)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: no SHA-256 of its %s; make it again with "
                             "--save-reference",
                             where, digests[i].key);
        memcpy(digests[i].out, text, VLMP_SHA256_HEX);
    }
    return VLMP_OK;
}

static int import_stand_ins(vlmp_reference *r, const cJSON *root, const char *where,
                            vlmp_error *err)
{
    const cJSON *list = vlmp_json_get(root, "stand_ins");
    if (list == NULL) return VLMP_OK;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != r->hidden.samples)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its stand-in answers are not one a sample; make it again with "
                         "--save-reference",
                         where);
    r->stand_ins = vlmp_calloc((size_t)r->hidden.samples, sizeof *r->stand_ins);
    if (r->stand_ins == NULL) return vlmp_fail_memory(err, where);
    size_t i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++)
        if (cJSON_IsString(item) && (r->stand_ins[i] = strdup(item->valuestring)) == NULL)
            return vlmp_fail_memory(err, where);
    return VLMP_OK;
}

int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find,
                          vlmp_reference_release *release, void *arg, const char *metadata,
                          const char *where, const char *work_folder, vlmp_error *err)
{
    *out = (vlmp_reference){.where = where, .saved = true, .hidden.states.fd = -1};
    const struct importer in = {find, release, arg, where, work_folder};
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, metadata, strlen(metadata), where, err));
    int status = import_metadata(out, root, where, err);
    if (status == VLMP_OK) status = import_tensors(out, &in, err);
    if (status == VLMP_OK) status = import_stand_ins(out, root, where, err);
    cJSON_Delete(root);
    if (status != VLMP_OK) vlmp_reference_free(out);
    return status;
}
