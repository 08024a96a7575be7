#include "src/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void vision_pixels_to_patches(const vlmp_model *model, const float *pixels, int tiles,
                                     float *patches)
{
    int size = model->config.vision.image_size, patch = model->config.vision.patch_size;
    int side = size / patch;
    for (int t = 0; t < tiles; t++)
        for (int py = 0; py < side; py++)
            for (int px = 0; px < side; px++)
                for (int c = 0; c < 3; c++)
                    for (int y = 0; y < patch; y++) {
                        const float *row = pixels +
                                           (((size_t)t * 3 + (size_t)c) * (size_t)size +
                                            (size_t)(py * patch + y)) *
                                               (size_t)size +
                                           (size_t)(px * patch);
                        memcpy(patches, row, (size_t)patch * sizeof *patches);
                        patches += patch;
                    }
}

void vlmp_vision_embed(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_vision_input *input,
                       const float *pixels, int tiles, float *patches, float *projected, float *x)
{
    size_t hidden = (size_t)model->config.vision.hidden;
    vision_pixels_to_patches(model, pixels, tiles, patches);
    ctx->ops->linear(ctx, projected, patches, tiles * model->patches, &input->patch);
    for (int t = 0; t < tiles; t++) {
        float *out = x + (size_t)t * (size_t)model->tile_rows * hidden;
        float *row = out;
        if (input->class_row != NULL) {
            memcpy(row, input->class_row, hidden * sizeof *row);
            row += hidden;
        }
        size_t patch_values = (size_t)model->patches * hidden;
        memcpy(row, projected + (size_t)t * patch_values, patch_values * sizeof *row);
        ctx->ops->add(ctx, out, input->position, (size_t)model->tile_rows * hidden);
    }
    ctx->ops->layer_norm(ctx, x, x, tiles * model->tile_rows, (int)hidden, input->pre_norm,
                         input->pre_norm_bias, model->config.vision.norm_eps);
}

void vlmp_project(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_projector *projector,
                  const float *features, int rows, float *hidden, float *out)
{
    ctx->ops->linear(ctx, hidden, features, rows, &projector->first);
    ctx->ops->activate(ctx, hidden, (size_t)rows * (size_t)projector->first.n,
                       model->config.projector.act);
    ctx->ops->linear(ctx, out, hidden, rows, &projector->second);
}

struct linear_list {
    vlmp_linear_info *items;
    int count;
};

static void list_linear(struct linear_list *list, vlmp_component component, int layer,
                        vlmp_site site, int n, int k, const char *name)
{
    vlmp_linear_info *info = &list->items[list->count++];
    *info =
        (vlmp_linear_info){.component = component, .layer = layer, .site = site, .n = n, .k = k};
    if (layer < 0)
        snprintf(info->name, sizeof info->name, "%s", name);
    else
        snprintf(info->name, sizeof info->name, "%s.layers.%d.%s",
                 component == VLMP_COMPONENT_VISION ? "vision" : "text", layer, name);
}

static void list_stack(struct linear_list *list, const vlmp_stack *stack, vlmp_component component)
{
    const vlmp_block_shape *shape = &stack->shape;
    int q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim;
    for (int i = 0; i < stack->layers; i++) {
        list_linear(list, component, i, VLMP_SITE_ATTN_IN, q, shape->dim, "attn.q");
        list_linear(list, component, i, VLMP_SITE_ATTN_IN, kv, shape->dim, "attn.k");
        list_linear(list, component, i, VLMP_SITE_ATTN_IN, kv, shape->dim, "attn.v");
        list_linear(list, component, i, VLMP_SITE_ATTN_OUT, shape->dim, q, "attn.o");
        if (shape->gated)
            list_linear(list, component, i, VLMP_SITE_MLP_IN, shape->intermediate, shape->dim,
                        "mlp.gate");
        list_linear(list, component, i, VLMP_SITE_MLP_IN, shape->intermediate, shape->dim,
                    shape->gated ? "mlp.up" : "mlp.fc1");
        list_linear(list, component, i, VLMP_SITE_MLP_OUT, shape->dim, shape->intermediate,
                    shape->gated ? "mlp.down" : "mlp.fc2");
    }
}

int vlmp_model_linears(const vlmp_model *model, vlmp_linear_info **out, int *count, vlmp_error *err)
{
    const vlmp_config *config = &model->config;
    int text = config->text.hidden;
    size_t capacity = 7 * (size_t)(model->vision.layers + model->text.layers) + 4;
    struct linear_list list = {.items = vlmp_calloc(capacity, sizeof *list.items)};
    if (list.items == NULL) return vlmp_fail_memory(err, "list of linears");
    list_stack(&list, &model->vision, VLMP_COMPONENT_VISION);
    list_linear(&list, VLMP_COMPONENT_PROJECTOR, -1, 0, text,
                config->vision.hidden * config->vision.feature_count, "projector.0");
    list_linear(&list, VLMP_COMPONENT_PROJECTOR, -1, 0, text, text, "projector.1");
    list_linear(&list, VLMP_COMPONENT_EMBED, -1, 0, config->text.vocab, text, "text.embed");
    list_stack(&list, &model->text, VLMP_COMPONENT_TEXT);
    if (!config->text.tied)
        list_linear(&list, VLMP_COMPONENT_HEAD, -1, 0, config->text.vocab, text, "text.head");
    *out = list.items;
    *count = list.count;
    return VLMP_OK;
}
