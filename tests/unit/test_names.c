/* Canonical names: every place in all five layouts, buffers, strangers, order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/names.h"

typedef struct {
    const char *tail; /* in the source, behind the prefix */
    const char *canonical;
} place;

static const place text_places[] = {
    {"embed_tokens.weight", "text.embed.weight"},
    {"layers.0.input_layernorm.weight", "text.layers.0.attn_norm.weight"},
    {"layers.7.self_attn.q_proj.weight", "text.layers.7.attn.q.weight"},
    {"layers.7.self_attn.q_proj.bias", "text.layers.7.attn.q.bias"},
    {"layers.10.self_attn.k_proj.weight", "text.layers.10.attn.k.weight"},
    {"layers.10.self_attn.v_proj.bias", "text.layers.10.attn.v.bias"},
    {"layers.39.self_attn.o_proj.weight", "text.layers.39.attn.o.weight"},
    {"layers.39.post_attention_layernorm.weight", "text.layers.39.mlp_norm.weight"},
    {"layers.79.mlp.gate_proj.weight", "text.layers.79.mlp.gate.weight"},
    {"layers.79.mlp.up_proj.weight", "text.layers.79.mlp.up.weight"},
    {"layers.79.mlp.down_proj.weight", "text.layers.79.mlp.down.weight"},
    {"norm.weight", "text.norm.weight"},
};

static const place vision_places[] = {
    {"embeddings.class_embedding", "vision.class"},
    {"embeddings.patch_embedding.weight", "vision.embed.weight"},
    {"embeddings.position_embedding.weight", "vision.position.weight"},
    {"pre_layrnorm.weight", "vision.pre_norm.weight"},
    {"pre_layrnorm.bias", "vision.pre_norm.bias"},
    {"encoder.layers.0.layer_norm1.weight", "vision.layers.0.norm1.weight"},
    {"encoder.layers.23.layer_norm2.bias", "vision.layers.23.norm2.bias"},
    {"encoder.layers.5.self_attn.q_proj.weight", "vision.layers.5.attn.q.weight"},
    {"encoder.layers.5.self_attn.k_proj.bias", "vision.layers.5.attn.k.bias"},
    {"encoder.layers.5.self_attn.v_proj.weight", "vision.layers.5.attn.v.weight"},
    {"encoder.layers.5.self_attn.out_proj.bias", "vision.layers.5.attn.o.bias"},
    {"encoder.layers.5.mlp.fc1.weight", "vision.layers.5.mlp.fc1.weight"},
    {"encoder.layers.5.mlp.fc2.bias", "vision.layers.5.mlp.fc2.bias"},
    {"post_layernorm.weight", "vision.post_norm.weight"},
};

static const place hf_projector[] = {
    {"linear_1.weight", "projector.0.weight"},
    {"linear_1.bias", "projector.0.bias"},
    {"linear_2.weight", "projector.1.weight"},
    {"linear_2.bias", "projector.1.bias"},
};

static const place original_projector[] = {
    {"0.weight", "projector.0.weight"},
    {"0.bias", "projector.0.bias"},
    {"2.weight", "projector.1.weight"},
    {"2.bias", "projector.1.bias"},
};

static const place newline_place[] = {{"", "newline"}};
static const place head_place[] = {{"weight", "text.head.weight"}};

static void check(const char *prefix, const place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char source[200], out[VLMP_NAME_BYTES] = "";
        snprintf(source, sizeof source, "%s%s", prefix, places[i].tail);
        if (vlmp_checkpoint_name(out, source) != VLMP_NAME_KNOWN) fail_msg("%s is unknown", source);
        if (strcmp(out, places[i].canonical) != 0)
            fail_msg("%s: %s, not %s", source, out, places[i].canonical);
    }
}

#define CHECK(prefix, list) check(prefix, list, sizeof(list) / sizeof *(list))

static void all_layouts_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text, *head, *vision, *projector, *newline;
        int original;
    } layouts[] = {
        {"language_model.model.", "language_model.lm_head.", "vision_tower.vision_model.",
         "multi_modal_projector.", "image_newline", 0},
        {"model.language_model.", "lm_head.", "model.vision_tower.vision_model.",
         "model.multi_modal_projector.", "model.image_newline", 0},
        {"model.language_model.", "lm_head.", "model.vision_tower.", "model.multi_modal_projector.",
         "model.image_newline", 0},
        {"language_model.", NULL, "vision_tower.vision_model.", "multi_modal_projector.",
         "image_newline", 0},
        {"language_model.", NULL, "vision_tower.", "multi_modal_projector.", "image_newline", 0},
        {"model.", "lm_head.", "model.vision_tower.vision_tower.vision_model.",
         "model.mm_projector.", "model.image_newline", 1},
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        CHECK(layouts[i].text, text_places);
        CHECK(layouts[i].vision, vision_places);
        CHECK(layouts[i].newline, newline_place);
        if (layouts[i].head != NULL) CHECK(layouts[i].head, head_place);
        if (layouts[i].original)
            CHECK(layouts[i].projector, original_projector);
        else
            CHECK(layouts[i].projector, hf_projector);
    }
}

static void buffers_are_ignored(void **state)
{
    (void)state;
    static const char *const names[] = {
        "vision_tower.vision_model.embeddings.position_ids",
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.language_model.rotary_emb.inv_freq",
    };
    char out[VLMP_NAME_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(vlmp_checkpoint_name(out, names[i]), VLMP_NAME_IGNORED);
}

static void strangers_are_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "v_head.weight",
        "image_newline.weight",
        "image_newlinex",
        "multi_modal_projector.weight",
        "multi_modal_projector.linear_3.weight",
        "multi_modal_projector.linear_1",
        "multi_modal_projector.linear_1xweight",
        "vision_tower.vision_model.embeddings.class_embedding.weight",
        "vision_tower.vision_model.encoder.layers.01.mlp.fc1.weight",
        "vision_tower.vision_model.encoder.layers..mlp.fc1.weight",
        "vision_tower.vision_model.encoder.layers.99999.mlp.fc1.weight",
        "language_model.model.layers.0.self_attn.q_norm.weight",
        "language_model.model.layers.0.self_attn.q_proj.qweight",
        "language_model.model.layers.0.self_attn.q_proj.weight.x",
        "language_model.model.layers.-1.self_attn.q_proj.weight",
        "model.visual.blocks.0.attn.qkv.weight",
    };
    char out[VLMP_NAME_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (vlmp_checkpoint_name(out, names[i]) != VLMP_NAME_UNKNOWN)
            fail_msg("'%s' is taken for '%s'", names[i], out);
}

static void order_is_that_of_computation(void **state)
{
    (void)state;
    static const char *const sorted[] = {
        "vision.embed.weight",
        "vision.class",
        "vision.position.weight",
        "vision.pre_norm.weight",
        "vision.pre_norm.bias",
        "vision.layers.0.norm1.weight",
        "vision.layers.0.attn.q.weight",
        "vision.layers.0.attn.q.bias",
        "vision.layers.0.attn.o.weight",
        "vision.layers.0.norm2.weight",
        "vision.layers.0.mlp.fc1.codes",
        "vision.layers.0.mlp.fc1.scales",
        "vision.layers.0.mlp.fc1.zeros",
        "vision.layers.0.mlp.fc1.bias",
        "vision.layers.2.norm1.weight",
        "vision.layers.10.norm1.weight",
        "vision.post_norm.weight",
        "projector.0.weight",
        "projector.1.weight",
        "newline",
        "text.embed.weight",
        "text.layers.0.attn_norm.weight",
        "text.layers.0.attn.q",
        "text.layers.0.attn.q.codes",
        "text.layers.0.attn.k.codes",
        "text.layers.0.mlp_norm.weight",
        "text.layers.0.mlp.gate.weight",
        "text.layers.0.mlp.down.weight",
        "text.layers.9.mlp.down.weight",
        "text.layers.11.mlp.down.weight",
        "text.norm.weight",
        "text.head.weight",
        "a stranger",
        "other",
    };
    const int count = (int)(sizeof sorted / sizeof *sorted);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) {
            int order = vlmp_name_compare(sorted[i], sorted[j]);
            if ((order > 0) - (order < 0) != (i > j) - (i < j))
                fail_msg("'%s' against '%s': %d", sorted[i], sorted[j], order);
        }
}

static void unused_are_marked(void **state)
{
    (void)state;
    assert_true(vlmp_name_is_unused("vision.post_norm.weight", 24, false));
    assert_false(vlmp_name_is_unused("vision.post_norm.weight", 24, true));
    assert_true(vlmp_name_is_unused("vision.layers.23.attn.q.weight", 23, false));
    assert_false(vlmp_name_is_unused("vision.layers.22.attn.q.weight", 23, false));
    assert_false(vlmp_name_is_unused("vision.layers.3.attn.q.weight", 23, false));
    assert_false(vlmp_name_is_unused("vision.pre_norm.weight", 1, false));
    assert_false(vlmp_name_is_unused("text.layers.39.attn.q.weight", 1, false));
}

/* Names of transformers 5, of earlier versions, and of the base model alone. */
static void qwen_names(void **state)
{
    (void)state;
    static const place places[] = {
        {"model.visual.patch_embed.proj.weight", "vision.embed.weight"},
        {"visual.blocks.31.norm1.weight", "vision.layers.31.norm1.weight"},
        {"visual.blocks.0.attn.qkv.bias", "vision.layers.0.attn.qkv.bias"},
        {"model.visual.blocks.0.attn.proj.weight", "vision.layers.0.attn.o.weight"},
        {"visual.blocks.2.mlp.gate_proj.bias", "vision.layers.2.mlp.gate.bias"},
        {"visual.blocks.2.mlp.down_proj.weight", "vision.layers.2.mlp.down.weight"},
        {"visual.blocks.2.mlp.fc1.weight", "vision.layers.2.mlp.fc1.weight"},
        {"model.visual.merger.ln_q.weight", "vision.post_norm.weight"},
        {"visual.merger.mlp.0.bias", "projector.0.bias"},
        {"visual.merger.mlp.2.weight", "projector.1.weight"},
        {"model.language_model.layers.3.mlp.up_proj.weight", "text.layers.3.mlp.up.weight"},
        {"model.layers.3.self_attn.q_proj.bias", "text.layers.3.attn.q.bias"},
        {"language_model.norm.weight", "text.norm.weight"},
        {"lm_head.weight", "text.head.weight"},
        {"model.visual.pos_embed.weight", "vision.position.weight"},
        {"model.visual.blocks.1.mlp.linear_fc2.bias", "vision.layers.1.mlp.fc2.bias"},
        {"model.visual.merger.norm.bias", "vision.post_norm.bias"},
        {"model.visual.merger.linear_fc1.weight", "projector.0.weight"},
        {"model.visual.deepstack_merger_list.2.norm.weight", "projector.taps.2.norm.weight"},
        {"model.visual.deepstack_merger_list.0.linear_fc2.bias", "projector.taps.0.1.bias"},
        {"model.language_model.layers.1.self_attn.q_norm.weight",
         "text.layers.1.attn.q_norm.weight"},
    };
    char name[VLMP_NAME_BYTES];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        assert_int_equal(vlmp_qwen_vl_name(name, places[i].tail), VLMP_NAME_KNOWN);
        assert_string_equal(name, places[i].canonical);
    }
    assert_int_equal(vlmp_qwen_vl_name(name, "visual.blocks.0.attn.q.weight"), VLMP_NAME_UNKNOWN);
    assert_int_equal(vlmp_qwen_vl_name(name, "model.vision_tower.pre_layrnorm.weight"),
                     VLMP_NAME_UNKNOWN);
    assert_int_equal(vlmp_checkpoint_name(name, "visual.merger.mlp.0.bias"), VLMP_NAME_UNKNOWN);
    assert_true(
        vlmp_name_compare("vision.layers.0.attn.qkv.bias", "vision.layers.0.attn.o.weight") < 0);
    assert_true(
        vlmp_name_compare("vision.layers.0.norm1.weight", "vision.layers.0.attn.qkv.weight") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_layouts_are_known),
        cmocka_unit_test(buffers_are_ignored),
        cmocka_unit_test(strangers_are_unknown),
        cmocka_unit_test(order_is_that_of_computation),
        cmocka_unit_test(qwen_names),
        cmocka_unit_test(unused_are_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
