/* LLaVA-1.5: CLIP tower, two-layer projector, one tile a picture, its rows in place of <image>. */
#include <string.h>

#include "src/model/config_fields.h"
#include "src/model/family.h"
#include "src/model/family_llava.h"

/* An index into the hidden states, which count the tower's input as 0 and negative values from the
 * end. */
static int add_feature_layer(vlmp_vision_config *vision, const cJSON *item, const char *where,
                             vlmp_error *err)
{
    static const char key[] = "vision_feature_layer";
    double layer = item->valuedouble;
    if (!cJSON_IsNumber(item) || !(layer >= -1e6 && layer <= 1e6) || layer != (int)layer)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not an integer or a list of integers",
                         where, key);
    if (layer < 0) layer += vision->layers + 1;
    if (layer < 0 || layer > vision->layers)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' lies outside the tower's %d layers", where,
                         key, vision->layers);
    if (vision->feature_count == VLMP_MAX_FEATURE_LAYERS)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' has more than %d entries", where, key,
                         VLMP_MAX_FEATURE_LAYERS);
    vision->feature_layers[vision->feature_count++] = (int)layer;
    if ((int)layer > vision->run_layers) vision->run_layers = (int)layer;
    return VLMP_OK;
}

/* One layer, or a list of them that are concatenated on the feature axis. */
static int read_feature_layers(vlmp_vision_config *vision, const cJSON *root, int layer,
                               const char *where, vlmp_error *err)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, "vision_feature_layer"), *item;
    const cJSON fallback = {.type = cJSON_Number, .valuedouble = layer};
    vision->feature_count = 0;
    vision->run_layers = 0;
    if (!cJSON_IsArray(value))
        return add_feature_layer(vision, value != NULL ? value : &fallback, where, err);
    cJSON_ArrayForEach(item, value) VLMP_TRY(add_feature_layer(vision, item, where, err));
    if (vision->feature_count > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'vision_feature_layer' is an empty list, which leaves the projector "
                     "without input; name a layer, such as -2",
                     where);
}

int vlmp_llava_read_parts(vlmp_config *config, const cJSON *root,
                          const vlmp_llava_defaults *defaults, const char *where, vlmp_error *err)
{
    const int largest = 1 << 24;
    const cJSON *vision, *text;
    const char *strategy;
    int ignored; /* of the checkpoint's processor, which says how many rows a picture has */
    VLMP_TRY(vlmp_config_section(root, "vision_config", &vision, where, err));
    VLMP_TRY(vlmp_config_section(root, "text_config", &text, where, err));
    VLMP_TRY(vlmp_config_read_named_tower(&config->vision, defaults->tower, vision, where, err));
    VLMP_TRY(vlmp_config_read_text(&config->text, text, root, where, err));
    VLMP_TRY(read_feature_layers(&config->vision, root, defaults->feature_layer, where, err));
    VLMP_TRY(vlmp_config_string(root, "vision_feature_select_strategy", defaults->select_strategy,
                                &strategy, where, err));
    if (strcmp(strategy, "default") != 0 && strcmp(strategy, "full") != 0)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: 'vision_feature_select_strategy' is '%.64s'; default and full are known", where,
            strategy);
    config->vision.drop_first = strcmp(strategy, "default") == 0;
    config->projector.linears = 2;
    config->projector.shuffle = 1;
    VLMP_TRY(vlmp_config_read_activation(root, "projector_hidden_act", "gelu",
                                         &config->projector.act, where, err));
    VLMP_TRY(vlmp_config_bool(root, "multimodal_projector_bias", true, &config->projector.bias,
                              where, err));
    VLMP_TRY(vlmp_config_int(root, "image_seq_length", 1, 0, largest, &ignored, where, err));
    /* Two names of one number; where both are given the second counts, as in the reference. */
    VLMP_TRY(vlmp_config_int(root, "image_token_index", defaults->image_token, 0, largest,
                             &config->image_token, where, err));
    VLMP_TRY(vlmp_config_int(root, "image_token_id", config->image_token, 0, largest,
                             &config->image_token, where, err));
    /* Said by formats/original.c: LLaVA's own code puts rows of pictures in the token's places. */
    return vlmp_config_bool(root, "image_token_needs_no_row", false, &config->has_bare_token, where,
                            err);
}

int vlmp_llava_read_config(vlmp_config *config, const cJSON *root, const char *where,
                           vlmp_error *err)
{
    static const vlmp_llava_defaults defaults = {"clip_vision_model", -2, "default", 32000};
    return vlmp_llava_read_parts(config, root, &defaults, where, err);
}

static int plan_image(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err)
{
    (void)pre, (void)picture, (void)err;
    *plan = (vlmp_image_plan){.tiles = 1, .tokens = vlmp_tile_tokens(config)};
    return VLMP_OK;
}

static bool plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    return plan->tiles == 1 && plan->tokens == vlmp_tile_tokens(config);
}

const vlmp_module_names vlmp_llava_modules = {
    .tower = {"vision_tower.vision_model.encoder.layers", "vision_tower.encoder.layers"},
    .text = {"language_model.model.layers", "language_model.layers"},
    .projector = {"multi_modal_projector.linear_1", "multi_modal_projector.linear_2"},
};

const vlmp_family vlmp_family_llava = {
    .name = "LLaVA-1.5",
    .model_type = "llava",
    .architectures = {"LlavaForConditionalGeneration", "LlavaModel"},
    .modules = &vlmp_llava_modules,
    .gguf = "mlp",
    .read_config = vlmp_llava_read_config,
    .canonical_name = vlmp_checkpoint_name,
    .processors =
        1u << VLMP_PROCESSOR_CLIP | 1u << VLMP_PROCESSOR_LLAVA | 1u << VLMP_PROCESSOR_SIGLIP,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .pack = vlmp_pack_in_order,
};
