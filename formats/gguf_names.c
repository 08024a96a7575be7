#include "formats/gguf_names.h"

#include <string.h>

static bool is_fused(const vlmp_config *config)
{
    return config->vision.fused_qkv;
}

static bool is_apart(const vlmp_config *config)
{
    return !config->vision.fused_qkv;
}

static bool is_gated(const vlmp_config *config)
{
    return config->vision.gated;
}

static bool is_plain(const vlmp_config *config)
{
    return !config->vision.gated;
}

static bool is_still(const vlmp_config *config)
{
    return config->vision.frames == 1;
}

static bool is_moving(const vlmp_config *config)
{
    return config->vision.frames == 2;
}

static bool has_post_norm(const vlmp_config *config)
{
    return config->vision.has_post_norm;
}

static bool has_one_linear(const vlmp_config *config)
{
    return config->projector.linears == 1;
}

static bool has_two_linears(const vlmp_config *config)
{
    return config->projector.linears == 2;
}

#define TEXT  VLMP_GGUF_TEXT
#define TOWER VLMP_GGUF_TOWER

/* Of several names that a tensor could have, the first is written. */
static const vlmp_gguf_place places[] = {
    {"text.embed", "token_embd", TEXT, false, 0, 1, NULL},
    {"text.layers.#.attn_norm", "blk.#.attn_norm", TEXT, true, 0, 1, NULL},
    {"text.layers.#.attn.q", "blk.#.attn_q", TEXT, false, 0, 1, NULL},
    {"text.layers.#.attn.k", "blk.#.attn_k", TEXT, false, 0, 1, NULL},
    {"text.layers.#.attn.v", "blk.#.attn_v", TEXT, false, 0, 1, NULL},
    {"text.layers.#.attn.o", "blk.#.attn_output", TEXT, false, 0, 1, NULL},
    {"text.layers.#.mlp_norm", "blk.#.ffn_norm", TEXT, true, 0, 1, NULL},
    {"text.layers.#.mlp.gate", "blk.#.ffn_gate", TEXT, false, 0, 1, NULL},
    {"text.layers.#.mlp.up", "blk.#.ffn_up", TEXT, false, 0, 1, NULL},
    {"text.layers.#.mlp.down", "blk.#.ffn_down", TEXT, false, 0, 1, NULL},
    {"text.norm", "output_norm", TEXT, true, 0, 1, NULL},
    {"text.head", "output", TEXT, false, 0, 1, NULL},
    {"vision.embed", "v.patch_embd", TOWER, true, 0, 1, is_still},
    {"vision.embed.weight", "v.patch_embd.weight", TOWER, true, 0, 2, is_moving},
    {"vision.embed.weight", "v.patch_embd.weight.1", TOWER, true, 1, 2, is_moving},
    {"vision.class", "v.class_embd", TOWER, true, 0, 1, NULL},
    {"vision.position", "v.position_embd", TOWER, true, 0, 1, NULL},
    {"vision.pre_norm", "v.pre_ln", TOWER, true, 0, 1, NULL},
    {"vision.layers.#.norm1", "v.blk.#.ln1", TOWER, true, 0, 1, NULL},
    {"vision.layers.#.attn.qkv", "v.blk.#.attn_q", TOWER, false, 0, 3, is_fused},
    {"vision.layers.#.attn.qkv", "v.blk.#.attn_k", TOWER, false, 1, 3, is_fused},
    {"vision.layers.#.attn.qkv", "v.blk.#.attn_v", TOWER, false, 2, 3, is_fused},
    {"vision.layers.#.attn.qkv", "v.blk.#.attn_qkv", TOWER, false, 0, 1, is_fused},
    {"vision.layers.#.attn.q", "v.blk.#.attn_q", TOWER, false, 0, 1, is_apart},
    {"vision.layers.#.attn.k", "v.blk.#.attn_k", TOWER, false, 0, 1, is_apart},
    {"vision.layers.#.attn.v", "v.blk.#.attn_v", TOWER, false, 0, 1, is_apart},
    {"vision.layers.#.attn.o", "v.blk.#.attn_out", TOWER, false, 0, 1, NULL},
    {"vision.layers.#.norm2", "v.blk.#.ln2", TOWER, true, 0, 1, NULL},
    {"vision.layers.#.mlp.fc1", "v.blk.#.ffn_up", TOWER, false, 0, 1, is_plain},
    {"vision.layers.#.mlp.fc2", "v.blk.#.ffn_down", TOWER, false, 0, 1, is_plain},
    {"vision.layers.#.mlp.gate", "v.blk.#.ffn_gate", TOWER, false, 0, 1, is_gated},
    {"vision.layers.#.mlp.up", "v.blk.#.ffn_up", TOWER, false, 0, 1, is_gated},
    {"vision.layers.#.mlp.down", "v.blk.#.ffn_down", TOWER, false, 0, 1, is_gated},
    {"vision.post_norm", "v.post_ln", TOWER, true, 0, 1, has_post_norm},
    {"projector.0", "mm.model.fc", TOWER, false, 0, 1, has_one_linear},
    {"projector.0", "mm.0", TOWER, false, 0, 1, has_two_linears},
    {"projector.1", "mm.2", TOWER, false, 0, 1, has_two_linears},
    {"newline", "model.image_newline", TOWER, true, 0, 1, NULL},
};

#define PLACES (sizeof places / sizeof *places)

static bool is_had(const vlmp_gguf_place *place, const vlmp_config *config)
{
    return place->when == NULL || place->when(config);
}

/* Whether a name is one of a pattern, and the leaf that it has besides. */
static bool match(const char *pattern, const char *name, int *layer, const char **leaf)
{
    size_t stem = vlmp_name_stem(name), length = strlen(name);
    *leaf = name + stem;
    if (vlmp_name_match(pattern, name, stem, layer)) return true;
    *leaf = name + length;
    return vlmp_name_match(pattern, name, length, layer);
}

const vlmp_gguf_place *vlmp_gguf_place_of(char name[VLMP_GGUF_MAX_NAME + 1], const char *canonical,
                                          int piece, const vlmp_config *config)
{
    const char *leaf;
    int layer;
    for (const vlmp_gguf_place *place = places; place < places + PLACES; place++) {
        if (!match(place->canonical, canonical, &layer, &leaf) || place->piece != piece ||
            !is_had(place, config))
            continue;
        vlmp_name_fill(name, VLMP_GGUF_MAX_NAME + 1, place->name, layer, leaf);
        return place;
    }
    return NULL;
}

const vlmp_gguf_place *vlmp_gguf_place_named(char canonical[VLMP_NAME_BYTES], vlmp_gguf_part part,
                                             const char *name, const vlmp_config *config)
{
    const char *leaf;
    int layer;
    for (const vlmp_gguf_place *place = places; place < places + PLACES; place++) {
        if (!match(place->name, name, &layer, &leaf) || place->part != part ||
            !is_had(place, config))
            continue;
        vlmp_name_fill(canonical, VLMP_NAME_BYTES, place->canonical, layer, leaf);
        return place;
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

static int moved_heads(const vlmp_gguf_place *place, const vlmp_text_config *text)
{
    if (strcmp(vlmp_gguf_architecture(text), "llama") != 0) return 0;
    if (strcmp(place->canonical, "text.layers.#.attn.q") == 0) return text->heads;
    return strcmp(place->canonical, "text.layers.#.attn.k") == 0 ? text->kv_heads : 0;
}

/* llama.cpp's patches get rows in order, the model's that of their bucket. Of rows that several
 * patches share, the first patch's is the one in the file; rows of no patch stay. */
static int order_positions(vlmp_gguf_order *order, int side, vlmp_arena *arena, vlmp_error *err)
{
    int32_t rows = (int32_t)order->rows;
    int32_t *to_model = vlmp_arena_alloc(arena, (size_t)rows, sizeof *to_model);
    int32_t *to_file = vlmp_arena_alloc(arena, (size_t)rows, sizeof *to_file);
    if (to_model == NULL || to_file == NULL) return vlmp_fail_memory(err, "positions");
    for (int32_t i = 0; i < rows; i++)
        to_file[i] = i;
    for (int32_t i = rows - 1; i >= 0; i--) {
        to_model[i] =
            vlmp_position_bucket(i / side, side) * side + vlmp_position_bucket(i % side, side);
        to_file[to_model[i]] = i;
    }
    order->to_model = to_model;
    order->to_file = to_file;
    return VLMP_OK;
}

int vlmp_gguf_order_of(vlmp_gguf_order *order, const vlmp_gguf_place *place, int64_t rows,
                       const vlmp_config *config, vlmp_arena *arena, vlmp_error *err)
{
    const vlmp_vision_config *vision = &config->vision;
    *order = (vlmp_gguf_order){.pieces = place->pieces,
                               .rows = rows,
                               .run = place->pieces == 2 ? vision->patch_size : rows,
                               .heads = moved_heads(place, &config->text)};
    if (vision->positions != VLMP_POSITIONS_BUCKETS ||
        strcmp(place->canonical, "vision.position") != 0)
        return VLMP_OK;
    int side = vision->image_size / vision->patch_size;
    return rows == (int64_t)side * side ? order_positions(order, side, arena, err) : VLMP_OK;
}

bool vlmp_gguf_order_moves(const vlmp_gguf_order *order)
{
    return order->heads > 0 || order->to_model != NULL || order->run < order->rows;
}

/* h·D + half·D/2 + i and h·D + i·2 + half. */
int64_t vlmp_gguf_model_row(const vlmp_gguf_order *order, int piece, int64_t r)
{
    if (order->to_model != NULL) return order->to_model[r];
    if (order->heads == 0)
        return (r / order->run * order->pieces + piece) * order->run + r % order->run;
    int64_t dim = order->rows / order->heads, at = r % dim;
    return r - at + at % 2 * (dim / 2) + at / 2;
}

int64_t vlmp_gguf_file_row(const vlmp_gguf_order *order, int64_t r, int *piece)
{
    *piece = (int)(r / order->run % order->pieces);
    if (order->to_file != NULL) return order->to_file[r];
    if (order->heads == 0) return r / (order->run * order->pieces) * order->run + r % order->run;
    int64_t dim = order->rows / order->heads, at = r % dim;
    return r - at + at % (dim / 2) * 2 + at / (dim / 2);
}
