#include "src/model/config.h"

#include <stdio.h>
#include <string.h>

#include "src/model/config_fields.h"
#include "src/model/family.h"

int vlmp_config_read_activation(const cJSON *object, const char *key, const char *fallback,
                                vlmp_activation *out, const char *where, vlmp_error *err)
{
    static const struct {
        const char *name;
        vlmp_activation act;
    } known[] = {
        {"gelu", VLMP_GELU},          {"gelu_pytorch_tanh", VLMP_GELU_TANH},
        {"gelu_new", VLMP_GELU_TANH}, {"quick_gelu", VLMP_QUICK_GELU},
        {"silu", VLMP_SILU},          {"swish", VLMP_SILU},
        {"relu", VLMP_RELU},
    };
    const char *name;
    VLMP_TRY(vlmp_config_string(object, key, fallback, &name, where, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].act;
            return VLMP_OK;
        }
    }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' is '%.64s', an activation that is not supported", where, key, name);
}

/* The checkpoints of LLaVA's own code have the text model's sizes at the top and a tower that is
 * named instead of described; whole ones have been converted (formats/original.h). */
static int refuse_original(const cJSON *root, const char *where, vlmp_error *err)
{
    static const char tower[] = "mm_";
    const char *what = NULL;
    for (const cJSON *item = root->child; item != NULL && what == NULL; item = item->next)
        if (strncmp(item->string, tower, sizeof tower - 1) == 0) what = item->string;
    if (what == NULL && vlmp_json_get(root, "text_config") == NULL &&
        vlmp_json_get(root, "hidden_size") != NULL)
        what = "hidden_size";
    if (what == NULL) return VLMP_OK;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: '%.64s' at the top level is of an original LLaVA checkpoint, but there is no "
        "'mm_vision_tower', or there are sections of the Hugging Face layout beside it; use the "
        "config.json that the checkpoint was published with",
        where, what);
}

/* "architectures" may be absent; what it names must be the family's. */
static int check_architectures(const vlmp_family *family, const cJSON *root, const char *where,
                               vlmp_error *err)
{
    const cJSON *list = vlmp_json_get(root, "architectures"), *item;
    if (list != NULL && !cJSON_IsArray(list))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'architectures' is not a list of names", where);
    cJSON_ArrayForEach(item, list)
    {
        const char *name = cJSON_IsString(item) ? item->valuestring : "";
        bool known = false;
        for (size_t i = 0; i < sizeof family->architectures / sizeof *family->architectures; i++)
            known |= strcmp(family->architectures[i], name) == 0;
        if (!known)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: architecture '%.64s' is not supported with model_type '%s'; %s "
                             "is",
                             where, name, family->model_type, family->architectures[0]);
    }
    return VLMP_OK;
}

static int refuse_quantized(const cJSON *root, const char *where, vlmp_error *err)
{
    static const char *const sections[] = {NULL, "text_config", "vision_config"};
    static const char *const keys[] = {"quantization_config", "compression_config"};
    for (int i = 0; i < 3; i++) {
        const cJSON *object = sections[i] == NULL ? root : vlmp_json_get(root, sections[i]);
        for (int k = 0; k < 2; k++)
            if (vlmp_json_get(object, keys[k]) != NULL)
                return vlmp_fail(err, VLMP_ERR_INPUT,
                                 "%s: the model is already quantized ('%s'); use the model it was "
                                 "made from",
                                 where, keys[k]);
    }
    return VLMP_OK;
}

static int read_root(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const char *type;
    if (!cJSON_IsObject(root))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
    VLMP_TRY(vlmp_json_string(root, "model_type", "", &type, where, err));
    config->family = vlmp_family_find(type);
    bool llava = *type == '\0' || strncmp(type, "llava", 5) == 0;
    if (llava && !config->family->flat_text) VLMP_TRY(refuse_original(root, where, err));
    if (*type == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'model_type', which says what the model is",
                         where);
    snprintf(config->model_type, sizeof config->model_type, "%s", type);
    VLMP_TRY(refuse_quantized(root, where, err));
    if (!vlmp_family_runs(config->family)) return VLMP_OK;
    VLMP_TRY(check_architectures(config->family, root, where, err));
    VLMP_TRY(config->family->read_config(config, root, where, err));
    /* What most families have, and need not say. */
    if (config->vision.merge == 0) config->vision.merge = 1;
    if (config->vision.frames == 0) config->vision.frames = 1;
    if (config->projector.inner == 0) config->projector.inner = config->text.hidden;
    return VLMP_OK;
}

int vlmp_config_read(vlmp_config *config, const char *json, size_t length, const char *where,
                     vlmp_error *err)
{
    *config = (vlmp_config){.video_token = -1};
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, where, err));
    int status = read_root(config, root, where, err);
    cJSON_Delete(root);
    return status;
}
