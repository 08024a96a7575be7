/* The keys of the file that holds the tower and the projector ("mmproj"). */
#include <string.h>

#include "formats/export_gguf.h"
#include "src/model/family.h"

#define SAID_SIZE   560 /* pixels a side that llama.cpp's converter writes where pictures have any \
                         */
#define WINDOW_SIDE 112 /* pixels, fixed in llama.cpp's graph */

/* What llama.cpp computes after the tower's layers. */
typedef struct {
    const char *type; /* vlmp_family.gguf */
    int (*check)(const vlmp_config *config, vlmp_error *err);
    void (*put)(vlmp_gguf_keys *keys, const vlmp_gguf_model *model);
} graph;

static int check_llava(const vlmp_config *config, vlmp_error *err)
{
    if (config->projector.act != VLMP_GELU)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the projector's activation is not gelu, as llama.cpp's 'mlp' has it");
    if (config->vision.drop_first) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "vision_feature_select_strategy 'full' keeps the class row; llama.cpp "
                     "drops it");
}

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

/* Layers that see all of a picture come every so many; 0: all do. −1: there is no such number. */
static int whole_every(const vlmp_vision_config *vision)
{
    int every = 0;
    if (vision->window == 0) return 0;
    while (every < vision->layers && !vision->whole[every])
        every++;
    every++;
    for (int i = 0; i < vision->layers; i++)
        if (vision->whole[i] != ((i + 1) % every == 0)) return -1;
    return every;
}

static int check_qwen(const vlmp_config *config, vlmp_error *err)
{
    const vlmp_vision_config *vision = &config->vision;
    int side = WINDOW_SIDE / vision->patch_size / 2 * 2; /* patches */
    if (vision->merge != 2 || vision->frames != 2 || vision->rope_theta != 10000)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "llama.cpp's graph of the tower has squares of 2 x 2 patches, patches of 2 "
            "frames and a RoPE base of 10000; this model has %d, %d and %g",
            vision->merge, vision->frames, vision->rope_theta);
    if (whole_every(vision) < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "'fullatt_block_indexes' are not every n-th layer, which is all that "
                         "llama.cpp's graph of the tower knows");
    if (vision->window == 0 || vision->window == side) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "the tower's windows are of %d patches a side; llama.cpp's are of %d pixels, "
                     "which are %d",
                     vision->window, WINDOW_SIDE, side);
}

static void put_qwen(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    int every = whole_every(&model->config->vision);
    vlmp_gguf_put_u32(keys, "clip.vision.spatial_merge_size", 2);
    if (every > 0) vlmp_gguf_put_u32(keys, "clip.vision.n_wa_pattern", (uint32_t)every);
}

static int check_idefics3(const vlmp_config *config, vlmp_error *err)
{
    (void)config, (void)err;
    return VLMP_OK;
}

static void put_idefics3(vlmp_gguf_keys *keys, const vlmp_gguf_model *model)
{
    vlmp_gguf_put_u32(keys, "clip.vision.projector.scale_factor",
                      (uint32_t)model->config->projector.shuffle);
    vlmp_gguf_put_u32(keys, "clip.vision.preproc_image_size", (uint32_t)model->longest_edge);
}

static const graph graphs[] = {{"mlp", check_llava, put_llava},
                               {"qwen2vl_merger", check_qwen, put_qwen},
                               {"qwen2.5vl_merger", check_qwen, put_qwen},
                               {"idefics3", check_idefics3, put_idefics3}};

static int check_activation(const vlmp_config *config, vlmp_error *err)
{
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

int vlmp_gguf_tower_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model, vlmp_error *err)
{
    const graph *g = graphs;
    while (strcmp(g->type, model->config->family->gguf) != 0)
        g++; /* vlmp_export_check_family has seen to it */
    VLMP_TRY(g->check(model->config, err));
    VLMP_TRY(check_activation(model->config, err));
    vlmp_gguf_keys *keys = &plan->keys;
    vlmp_activation act = model->config->vision.act;
    vlmp_gguf_put_string(keys, "general.architecture", "clip");
    vlmp_gguf_put_string(keys, "general.type", "mmproj");
    vlmp_gguf_put_string(keys, "general.name", model->name);
    vlmp_gguf_put_u32(keys, "general.file_type", vlmp_gguf_file_type(plan));
    vlmp_gguf_put_u32(keys, "general.quantization_version", 2);
    vlmp_gguf_put_bool(keys, "clip.has_vision_encoder", true);
    vlmp_gguf_put_string(keys, "clip.projector_type", g->type);
    vlmp_gguf_put_bool(keys, "clip.use_gelu", act == VLMP_GELU || act == VLMP_GELU_TANH);
    vlmp_gguf_put_bool(keys, "clip.use_silu", act == VLMP_SILU);
    put_sizes(keys, model->config);
    put_colours(keys, model);
    g->put(keys, model);
    return VLMP_OK;
}
