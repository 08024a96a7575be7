#include "src/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/check.h"
#include "src/model/family.h"
#include "src/model/weights.h"

/* Each section of pairs turns by an axis of its own; without sections all turn by the first. */
static int make_text_rope(vlmp_model *model, vlmp_error *err)
{
    const vlmp_text_config *text = &model->config.text;
    size_t half = (size_t)text->head_dim / 2, pair = 0;
    model->inv_freq = vlmp_alloc(half, sizeof *model->inv_freq);
    if (model->inv_freq == NULL) return vlmp_fail_memory(err, "RoPE frequencies");
    vlmp_rope_frequencies(&text->rope, text->head_dim, model->inv_freq);
    if (text->sections[0] == 0) return VLMP_OK;
    model->axes = vlmp_alloc(half, sizeof *model->axes);
    if (model->axes == NULL) return vlmp_fail_memory(err, "RoPE axes");
    for (; text->interleaved && pair < half; pair++) {
        int axis = (int)(pair % VLMP_POSITION_AXES);
        bool reached = pair < VLMP_POSITION_AXES * (size_t)text->sections[axis];
        model->axes[pair] = reached ? axis : 0;
    }
    for (int32_t axis = 0; !text->interleaved && axis < VLMP_POSITION_AXES; axis++)
        for (int i = 0; i < text->sections[axis]; i++)
            model->axes[pair++] = axis;
    return VLMP_OK;
}

/* The first half of a head's pairs turns by the patch's row, the second, at the same frequencies,
 * by its column. */
static int make_vision_rope(vlmp_model *model, vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    size_t half = (size_t)vision->head_dim / 2;
    model->vision_inv_freq = vlmp_alloc(half, sizeof *model->vision_inv_freq);
    model->vision_axes = vlmp_alloc(half, sizeof *model->vision_axes);
    if (model->vision_inv_freq == NULL || model->vision_axes == NULL)
        return vlmp_fail_memory(err, "RoPE frequencies of the tower");
    const vlmp_rope_config rope = {.theta = vision->rope_theta, .factor = 1};
    vlmp_rope_frequencies(&rope, vision->head_dim / 2, model->vision_inv_freq);
    memcpy(model->vision_inv_freq + half / 2, model->vision_inv_freq,
           half / 2 * sizeof *model->vision_inv_freq);
    for (size_t i = 0; i < half; i++)
        model->vision_axes[i] = i < half / 2 ? 1 : 2;
    return VLMP_OK;
}

static int open_rest(vlmp_model *model, vlmp_error *err)
{
    vlmp_source *source = model->source;
    vlmp_text_config *text = &model->config.text;
    VLMP_TRY(vlmp_stop_tokens_read(&model->stop, source, text->vocab, err));
    VLMP_TRY(vlmp_check_head(source, text->tied, err));
    /* A head that is stored again is used as it is stored: one of the two may be quantized. */
    text->tied = source->find(source, "text.head.weight") == NULL &&
                 source->scheme(source, "text.head") == NULL;
    VLMP_TRY(make_text_rope(model, err));
    return model->config.vision.rope_theta > 0 ? make_vision_rope(model, err) : VLMP_OK;
}

/* The two rows of blocks, as the configuration describes them. */
static void set_stacks(vlmp_model *model)
{
    const vlmp_vision_config *vision = &model->config.vision;
    const vlmp_text_config *text = &model->config.text;
    model->vision = (vlmp_stack){
        .prefix = "vision",
        .norm_names = {"norm1", "norm2"},
        .layers = vision->run_layers,
        .shape = {.norm = vision->norm,
                  .norm_eps = vision->norm_eps,
                  .dim = vision->hidden,
                  .heads = vision->heads,
                  .kv_heads = vision->heads,
                  .head_dim = vision->head_dim,
                  .intermediate = vision->intermediate,
                  .gated = vision->gated,
                  .fused_qkv = vision->fused_qkv,
                  .qkv_bias = true,
                  .o_bias = true,
                  .mlp_bias = true,
                  .act = vision->act,
                  .inv_freq = model->vision_inv_freq,
                  .axes = model->vision_axes},
    };
    model->text = (vlmp_stack){
        .prefix = "text",
        .norm_names = {"attn_norm", "mlp_norm"},
        .layers = text->layers,
        .shape = {.norm = VLMP_NORM_RMS,
                  .norm_eps = text->norm_eps,
                  .dim = text->hidden,
                  .heads = text->heads,
                  .kv_heads = text->kv_heads,
                  .head_dim = text->head_dim,
                  .intermediate = text->intermediate,
                  .gated = true,
                  .qk_norm = text->qk_norm,
                  .qkv_bias = text->qkv_bias,
                  .o_bias = text->o_bias,
                  .mlp_bias = text->mlp_bias,
                  .act = text->act,
                  .causal = true,
                  .inv_freq = model->inv_freq,
                  .axes = model->axes},
    };
}

/* What follows from the configuration of a family that runs. */
static int open_known(vlmp_model *model, vlmp_error *err)
{
    VLMP_TRY(open_rest(model, err));
    set_stacks(model);
    return vlmp_check_tensors(model, err);
}

static int read_config(vlmp_model *model, vlmp_source *source, vlmp_error *err)
{
    *model = (vlmp_model){.source = source};
    size_t length;
    const char *json = source->file(source, "config.json", &length);
    if (json == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json; is this a Hugging Face model folder?", source->path);
    char where[4200];
    snprintf(where, sizeof where, "%s/config.json", source->path);
    return vlmp_config_read(&model->config, json, length, where, err);
}

int vlmp_model_open_weights(vlmp_model *model, vlmp_source *source, vlmp_error *err)
{
    VLMP_TRY(read_config(model, source, err));
    return vlmp_family_runs(model->config.family) ? open_known(model, err) : VLMP_OK;
}

int vlmp_model_open(vlmp_model *model, vlmp_source *source, vlmp_error *err)
{
    VLMP_TRY(read_config(model, source, err));
    if (vlmp_family_runs(model->config.family)) return open_known(model, err);
    char types[512];
    vlmp_family_types(types, sizeof types);
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s/config.json: models of type '%s' are not run here (these are: %s); their "
        "weights alone can be quantized, with vlm-quantize --data-free --method rtn or "
        "int8",
        source->path, model->config.model_type, types);
}

int vlmp_model_tensors(const vlmp_config *config, vlmp_tensor_visit *visit, void *arg,
                       vlmp_error *err)
{
    vlmp_model model = {.config = *config};
    set_stacks(&model);
    return vlmp_list_tensors(&model, visit, arg, err);
}

int vlmp_model_fail_not_finite(const vlmp_model *model, const char *place, float value,
                               const char *data, int line, vlmp_error *err)
{
    char sample[1024] = "";
    if (line > 0 && data != NULL)
        snprintf(sample, sizeof sample, " for %.900s:%d", data, line);
    else if (line > 0)
        snprintf(sample, sizeof sample, " for the sample of line %d", line);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %s gives %s%s; its weights are damaged, or what they compute exceeds F32",
                     model->source->path, place,
                     isnan(value) ? "infinity (and from it NaN)" : "infinity", sample);
}

void vlmp_model_close(vlmp_model *model)
{
    free(model->inv_freq);
    free(model->vision_inv_freq);
    free(model->axes);
    free(model->vision_axes);
    vlmp_stop_tokens_free(&model->stop);
    *model = (vlmp_model){0};
}
