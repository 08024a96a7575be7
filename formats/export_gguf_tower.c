/* The keys of the file that holds the tower and the projector ("mmproj"). */
#include "formats/export_gguf.h"
#include "src/model/family.h"

static int check_tower(const vlmp_config *config, vlmp_error *err)
{
    if (config->projector.act != VLMP_GELU)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the projector's activation is not gelu, as llama.cpp's 'mlp' has it");
    if (!config->vision.drop_first)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "vision_feature_select_strategy 'full' keeps the class row; llama.cpp "
                         "drops it");
    vlmp_activation act = config->vision.act;
    if (act == VLMP_QUICK_GELU || act == VLMP_GELU || act == VLMP_GELU_TANH || act == VLMP_SILU)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "the tower's activation is relu; llama.cpp knows quick "
                     "gelu, gelu and silu");
}

static void put_sizes(vlmp_gguf_keys *keys, const vlmp_config *config)
{
    const vlmp_vision_config *vision = &config->vision;
    const struct {
        const char *key;
        int value;
    } sizes[] = {
        {"clip.vision.image_size", vision->image_size},
        {"clip.vision.patch_size", vision->patch_size},
        {"clip.vision.embedding_length", vision->hidden},
        {"clip.vision.feed_forward_length", vision->intermediate},
        {"clip.vision.block_count", vision->run_layers},
        {"clip.vision.attention.head_count", vision->heads},
        {"clip.vision.projection_dim", config->text.hidden},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        vlmp_gguf_put_u32(keys, sizes[i].key, (uint32_t)sizes[i].value);
    vlmp_gguf_put_f32(keys, "clip.vision.attention.layer_norm_epsilon", vision->norm_eps);
    int32_t layers[VLMP_MAX_FEATURE_LAYERS];
    for (int i = 0; i < vision->feature_count; i++)
        layers[i] = vision->feature_layers[i];
    vlmp_gguf_put_i32s(keys, "clip.vision.feature_layer", layers, (size_t)vision->feature_count);
}

static void put_picture_rules(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    const vlmp_config *config = model->config;
    float mean[3], std[3];
    for (int c = 0; c < 3; c++) {
        mean[c] = (float)model->image_mean[c];
        std[c] = (float)model->image_std[c];
    }
    vlmp_gguf_put_f32s(keys, "clip.vision.image_mean", mean, 3);
    vlmp_gguf_put_f32s(keys, "clip.vision.image_std", std, 3);
    if (config->pinpoint_count == 0) return;
    int32_t sides[2 * VLMP_MAX_PINPOINTS]; /* width, height */
    for (int i = 0; i < config->pinpoint_count; i++) {
        sides[2 * i] = config->pinpoints[i][1];
        sides[2 * i + 1] = config->pinpoints[i][0];
    }
    vlmp_gguf_put_i32s(keys, "clip.vision.image_grid_pinpoints", sides,
                       (size_t)config->pinpoint_count * 2);
    vlmp_gguf_put_string(keys, "clip.vision.mm_patch_merge_type", "spatial_unpad");
}

int vlmp_gguf_tower_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model, vlmp_error *err)
{
    VLMP_TRY(check_tower(model->config, err));
    vlmp_gguf_keys *keys = &plan->keys;
    vlmp_activation act = model->config->vision.act;
    vlmp_gguf_put_string(keys, "general.architecture", "clip");
    vlmp_gguf_put_string(keys, "general.type", "mmproj");
    vlmp_gguf_put_string(keys, "general.name", model->name);
    vlmp_gguf_put_u32(keys, "general.file_type", vlmp_gguf_file_type(plan));
    vlmp_gguf_put_u32(keys, "general.quantization_version", 2);
    vlmp_gguf_put_bool(keys, "clip.has_vision_encoder", true);
    vlmp_gguf_put_string(keys, "clip.projector_type", model->config->family->gguf);
    vlmp_gguf_put_bool(keys, "clip.use_gelu", act == VLMP_GELU || act == VLMP_GELU_TANH);
    vlmp_gguf_put_bool(keys, "clip.use_silu", act == VLMP_SILU);
    put_sizes(keys, model->config);
    put_picture_rules(keys, model);
    return VLMP_OK;
}
