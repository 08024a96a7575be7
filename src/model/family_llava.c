/* LLaVA-1.5: CLIP tower, two-layer projector, one tile a picture, its rows in place of <image>. */
#include <string.h>

#include "src/base/json.h"
#include "src/model/family.h"
#include "src/model/family_llava.h"

/* "vision_feature_layer": an index into the hidden states, which count the tower's input as 0 and
 * negative values from the end; or a list of them, concatenated on the feature axis. */
static int read_feature_layers(vlmp_vision_config *vision, const cJSON *root, const char *where,
                               vlmp_error *err)
{
    const cJSON *value = vlmp_json_get(root, "vision_feature_layer");
    const cJSON *item = cJSON_IsArray(value) ? value->child : value;
    vision->feature_count = 0;
    vision->run_layers = 0;
    do {
        double layer = item == NULL ? -2 : item->valuedouble;
        if (item != NULL &&
            (!cJSON_IsNumber(item) || !(layer >= -1e6 && layer <= 1e6) || layer != (int)layer))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'vision_feature_layer' is not an integer",
                             where);
        if (layer < 0) layer += vision->layers + 1;
        if (layer < 0 || layer > vision->layers)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'vision_feature_layer' lies outside the tower's %d layers", where,
                             vision->layers);
        if (vision->feature_count == VLMP_MAX_FEATURE_LAYERS)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: more than %d vision feature layers", where,
                             VLMP_MAX_FEATURE_LAYERS);
        vision->feature_layers[vision->feature_count++] = (int)layer;
        if ((int)layer > vision->run_layers) vision->run_layers = (int)layer;
        item = cJSON_IsArray(value) ? item->next : NULL;
    } while (item != NULL);
    return VLMP_OK;
}

int vlmp_llava_read_config(vlmp_config *config, const cJSON *root, const char *where,
                           vlmp_error *err)
{
    VLMP_TRY(
        vlmp_config_read_clip(&config->vision, vlmp_json_get(root, "vision_config"), where, err));
    VLMP_TRY(
        vlmp_config_read_text(&config->text, vlmp_json_get(root, "text_config"), root, where, err));
    VLMP_TRY(read_feature_layers(&config->vision, root, where, err));
    const char *strategy;
    VLMP_TRY(
        vlmp_json_string(root, "vision_feature_select_strategy", "default", &strategy, where, err));
    if (strcmp(strategy, "default") != 0 && strcmp(strategy, "full") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'vision_feature_select_strategy' is '%s'; default and full are known",
                         where, strategy);
    config->vision.drop_first = strcmp(strategy, "default") == 0;
    VLMP_TRY(vlmp_config_read_activation(root, "projector_hidden_act", "gelu",
                                         &config->projector.act, where, err));
    VLMP_TRY(vlmp_json_bool(root, "multimodal_projector_bias", true, &config->projector.bias, where,
                            err));
    int64_t image_token;
    VLMP_TRY(vlmp_json_int(root, "image_token_index", 32000, 0, 1 << 24, &image_token, where, err));
    VLMP_TRY(
        vlmp_json_int(root, "image_token_id", image_token, 0, 1 << 24, &image_token, where, err));
    config->image_token = (int32_t)image_token;
    int64_t eos;
    const cJSON *text = vlmp_json_get(root, "text_config");
    if (!cJSON_IsArray(vlmp_json_get(text, "eos_token_id"))) {
        VLMP_TRY(vlmp_json_int(text, "eos_token_id", 2, 0, 1 << 24, &eos, where, err));
        config->eos[0] = (int32_t)eos;
        config->eos_count = 1;
    }
    return VLMP_OK;
}

static int plan_image(const vlmp_config *config, int width, int height, vlmp_image_plan *plan,
                      vlmp_error *err)
{
    (void)width;
    (void)height;
    (void)err;
    *plan = (vlmp_image_plan){.tiles = 1, .tokens = vlmp_tile_tokens(config)};
    return VLMP_OK;
}

static void pack(const vlmp_config *config, const vlmp_image_plan *plan, const float *projected,
                 const float *newline, float *out)
{
    (void)newline;
    memcpy(out, projected, (size_t)plan->tokens * (size_t)config->text.hidden * sizeof *out);
}

const vlmp_family vlmp_family_llava = {
    .name = "LLaVA-1.5",
    .model_type = "llava",
    .read_config = vlmp_llava_read_config,
    .canonical_name = vlmp_llava_name,
    .plan_image = plan_image,
    .pack = pack,
};
