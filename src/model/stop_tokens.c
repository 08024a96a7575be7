#include "src/model/stop_tokens.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/json.h"
#include "src/base/memory.h"

static const char key[] = "eos_token_id";

void vlmp_stop_tokens_free(vlmp_stop_tokens *stop)
{
    free(stop->ids);
    *stop = (vlmp_stop_tokens){0};
}

bool vlmp_stop_tokens_has(const vlmp_stop_tokens *stop, int32_t id)
{
    for (int i = 0; i < stop->count; i++)
        if (stop->ids[i] == id) return true;
    return false;
}

static int add(vlmp_stop_tokens *stop, const cJSON *item, int vocab, const char *where,
               vlmp_error *err)
{
    double id = item->valuedouble;
    if (!cJSON_IsNumber(item))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is neither a token id nor a list of them",
                         where, key);
    if (!(id >= 0 && id < vocab) || id != (int32_t)id)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '%s' %.9g is no token of the vocabulary of %d; give the id of the "
                         "token that ends an answer",
                         where, key, id, vocab);
    stop->ids[stop->count++] = (int32_t)id;
    return VLMP_OK;
}

/* Replaces what is in stop, unless the object has nothing to say. */
static int read_object(vlmp_stop_tokens *stop, const cJSON *object, int vocab, const char *where,
                       vlmp_error *err)
{
    const cJSON *value = vlmp_json_get(object, key), *item;
    if (value == NULL) return VLMP_OK;
    int count = cJSON_IsArray(value) ? cJSON_GetArraySize(value) : 1;
    if (count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '%s' is an empty list, so no answer would end; give the id of the "
                         "token that ends one",
                         where, key);
    vlmp_stop_tokens_free(stop);
    stop->ids = vlmp_alloc((size_t)count, sizeof *stop->ids);
    if (stop->ids == NULL) return vlmp_fail_memory(err, where);
    if (!cJSON_IsArray(value)) return add(stop, value, vocab, where, err);
    cJSON_ArrayForEach(item, value) VLMP_TRY(add(stop, item, vocab, where, err));
    return VLMP_OK;
}

/* sections: of the file that may have the key, from the weakest; NULL is the file itself. */
static int read_file(vlmp_stop_tokens *stop, const vlmp_source *source, const char *name,
                     const char *const *sections, int section_count, int vocab, vlmp_error *err)
{
    size_t length;
    const char *json = source->file(source, name, &length);
    if (json == NULL) return VLMP_OK;
    char where[4200];
    snprintf(where, sizeof where, "%.4000s/%s", source->path, name);
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, where, err));
    int status = cJSON_IsObject(root)
                     ? VLMP_OK
                     : vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
    for (int i = 0; i < section_count && status == VLMP_OK; i++)
        status = read_object(stop, sections[i] == NULL ? root : vlmp_json_get(root, sections[i]),
                             vocab, where, err);
    cJSON_Delete(root);
    return status;
}

int vlmp_stop_tokens_read(vlmp_stop_tokens *out, const vlmp_source *source, int vocab,
                          vlmp_error *err)
{
    static const char *const config[] = {"text_config", NULL}, *const generation[] = {NULL};
    static const char generation_file[] = "generation_config.json";
    size_t length;
    *out = (vlmp_stop_tokens){0};
    int status = read_file(out, source, "config.json", config, 2, vocab, err);
    if (status == VLMP_OK && source->file(source, generation_file, &length) != NULL) {
        vlmp_stop_tokens_free(out);
        status = read_file(out, source, generation_file, generation, 1, vocab, err);
    }
    if (status != VLMP_OK) vlmp_stop_tokens_free(out);
    return status;
}
