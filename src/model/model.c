#include "src/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/check.h"
#include "src/model/family.h"

static int open_rest(vlmp_model *model, vlmp_error *err)
{
    vlmp_source *source = model->source;
    vlmp_text_config *text = &model->config.text;
    VLMP_TRY(vlmp_stop_tokens_read(&model->stop, source, text->vocab, err));
    VLMP_TRY(vlmp_check_head(source, text->tied, err));
    /* A head that is stored again is used as it is stored: one of the two may be quantized. */
    text->tied = source->find(source, "text.head.weight") == NULL &&
                 source->scheme(source, "text.head") == NULL;
    model->inv_freq = vlmp_alloc((size_t)text->head_dim / 2, sizeof *model->inv_freq);
    if (model->inv_freq == NULL) return vlmp_fail_memory(err, "RoPE frequencies");
    vlmp_rope_frequencies(&text->rope, text->head_dim, model->inv_freq);
    return VLMP_OK;
}

int vlmp_model_open(vlmp_model *model, vlmp_source *source, vlmp_error *err)
{
    *model = (vlmp_model){.source = source};
    size_t length;
    const char *json = source->file(source, "config.json", &length);
    if (json == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json; is this a Hugging Face model folder?", source->path);
    char where[4200];
    snprintf(where, sizeof where, "%s/config.json", source->path);
    VLMP_TRY(vlmp_config_read(&model->config, json, length, where, err));
    VLMP_TRY(open_rest(model, err));
    const vlmp_vision_config *vision = &model->config.vision;
    const vlmp_text_config *text = &model->config.text;
    model->vision = (vlmp_stack){
        .prefix = "vision",
        .layers = vision->run_layers,
        .shape = {.norm = VLMP_NORM_LAYER,
                  .norm_eps = vision->norm_eps,
                  .dim = vision->hidden,
                  .heads = vision->heads,
                  .kv_heads = vision->heads,
                  .head_dim = vision->head_dim,
                  .intermediate = vision->intermediate,
                  .act = vision->act},
    };
    model->text = (vlmp_stack){
        .prefix = "text",
        .layers = text->layers,
        .shape = {.norm = VLMP_NORM_RMS,
                  .norm_eps = text->norm_eps,
                  .dim = text->hidden,
                  .heads = text->heads,
                  .kv_heads = text->kv_heads,
                  .head_dim = text->head_dim,
                  .intermediate = text->intermediate,
                  .gated = true,
                  .act = text->act,
                  .causal = true,
                  .inv_freq = model->inv_freq},
    };
    int side = vision->image_size / vision->patch_size;
    model->patches = side * side;
    model->tile_rows = model->patches + (vision->has_class ? 1 : 0);
    model->tile_tokens = vlmp_tile_tokens(&model->config);
    return vlmp_check_tensors(model, err);
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
    vlmp_stop_tokens_free(&model->stop);
    *model = (vlmp_model){0};
}
