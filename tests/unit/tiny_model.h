/* A LLaVA folder of a few kilobytes for tests of files: the right names and shapes, numbers without
 * meaning. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/safetensors_write.h"
#include "src/base/half.h"
#include "tests/unit/temp_folder.h"

static const char tiny_config[] =
    "{\"model_type\":\"llava\",\"image_token_index\":4,\"vision_feature_layer\":-2,"
    "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"vocab_size\":32},\"vision_config\":{\"hidden_size\":32,\"intermediate_size\":48,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"image_size\":16,\"patch_size\":8}}";

typedef struct {
    vlmp_tensor tensors[80];
    char names[80][120];
    size_t count;
} tiny_model;

/* count BF16 numbers that depend on seed. */
static inline const unsigned char *tiny_numbers(uint32_t seed, size_t count)
{
    uint16_t *out = malloc(count * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = vlmp_f32_to_bf16((float)(int32_t)seed * 0x1p-31f);
    }
    return (unsigned char *)out;
}

static inline void tiny_add(tiny_model *m, const char *name, int64_t a, int64_t b)
{
    vlmp_tensor *t = &m->tensors[m->count];
    snprintf(m->names[m->count], sizeof m->names[0], "%s", name);
    *t = (vlmp_tensor){.name = m->names[m->count], .dtype = VLMP_BF16, .rank = b > 0 ? 2 : 1};
    t->shape[0] = a;
    t->shape[1] = b;
    size_t elements = (size_t)a * (size_t)(b > 0 ? b : 1);
    t->data = tiny_numbers((uint32_t)m->count + 1, elements);
    t->bytes = 2 * elements;
    m->count++;
}

static inline void tiny_add_both(tiny_model *m, const char *name, int64_t n, int64_t k)
{
    char full[120];
    snprintf(full, sizeof full, "%.100s.weight", name);
    tiny_add(m, full, n, k);
    snprintf(full, sizeof full, "%.100s.bias", name);
    tiny_add(m, full, n, 0);
}

static inline void tiny_add_layers(tiny_model *m)
{
    static const struct {
        const char *name;
        int64_t n, k;
    } vision[] = {{"layer_norm1", 32, 0},       {"layer_norm2", 32, 0},
                  {"self_attn.q_proj", 32, 32}, {"self_attn.k_proj", 32, 32},
                  {"self_attn.v_proj", 32, 32}, {"self_attn.out_proj", 32, 32},
                  {"mlp.fc1", 48, 32},          {"mlp.fc2", 32, 48}},
      text[] = {{"input_layernorm", 64, 0},   {"post_attention_layernorm", 64, 0},
                {"self_attn.q_proj", 64, 64}, {"self_attn.k_proj", 32, 64},
                {"self_attn.v_proj", 32, 64}, {"self_attn.o_proj", 64, 64},
                {"mlp.gate_proj", 96, 64},    {"mlp.up_proj", 96, 64},
                {"mlp.down_proj", 64, 96}};
    char name[120];
    for (int layer = 0; layer < 2; layer++) {
        for (int i = 0; i < 8; i++) {
            snprintf(name, sizeof name, "vision_tower.vision_model.encoder.layers.%d.%s", layer,
                     vision[i].name);
            tiny_add_both(m, name, vision[i].n, vision[i].k);
        }
        for (int i = 0; i < 9; i++) {
            snprintf(name, sizeof name, "language_model.model.layers.%d.%s.weight", layer,
                     text[i].name);
            tiny_add(m, name, text[i].n, text[i].k);
        }
    }
}

static inline void tiny_make(tiny_model *m)
{
    memset(m, 0, sizeof *m);
    tiny_add_layers(m);
    tiny_add_both(m, "vision_tower.vision_model.pre_layrnorm", 32, 0);
    tiny_add_both(m, "vision_tower.vision_model.post_layernorm", 32, 0);
    tiny_add_both(m, "multi_modal_projector.linear_1", 64, 32);
    tiny_add_both(m, "multi_modal_projector.linear_2", 64, 64);
    tiny_add(m, "vision_tower.vision_model.embeddings.class_embedding", 32, 0);
    tiny_add(m, "vision_tower.vision_model.embeddings.position_embedding.weight", 5, 32);
    tiny_add(m, "vision_tower.vision_model.embeddings.patch_embedding.weight", 32, 192);
    m->tensors[m->count - 1].rank = 4;
    m->tensors[m->count - 1].shape[1] = 3;
    m->tensors[m->count - 1].shape[2] = m->tensors[m->count - 1].shape[3] = 8;
    tiny_add(m, "language_model.model.embed_tokens.weight", 32, 64);
    tiny_add(m, "language_model.model.norm.weight", 64, 0);
    tiny_add(m, "language_model.lm_head.weight", 32, 64);
}

static inline void tiny_free(tiny_model *m)
{
    for (size_t i = 0; i < m->count; i++)
        free((void *)(uintptr_t)m->tensors[i].data);
    m->count = 0;
}

/* Tensors first … last − 1 as one safetensors file of the test folder. */
static inline void tiny_write_part(const tiny_model *m, const char *name, size_t first, size_t last)
{
    vlmp_error err = {0};
    vlmp_st_pair pairs[] = {{"format", "pt", 2}};
    int status = vlmp_safetensors_write(temp_path(name), true, m->tensors + first, last - first,
                                        pairs, 1, NULL, NULL, &err);
    if (status != VLMP_OK) fail_msg("%s", err.message);
}

/* The whole folder, under the test folder. */
static inline void tiny_write(const tiny_model *m, const char *folder)
{
    char name[200];
    assert_int_equal(mkdir(temp_path(folder), 0700), 0);
    snprintf(name, sizeof name, "%s/config.json", folder);
    temp_write(name, tiny_config, sizeof tiny_config - 1);
    snprintf(name, sizeof name, "%s/tokenizer.json", folder);
    temp_write(name, "{\"version\":\"1.0\"}", 17);
    snprintf(name, sizeof name, "%s/LICENSE", folder);
    temp_write(name, "free\n", 5);
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    tiny_write_part(m, name, 0, m->count);
}
