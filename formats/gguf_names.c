#include "formats/gguf_names.h"

#include <string.h>

static const vlmp_gguf_place places[] = {
    {"text.embed", "token_embd", VLMP_GGUF_TEXT, false},
    {"text.layers.#.attn_norm", "blk.#.attn_norm", VLMP_GGUF_TEXT, true},
    {"text.layers.#.attn.q", "blk.#.attn_q", VLMP_GGUF_TEXT, false},
    {"text.layers.#.attn.k", "blk.#.attn_k", VLMP_GGUF_TEXT, false},
    {"text.layers.#.attn.v", "blk.#.attn_v", VLMP_GGUF_TEXT, false},
    {"text.layers.#.attn.o", "blk.#.attn_output", VLMP_GGUF_TEXT, false},
    {"text.layers.#.mlp_norm", "blk.#.ffn_norm", VLMP_GGUF_TEXT, true},
    {"text.layers.#.mlp.gate", "blk.#.ffn_gate", VLMP_GGUF_TEXT, false},
    {"text.layers.#.mlp.up", "blk.#.ffn_up", VLMP_GGUF_TEXT, false},
    {"text.layers.#.mlp.down", "blk.#.ffn_down", VLMP_GGUF_TEXT, false},
    {"text.norm", "output_norm", VLMP_GGUF_TEXT, true},
    {"text.head", "output", VLMP_GGUF_TEXT, false},
    {"vision.embed", "v.patch_embd", VLMP_GGUF_TOWER, true},
    {"vision.class", "v.class_embd", VLMP_GGUF_TOWER, true},
    {"vision.position", "v.position_embd", VLMP_GGUF_TOWER, true},
    {"vision.pre_norm", "v.pre_ln", VLMP_GGUF_TOWER, true},
    {"vision.layers.#.norm1", "v.blk.#.ln1", VLMP_GGUF_TOWER, true},
    {"vision.layers.#.attn.q", "v.blk.#.attn_q", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.attn.k", "v.blk.#.attn_k", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.attn.v", "v.blk.#.attn_v", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.attn.o", "v.blk.#.attn_out", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.norm2", "v.blk.#.ln2", VLMP_GGUF_TOWER, true},
    {"vision.layers.#.mlp.fc1", "v.blk.#.ffn_up", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.mlp.fc2", "v.blk.#.ffn_down", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.mlp.gate", "v.blk.#.ffn_gate", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.mlp.up", "v.blk.#.ffn_up", VLMP_GGUF_TOWER, false},
    {"vision.layers.#.mlp.down", "v.blk.#.ffn_down", VLMP_GGUF_TOWER, false},
    {"vision.post_norm", "v.post_ln", VLMP_GGUF_TOWER, true},
    {"projector.0", "mm.0", VLMP_GGUF_TOWER, false},
    {"projector.0", VLMP_GGUF_ONE_LINEAR, VLMP_GGUF_TOWER, false},
    {"projector.1", "mm.2", VLMP_GGUF_TOWER, false},
    {"newline", "model.image_newline", VLMP_GGUF_TOWER, true},
};

#define PLACES (sizeof places / sizeof *places)

const vlmp_gguf_place *vlmp_gguf_place_of(char name[VLMP_GGUF_MAX_NAME + 1], const char *canonical)
{
    size_t stem = vlmp_name_stem(canonical);
    int layer;
    for (size_t i = 0; i < PLACES; i++) {
        if (!vlmp_name_match(places[i].canonical, canonical, stem, &layer)) continue;
        vlmp_name_fill(name, VLMP_GGUF_MAX_NAME + 1, places[i].name, layer, canonical + stem);
        return &places[i];
    }
    return NULL;
}

const vlmp_gguf_place *vlmp_gguf_place_named(char canonical[VLMP_NAME_BYTES], vlmp_gguf_part part,
                                             const char *name)
{
    size_t stem = vlmp_name_stem(name);
    int layer;
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].part != part || !vlmp_name_match(places[i].name, name, stem, &layer))
            continue;
        vlmp_name_fill(canonical, VLMP_NAME_BYTES, places[i].canonical, layer, name + stem);
        return &places[i];
    }
    return NULL;
}

const char *vlmp_gguf_architecture(const vlmp_text_config *text)
{
    if (text->sections[0] > 0 && !text->interleaved) return "qwen2vl";
    return strcmp(text->model_type, "qwen2") == 0 ? "qwen2" : "llama";
}

const float *vlmp_gguf_rope_factors(const vlmp_text_config *text, vlmp_arena *arena)
{
    size_t count = (size_t)text->head_dim / 2;
    float *factors = vlmp_arena_alloc(arena, count, sizeof *factors);
    float *plain = vlmp_arena_alloc(arena, count, sizeof *plain);
    if (factors == NULL || plain == NULL) return NULL;
    vlmp_rope_config unscaled = {.kind = VLMP_ROPE_DEFAULT, .theta = text->rope.theta};
    vlmp_rope_frequencies(&text->rope, text->head_dim, factors);
    vlmp_rope_frequencies(&unscaled, text->head_dim, plain);
    for (size_t i = 0; i < count; i++)
        factors[i] = plain[i] / factors[i];
    return factors;
}

int vlmp_gguf_moved_heads(const vlmp_gguf_place *place, const vlmp_text_config *text)
{
    if (strcmp(vlmp_gguf_architecture(text), "llama") != 0) return 0;
    if (strcmp(place->canonical, "text.layers.#.attn.q") == 0) return text->heads;
    return strcmp(place->canonical, "text.layers.#.attn.k") == 0 ? text->kv_heads : 0;
}

/* h·D + half·D/2 + i and h·D + i·2 + half. */
int64_t vlmp_gguf_model_row(int64_t rows, int heads, int64_t r)
{
    if (heads == 0) return r;
    int64_t dim = rows / heads, at = r % dim;
    return r - at + at % 2 * (dim / 2) + at / 2;
}

int64_t vlmp_gguf_file_row(int64_t rows, int heads, int64_t r)
{
    if (heads == 0) return r;
    int64_t dim = rows / heads, at = r % dim;
    return r - at + at % (dim / 2) * 2 + at / (dim / 2);
}
