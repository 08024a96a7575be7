/* Qwen2-VL, Qwen2.5-VL and Qwen3-VL: a tower for pictures of any size, with rotary rows and
 * columns, in which squares of patches become rows of the text model, which turns by time, row and
 * column. */
#include <string.h>

#include "src/model/config_fields.h"
#include "src/model/family.h"
#include "src/model/tiles.h"

#define MAX_DIM (1 << 20) /* no plausible model exceeds it; larger values are corrupt files */

/* What the tower of one family has, and where its configuration says nothing. */
struct tower {
    const char *width_key, *act;
    int width, layers, intermediate; /* intermediate 0: mlp_ratio times the width */
    int patch;
    vlmp_norm_kind norm;
    bool gated;
};

static const struct tower qwen2 = {"embed_dim", "quick_gelu",    1280, 32, 0,
                                   14,          VLMP_NORM_LAYER, false};
static const struct tower qwen2_5 = {"hidden_size", "silu", 3584,          32,
                                     3420,          14,     VLMP_NORM_RMS, true};
static const struct tower qwen3 = {
    "hidden_size", "gelu_pytorch_tanh", 1152, 27, 4304, 16, VLMP_NORM_LAYER, false};

static int read_intermediate(vlmp_vision_config *vision, const struct tower *tower,
                             const cJSON *object, const char *where, vlmp_error *err)
{
    double ratio;
    if (tower->intermediate > 0)
        return vlmp_config_int(object, "intermediate_size", tower->intermediate, 1, MAX_DIM,
                               &vision->intermediate, where, err);
    VLMP_TRY(vlmp_config_double(object, "mlp_ratio", 4, &ratio, where, err));
    if (!(ratio * vision->hidden >= 1 && ratio * vision->hidden <= MAX_DIM))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'mlp_ratio' is %g, out of range", where, ratio);
    vision->intermediate = (int)(vision->hidden * ratio);
    return VLMP_OK;
}

static int read_sizes(vlmp_config *config, const struct tower *tower, const cJSON *object,
                      const char *where, vlmp_error *err)
{
    vlmp_vision_config *vision = &config->vision;
    const vlmp_config_size sizes[] = {
        {tower->width_key, tower->width, MAX_DIM, &vision->hidden},
        {"depth", tower->layers, VLMP_MAX_LAYERS, &vision->layers},
        {"num_heads", 16, 4096, &vision->heads},
        {"patch_size", tower->patch, 1024, &vision->patch_size},
        {"spatial_merge_size", 2, 64, &vision->merge},
        {"temporal_patch_size", 2, 64, &vision->frames},
    };
    VLMP_TRY(vlmp_config_sizes(object, sizes, sizeof sizes / sizeof *sizes, where, err));
    VLMP_TRY(read_intermediate(vision, tower, object, where, err));
    VLMP_TRY(vlmp_config_channels(object, "in_channels", where, err));
    if (vision->hidden % (4 * vision->heads) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '%s' %d is no multiple of 4 for each of %d heads, which turn by row "
                         "and column in pairs",
                         where, tower->width_key, vision->hidden, vision->heads);
    vision->head_dim = vision->hidden / vision->heads;
    return VLMP_OK;
}

/* "rope_parameters" of transformers 5 may name the base that earlier versions fix. */
static int read_rope(vlmp_vision_config *vision, const cJSON *object, const char *where,
                     vlmp_error *err)
{
    const cJSON *rope;
    const char *type;
    VLMP_TRY(vlmp_config_section(object, "rope_parameters", &rope, where, err));
    VLMP_TRY(vlmp_config_string(rope, "rope_type", "axial", &type, where, err));
    VLMP_TRY(vlmp_config_double(rope, "rope_theta", 10000, &vision->rope_theta, where, err));
    if (strcmp(type, "axial") == 0 && vision->rope_theta > 0 && vision->rope_theta <= 1e12)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the tower's 'rope_parameters' must be of type axial with a positive "
                     "'rope_theta'",
                     where);
}

/* Layers see windows of so many pixels a side, but for those that are listed. */
static int read_windows(vlmp_vision_config *vision, const cJSON *object, const char *where,
                        vlmp_error *err)
{
    static const int published[] = {7, 15, 23, 31};
    static const char key[] = "fullatt_block_indexes";
    const cJSON *list = vlmp_json_get(object, key), *item;
    int pixels;
    VLMP_TRY(vlmp_config_int(object, "window_size", 112, 1, 1 << 20, &pixels, where, err));
    vision->window = pixels / vision->merge / vision->patch_size * vision->merge;
    if (vision->window < 1)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'window_size' %d holds no square of %d patches of %d pixels", where,
                         pixels, vision->merge, vision->patch_size);
    for (size_t i = 0; list == NULL && i < sizeof published / sizeof *published; i++)
        vision->whole[published[i]] = true;
    if (list != NULL && !cJSON_IsArray(list))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not a list of layers", where, key);
    cJSON_ArrayForEach(item, list)
    {
        double layer = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(layer >= 0 && layer < VLMP_MAX_LAYERS) || layer != (int)layer)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not a list of layers", where, key);
        vision->whole[(int)layer] = true;
    }
    return VLMP_OK;
}

static int read_tower(vlmp_config *config, const struct tower *tower, const cJSON *object,
                      const char *where, vlmp_error *err)
{
    vlmp_vision_config *vision = &config->vision;
    VLMP_TRY(read_sizes(config, tower, object, where, err));
    VLMP_TRY(read_rope(vision, object, where, err));
    VLMP_TRY(
        vlmp_config_read_activation(object, "hidden_act", tower->act, &vision->act, where, err));
    vision->norm = tower->norm;
    vision->norm_eps = 1e-6f;
    vision->gated = tower->gated;
    vision->fused_qkv = vision->has_post_norm = true;
    vision->positions = VLMP_POSITIONS_NONE;
    vision->run_layers = vision->feature_layers[0] = vision->layers;
    vision->feature_count = 1;
    config->projector =
        (vlmp_projector_config){.linears = 2,
                                .act = VLMP_GELU,
                                .bias = true,
                                .shuffle = vision->merge,
                                .inner = vision->hidden * vision->merge * vision->merge};
    return VLMP_OK;
}

/* The text model's sizes stand in a section, or, in files of transformers before 4.52, beside
 * everything else. */
static int read_rest(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const int largest = 1 << 24;
    const cJSON *text;
    VLMP_TRY(vlmp_config_section(root, "text_config", &text, where, err));
    VLMP_TRY(vlmp_config_read_text(&config->text, text != NULL ? text : root, root, where, err));
    VLMP_TRY(vlmp_config_int(root, "video_token_id", 151656, 0, largest, &config->video_token,
                             where, err));
    return vlmp_config_int(root, "image_token_id", 151655, 0, largest, &config->image_token, where,
                           err);
}

static int read_qwen2(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const cJSON *object;
    VLMP_TRY(vlmp_config_section(root, "vision_config", &object, where, err));
    VLMP_TRY(read_tower(config, &qwen2, object, where, err));
    return read_rest(config, root, where, err);
}

static int read_qwen2_5(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const cJSON *object;
    VLMP_TRY(vlmp_config_section(root, "vision_config", &object, where, err));
    VLMP_TRY(read_tower(config, &qwen2_5, object, where, err));
    VLMP_TRY(read_windows(&config->vision, object, where, err));
    return read_rest(config, root, where, err);
}

/* A square table of learned positions, which is stretched over each tile. */
static int read_table(vlmp_vision_config *vision, const cJSON *object, const char *where,
                      vlmp_error *err)
{
    int rows, side = 1;
    VLMP_TRY(
        vlmp_config_int(object, "num_position_embeddings", 2304, 1, 1 << 24, &rows, where, err));
    while (side * side < rows)
        side++;
    vision->positions = VLMP_POSITIONS_STRETCHED;
    vision->table_side = side;
    if (side * side == rows) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'num_position_embeddings' %d is no square", where,
                     rows);
}

/* Layers whose outputs are added behind the first layers of the text model, in their order. */
static int read_taps(vlmp_config *config, const cJSON *object, const char *where, vlmp_error *err)
{
    static const char key[] = "deepstack_visual_indexes";
    static const int published[] = {8, 16, 24};
    vlmp_vision_config *vision = &config->vision;
    const cJSON *list = vlmp_json_get(object, key), *item;
    bool good = list == NULL || cJSON_IsArray(list);
    for (int i = 0; list == NULL && i < 3; i++)
        vision->taps[vision->tap_count++] = published[i] + 1;
    cJSON_ArrayForEach(item, list)
    {
        double layer = cJSON_IsNumber(item) ? item->valuedouble : -1;
        good = good && layer >= 0 && layer < VLMP_MAX_LAYERS && layer == (int)layer &&
               vision->tap_count < VLMP_MAX_TAPS;
        if (good) vision->taps[vision->tap_count++] = (int)layer + 1;
    }
    for (int t = 0; t < vision->tap_count; t++)
        good = good && vision->taps[t] <= vision->layers &&
               (t == 0 || vision->taps[t] > vision->taps[t - 1]);
    if (good && vision->tap_count <= config->text.layers) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' must be rising numbers of the tower's %d layers, at most %d and no "
                     "more than the text model has",
                     where, key, vision->layers, VLMP_MAX_TAPS);
}

static int read_qwen3(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const cJSON *object;
    VLMP_TRY(vlmp_config_section(root, "vision_config", &object, where, err));
    VLMP_TRY(read_tower(config, &qwen3, object, where, err));
    VLMP_TRY(read_table(&config->vision, object, where, err));
    config->vision.patch_bias = true;
    VLMP_TRY(read_rest(config, root, where, err));
    return read_taps(config, object, where, err);
}

static int plan_image(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err)
{
    int height = picture.height, width = picture.width, patch = config->vision.patch_size;
    if (pre == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "there is no picture processor, which says how large pictures become");
    VLMP_TRY(vlmp_preprocess_size(pre, &height, &width, "a picture", err));
    *plan = (vlmp_image_plan){.tiles = 1, .rows = height / patch, .cols = width / patch};
    plan->tokens = vlmp_grid_tokens(config, vlmp_tile_grid(&config->vision, plan));
    return VLMP_OK;
}

static bool plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    const int limit = 1 << 14; /* patches a side; keeps the products in range */
    int merge = config->vision.merge;
    return plan->tiles == 1 && plan->grid_rows == 0 && plan->grid_cols == 0 &&
           plan->first_row == 0 && plan->first_col == 0 && plan->rows > 0 && plan->rows <= limit &&
           plan->cols > 0 && plan->cols <= limit && plan->rows % merge == 0 &&
           plan->cols % merge == 0 &&
           plan->tokens == vlmp_grid_tokens(config, vlmp_tile_grid(&config->vision, plan));
}

/* Rows of the merged grid in order, which stand window by window in the tower. */
static void pack(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                 int32_t newline, int32_t *out)
{
    (void)newline;
    vlmp_grid_ranks(&config->vision, vlmp_tile_grid(&config->vision, plan), out);
    for (int i = 0; i < plan->tokens; i++)
        out[i] += first;
}

static const vlmp_module_names qwen2_modules = {
    .tower = {"visual.blocks"},
    .text = {"language_model.model.layers", "language_model.layers"},
    .projector = {"visual.merger.mlp.0", "visual.merger.mlp.2"},
};

static const vlmp_module_names qwen3_modules = {
    .tower = {"visual.blocks"},
    .text = {"language_model.model.layers", "language_model.layers"},
    .taps = {"visual.deepstack_merger_list"},
    .projector = {"visual.merger.linear_fc1", "visual.merger.linear_fc2"},
};

const vlmp_family vlmp_family_qwen2_vl = {
    .name = "Qwen2-VL",
    .model_type = "qwen2_vl",
    .architectures = {"Qwen2VLForConditionalGeneration", "Qwen2VLModel"},
    .processors = 1u << VLMP_PROCESSOR_QWEN2_VL,
    .modules = &qwen2_modules,
    .gguf = "qwen2vl_merger",
    .flat_text = true,
    .read_config = read_qwen2,
    .canonical_name = vlmp_qwen_vl_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .pack = pack,
};

const vlmp_family vlmp_family_qwen2_5_vl = {
    .name = "Qwen2.5-VL",
    .model_type = "qwen2_5_vl",
    .architectures = {"Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLModel"},
    .processors = 1u << VLMP_PROCESSOR_QWEN2_VL,
    .modules = &qwen2_modules,
    .gguf = "qwen2.5vl_merger",
    .flat_text = true,
    .read_config = read_qwen2_5,
    .canonical_name = vlmp_qwen_vl_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .pack = pack,
};

const vlmp_family vlmp_family_qwen3_vl = {
    .name = "Qwen3-VL",
    .model_type = "qwen3_vl",
    .architectures = {"Qwen3VLForConditionalGeneration", "Qwen3VLModel"},
    .processors = 1u << VLMP_PROCESSOR_QWEN2_VL,
    .modules = &qwen3_modules,
    .read_config = read_qwen3,
    .canonical_name = vlmp_qwen_vl_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .pack = pack,
};
