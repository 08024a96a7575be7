/* config.json of the LLaVA line: class defaults, both spellings of RoPE, windows, and LLaVA-NeXT's
 * picture plan and packing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/config.h"
#include "src/model/family.h"

static int read_config(vlmp_config *config, vlmp_error *err, const char *type, const char *rest,
                       const char *text)
{
    char json[2048];
    *err = (vlmp_error){0};
    snprintf(json, sizeof json, "{\"model_type\":\"%s\"%s,\"text_config\":{%s}}", type, rest, text);
    return vlmp_config_read(config, json, strlen(json), "config.json", err);
}

static vlmp_config good(const char *type, const char *rest, const char *text)
{
    vlmp_config config;
    vlmp_error err;
    if (read_config(&config, &err, type, rest, text) != VLMP_OK) fail_msg("%s", err.message);
    return config;
}

static void refused(const char *type, const char *rest, const char *text, const char *message)
{
    vlmp_config config;
    vlmp_error err;
    assert_int_equal(read_config(&config, &err, type, rest, text), VLMP_ERR_INPUT);
    if (strstr(err.message, message) == NULL) fail_msg("no '%s' in: %s", message, err.message);
}

/* What published files leave out. */
static void class_defaults(void **state)
{
    (void)state;
    vlmp_config c = good("llava", "", "\"vocab_size\":32064");
    assert_string_equal(c.text.model_type, "llama");
    assert_int_equal(c.text.hidden, 4096);
    assert_int_equal(c.text.kv_heads, 32);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.vision.layers, 24);
    assert_int_equal(c.vision.run_layers, 23);
    assert_int_equal(c.vision.image_size, 336);
    assert_int_equal(c.image_token, 32000);
    assert_false(c.has_newline);
    assert_int_equal(c.pinpoint_count, 0);
    c = good("llava_next", "", "\"model_type\":\"mistral\",\"sliding_window\":null");
    assert_true(c.has_newline);
    assert_int_equal(c.pinpoint_count, 5);
    assert_int_equal(c.pinpoints[4][1], 1008);
    assert_int_equal(c.text.kv_heads, 8);
    assert_false(c.text.sliding[0]);
    c = good("llava_next", "", "\"model_type\":\"qwen2\",\"num_key_value_heads\":null");
    assert_int_equal(c.text.kv_heads, 32);
    assert_true(c.text.qkv_bias);
    assert_false(c.text.o_bias);
    c = good("llava", "", "\"model_type\":\"qwen2\",\"attention_bias\":true,\"mlp_bias\":true");
    assert_false(c.text.o_bias); /* switches of Llama's class alone */
    assert_false(c.text.mlp_bias);
}

static void windows(void **state)
{
    (void)state;
    vlmp_config c = good("llava", "", "\"model_type\":\"mistral\"");
    assert_int_equal(c.text.window, 4096); /* absent is not null */
    assert_true(c.text.sliding[0] && c.text.sliding[31]);
    c = good("llava", "", "\"model_type\":\"qwen2\",\"sliding_window\":64");
    assert_false(c.text.sliding[31]);
    c = good("llava", "",
             "\"model_type\":\"qwen2\",\"sliding_window\":64,\"use_sliding_window\":true,"
             "\"max_window_layers\":30");
    assert_int_equal(c.text.window, 64);
    assert_false(c.text.sliding[29]);
    assert_true(c.text.sliding[30] && c.text.sliding[31]);
    static const char layers[] = "\"model_type\":\"qwen2\",\"num_hidden_layers\":2,"
                                 "\"layer_types\":[\"sliding_attention\",\"full_attention\"]";
    char text[400];
    snprintf(text, sizeof text, "%s,\"use_sliding_window\":true", layers);
    c = good("llava", "", text);
    assert_true(c.text.sliding[0]);
    assert_false(c.text.sliding[1]);
    refused("llava", "", layers, "there is no window");
    refused("llava", "", "\"model_type\":\"qwen2\",\"layer_types\":[\"full_attention\"]",
            "one entry for each of 32");
    refused("llava", "",
            "\"model_type\":\"qwen2\",\"num_hidden_layers\":1,"
            "\"layer_types\":[\"linear_attention\"]",
            "linear_attention");
}

/* transformers 4 and 5 write one thing in two ways. */
static void rope_spellings(void **state)
{
    (void)state;
    static const char numbers[] = "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                                  "\"original_max_position_embeddings\":256";
    char old[500], new[500];
    snprintf(old, sizeof old, "\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\",%s}",
             numbers);
    snprintf(new, sizeof new,
             "\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,%s}", numbers);
    vlmp_config a = good("llava", "", old), b = good("llava", "", new);
    assert_int_equal(a.text.rope.kind, VLMP_ROPE_LLAMA3);
    assert_memory_equal(&a.text.rope, &b.text.rope, sizeof a.text.rope);
    float freq[4];
    vlmp_rope_frequencies(&a.text.rope, 8, freq);
    /* Wave lengths 6.3, 167, 4443, 118 141: below 256/4 kept, above 256 divided, between mixed. */
    assert_true(freq[0] == 1.0f);
    float plain = 0.0376060309f, share = (256 / (6.283185307f / plain) - 1) / 3;
    assert_true(freq[1] > plain / 8 && freq[1] < plain);
    assert_true(freq[1] / ((1 - share) * plain / 8 + share * plain) < 1 + 1e-5f);
    assert_true(freq[1] / ((1 - share) * plain / 8 + share * plain) > 1 - 1e-5f);
    assert_true(freq[2] < 0.00141421356f / 8 * (1 + 1e-5f));
    refused("llava", "", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2.0}", "yarn");
}

/* Where the class wants a value, null is not "absent"; a few members have a meaning for it. */
static void nulls(void **state)
{
    (void)state;
    static const char *const text[] = {"model_type",        "vocab_size",
                                       "hidden_size",       "intermediate_size",
                                       "num_hidden_layers", "num_attention_heads",
                                       "hidden_act",        "max_position_embeddings",
                                       "rms_norm_eps",      "tie_word_embeddings",
                                       "attention_bias",    "mlp_bias",
                                       "rope_theta"},
                             *const vision[] = {"model_type",        "hidden_size",
                                                "intermediate_size", "num_hidden_layers",
                                                "image_size",        "num_attention_heads",
                                                "patch_size",        "layer_norm_eps",
                                                "hidden_act",        "num_channels"},
                             *const root[] = {"image_token_index",
                                              "projector_hidden_act",
                                              "vision_feature_layer",
                                              "vision_feature_select_strategy",
                                              "multimodal_projector_bias",
                                              "tie_word_embeddings",
                                              "image_token_id",
                                              "image_seq_length"};
    char json[200];
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        snprintf(json, sizeof json, "\"%s\":null", text[i]);
        refused("llava", "", json, text[i]);
    }
    for (size_t i = 0; i < sizeof vision / sizeof *vision; i++) {
        snprintf(json, sizeof json, ",\"vision_config\":{\"%s\":null}", vision[i]);
        refused("llava", json, "", vision[i]);
    }
    for (size_t i = 0; i < sizeof root / sizeof *root; i++) {
        snprintf(json, sizeof json, ",\"%s\":null", root[i]);
        refused("llava", json, "", root[i]);
    }
    vlmp_config c = good("llava", ",\"vision_config\":null,\"architectures\":null",
                         "\"head_dim\":null,\"num_key_value_heads\":null,\"rope_scaling\":null,"
                         "\"rope_parameters\":null,\"eos_token_id\":null");
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.kv_heads, 32);
    assert_int_equal(c.vision.hidden, 1024);
    refused("llava", "", "\"model_type\":\"mistral\",\"num_key_value_heads\":null",
            "num_key_value_heads");
    refused("llava", "", "\"model_type\":\"qwen2\",\"head_dim\":null", "head_dim");
}

static void impossible_numbers(void **state)
{
    (void)state;
    refused("llava", "", "\"num_attention_heads\":4095,\"num_key_value_heads\":4095",
            "does not hold");
    refused("llava", "", "\"hidden_size\":256,\"num_attention_heads\":512", "does not hold");
    refused("llava", "", "\"hidden_size\":256,\"num_attention_heads\":512,\"head_dim\":64",
            "does not hold");
    refused("llava", "",
            "\"model_type\":\"mistral\",\"hidden_size\":256,\"num_attention_heads\":512,"
            "\"num_key_value_heads\":512",
            "does not hold");
    refused("llava", "", "\"num_key_value_heads\":5", "no multiple of 5");
    refused("llava", "", "\"num_key_value_heads\":64", "no multiple of 64");
    refused("llava", "",
            "\"hidden_size\":1040,\"num_attention_heads\":130,\"num_key_value_heads\":2",
            "share 2 key/value heads");
    refused("llava", "", "\"head_dim\":0", "head_dim");
    refused("llava", "", "\"head_dim\":33", "odd");
    static const char *const epsilons[] = {"-1e-5", "0",     "0.0",      "1",
                                           "1e10",  "1e-30", "\"1e-5\"", "[]"};
    char json[100];
    for (size_t i = 0; i < sizeof epsilons / sizeof *epsilons; i++) {
        snprintf(json, sizeof json, "\"rms_norm_eps\":%s", epsilons[i]);
        refused("llava", "", json, "rms_norm_eps");
        snprintf(json, sizeof json, ",\"vision_config\":{\"layer_norm_eps\":%s}", epsilons[i]);
        refused("llava", json, "", "layer_norm_eps");
    }
    /* Only Llama's class wants whole heads where their size is given. */
    refused("llava", "", "\"num_attention_heads\":30,\"head_dim\":128", "does not hold");
    vlmp_config c =
        good("llava", "", "\"model_type\":\"mistral\",\"num_attention_heads\":24,\"head_dim\":128");
    assert_int_equal(c.text.heads * c.text.head_dim, 3072);
}

static void feature_layers(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",     "[[-2]]",   "[null]", "[-2,null]",
                                      "\"-2\"", "[\"-2\"]", "true",   "[true]",
                                      "1.5",    "{}",       "[{}]",   "25",
                                      "-26",    "[25]",     "1e300",  "[0,1,2,3,4,5,6,7,8]"};
    char json[100];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(json, sizeof json, ",\"vision_feature_layer\":%s", bad[i]);
        refused("llava", json, "", "vision_feature_layer");
        refused("llava_next", json, "", "vision_feature_layer");
    }
    vlmp_config c = good("llava", ",\"vision_feature_layer\":[-2]", "");
    assert_int_equal(c.vision.feature_count, 1);
    assert_int_equal(c.vision.feature_layers[0], 23);
    c = good("llava", ",\"vision_feature_layer\":[-25,24,-2,3]", "");
    assert_int_equal(c.vision.feature_count, 4);
    assert_int_equal(c.vision.feature_layers[0], 0);
    assert_int_equal(c.vision.feature_layers[3], 3);
    assert_int_equal(c.vision.run_layers, 24);
}

/* Each would be computed as something else than it is. */
static void not_understood(void **state)
{
    (void)state;
    static const struct {
        const char *root, *text, *message;
    } cases[] = {
        {",\"mm_vision_tower\":\"openai/clip-vit-large-patch14-336\"", "", "original LLaVA"},
        {",\"mm_projector_type\":\"mlp2x_gelu\"", "", "original LLaVA"},
        {",\"architectures\":[\"LlavaLlamaForCausalLM\"]", "", "LlavaLlamaForCausalLM"},
        {",\"architectures\":[\"LlavaNextForConditionalGeneration\"]", "", "LlavaNext"},
        {",\"architectures\":\"LlavaForConditionalGeneration\"", "", "not a list"},
        {",\"quantization_config\":{\"bits\":4}", "", "already quantized"},
        {",\"compression_config\":{}", "", "already quantized"},
        {"", "\"quantization_config\":{\"bits\":4}", "already quantized"},
        {",\"vision_config\":{\"quantization_config\":{}}", "", "already quantized"},
        {",\"vision_config\":[]", "", "not an object"},
        {",\"vision_config\":\"clip\"", "", "not an object"},
        {",\"vision_config\":{\"model_type\":\"idefics3_vision\"}", "", "idefics3_vision"},
        {",\"vision_config\":{\"num_channels\":1}", "", "num_channels"},
        {",\"vision_config\":{\"image_size\":[336,336]}", "", "image_size"},
        {",\"vision_config\":{\"hidden_act\":\"mish\"}", "", "mish"},
        {",\"projector_hidden_act\":\"linear\"", "", "linear"},
        {",\"vision_feature_select_strategy\":\"cls\"", "", "cls"},
        {",\"image_token_index\":-200", "", "-200"},
        {"", "\"model_type\":\"gemma\"", "gemma"},
        {"", "\"per_layer_config\":[{}]", "per_layer_config"},
        {"", "\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
        {"", "\"rope_parameters\":{\"partial_rotary_factor\":0.5}", "partial_rotary_factor"},
        {"", "\"rope_scaling\":{\"mrope_section\":[16,24,24]}", "mrope_section"},
        {"", "\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1}}", "kind of layer"},
        {"", "\"layer_types\":[\"sliding_attention\"],\"num_hidden_layers\":1", "contradicts"},
        {"",
         "\"model_type\":\"mistral\",\"layer_types\":[\"full_attention\"],\"num_hidden_layers\":1",
         "contradicts"},
        {"", "\"tie_word_embeddings\":1", "tie_word_embeddings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused("llava", cases[i].root, cases[i].text, cases[i].message);
    static const char original[] =
        "{\"model_type\":\"llava\",\"hidden_size\":4096,\"num_hidden_layers\":32}";
    vlmp_config config;
    vlmp_error err = {0};
    assert_int_equal(vlmp_config_read(&config, original, sizeof original - 1, "config.json", &err),
                     VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "original LLaVA"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_config_read(&config, "[1]", 3, "config.json", &err), VLMP_ERR_INPUT);
}

/* What is needed, what wins over what. */
static void rope_rules(void **state)
{
    (void)state;
    refused("llava", "", "\"rope_scaling\":\"linear\"", "not an object");
    refused("llava", "", "\"rope_scaling\":{\"type\":\"linear\"}", "factor");
    refused("llava", "", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":null}", "factor");
    refused("llava", "", "\"rope_scaling\":{\"rope_type\":null}", "rope_type");
    refused("llava", "", "\"rope_parameters\":{\"rope_theta\":null}", "rope_theta");
    refused("llava", "", "\"rope_theta\":0", "rope_theta");
    refused("llava", "", "\"rope_theta\":1e300", "rope_theta");
    refused("llava", "",
            "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1}",
            "high_freq_factor");
    vlmp_config c = good("llava", "",
                         "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4},\"rope_parameters\":"
                         "{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":77}");
    assert_true(c.text.rope.factor == 4 && c.text.rope.theta == 10000);
    c = good("llava", "", "\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":77}");
    assert_true(c.text.rope.theta == 77);
    c = good("llava", "", "\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":\"default\"}");
    assert_int_equal(c.text.rope.kind, VLMP_ROPE_DEFAULT);
    static const char llama3[] = "\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
                                 "\"low_freq_factor\":1,\"high_freq_factor\":4}";
    c = good("llava", "", llama3);
    assert_true(c.text.rope.original_max_positions == 2048); /* max_position_embeddings */
    char text[300];
    snprintf(text, sizeof text, "%s,\"original_max_position_embeddings\":64", llama3);
    c = good("llava", "", text);
    assert_true(c.text.rope.original_max_positions == 64);
}

static void ties(void **state)
{
    (void)state;
    assert_false(good("llava", "", "").text.tied);
    assert_true(good("llava", ",\"tie_word_embeddings\":true", "").text.tied);
    assert_true(
        good("llava", ",\"tie_word_embeddings\":false", "\"tie_word_embeddings\":true").text.tied);
    assert_true(
        good("llava", ",\"tie_word_embeddings\":true", "\"tie_word_embeddings\":false").text.tied);
}

static void next_refuses(void **state)
{
    (void)state;
    refused("llava_next", ",\"vision_feature_select_strategy\":\"full\"", "", "must be default");
    refused("llava_next", ",\"image_grid_pinpoints\":[[336,700]]", "", "[336, 700]");
    refused("llava_next", ",\"image_grid_pinpoints\":[]", "", "image_grid_pinpoints");
    refused("llava_next", ",\"image_grid_pinpoints\":[[336,336],[11088,11088]]", "",
            "1089 tiles of 336 x 336 pixels, more than the limit of 1024");
}

/* Nothing is read of architectures that are not run, and nothing of it refused. */
static void others_do_not_run(void **state)
{
    (void)state;
    vlmp_config c = good("phi3_v", ",\"hidden_size\":64", "\"model_type\":\"phi3\"");
    assert_false(vlmp_family_runs(c.family));
    assert_string_equal(c.model_type, "phi3_v");
    assert_true(vlmp_family_runs(good("llava", "", "").family));
    refused("phi3_v", ",\"quantization_config\":{}", "", "already quantized");
    refused("", "", "", "no 'model_type'");
}

#define HIDDEN 2

/* Two patches a side: a feature's first value is its tile and place, its second minus that. */
static void next_packs(void **state)
{
    (void)state;
    vlmp_config c = good("llava_next",
                         ",\"image_grid_pinpoints\":[[8,16],[16,8]],"
                         "\"vision_config\":{\"image_size\":8,\"patch_size\":4}",
                         "\"hidden_size\":2,\"num_attention_heads\":1");
    vlmp_image_plan plan;
    vlmp_error err = {0};
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){40, 20, 1}, &plan, &err),
                     VLMP_OK); /* as wide as 8 × 16 */
    assert_int_equal(plan.tiles, 3);
    assert_int_equal(plan.tokens, 4 + 2 * (4 + 1));
    assert_true(c.family->plan_is_valid(&c, &plan));
    int32_t out[14];
    c.family->pack(&c, &plan, 100, -1, out);
    static const int32_t want[14] = {100, 101, 102, 103, 104, 105, 108,
                                     109, -1,  106, 107, 110, 111, -1};
    for (int i = 0; i < 14; i++)
        assert_int_equal(out[i], want[i]);
    /* Thinner than a patch: newlines alone. */
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){1, 16, 1}, &plan, &err),
                     VLMP_OK);
    assert_int_equal(plan.cols, 0);
    assert_int_equal(plan.tokens, 4 + 4);
    assert_true(c.family->plan_is_valid(&c, &plan));
    c.family->pack(&c, &plan, 0, -1, out);
    assert_true(out[3] == 3 && out[4] == -1 && out[7] == -1);
}

/* Plans come from files, too: one that would read outside the features is not valid. */
static void damaged_plans(void **state)
{
    (void)state;
    vlmp_config c = good("llava_next", "", "");
    vlmp_image_plan plan, bad;
    vlmp_error err = {0};
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){640, 480, 1}, &plan, &err),
                     VLMP_OK);
    assert_int_equal(plan.tokens, 2340);
    assert_true(c.family->plan_is_valid(&c, &plan));
    bad = plan, bad.first_row++, bad.rows += 12, bad.tokens += 12 * 49;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.tokens--;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.grid_rows++;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.grid_rows = bad.grid_cols = 1 << 30;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.first_col = -1;
    assert_false(c.family->plan_is_valid(&c, &bad));
    c = good("llava", "", "");
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){640, 480, 1}, &plan, &err),
                     VLMP_OK);
    assert_int_equal(plan.tokens, 576);
    assert_true(c.family->plan_is_valid(&c, &plan));
    bad = plan, bad.tiles = 2;
    assert_false(c.family->plan_is_valid(&c, &bad));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_defaults),
        cmocka_unit_test(windows),
        cmocka_unit_test(rope_spellings),
        cmocka_unit_test(next_refuses),
        cmocka_unit_test(next_packs),
        cmocka_unit_test(others_do_not_run),
        cmocka_unit_test(damaged_plans),
        cmocka_unit_test(nulls),
        cmocka_unit_test(impossible_numbers),
        cmocka_unit_test(feature_layers),
        cmocka_unit_test(not_understood),
        cmocka_unit_test(rope_rules),
        cmocka_unit_test(ties),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
