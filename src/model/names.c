#include "src/model/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { VISION, PROJECTOR, NEWLINE, TEXT, HEAD, QWEN_VISION, QWEN_MERGER, QWEN_TEXT } region;

/* What may stand in front of a region's own names, longest first within a region. The layouts:
 *   A  transformers 4 (nearly all files on the hub)   language_model.model.layers…
 *   B  transformers ≥ 4.52, models built from scratch model.language_model.layers…
 *   C  transformers 5: as B, the tower without its inner vision_model
 *   D  base model alone (LlavaModel)                  language_model.layers…
 *   E  original LLaVA                                 model.layers…, model.mm_projector.0…
 *   F  Idefics3, SmolVLM                              model.text_model.layers… */
struct prefix {
    const char *text;
    region region;
};

static const struct prefix prefixes[] = {
    {"model.vision_tower.vision_tower.vision_model.", VISION},
    {"vision_tower.vision_tower.vision_model.", VISION},
    {"model.vision_tower.vision_model.", VISION},
    {"vision_tower.vision_model.", VISION},
    {"model.vision_tower.", VISION},
    {"model.vision_model.", VISION},
    {"vision_tower.", VISION},
    {"vision_model.", VISION},
    {"model.multi_modal_projector.", PROJECTOR},
    {"multi_modal_projector.", PROJECTOR},
    {"model.mm_projector.", PROJECTOR},
    {"mm_projector.", PROJECTOR},
    {"model.connector.modality_projection.", PROJECTOR},
    {"connector.modality_projection.", PROJECTOR},
    {"model.image_newline", NEWLINE},
    {"image_newline", NEWLINE},
    {"model.language_model.lm_head.", HEAD},
    {"language_model.lm_head.", HEAD},
    {"lm_head.", HEAD},
    {"model.language_model.model.", TEXT},
    {"model.language_model.", TEXT},
    {"language_model.model.", TEXT},
    {"language_model.", TEXT},
    {"model.text_model.", TEXT},
    {"text_model.", TEXT},
    {"model.", TEXT},
};

/* Qwen-VL: of transformers ≥ 4.52, before, and of the base model alone. */
static const struct prefix qwen_prefixes[] = {
    {"model.visual.merger.", QWEN_MERGER},
    {"visual.merger.", QWEN_MERGER},
    {"model.visual.", QWEN_VISION},
    {"visual.", QWEN_VISION},
    {"lm_head.", HEAD},
    {"model.language_model.", QWEN_TEXT},
    {"language_model.", QWEN_TEXT},
    {"model.", QWEN_TEXT},
};

/* One row a place in the model, in order of computation. '#' is a layer number. Rows of one group
 * repeat layer by layer. A bare row is a parameter of its own, the others have .weight and .bias.
 */
static const struct {
    const char *canonical;
    region region;
    const char *source; /* behind the prefix */
    unsigned char group;
    bool bare;
} places[] = {
    {"vision.embed", VISION, "embeddings.patch_embedding", 0, false},
    {"vision.embed", QWEN_VISION, "patch_embed.proj", 0, false},
    {"vision.class", VISION, "embeddings.class_embedding", 0, true},
    {"vision.position", VISION, "embeddings.position_embedding", 0, false},
    {"vision.position", QWEN_VISION, "pos_embed", 0, false},
    {"vision.pre_norm", VISION, "pre_layrnorm", 0, false}, /* the spelling of the source */
    {"vision.layers.#.norm1", VISION, "encoder.layers.#.layer_norm1", 1, false},
    {"vision.layers.#.norm1", QWEN_VISION, "blocks.#.norm1", 1, false},
    {"vision.layers.#.attn.qkv", QWEN_VISION, "blocks.#.attn.qkv", 1, false},
    {"vision.layers.#.attn.q", VISION, "encoder.layers.#.self_attn.q_proj", 1, false},
    {"vision.layers.#.attn.k", VISION, "encoder.layers.#.self_attn.k_proj", 1, false},
    {"vision.layers.#.attn.v", VISION, "encoder.layers.#.self_attn.v_proj", 1, false},
    {"vision.layers.#.attn.o", VISION, "encoder.layers.#.self_attn.out_proj", 1, false},
    {"vision.layers.#.attn.o", QWEN_VISION, "blocks.#.attn.proj", 1, false},
    {"vision.layers.#.norm2", VISION, "encoder.layers.#.layer_norm2", 1, false},
    {"vision.layers.#.norm2", QWEN_VISION, "blocks.#.norm2", 1, false},
    {"vision.layers.#.mlp.fc1", VISION, "encoder.layers.#.mlp.fc1", 1, false},
    {"vision.layers.#.mlp.fc1", QWEN_VISION, "blocks.#.mlp.fc1", 1, false},
    {"vision.layers.#.mlp.fc1", QWEN_VISION, "blocks.#.mlp.linear_fc1", 1, false},
    {"vision.layers.#.mlp.fc2", VISION, "encoder.layers.#.mlp.fc2", 1, false},
    {"vision.layers.#.mlp.fc2", QWEN_VISION, "blocks.#.mlp.fc2", 1, false},
    {"vision.layers.#.mlp.fc2", QWEN_VISION, "blocks.#.mlp.linear_fc2", 1, false},
    {"vision.layers.#.mlp.gate", QWEN_VISION, "blocks.#.mlp.gate_proj", 1, false},
    {"vision.layers.#.mlp.up", QWEN_VISION, "blocks.#.mlp.up_proj", 1, false},
    {"vision.layers.#.mlp.down", QWEN_VISION, "blocks.#.mlp.down_proj", 1, false},
    {"vision.post_norm", VISION, "post_layernorm", 2, false},
    {"vision.post_norm", QWEN_MERGER, "ln_q", 2, false},
    {"vision.post_norm", QWEN_MERGER, "norm", 2, false},
    {"projector.0", PROJECTOR, "linear_1", 3, false},
    {"projector.0", PROJECTOR, "0", 3, false},
    {"projector.0", PROJECTOR, "proj", 3, false},
    {"projector.0", QWEN_MERGER, "mlp.0", 3, false},
    {"projector.0", QWEN_MERGER, "linear_fc1", 3, false},
    {"projector.1", PROJECTOR, "linear_2", 3, false},
    {"projector.1", PROJECTOR, "2", 3, false},
    {"projector.1", QWEN_MERGER, "mlp.2", 3, false},
    {"projector.1", QWEN_MERGER, "linear_fc2", 3, false},
    {"newline", NEWLINE, "", 3, true},
    {"projector.taps.#.norm", QWEN_VISION, "deepstack_merger_list.#.norm", 3, false},
    {"projector.taps.#.0", QWEN_VISION, "deepstack_merger_list.#.linear_fc1", 3, false},
    {"projector.taps.#.1", QWEN_VISION, "deepstack_merger_list.#.linear_fc2", 3, false},
    {"text.embed", TEXT, "embed_tokens", 4, false},
    {"text.layers.#.attn_norm", TEXT, "layers.#.input_layernorm", 5, false},
    {"text.layers.#.attn.q", TEXT, "layers.#.self_attn.q_proj", 5, false},
    {"text.layers.#.attn.q_norm", QWEN_TEXT, "layers.#.self_attn.q_norm", 5, false},
    {"text.layers.#.attn.k", TEXT, "layers.#.self_attn.k_proj", 5, false},
    {"text.layers.#.attn.k_norm", QWEN_TEXT, "layers.#.self_attn.k_norm", 5, false},
    {"text.layers.#.attn.v", TEXT, "layers.#.self_attn.v_proj", 5, false},
    {"text.layers.#.attn.o", TEXT, "layers.#.self_attn.o_proj", 5, false},
    {"text.layers.#.mlp_norm", TEXT, "layers.#.post_attention_layernorm", 5, false},
    {"text.layers.#.mlp.gate", TEXT, "layers.#.mlp.gate_proj", 5, false},
    {"text.layers.#.mlp.up", TEXT, "layers.#.mlp.up_proj", 5, false},
    {"text.layers.#.mlp.down", TEXT, "layers.#.mlp.down_proj", 5, false},
    {"text.norm", TEXT, "norm", 6, false},
    {"text.head", HEAD, "", 6, false},
};

#define PLACES ((int)(sizeof places / sizeof *places))

static const char *const leaves[] = {".weight", ".codes", ".codes2", ".codes1",
                                     ".scales", ".zeros", ".global", ".bias"};

#define LEAVES ((int)(sizeof leaves / sizeof *leaves))

bool vlmp_name_match(const char *pattern, const char *text, size_t length, int *layer)
{
    const char *end = text + length;
    *layer = -1;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '#') {
            if (text == end || *text++ != *pattern) return false;
            continue;
        }
        const char *first = text;
        int value = 0;
        while (text < end && *text >= '0' && *text <= '9' && text - first < 4)
            value = value * 10 + (*text++ - '0');
        if (text == first || (*first == '0' && text - first > 1)) return false;
        *layer = value;
    }
    return text == end;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

static int leaf_of(const char *name)
{
    for (int i = 0; i < LEAVES; i++)
        if (ends_with(name, leaves[i])) return i;
    return -1;
}

size_t vlmp_name_stem(const char *name)
{
    int leaf = leaf_of(name);
    return strlen(name) - (leaf < 0 ? 0 : strlen(leaves[leaf]));
}

void vlmp_name_fill(char *out, size_t capacity, const char *pattern, int layer, const char *leaf)
{
    const char *hole = strchr(pattern, '#');
    if (hole == NULL)
        snprintf(out, capacity, "%s%s", pattern, leaf);
    else
        snprintf(out, capacity, "%.*s%d%s%s", (int)(hole - pattern), pattern, layer, hole + 1,
                 leaf);
}

static vlmp_name_kind place_name(char out[VLMP_NAME_BYTES], region where, const char *tail)
{
    const char *leaf = ends_with(tail, "weight") ? "weight" : ends_with(tail, "bias") ? "bias" : "";
    size_t stem = strlen(tail) - strlen(leaf);
    if (*leaf != '\0' && stem > 0) stem = tail[stem - 1] == '.' ? stem - 1 : strlen(tail);
    for (int i = 0; i < PLACES; i++) {
        int layer;
        bool own = places[i].region == where || (where == QWEN_TEXT && places[i].region == TEXT);
        if (!own || places[i].bare != (*leaf == '\0')) continue;
        if (!vlmp_name_match(places[i].source, tail, stem, &layer)) continue;
        char suffix[8];
        snprintf(suffix, sizeof suffix, "%s%s", *leaf == '\0' ? "" : ".", leaf);
        vlmp_name_fill(out, VLMP_NAME_BYTES, places[i].canonical, layer, suffix);
        return VLMP_NAME_KNOWN;
    }
    return VLMP_NAME_UNKNOWN;
}

static vlmp_name_kind find_name(char out[VLMP_NAME_BYTES], const char *source_name,
                                const struct prefix *known, size_t count)
{
    if (ends_with(source_name, "position_ids") || ends_with(source_name, "inv_freq"))
        return VLMP_NAME_IGNORED;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(known[i].text);
        if (strncmp(source_name, known[i].text, length) == 0)
            return place_name(out, known[i].region, source_name + length);
    }
    return place_name(out, TEXT, source_name);
}

vlmp_name_kind vlmp_checkpoint_name(char out[VLMP_NAME_BYTES], const char *source_name)
{
    return find_name(out, source_name, prefixes, sizeof prefixes / sizeof *prefixes);
}

vlmp_name_kind vlmp_qwen_vl_name(char out[VLMP_NAME_BYTES], const char *source_name)
{
    return find_name(out, source_name, qwen_prefixes, sizeof qwen_prefixes / sizeof *qwen_prefixes);
}

bool vlmp_name_is_unused(const char *name, int used_vision_layers, bool post_norm)
{
    static const char layers[] = "vision.layers.";
    if (strncmp(name, "vision.post_norm", 16) == 0) return !post_norm;
    if (strncmp(name, layers, sizeof layers - 1) != 0) return false;
    return strtol(name + sizeof layers - 1, NULL, 10) >= used_vision_layers;
}

typedef struct {
    int group, layer, place, leaf;
} rank;

static rank rank_of(const char *name)
{
    rank r = {.group = 255, .leaf = leaf_of(name)};
    size_t stem = vlmp_name_stem(name);
    for (int i = 0; i < PLACES; i++) {
        if (!vlmp_name_match(places[i].canonical, name, stem, &r.layer)) continue;
        r.group = places[i].group;
        r.place = i;
        return r;
    }
    return (rank){.group = 255};
}

int vlmp_name_compare(const char *a, const char *b)
{
    rank x = rank_of(a), y = rank_of(b);
    if (x.group != y.group) return x.group - y.group;
    if (x.layer != y.layer) return x.layer - y.layer;
    if (x.place != y.place) return x.place - y.place;
    if (x.leaf != y.leaf) return x.leaf - y.leaf;
    return strcmp(a, b);
}
