#include "src/model/linears.h"

#include <stdio.h>

#include "src/base/memory.h"

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
    list_linear(&list, VLMP_COMPONENT_PROJECTOR, -1, 0, text, vlmp_feature_width(config),
                "projector.0");
    if (config->projector.linears > 1)
        list_linear(&list, VLMP_COMPONENT_PROJECTOR, -1, 0, text, text, "projector.1");
    list_linear(&list, VLMP_COMPONENT_EMBED, -1, 0, config->text.vocab, text, "text.embed");
    list_stack(&list, &model->text, VLMP_COMPONENT_TEXT);
    if (!config->text.tied)
        list_linear(&list, VLMP_COMPONENT_HEAD, -1, 0, config->text.vocab, text, "text.head");
    *out = list.items;
    *count = list.count;
    return VLMP_OK;
}
