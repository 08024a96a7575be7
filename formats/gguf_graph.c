#include "formats/gguf_graph.h"

#include <string.h>

#include "src/model/family.h"

#define WINDOW_SIDE 112 /* pixels */

static int check_llava(const vlmp_config *config, vlmp_error *err)
{
    if (config->projector.act != VLMP_GELU)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the projector's activation is not gelu, as llama.cpp's 'mlp' has it");
    for (int i = 1; i < config->vision.feature_count; i++)
        if (config->vision.feature_layers[i - 1] >= config->vision.feature_layers[i])
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "'vision_feature_layer' is not in ascending order, in which llama.cpp "
                             "takes the layers");
    if (config->vision.drop_first) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "vision_feature_select_strategy 'full' keeps the class row; llama.cpp "
                     "drops it");
}

int vlmp_gguf_whole_every(const vlmp_vision_config *vision)
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
    if (vlmp_gguf_whole_every(vision) < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "'fullatt_block_indexes' are not every n-th layer, which is all that "
                         "llama.cpp's graph of the tower knows");
    if (vision->window == 0 || vision->window == side) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "the tower's windows are of %d patches a side; llama.cpp's are of %d pixels, "
                     "which are %d",
                     vision->window, WINDOW_SIDE, side);
}

static int check_activation(const vlmp_config *config, vlmp_error *err)
{
    vlmp_activation act = config->vision.act;
    if (act == VLMP_QUICK_GELU || act == VLMP_GELU || act == VLMP_GELU_TANH || act == VLMP_SILU)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "the tower's activation is relu; llama.cpp knows quick "
                     "gelu, gelu and silu");
}

int vlmp_gguf_check_graph(const vlmp_config *config, vlmp_error *err)
{
    const char *type = config->family->gguf;
    if (strcmp(type, "mlp") == 0)
        VLMP_TRY(check_llava(config, err));
    else if (strcmp(type, "idefics3") != 0)
        VLMP_TRY(check_qwen(config, err));
    return check_activation(config, err);
}
