/* config.json of the Qwen-VL line: both layouts, sizes and places of pictures, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/config.h"
#include "src/model/family.h"

static const char qwen_tower[] =
    "\"vision_config\":{\"depth\":32,\"hidden_act\":\"silu\",\"hidden_size\":1280,"
    "\"intermediate_size\":3420,\"num_heads\":16,\"in_chans\":3,\"out_hidden_size\":3584,"
    "\"patch_size\":14,\"spatial_merge_size\":2,\"spatial_patch_size\":14,\"window_size\":112,"
    "\"fullatt_block_indexes\":[7,15,23,31],\"tokens_per_second\":2,\"temporal_patch_size\":2}";

static int read_qwen(vlmp_config *config, vlmp_error *err, const char *rest)
{
    char json[2048];
    snprintf(json, sizeof json,
             "{\"architectures\":[\"Qwen2_5_VLForConditionalGeneration\"],"
             "\"image_token_id\":151655,\"video_token_id\":151656,\"hidden_act\":\"silu\","
             "\"hidden_size\":3584,\"intermediate_size\":18944,"
             "\"max_position_embeddings\":128000,\"max_window_layers\":28,"
             "\"model_type\":\"qwen2_5_vl\",\"num_attention_heads\":28,"
             "\"num_hidden_layers\":28,\"num_key_value_heads\":4,\"rms_norm_eps\":1e-06,"
             "\"rope_theta\":1000000.0,\"sliding_window\":32768,\"use_sliding_window\":false,"
             "\"tie_word_embeddings\":false,\"vocab_size\":152064,%s}",
             rest);
    return vlmp_config_read(config, json, strlen(json), "config.json", err);
}

/* Published configurations have the text model's sizes at the top. */
static void qwen_flat(void **state)
{
    (void)state;
    vlmp_config c;
    vlmp_error err = {0};
    char rest[1024];
    snprintf(rest, sizeof rest,
             "\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[16,24,24]},%s", qwen_tower);
    if (read_qwen(&c, &err, rest) != VLMP_OK) fail_msg("%s", err.message);
    assert_true(c.text.hidden == 3584 && c.text.layers == 28 && c.text.kv_heads == 4);
    assert_true(c.text.qkv_bias && !c.text.o_bias && !c.text.sliding[27]);
    assert_true(c.text.sections[0] == 16 && c.text.sections[1] == 24 && c.text.sections[2] == 24);
    assert_true(c.vision.image_size == 0 && c.vision.head_dim == 80 && c.vision.frames == 2);
    assert_true(c.vision.window == 8 && c.vision.whole[7] && !c.vision.whole[8]);
    assert_int_equal(vlmp_feature_width(&c), 5120);
    assert_int_equal(c.projector.inner, 5120);
    vlmp_preprocess pre = {.kind = VLMP_PROCESSOR_QWEN2_VL,
                           .do_resize = true,
                           .least_pixels = 3136,
                           .most_pixels = 12845056,
                           .patch_size = 14,
                           .merge_size = 2};
    vlmp_image_plan plan;
    assert_int_equal(c.family->plan_image(&c, &pre, (vlmp_shown_picture){640, 480, 1}, &plan, &err),
                     VLMP_OK);
    assert_true(plan.rows == 34 && plan.cols == 46 && plan.tokens == 391);
    assert_true(c.family->plan_is_valid(&c, &plan));
    plan.rows = 33;
    assert_false(c.family->plan_is_valid(&c, &plan));
    plan.rows = 34, plan.tokens++;
    assert_false(c.family->plan_is_valid(&c, &plan));
    assert_int_equal(c.family->plan_image(&c, &pre, (vlmp_shown_picture){1, 201, 1}, &plan, &err),
                     VLMP_ERR_INPUT);
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){640, 480, 1}, &plan, &err),
                     VLMP_ERR_INPUT);
}

static int read_qwen3(vlmp_config *config, vlmp_error *err, const char *tower, const char *text)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"model_type\":\"qwen3_vl\",\"vision_config\":{%s},\"text_config\":{"
             "\"model_type\":\"qwen3_vl_text\"%s}}",
             tower, text);
    return vlmp_config_read(config, json, strlen(json), "config.json", err);
}

static void qwen3(void **state)
{
    (void)state;
    vlmp_config c;
    vlmp_error err = {0};
    if (read_qwen3(&c, &err, "",
                   ",\"rope_scaling\":{\"mrope_interleaved\":true,\"mrope_section\":[24,20,20],"
                   "\"rope_type\":\"default\"}") != VLMP_OK)
        fail_msg("%s", err.message);
    assert_true(c.text.qk_norm && !c.text.qkv_bias && c.text.interleaved);
    assert_true(c.text.head_dim == 128 && c.text.rope.theta == 5e5);
    assert_true(c.vision.patch_bias && c.vision.table_side == 48 && c.vision.patch_size == 16);
    assert_true(c.vision.tap_count == 3 && c.vision.taps[0] == 9 && c.vision.taps[2] == 25);
    assert_int_equal(vlmp_feature_width(&c), 4608);
    static const struct {
        const char *tower, *message;
    } bad[] = {
        {"\"num_position_embeddings\":2303", "no square"},
        {"\"deepstack_visual_indexes\":[8,27]", "deepstack_visual_indexes"},
        {"\"deepstack_visual_indexes\":[8,8]", "deepstack_visual_indexes"},
        {"\"deepstack_visual_indexes\":3", "deepstack_visual_indexes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_error why = {0};
        assert_int_equal(
            read_qwen3(&c, &why, bad[i].tower, ",\"rope_scaling\":{\"mrope_section\":[24,20,20]}"),
            VLMP_ERR_INPUT);
        if (strstr(why.message, bad[i].message) == NULL)
            fail_msg("no '%s' in: %s", bad[i].message, why.message);
    }
}

static void qwen_refused(void **state)
{
    (void)state;
    static const struct {
        const char *rest, *message;
    } bad[] = {
        {"\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[16,24,23]}", "mrope_section"},
        {"\"rope_scaling\":{\"type\":\"mrope\",\"mrope_section\":[16,24]}", "mrope_section"},
        {"\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}", "yarn"},
        {"\"vision_config\":{\"hidden_size\":1280,\"in_channels\":1}", "in_channels"},
        {"\"vision_config\":{\"hidden_size\":1284}", "hidden_size"},
        {"\"vision_config\":{\"hidden_size\":1280,\"window_size\":20}", "window_size"},
        {"\"vision_config\":{\"hidden_size\":1280,\"fullatt_block_indexes\":[-1]}",
         "fullatt_block_indexes"},
        {"\"vision_config\":{\"hidden_size\":1280,\"rope_parameters\":{\"rope_type\":\"yarn\"}}",
         "axial"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_config c;
        vlmp_error err = {0};
        assert_int_equal(read_qwen(&c, &err, bad[i].rest), VLMP_ERR_INPUT);
        if (strstr(err.message, bad[i].message) == NULL)
            fail_msg("no '%s' in: %s", bad[i].message, err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen_flat),
        cmocka_unit_test(qwen3),
        cmocka_unit_test(qwen_refused),
    };
    return cmocka_run_group_tests_name("config_qwen_vl", tests, NULL, NULL);
}
