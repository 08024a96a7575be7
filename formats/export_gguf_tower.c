/* The keys of the file that holds the tower and the projector ("mmproj"). */
#include <string.h>

#include "formats/export_gguf.h"
#include "formats/gguf_graph.h"
#include "src/model/family.h"

#define SAID_SIZE                                                                  \
    560 /* pixels a side that llama.cpp's converter writes where pictures have any \
         */

static void put_llava(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    const vlmp_config *config = model->config;
    const vlmp_vision_config *vision = &config->vision;
    int32_t layers[VLMP_MAX_FEATURE_LAYERS], sides[2 * VLMP_MAX_PINPOINTS]; /* width, height */
    for (int i = 0; i < vision->feature_count; i++)
        layers[i] = vision->feature_layers[i];
    vlmp_gguf_put_i32s(keys, "clip.vision.feature_layer", layers, (size_t)vision->feature_count);
    if (config->pinpoint_count == 0) return;
    for (int i = 0; i < config->pinpoint_count; i++) {
        sides[2 * i] = config->pinpoints[i][1];
        sides[2 * i + 1] = config->pinpoints[i][0];
    }
    vlmp_gguf_put_i32s(keys, "clip.vision.image_grid_pinpoints", sides,
                       (size_t)config->pinpoint_count * 2);
    vlmp_gguf_put_string(keys, "clip.vision.mm_patch_merge_type", "spatial_unpad");
}

static void put_qwen(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    int every = vlmp_gguf_whole_every(&model->config->vision);
    vlmp_gguf_put_u32(keys, "clip.vision.spatial_merge_size", 2);
    if (every > 0) vlmp_gguf_put_u32(keys, "clip.vision.n_wa_pattern", (uint32_t)every);
}

static void put_idefics3(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    vlmp_gguf_put_u32(keys, "clip.vision.projector.scale_factor",
                      (uint32_t)model->config->projector.shuffle);
    vlmp_gguf_put_u32(keys, "clip.vision.preproc_image_size", (uint32_t)model->longest_edge);
}

static const struct {
    const char *type; /* vlmp_family.gguf */
    void (*put)(vlmp_gguf_keys *keys, const vlmp_gguf_model *model);
} projectors[] = {{"mlp", put_llava},
                  {"qwen2vl_merger", put_qwen},
                  {"qwen2.5vl_merger", put_qwen},
                  {"idefics3", put_idefics3}};

static void put_sizes(vlmp_gguf_keys *keys, const vlmp_config *config)
{
    const vlmp_vision_config *vision = &config->vision;
    const struct {
        const char *key;
        int value;
    } sizes[] = {
        {"clip.vision.image_size", vision->image_size > 0 ? vision->image_size : SAID_SIZE},
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
}

static void put_colours(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    float mean[3], std[3];
    for (int c = 0; c < 3; c++) {
        mean[c] = (float)model->image_mean[c];
        std[c] = (float)model->image_std[c];
    }
    vlmp_gguf_put_f32s(keys, "clip.vision.image_mean", mean, 3);
    vlmp_gguf_put_f32s(keys, "clip.vision.image_std", std, 3);
}

void vlmp_gguf_tower_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model)
{
    const char *type = model->config->family->gguf;
    vlmp_gguf_keys *keys = &plan->keys;
    vlmp_activation act = model->config->vision.act;
    vlmp_gguf_put_string(keys, "general.architecture", "clip");
    vlmp_gguf_put_string(keys, "general.type", "mmproj");
    vlmp_gguf_put_string(keys, "general.name", model->name);
    vlmp_gguf_put_u32(keys, "general.file_type", vlmp_gguf_file_type(plan));
    vlmp_gguf_put_u32(keys, "general.quantization_version", 2);
    vlmp_gguf_put_bool(keys, "clip.has_vision_encoder", true);
    vlmp_gguf_put_string(keys, "clip.projector_type", type);
    vlmp_gguf_put_bool(keys, "clip.use_gelu", act == VLMP_GELU || act == VLMP_GELU_TANH);
    vlmp_gguf_put_bool(keys, "clip.use_silu", act == VLMP_SILU);
    put_sizes(keys, model->config);
    put_colours(keys, model);
    for (size_t i = 0; i < sizeof projectors / sizeof *projectors; i++)
        if (strcmp(projectors[i].type, type) == 0) projectors[i].put(keys, model);
}
