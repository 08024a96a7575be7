/* Idefics3 and SmolVLM: class defaults, position buckets, plans, and what they put into prompts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/config.h"
#include "src/model/family.h"

static vlmp_config good(const char *rest)
{
    char json[512];
    vlmp_config config;
    vlmp_error err = {0};
    snprintf(json, sizeof json, "{\"model_type\":\"smolvlm\",\"text_config\":{}%s}", rest);
    if (vlmp_config_read(&config, json, strlen(json), "config.json", &err) != VLMP_OK)
        fail_msg("%s", err.message);
    return config;
}

/* Of torch.bucketize over the boundaries that the reference computes, in transformers 5.24. */
static void buckets(void **state)
{
    (void)state;
    static const struct {
        int side, count, below[6]; /* indices that fall into the bucket before their own */
    } sides[] = {{26, 0, {0}},
                 {27, 0, {0}},
                 {32, 0, {0}},
                 {64, 0, {0}},
                 {31, 4, {17, 21, 25, 29}},
                 {97, 6, {3, 6, 12, 24, 48, 96}}};
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int i = 0, next = 0; i < sides[s].side; i++) {
            bool below = next < sides[s].count && sides[s].below[next] == i;
            assert_int_equal(vlmp_position_bucket(i, sides[s].side), below ? i - 1 : i);
            next += below;
        }
}

static void class_defaults(void **state)
{
    (void)state;
    vlmp_config c = good(",\"vision_config\":{\"image_size\":256}");
    assert_int_equal(c.vision.hidden, 1152);
    assert_int_equal(c.vision.run_layers, 12);
    assert_int_equal(c.vision.feature_layers[0], 12);
    assert_int_equal(c.vision.act, VLMP_GELU_TANH);
    assert_true(c.vision.patch_bias && c.vision.has_post_norm);
    assert_false(c.vision.has_class || c.vision.has_pre_norm || c.projector.bias);
    assert_int_equal(c.projector.linears, 1);
    assert_int_equal(c.image_token, 128257);
    static const char odd[] = "{\"model_type\":\"idefics3\"}"; /* 7 patches a side, in twos */
    vlmp_error err = {0};
    assert_int_equal(vlmp_config_read(&c, odd, sizeof odd - 1, "config.json", &err),
                     VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "scale_factor"));
    c = good(",\"scale_factor\":3,\"vision_config\":{\"image_size\":384,"
             "\"patch_size\":14,\"model_type\":\"siglip\"}");
    assert_int_equal(vlmp_tile_tokens(&c), 81);
    assert_int_equal(vlmp_feature_width(&c), 10368);
}

/* The table of the project's notes. */
static void plans(void **state)
{
    (void)state;
    static const struct {
        int width, height, rows, cols, tokens;
    } pictures[] = {{640, 480, 3, 4, 1053}, {1920, 1080, 3, 4, 1053}, {300, 300, 4, 4, 1377},
                    {1000, 250, 1, 4, 405}, {28, 28, 4, 4, 1377},     {4000, 3000, 3, 4, 1053},
                    {30, 900, 4, 1, 405}};
    vlmp_config c = good(",\"scale_factor\":3,\"vision_config\":{\"image_size\":384,"
                         "\"patch_size\":14}");
    vlmp_preprocess pre = {.kind = VLMP_PROCESSOR_IDEFICS3,
                           .do_resize = true,
                           .size = {.longest_edge = 1536},
                           .do_image_splitting = true,
                           .tile_side = 384};
    vlmp_error err = {0};
    vlmp_image_plan plan, bad;
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        vlmp_shown_picture shown = {pictures[i].width, pictures[i].height, 1};
        assert_int_equal(c.family->plan_image(&c, &pre, shown, &plan, &err), VLMP_OK);
        assert_int_equal(plan.grid_rows, pictures[i].rows);
        assert_int_equal(plan.grid_cols, pictures[i].cols);
        assert_int_equal(plan.tokens, pictures[i].tokens);
        assert_true(c.family->plan_is_valid(&c, &plan));
    }
    bad = plan, bad.tiles--;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.tokens += 81;
    assert_false(c.family->plan_is_valid(&c, &bad));
    bad = plan, bad.grid_rows = bad.grid_cols = -1, bad.tiles = 2, bad.tokens = 162;
    assert_false(c.family->plan_is_valid(&c, &bad));
    assert_int_equal(c.family->plan_image(&c, NULL, (vlmp_shown_picture){4, 4, 1}, &plan, &err),
                     VLMP_ERR_INPUT);
}

static void spells(void **state)
{
    (void)state;
    vlmp_config c = good(",\"vision_config\":{\"image_size\":8,\"patch_size\":4}");
    vlmp_buffer out = {0};
    c.family->spell(&c, &(vlmp_image_plan){.tiles = 1, .tokens = 1}, "#", &out);
    vlmp_buffer_text(&out, "|");
    c.family->spell(&c, &(vlmp_image_plan){.tiles = 5, .tokens = 5, .grid_rows = 2, .grid_cols = 2},
                    "#", &out);
    vlmp_buffer_append(&out, "", 1);
    assert_string_equal(
        out.data, "<fake_token_around_image><global-img>#<fake_token_around_image>|"
                  "<fake_token_around_image><row_1_col_1>#<fake_token_around_image><row_1_col_2>#\n"
                  "<fake_token_around_image><row_2_col_1>#<fake_token_around_image><row_2_col_2>#\n"
                  "\n<fake_token_around_image><global-img>#<fake_token_around_image>");
    vlmp_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(buckets), cmocka_unit_test(class_defaults),
                                       cmocka_unit_test(plans), cmocka_unit_test(spells)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
