#include "src/model/linears.h"

#include <stdio.h>
#include <string.h>

#include "src/base/memory.h"

const char *vlmp_component_name(vlmp_component component)
{
    static const char *const names[VLMP_COMPONENTS] = {"vision", "projector", "embed", "text",
                                                       "head"};
    return names[component];
}

/* The name is `prefix`, or goes on behind a dot. */
static bool is_in(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && (name[length] == '.' || name[length] == '\0');
}

vlmp_component vlmp_component_of(const char *name)
{
    if (is_in(name, "vision")) return VLMP_COMPONENT_VISION;
    if (is_in(name, "text.embed")) return VLMP_COMPONENT_EMBED;
    if (is_in(name, "text.head")) return VLMP_COMPONENT_HEAD;
    if (is_in(name, "text")) return VLMP_COMPONENT_TEXT;
    return VLMP_COMPONENT_PROJECTOR;
}

struct linear_list {
    vlmp_linear_info *items;
    int count;
};

static vlmp_linear_info *list_linear(struct linear_list *list, vlmp_component component, int n,
                                     int k, const char *name)
{
    vlmp_linear_info *info = &list->items[list->count++];
    *info = (vlmp_linear_info){.component = component, .layer = -1, .n = n, .k = k};
    snprintf(info->name, sizeof info->name, "%s", name);
    return info;
}

/* What scales of a site can be folded into: what an activation precedes cannot take any. */
static const char *before_site(const vlmp_stack *stack, vlmp_site site)
{
    const vlmp_block_shape *shape = &stack->shape;
    switch (site) {
    case VLMP_SITE_ATTN_IN:
        return stack->norm_names[0];
    case VLMP_SITE_MLP_IN:
        return stack->norm_names[1];
    case VLMP_SITE_ATTN_OUT:
        return shape->fused_qkv ? "attn.qkv" : "attn.v";
    default:
        return shape->gated ? "mlp.up" : NULL;
    }
}

static void list_block(struct linear_list *list, const vlmp_stack *stack, vlmp_component component,
                       int layer)
{
    const vlmp_block_shape *shape = &stack->shape;
    int q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim;
    int dim = shape->dim, inner = shape->intermediate;
    const struct {
        const char *name;
        vlmp_site site;
        int n, k;
        bool there;
    } linears[] = {
        {"attn.qkv", VLMP_SITE_ATTN_IN, q + 2 * kv, dim, shape->fused_qkv},
        {"attn.q", VLMP_SITE_ATTN_IN, q, dim, !shape->fused_qkv},
        {"attn.k", VLMP_SITE_ATTN_IN, kv, dim, !shape->fused_qkv},
        {"attn.v", VLMP_SITE_ATTN_IN, kv, dim, !shape->fused_qkv},
        {"attn.o", VLMP_SITE_ATTN_OUT, dim, q, true},
        {"mlp.gate", VLMP_SITE_MLP_IN, inner, dim, shape->gated},
        {shape->gated ? "mlp.up" : "mlp.fc1", VLMP_SITE_MLP_IN, inner, dim, true},
        {shape->gated ? "mlp.down" : "mlp.fc2", VLMP_SITE_MLP_OUT, dim, inner, true},
    };
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        char name[VLMP_NAME_MAX];
        if (!linears[i].there) continue;
        snprintf(name, sizeof name, "%s.layers.%d.%s", stack->prefix, layer, linears[i].name);
        vlmp_linear_info *info = list_linear(list, component, linears[i].n, linears[i].k, name);
        info->layer = layer;
        info->site = linears[i].site;
        info->before = before_site(stack, info->site);
        info->before_is_norm = info->site == VLMP_SITE_ATTN_IN || info->site == VLMP_SITE_MLP_IN;
    }
}

int vlmp_model_linears(const vlmp_model *model, vlmp_linear_info **out, int *count, vlmp_error *err)
{
    const vlmp_config *config = &model->config;
    int text = config->text.hidden;
    size_t capacity = 7 * (size_t)(model->vision.layers + model->text.layers) + 4;
    capacity += 2 * (size_t)config->vision.tap_count;
    struct linear_list list = {.items = vlmp_calloc(capacity, sizeof *list.items)};
    if (list.items == NULL) return vlmp_fail_memory(err, "list of linears");
    for (int i = 0; i < model->vision.layers; i++)
        list_block(&list, &model->vision, VLMP_COMPONENT_VISION, i);
    int inner = config->projector.linears > 1 ? config->projector.inner : text;
    list_linear(&list, VLMP_COMPONENT_PROJECTOR, inner, vlmp_feature_width(config), "projector.0");
    if (config->projector.linears > 1)
        list_linear(&list, VLMP_COMPONENT_PROJECTOR, text, inner, "projector.1");
    for (int t = 0; t < config->vision.tap_count; t++) {
        char name[VLMP_NAME_MAX];
        snprintf(name, sizeof name, "projector.taps.%d.0", t);
        list_linear(&list, VLMP_COMPONENT_PROJECTOR, inner, vlmp_feature_width(config), name);
        snprintf(name, sizeof name, "projector.taps.%d.1", t);
        list_linear(&list, VLMP_COMPONENT_PROJECTOR, text, inner, name);
    }
    list_linear(&list, VLMP_COMPONENT_EMBED, config->text.vocab, text, "text.embed");
    for (int i = 0; i < model->text.layers; i++)
        list_block(&list, &model->text, VLMP_COMPONENT_TEXT, i);
    if (!config->text.tied)
        list_linear(&list, VLMP_COMPONENT_HEAD, config->text.vocab, text, "text.head");
    *out = list.items;
    *count = list.count;
    return VLMP_OK;
}
