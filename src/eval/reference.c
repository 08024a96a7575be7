#include "src/eval/reference.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/sha256.h"

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

void vlmp_tokens_digest_add(vlmp_sha256 *hash, const vlmp_sequence *sequence)
{
    int32_t sizes[2] = {sequence->length, sequence->answer_count};
    vlmp_sha256_update(hash, sizes, sizeof sizes);
    for (int i = 0; i < sequence->answer_count; i++) {
        int32_t span[2] = {sequence->answers[i].from, sequence->answers[i].end};
        vlmp_sha256_update(hash, span, sizeof span);
    }
    vlmp_sha256_update(hash, sequence->ids, (size_t)sequence->length * sizeof *sequence->ids);
}

static int write_metadata(const vlmp_reference *r, vlmp_arena *arena, const char **out,
                          vlmp_error *err)
{
    vlmp_json_writer w = {0};
    const char *const pairs[][2] = {{"name", r->name},
                                    {"model", r->model_digest},
                                    {"data", r->data_digest},
                                    {"tokens", r->tokens_digest}};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "version");
    vlmp_json_put_int(&w, 1);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        vlmp_json_key(&w, pairs[i][0]);
        vlmp_json_put_string(&w, pairs[i][1]);
    }
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

static int take(vlmp_reference_find *find, void *arg, const char *name, int rank, const char *where,
                const vlmp_tensor **tensor, void **copy, vlmp_error *err)
{
    *tensor = find(arg, name);
    if (*tensor == NULL || (*tensor)->rank != rank)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%s' is missing or has another shape",
                         where, name);
    *copy = vlmp_alloc((*tensor)->bytes, 1);
    if (*copy == NULL) return vlmp_fail_memory(err, where);
    memcpy(*copy, (*tensor)->data, (*tensor)->bytes);
    return VLMP_OK;
}

static int check(const vlmp_reference *r, const vlmp_tensor *states, const vlmp_tensor *targets,
                 const vlmp_tensor *first, const vlmp_tensor *head, const char *where,
                 vlmp_error *err)
{
    const vlmp_hidden *h = &r->hidden;
    bool good = states->dtype == VLMP_F32 && targets->dtype == VLMP_I32 &&
                first->dtype == VLMP_I32 && vlmp_dtype_is_float(head->dtype) &&
                targets->shape[0] == states->shape[0] && first->shape[0] >= 1 &&
                head->shape[1] == states->shape[1] && head->shape[0] <= 1 << 24;
    for (int i = 0; good && i < h->samples; i++)
        good = h->first[i] >= 0 && h->first[i] <= h->first[i + 1];
    good = good && h->first[0] == 0 && h->first[h->samples] == h->tokens;
    for (int i = 0; good && i < h->tokens; i++)
        good = h->targets[i] >= 0 && h->targets[i] < head->shape[0];
    return good
               ? VLMP_OK
               : vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: the reference is inconsistent; make it again with --save-reference",
                           where);
}

static int import_tensors(vlmp_reference *r, vlmp_reference_find *find, void *arg,
                          const char *where, const char *work_folder, vlmp_error *err)
{
    const vlmp_tensor *states, *targets, *first, *head;
    vlmp_hidden *h = &r->hidden;
    void *copy;
    states = find(arg, "states");
    if (states == NULL || states->rank != 2 || states->dtype != VLMP_F32 ||
        states->shape[1] > INT_MAX)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor 'states' is missing or has another shape",
                         where);
    VLMP_TRY(vlmp_activations_create(&h->states, (size_t)states->shape[0], (int)states->shape[1],
                                     VLMP_ACTIVATIONS_IN_MEMORY, work_folder, err));
    VLMP_TRY(vlmp_activations_put(&h->states, 0, (size_t)states->shape[0],
                                  (const float *)(const void *)states->data, err));
    VLMP_TRY(take(find, arg, "targets", 1, where, &targets, &copy, err));
    h->targets = copy;
    VLMP_TRY(take(find, arg, "first", 1, where, &first, &copy, err));
    h->first = copy;
    VLMP_TRY(take(find, arg, "head", 2, where, &head, &r->head_memory, err));
    h->samples = (int)(first->shape[0] - 1);
    h->tokens = (int)targets->shape[0];
    h->dim = (int)states->shape[1];
    VLMP_TRY(check(r, states, targets, first, head, where, err));
    r->head = (vlmp_linear){.n = (int)head->shape[0],
                            .k = (int)head->shape[1],
                            .weight = r->head_memory,
                            .dtype = head->dtype};
    return VLMP_OK;
}

static int import_names(vlmp_reference *r, const cJSON *root, const char *where, vlmp_error *err)
{
    int64_t version;
    const char *name;
    VLMP_TRY(vlmp_json_int(root, "version", 0, 0, 1 << 20, &version, where, err));
    if (version != 1)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: reference version %lld; this program reads 1",
                         where, (long long)version);
    VLMP_TRY(vlmp_json_string(root, "name", "", &name, where, err));
    r->name = strdup(name);
    if (r->name == NULL) return vlmp_fail_memory(err, where);
    const struct {
        const char *key;
        char *out;
    } digests[] = {
        {"model", r->model_digest}, {"data", r->data_digest}, {"tokens", r->tokens_digest}};
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        const char *text;
        VLMP_TRY(vlmp_json_string(root, digests[i].key, "", &text, where, err));
        snprintf(digests[i].out, 65, "%s", text);
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

int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find, void *arg,
                          const char *metadata, const char *where, const char *work_folder,
                          vlmp_error *err)
{
    *out = (vlmp_reference){.hidden.states.fd = -1};
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, metadata, strlen(metadata), where, err));
    int status = import_names(out, root, where, err);
    if (status == VLMP_OK) status = import_tensors(out, find, arg, where, work_folder, err);
    if (status == VLMP_OK) status = import_stand_ins(out, root, where, err);
    cJSON_Delete(root);
    if (status != VLMP_OK) vlmp_reference_free(out);
    return status;
}
