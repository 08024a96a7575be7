/* Idefics3, and SmolVLM and SmolVLM2, which are the same with other sizes: SigLIP tower whose
 * positions are bucketed, its norm, squares of features as one row, one linear; a picture becomes a
 * grid of tiles and a tile that is all of it, each marked in the prompt. */
#include <stdio.h>

#include "src/base/memory.h"
#include "src/model/config_fields.h"
#include "src/model/family.h"

static int read_config(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    const int largest = 1 << 24, most_shuffle = 64;
    const cJSON *object, *text;
    vlmp_vision_config *vision = &config->vision;
    VLMP_TRY(vlmp_config_section(root, "vision_config", &object, where, err));
    VLMP_TRY(vlmp_config_section(root, "text_config", &text, where, err));
    VLMP_TRY(vlmp_config_read_tower(vision, "idefics3_vision", object, where, err));
    VLMP_TRY(vlmp_config_read_text(&config->text, text, root, where, err));
    if (text == NULL) config->text.norm_eps = 1e-5f;
    vision->has_post_norm = true;
    vision->run_layers = vision->feature_layers[0] = vision->layers;
    vision->feature_count = 1;
    config->projector.linears = 1;
    VLMP_TRY(vlmp_config_int(root, "scale_factor", 2, 1, most_shuffle, &config->projector.shuffle,
                             where, err));
    int side = vision->image_size / vision->patch_size;
    if (side % config->projector.shuffle != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'scale_factor' %d does not divide the %d patches of a tile's side",
                         where, config->projector.shuffle, side);
    return vlmp_config_int(root, "image_token_id", 128257, 0, largest, &config->image_token, where,
                           err);
}

static int plan_image(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err)
{
    vlmp_split_plan split;
    if (pre == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "there is no picture processor that says how pictures are cut");
    VLMP_TRY(vlmp_preprocess_split(&split, pre, picture.height, picture.width, "a picture", err));
    *plan = (vlmp_image_plan){
        .tiles = split.rows * split.cols + 1, .grid_rows = split.rows, .grid_cols = split.cols};
    plan->tokens = plan->tiles * vlmp_tile_tokens(config);
    return VLMP_OK;
}

static bool plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    if (plan->grid_rows < 0 || plan->grid_rows > VLMP_MAX_TILES || plan->grid_cols < 0 ||
        plan->grid_cols > VLMP_MAX_TILES)
        return false;
    return plan->tiles == plan->grid_rows * plan->grid_cols + 1 &&
           plan->tokens == (int64_t)plan->tiles * vlmp_tile_tokens(config);
}

static void spell_tile(const vlmp_config *config, const char *mark, const char *row,
                       vlmp_buffer *out)
{
    vlmp_buffer_printf(out, "<fake_token_around_image>%s", mark);
    for (int i = 0; i < vlmp_tile_tokens(config); i++)
        vlmp_buffer_text(out, row);
}

static void spell(const vlmp_config *config, const vlmp_image_plan *plan, const char *row,
                  vlmp_buffer *out)
{
    char mark[48];
    for (int r = 0; r < plan->grid_rows; r++) {
        for (int c = 0; c < plan->grid_cols; c++) {
            snprintf(mark, sizeof mark, "<row_%d_col_%d>", r + 1, c + 1);
            spell_tile(config, mark, row, out);
        }
        vlmp_buffer_text(out, "\n");
    }
    if (plan->grid_rows > 0) vlmp_buffer_text(out, "\n");
    spell_tile(config, "<global-img>", row, out);
    vlmp_buffer_text(out, "<fake_token_around_image>");
}

static const vlmp_module_names modules = {
    .tower = {"vision_model.encoder.layers"},
    .text = {"text_model.layers"},
    .projector = {"connector.modality_projection.proj"},
};

const vlmp_family vlmp_family_idefics3 = {
    .name = "Idefics3",
    .model_type = "idefics3",
    .architectures = {"Idefics3ForConditionalGeneration", "Idefics3Model"},
    .processors = 1u << VLMP_PROCESSOR_IDEFICS3,
    .modules = &modules,
    .gguf = "idefics3",
    .read_config = read_config,
    .canonical_name = vlmp_checkpoint_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .spell = spell,
    .pack = vlmp_pack_in_order,
};

const vlmp_family vlmp_family_smolvlm = {
    .name = "SmolVLM",
    .model_type = "smolvlm",
    .architectures = {"SmolVLMForConditionalGeneration", "SmolVLMModel"},
    .processors = 1u << VLMP_PROCESSOR_IDEFICS3,
    .modules = &modules,
    .gguf = "idefics3",
    .read_config = read_config,
    .canonical_name = vlmp_checkpoint_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .spell = spell,
    .pack = vlmp_pack_in_order,
};
