/* Names of tensors in architectures that are not run here. The decoder's blocks and ends get the
 * names that they have in every family, so that a recipe's rules for components and layers hold;
 * what else there is keeps its own name behind the component's. */
#include "src/model/family_other.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/model/family.h"

/* Where decoders stand in checkpoints, longest first. */
static const char *const decoders[] = {
    "model.language_model.model.",
    "language_model.transformer.",
    "model.language_model.",
    "language_model.model.",
    "model.text_model.",
    "language_model.",
    "transformer.",
    "llm.model.",
    "model.",
};

/* What stands behind that, and its name in all families. */
static const struct {
    const char *source, *canonical;
} decoder_parts[] = {
    {"layers.", "text.layers."},      {"h.", "text.layers."},  {"blocks.", "text.layers."},
    {"embed_tokens.", "text.embed."}, {"wte.", "text.embed."}, {"norm.", "text.norm."},
    {"ln_f.", "text.norm."},
};

static const char *const heads[] = {
    "lm_head.",     "language_model.lm_head.", "model.lm_head.",
    "llm.lm_head.", "language_model.output.",  "output.",
};

/* Parts of names, the first that is found decides. */
static const struct {
    const char *part, *component;
} regions[] = {
    {"audio", "audio."},          {"speech", "audio."},         {"talker", "audio."},
    {"token2wav", "audio."},      {"projector", "projector."},  {"projection_layer", "projector."},
    {"connector", "projector."},  {"merger", "projector."},     {"aligner", "projector."},
    {"resampler", "projector."},  {"perceiver", "projector."},  {"img_projection", "projector."},
    {"mlp1.", "projector."},      {"vision", "vision."},        {"visual", "vision."},
    {"image_encoder", "vision."}, {"img_processor", "vision."}, {"siglip", "vision."},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

static bool is_decoder_part(const char *name, const char **prefix, const char **rest)
{
    for (size_t i = 0; i < COUNT(decoders); i++) {
        if (!starts_with(name, decoders[i])) continue;
        const char *tail = name + strlen(decoders[i]);
        for (size_t k = 0; k < COUNT(decoder_parts); k++) {
            if (!starts_with(tail, decoder_parts[k].source)) continue;
            *prefix = decoder_parts[k].canonical;
            *rest = tail + strlen(decoder_parts[k].source);
            return true;
        }
        return false;
    }
    return false;
}

static vlmp_name_kind canonical_name(char out[VLMP_NAME_BYTES], const char *name)
{
    const char *prefix = "text.", *rest = name;
    bool found = is_decoder_part(name, &prefix, &rest);
    for (size_t i = 0; i < COUNT(heads) && !found; i++) {
        found = starts_with(name, heads[i]);
        if (found) prefix = "text.head.", rest = name + strlen(heads[i]);
    }
    for (size_t i = 0; i < COUNT(regions) && !found; i++) {
        found = strstr(name, regions[i].part) != NULL;
        if (found) prefix = regions[i].component;
    }
    /* with room for the names of its packed parts */
    const size_t room = VLMP_NAME_BYTES - sizeof ".scales";
    int length = snprintf(out, VLMP_NAME_BYTES, "%s%s", prefix, rest);
    return length < 0 || (size_t)length >= room ? VLMP_NAME_UNKNOWN : VLMP_NAME_KNOWN;
}

const vlmp_family vlmp_family_other = {
    .name = "other", .model_type = "", .canonical_name = canonical_name};

static bool has_any(const char *name, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(name, parts[i]) != NULL) return true;
    return false;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* Of a matrix: why it is no linear's weight, or NULL. */
static const char *kept_by_name(const char *name)
{
    static const char *const tables[] = {"embed", "position", "wpe", "relative_attention_bias",
                                         "codebook"};
    static const char *const routers[] = {".gate.weight", "router.weight",
                                          "shared_expert_gate.weight", "router.layer.weight"};
    static const char *const norms[] = {"norm.", "norm1.", "norm2.", "ln_"};
    static const char *const adapters[] = {"lora_", "loras."};
    if (starts_with(name, "audio.")) return "not for pictures or text";
    if (!ends_with(name, ".weight")) return "no linear's name";
    if (has_any(name, adapters, COUNT(adapters))) return "an adapter";
    if (has_any(name, norms, COUNT(norms))) return "a norm";
    for (size_t i = 0; i < COUNT(routers); i++)
        if (ends_with(name, routers[i])) return "a router";
    if (strcmp(name, "text.embed.weight") == 0) return NULL;
    const char *last = name + strlen(name) - strlen(".weight");
    while (last > name && last[-1] != '.')
        last--;
    return has_any(last, tables, COUNT(tables)) ? "a table" : NULL;
}

static vlmp_component component_of(const char *name)
{
    if (starts_with(name, "vision.")) return VLMP_COMPONENT_VISION;
    if (starts_with(name, "projector.")) return VLMP_COMPONENT_PROJECTOR;
    if (starts_with(name, "text.embed.")) return VLMP_COMPONENT_EMBED;
    return starts_with(name, "text.head.") ? VLMP_COMPONENT_HEAD : VLMP_COMPONENT_TEXT;
}

vlmp_tensor_role vlmp_tensor_role_of(const vlmp_tensor *tensor)
{
    const int64_t least = 32; /* the smallest group */
    vlmp_tensor_role role = {.component = component_of(tensor->name)};
    if (!vlmp_dtype_is_float(tensor->dtype))
        role.kept = "no floats";
    else if (tensor->rank != 2)
        role.kept = "no matrix";
    else if (tensor->shape[0] < least || tensor->shape[1] < least)
        role.kept = "a side below 32";
    else if (tensor->shape[0] > INT_MAX || tensor->shape[1] > INT_MAX)
        role.kept = "too large";
    else
        role.kept = kept_by_name(tensor->name);
    return role;
}

int vlmp_linears_by_name(const vlmp_source *source, vlmp_linear_info **out, int *count,
                         vlmp_error *err)
{
    size_t total = source->count(source);
    vlmp_linear_info *items = vlmp_calloc(total + 1, sizeof *items);
    if (items == NULL) return vlmp_fail_memory(err, "list of linears");
    *count = 0;
    for (size_t i = 0; i < total; i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        vlmp_tensor_role role = vlmp_tensor_role_of(tensor);
        if (role.kept != NULL) continue;
        vlmp_linear_info *info = &items[(*count)++];
        *info = (vlmp_linear_info){.component = role.component,
                                   .layer = -1,
                                   .n = (int)tensor->shape[0],
                                   .k = (int)tensor->shape[1]};
        snprintf(info->name, sizeof info->name, "%.*s", (int)vlmp_name_stem(tensor->name),
                 tensor->name);
    }
    *out = items;
    return VLMP_OK;
}
