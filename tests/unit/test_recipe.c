/* quant: recipes good and bad, what they decide, sizes, and that a written recipe reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/quant/scheme/plan.h"

/* A model of 4 text layers: names of every kind, one unused, K that groups do not divide. */
static const vlmp_plan_linear model[] = {
    {"vision.layers.0.attn.q", 192, 192, 73728, false, false, false},
    {"vision.layers.0.mlp.fc1", 768, 192, 294912, false, false, false},
    {"vision.layers.1.attn.q", 192, 192, 73728, true, false, false},
    {"projector.0", 256, 192, 98304, false, false, false},
    {"text.embed", 1024, 256, 524288, false, true, false},
    {"text.layers.0.attn.q", 256, 256, 131072, false, false, false},
    {"text.layers.1.attn.q", 256, 256, 131072, false, false, false},
    {"text.layers.2.mlp.down", 256, 800, 409600, false, false, false},
    {"text.layers.3.mlp.down", 256, 850, 435200, false, false, false},
    {"text.head", 1024, 256, 524288, false, false, false},
};
enum { COUNT = sizeof model / sizeof *model };

static int parse(vlmp_recipe *recipe, const char *text, vlmp_error *err)
{
    cJSON *document;
    *err = (vlmp_error){0};
    *recipe = (vlmp_recipe){0};
    int status = vlmp_json_parse(&document, text, strlen(text), "recipe.json", err);
    if (status != VLMP_OK) return status;
    status = vlmp_recipe_parse(recipe, document, "recipe.json", err);
    cJSON_Delete(document);
    return status;
}

static int plan_of(vlmp_plan *plan, const char *text, vlmp_error *err)
{
    vlmp_recipe recipe;
    *plan = (vlmp_plan){0};
    int status = parse(&recipe, text, err);
    if (status == VLMP_OK) status = vlmp_plan_make(plan, &recipe, model, COUNT, "recipe.json", err);
    vlmp_recipe_free(&recipe);
    return status;
}

#define K VLMP_METHOD_KEEP
#define I VLMP_METHOD_INT8
#define R VLMP_METHOD_RTN
#define G VLMP_METHOD_GPTQ
#define A VLMP_METHOD_AWQ
#define B VLMP_METHOD_AWQ_GPTQ

static const struct {
    const char *text;
    vlmp_method methods[COUNT];
} good[] = {
    {"{\"default\": null}", {K, K, K, K, K, K, K, K, K, K}},
    {"{\"vision_encoder\": \"int8\", \"projection\": null, \"llm_layers_0_1\": \"awq_4bit\", "
     "\"llm_layers_2_3\": \"gptq_4bit\", \"lm_head\": null}",
     {I, I, K, K, K, A, A, G, G, K}},
    {"{\"llm_layers_2_end\": \"gptq_8bit\", \"default\": \"int8_dynamic\"}",
     {I, I, K, I, K, I, I, G, G, I}},
    {"{\"llm_layers_0%_50%\": \"awq_gptq_4bit\", \"llm_layers_50%_100%\": \"rtn_4bit\", "
     "\"embeddings\": \"rtn_8bit\", \"default\": null}",
     {K, K, K, K, R, B, B, R, R, K}},
    {"{\"llm_layers_75%_end\": \"rtn_4bit\", \"default\": null}", {K, K, K, K, K, K, K, K, R, K}},
    /* the first match wins, whatever comes later */
    {"{\"version\": 1, \"rules\": [{\"match\": \"*.down\", \"scheme\": null}, {\"match\": "
     "\"text.layers.*\", \"scheme\": {\"method\": \"awq+gptq\", \"group\": 64}}, {\"match\": "
     "\"*\", \"scheme\": \"int8\"}]}",
     {I, I, K, I, I, B, B, K, K, I}},
    {"{\"version\": 1, \"rules\": [{\"match\": \"text.layers.*\", \"scheme\": {\"method\": "
     "\"gptq\", \"target\": \"weights\"}}, {\"match\": \"default\", \"scheme\": null}]}",
     {K, K, K, K, K, G, G, G, G, K}},
    {"{\"version\": 1, \"rules\": [{\"match\": \"text.layers.[12].*\", \"scheme\": \"gptq_4bit\"}, "
     "{\"match\": \"default\", \"scheme\": null}]}",
     {K, K, K, K, K, K, G, G, K, K}},
    {"{\"vision_encoder\": \"rtn_fp8\", \"projection\": \"gptq_fp8_block\", \"llm_layers_0_1\": "
     "\"gptq_nvfp4\", \"llm_layers_2_2\": {\"method\": \"gptq\", \"codes\": \"mxfp4\", "
     "\"bits\": 4, \"group\": 32}, \"llm_layers_3_3\": {\"method\": \"gptq\", \"codes\": "
     "\"fp8\", \"group\": \"channel\"}, \"default\": null}",
     {R, R, K, G, K, G, G, G, G, K}},
};

static void good_recipes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        vlmp_error err = {0};
        vlmp_plan plan;
        if (plan_of(&plan, good[i].text, &err) != VLMP_OK)
            fail_msg("%s: %s", good[i].text, err.message);
        for (int l = 0; l < COUNT; l++)
            if (plan.entries[l].method != good[i].methods[l])
                fail_msg("%s: %s is %s", good[i].text, model[l].name,
                         vlmp_method_name(plan.entries[l].method));
        vlmp_plan_free(&plan);
    }
}

/* Text, and what the message must name. */
static const struct {
    const char *text, *says;
} bad[] = {
    {"[]", "object"},
    {"{}", "0 rules"},
    {"{\"lm_head\": null, \"lm_head\": null}", "lm_head"},
    {"{\"visoin_encoder\": \"int8\"}", "visoin_encoder"},
    {"{\"lm_head\": \"awq_2bit\"}", "awq_2bit"},
    {"{\"lm_head\": 4}", "lm_head"},
    {"{\"text.head\": null}", "text.head"},
    {"{\"llm_layers_3_1\": null, \"default\": null}", "llm_layers_3_1"},
    {"{\"llm_layers_0_\": null}", "llm_layers_0_"},
    {"{\"llm_layers_end_3\": null}", "llm_layers_end_3"},
    {"{\"llm_layers_0%_50\": null}", "llm_layers_0%_50"},
    {"{\"llm_layers_0%_101%\": null}", "101%"},
    {"{\"llm_layers_0_9999999\": null}", "9999999"},
    {"{\"llm_layers_4_9\": \"int8\", \"default\": null}", "rule 1, 'llm_layers_4_9'"},
    {"{\"llm_layers_0%_10%\": \"int8\", \"default\": null}", "matches no linear"},
    {"{\"llm_layers\": \"int8\", \"lm_head\": null, \"projection\": null}",
     "vision.layers.0.attn.q"},
    {"{\"version\": 2, \"rules\": [{\"match\": \"*\", \"scheme\": null}]}", "version"},
    {"{\"version\": 1}", "rules"},
    {"{\"rules\": [{\"match\": \"*\", \"scheme\": null}]}", "version"},
    {"{\"version\": 1, \"rules\": []}", "0 rules"},
    {"{\"version\": 1, \"rules\": [], \"rule\": 1}", "'rule'"},
    {"{\"version\": 1, \"rules\": [1]}", "rule 1"},
    {"{\"version\": 1, \"rules\": [{\"match\": \"*\"}]}", "rule 1"},
    {"{\"version\": 1, \"rules\": [{\"match\": \"\", \"scheme\": null}]}", "rule 1"},
    {"{\"version\": 1, \"rules\": [{\"match\": \"*\", \"scheme\": null, \"x\": 1}]}", "rule 1"},
    {"{\"version\": 1, \"rules\": [{\"match\": \"vison.*\", \"scheme\": null}, {\"match\": \"*\", "
     "\"scheme\": null}]}",
     "vison.*"},
    {"{\"default\": {\"bits\": 4}}", "method"},
    {"{\"default\": {\"method\": \"gtpq\"}}", "gtpq"},
    {"{\"default\": {\"method\": \"keep\"}}", "keep"},
    {"{\"default\": {\"method\": \"gptq\", \"bits\": 2}}", "2 bits are not supported"},
    {"{\"default\": {\"method\": \"gptq\", \"bits\": 4.5}}", "bits"},
    {"{\"default\": {\"method\": \"gptq\", \"group\": 48}}", "48"},
    {"{\"default\": {\"method\": \"gptq\", \"group\": \"all\"}}", "group"},
    {"{\"default\": {\"method\": \"gptq\", \"symmetric\": 1}}", "symmetric"},
    {"{\"default\": {\"method\": \"gptq\", \"activations\": \"fp8\"}}", "fp8"},
    {"{\"default\": {\"method\": \"gptq\", \"dampening\": 0.1}}", "dampening"},
    {"{\"default\": {\"method\": \"int8\", \"bits\": 4}}", "int8"},
    {"{\"default\": {\"method\": \"int8\", \"symmetric\": false}}", "int8"},
    {"{\"default\": {\"method\": \"gptq\", \"target\": \"inputs\"}}", "\"inputs\""},
    {"{\"default\": {\"method\": \"gptq\", \"target\": 1}}", "target"},
    {"{\"default\": {\"method\": \"awq\", \"target\": \"outputs\"}}", "method awq cannot aim"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"fp6\"}}", "\"fp6\"; use fp8"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"fp8\", \"bits\": 4}}", "8 bits, not 4"},
    {"{\"default\": {\"method\": \"awq\", \"codes\": \"fp8\"}}", "method awq is for codes"},
    {"{\"default\": {\"method\": \"int8\", \"codes\": \"fp8\"}}", "method int8 is for codes"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"fp8\", \"group\": 128}}", "\"block\""},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"mxfp4\", \"group\": 16}}", "is 32"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"nvfp4\", \"group\": \"block\"}}", "is 16"},
    {"{\"default\": {\"method\": \"rtn\", \"group\": \"block\"}}", "groups of -2"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"nvfp4\", \"symmetric\": false}}",
     "no zero point"},
    {"{\"default\": {\"method\": \"rtn\", \"codes\": \"nvfp4\", \"activations\": \"int8\"}}",
     "float activations"},
    {"{\"llm_layers\": \"rtn_mxfp4\", \"default\": null}",
     "text.layers.3.mlp.down: its 850 inputs are no multiple of 32, which mxfp4"},
};

static void bad_recipes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_error err = {0};
        vlmp_plan plan;
        if (plan_of(&plan, bad[i].text, &err) != VLMP_ERR_INPUT)
            fail_msg("accepted: %s", bad[i].text);
        if (strstr(err.message, bad[i].says) == NULL)
            fail_msg("%s: the message does not say '%s': %s", bad[i].text, bad[i].says,
                     err.message);
    }
}

static void groups_and_sizes(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_plan plan;
    assert_int_equal(plan_of(&plan,
                             "{\"llm_layers\": {\"method\": \"gptq\", \"group\": 128, "
                             "\"symmetric\": false}, \"default\": null}",
                             &err),
                     VLMP_OK);
    const vlmp_plan_entry *q = &plan.entries[5], *e = &plan.entries[7], *channel = &plan.entries[8];
    assert_int_equal(q->scheme.group, 128);
    assert_false(q->group_fallback);
    assert_int_equal(q->bytes, 256 * 128 + 256 * 2 * 2 + 256);
    assert_int_equal(e->scheme.group, 32); /* 800 = 25·32 */
    assert_true(e->group_fallback);
    assert_int_equal(e->bytes, 256 * 400 + 256 * 25 * 2 + 256 * 13);
    assert_int_equal(channel->scheme.group, 0);
    assert_true(channel->group_fallback);
    assert_int_equal(channel->bytes, 256 * 425 + 256 * 4 + 256);
    assert_int_equal(plan.group_fallbacks, 2);
    assert_int_equal(plan.auto_channels, 0); /* that was not auto */
    assert_int_equal(plan.quantized, 4);
    assert_true(plan.needs_calibration);
    size_t sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += plan.entries[i].method == K ? model[i].bytes : plan.entries[i].bytes;
    assert_int_equal(plan.bytes, sum);
    vlmp_plan_free(&plan);
    static const struct {
        int k, asked, got;
        bool fallback;
    } cases[] = {{256, VLMP_GROUP_AUTO, 128, false},
                 {192, VLMP_GROUP_AUTO, 64, false},
                 {96, VLMP_GROUP_AUTO, 32, false},
                 {100, VLMP_GROUP_AUTO, 0, false},
                 {128, VLMP_GROUP_AUTO, 0, false},
                 {256, VLMP_GROUP_CHANNEL, 0, false},
                 {256, 32, 32, false},
                 {192, 128, 64, true},
                 {100, 32, 0, true},
                 {32, 64, 0, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool fallback;
        assert_int_equal(vlmp_plan_group(cases[i].k, cases[i].asked, &fallback), cases[i].got);
        assert_int_equal(fallback, cases[i].fallback);
    }
}

static void tied_tables_follow_the_head(void **state)
{
    (void)state;
    const vlmp_plan_linear tied[] = {
        {"text.layers.0.attn.q", 64, 64, 8192, false, false, false},
        {"text.embed", 100, 64, 12800, false, true, true},
    };
    static const struct {
        const char *text;
        vlmp_method method;
    } cases[] = {
        {"{\"llm_layers\": null, \"embeddings\": \"int8\", \"lm_head\": null}", K},
        {"{\"llm_layers\": null, \"embeddings\": null, \"lm_head\": \"int8\"}", I},
        {"{\"default\": \"int8\"}", I},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_error err;
        vlmp_recipe recipe;
        vlmp_plan plan;
        assert_int_equal(parse(&recipe, cases[i].text, &err), VLMP_OK);
        if (vlmp_plan_make(&plan, &recipe, tied, 2, "r", &err) != VLMP_OK)
            fail_msg("%s", err.message);
        assert_int_equal(plan.entries[1].method, cases[i].method);
        vlmp_plan_free(&plan);
        vlmp_recipe_free(&recipe);
    }
    vlmp_error err;
    vlmp_recipe recipe;
    vlmp_plan plan;
    assert_int_equal(parse(&recipe, "{\"llm_layers\": null, \"embeddings\": \"int8\"}", &err),
                     VLMP_OK);
    assert_int_equal(vlmp_plan_make(&plan, &recipe, tied, 2, "r", &err), VLMP_ERR_INPUT);
    vlmp_recipe_free(&recipe);
}

static void built_in_recipes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        vlmp_method methods[COUNT];
    } cases[] = {{"@w4", {I, I, K, K, K, G, G, G, G, K}},
                 {"@seed", {I, I, K, K, I, I, I, I, I, K}}};
    vlmp_error err = {0};
    vlmp_recipe recipe;
    vlmp_plan plan;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(vlmp_recipe_load(&recipe, cases[i].name, &err), VLMP_OK);
        assert_int_equal(vlmp_plan_make(&plan, &recipe, model, COUNT, cases[i].name, &err),
                         VLMP_OK);
        for (int l = 0; l < COUNT; l++)
            assert_int_equal(plan.entries[l].method, cases[i].methods[l]);
        assert_int_equal(plan.entries[0].scheme.int8_activations, i == 1);
        vlmp_plan_free(&plan);
        vlmp_recipe_free(&recipe);
    }
    assert_int_equal(vlmp_recipe_load(&recipe, "@w5", &err), VLMP_ERR_INPUT);
}

/* Sums of int8 inputs fit 32 bits, or the plan says which linear's do not. */
static void long_rows_of_int8(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"default\": \"int8_dynamic\"}",
                                        "{\"default\": \"gptq_8bit\"}"};
    for (int k = 66311; k <= 66312; k++)
        for (int i = 0; i < 2; i++) {
            const vlmp_plan_linear wide = {"projector.0", 2, k, 4 * (size_t)k, false, false, false};
            vlmp_error err = {0};
            vlmp_recipe recipe;
            vlmp_plan plan;
            assert_int_equal(parse(&recipe, texts[i], &err), VLMP_OK);
            int status = vlmp_plan_make(&plan, &recipe, &wide, 1, "recipe.json", &err);
            assert_int_equal(status, i == 0 && k == 66312 ? VLMP_ERR_INPUT : VLMP_OK);
            if (status != VLMP_OK && strstr(err.message, "projector.0: 66312 inputs under one "
                                                         "scale are more than the 66311") == NULL)
                fail_msg("%s", err.message);
            vlmp_plan_free(&plan);
            vlmp_recipe_free(&recipe);
        }
}

/* Codes settle groups; blocks that do not divide fall back, like groups. */
static void codes_of_floats(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_plan plan;
    assert_int_equal(plan_of(&plan, good[sizeof good / sizeof *good - 1].text, &err), VLMP_OK);
    static const struct {
        int entry;
        vlmp_code_type codes;
        vlmp_dtype scales;
        int group;
        bool blocks, fallback;
    } cases[] = {{0, VLMP_CODES_FP8, VLMP_F32, 0, false, false},
                 {3, VLMP_CODES_FP8, VLMP_F32, 0, false, true}, /* of 192 inputs */
                 {5, VLMP_CODES_NVFP4, VLMP_F8_E4M3, 16, false, false},
                 {7, VLMP_CODES_MXFP4, VLMP_F8_E8M0, 32, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const vlmp_plan_entry *entry = &plan.entries[cases[i].entry];
        assert_int_equal(entry->scheme.codes, cases[i].codes);
        assert_int_equal(entry->scheme.scales, cases[i].scales);
        assert_int_equal(entry->scheme.group, cases[i].group);
        assert_int_equal(entry->scheme.blocks, cases[i].blocks);
        assert_int_equal(entry->group_fallback, cases[i].fallback);
        assert_false(entry->auto_channel);
    }
    assert_int_equal(plan.entries[5].bytes, 256 * 128 + 256 * 16 + 4);
    assert_int_equal(plan.group_fallbacks, 1);
    vlmp_plan_free(&plan);
    assert_int_equal(plan_of(&plan, "{\"lm_head\": \"rtn_fp8_block\", \"default\": null}", &err),
                     VLMP_OK);
    assert_true(plan.entries[9].scheme.blocks);
    assert_int_equal(plan.entries[9].bytes, 1024 * 256 + 8 * 2 * 4);
    vlmp_plan_free(&plan);
}

static void options_without_a_recipe(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_recipe recipe;
    vlmp_plan plan;
    static const vlmp_method weighing[] = {I, R, A}, aiming[] = {G, B};
    for (size_t m = 0; m < sizeof weighing / sizeof *weighing; m++)
        assert_int_equal(vlmp_recipe_scheme_default(weighing[m]).target, VLMP_TARGET_WEIGHTS);
    for (size_t m = 0; m < sizeof aiming / sizeof *aiming; m++)
        assert_int_equal(vlmp_recipe_scheme_default(aiming[m]).target, VLMP_TARGET_OUTPUTS);
    vlmp_recipe_scheme scheme = vlmp_recipe_scheme_default(VLMP_METHOD_GPTQ);
    assert_int_equal(vlmp_recipe_from_scheme(&recipe, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_plan_make(&plan, &recipe, model, COUNT, "o", &err), VLMP_OK);
    for (int l = 0; l < COUNT; l++)
        assert_int_equal(plan.entries[l].method,
                         strncmp(model[l].name, "text.layers", 11) == 0 ? G : K);
    vlmp_plan_free(&plan);
    vlmp_recipe_free(&recipe);
    scheme = vlmp_recipe_scheme_default(VLMP_METHOD_INT8);
    assert_int_equal(vlmp_recipe_from_scheme(&recipe, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_plan_make(&plan, &recipe, model, COUNT, "o", &err), VLMP_OK);
    assert_int_equal(plan.entries[0].method, I);
    assert_int_equal(plan.entries[3].method, K);
    assert_int_equal(plan.entries[5].method, I);
    assert_int_equal(plan.entries[9].method, K);
    vlmp_plan_free(&plan);
    vlmp_recipe_free(&recipe);
    assert_int_equal(vlmp_recipe_scheme_set_bits(&scheme, 5, "o", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "o: 5 bits are not supported; use 3, 4 or 8"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_recipe_scheme_set_bits(&scheme, 4, "o", &err), VLMP_OK);
    assert_int_equal(vlmp_recipe_from_scheme(&recipe, &scheme, &err), VLMP_ERR_INPUT);
}

static void written_recipes_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        vlmp_error err = {0};
        vlmp_recipe recipe;
        vlmp_plan plan;
        vlmp_json_writer first = {0}, second = {0};
        vlmp_recipe_target targets[8];
        assert_int_equal(parse(&recipe, good[i].text, &err), VLMP_OK);
        vlmp_recipe_write(&recipe, &first);
        for (int n = 0; n < recipe.count; n++)
            targets[n] = recipe.rules[n].scheme.target;
        vlmp_recipe_free(&recipe);
        assert_int_equal(parse(&recipe, first.out.data, &err), VLMP_OK);
        for (int n = 0; n < recipe.count; n++)
            assert_int_equal(recipe.rules[n].scheme.target, targets[n]);
        vlmp_recipe_write(&recipe, &second);
        assert_string_equal(first.out.data, second.out.data);
        assert_int_equal(vlmp_plan_make(&plan, &recipe, model, COUNT, "r", &err), VLMP_OK);
        for (int l = 0; l < COUNT; l++)
            assert_int_equal(plan.entries[l].method, good[i].methods[l]);
        vlmp_plan_free(&plan);
        vlmp_recipe_free(&recipe);
        vlmp_buffer_free(&first.out);
        vlmp_buffer_free(&second.out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_recipes),
        cmocka_unit_test(bad_recipes),
        cmocka_unit_test(groups_and_sizes),
        cmocka_unit_test(tied_tables_follow_the_head),
        cmocka_unit_test(built_in_recipes),
        cmocka_unit_test(long_rows_of_int8),
        cmocka_unit_test(codes_of_floats),
        cmocka_unit_test(options_without_a_recipe),
        cmocka_unit_test(written_recipes_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
