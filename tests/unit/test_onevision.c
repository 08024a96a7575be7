/* LLaVA-OneVision: what its configuration may leave out, and rows of pictures. Losses and pixels
 * are in tests/golden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/config.h"
#include "src/model/family.h"

static int read_config(vlmp_config *config, const char *text, const char *rest, vlmp_error *err)
{
    char json[512];
    *err = (vlmp_error){0};
    snprintf(json, sizeof json, "{\"model_type\":\"llava_onevision\",\"text_config\":{%s}%s}", text,
             rest);
    return vlmp_config_read(config, json, strlen(json), "config.json", err);
}

static vlmp_config published(void)
{
    vlmp_config config;
    vlmp_error err;
    if (read_config(&config, "\"model_type\":\"qwen2\"", "", &err) != VLMP_OK)
        fail_msg("%s", err.message);
    return config;
}

static void class_defaults(void **state)
{
    (void)state;
    vlmp_config c = published();
    assert_int_equal(c.vision.hidden, 1152);
    assert_int_equal(c.vision.run_layers, 26);
    assert_int_equal(vlmp_tile_tokens(&c), 729);
    assert_false(c.vision.drop_first || c.vision.has_class || c.vision.has_post_norm);
    assert_int_equal(c.image_token, 151646);
    assert_int_equal(c.video_token, 151647);
    assert_int_equal(c.pinpoint_count, 36);
    assert_int_equal(c.pinpoints[35][1], 2304);
    assert_int_equal(c.most_tiles, 9);
}

static void refused(void **state)
{
    (void)state;
    static const char qwen2[] = "\"model_type\":\"qwen2\"";
    static const struct {
        const char *text, *rest, *message;
    } cases[] = {
        {"", "", "'model_type'"},
        {qwen2, ",\"vision_aspect_ratio\":\"anyres\"", "anyres_max_N"},
        {qwen2, ",\"vision_aspect_ratio\":\"anyres_max_0\"", "anyres_max_N"},
        {qwen2, ",\"vision_aspect_ratio\":\"anyres_max_9x\"", "anyres_max_N"},
        {qwen2, ",\"vision_feature_select_strategy\":\"default\"", "must be full"},
        {qwen2, ",\"image_grid_pinpoints\":[[384,385]]", "[384, 385]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_config config;
        vlmp_error err;
        assert_int_equal(read_config(&config, cases[i].text, cases[i].rest, &err), VLMP_ERR_INPUT);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("no '%s' in: %s", cases[i].message, err.message);
    }
}

/* Counts of LlavaOnevisionProcessor, transformers 5.24. */
static void plans(void **state)
{
    (void)state;
    static const struct {
        int width, height, tokens;
    } pictures[] = {{384, 384, 1485},   {640, 480, 2929},   {1024, 768, 4725}, {4000, 3000, 7309},
                    {28, 28, 1485},     {30, 900, 1053},    {900, 30, 975},    {2304, 2304, 7371},
                    {1920, 1080, 7269}, {2000, 1999, 7371}, {500, 375, 1728},  {1, 1, 1485},
                    {400, 3, 784}};
    vlmp_config c = published();
    vlmp_error err = {0};
    vlmp_image_plan plan, bad;
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        vlmp_shown_picture shown = {pictures[i].width, pictures[i].height, 1};
        assert_int_equal(c.family->plan_image(&c, NULL, shown, &plan, &err), VLMP_OK);
        assert_int_equal(plan.tokens, pictures[i].tokens);
        assert_true(c.family->plan_is_valid(&c, &plan));
        bad = plan, bad.tokens++;
        assert_false(c.family->plan_is_valid(&c, &bad));
        bad = plan, bad.rows += bad.first_row + 1000;
        assert_false(c.family->plan_is_valid(&c, &bad));
    }
    const vlmp_shown_picture one_of_two = {4000, 3000, 2};
    assert_int_equal(c.family->plan_image(&c, NULL, one_of_two, &plan, &err), VLMP_OK);
    assert_true(plan.tiles == 1 && plan.tokens == 730);
    assert_true(c.family->plan_is_valid(&c, &plan));
}

/* 4 × 4 features become 2 × 2: each the mean of a square, the corners not aligned. */
static void mixes(void **state)
{
    (void)state;
    vlmp_config c = published();
    vlmp_image_plan plan = {
        .tiles = 5, .tokens = 10, .grid_rows = 2, .grid_cols = 2, .rows = 4, .cols = 4};
    int32_t from[VLMP_MIXED_ROWS][10];
    float weights[VLMP_MIXED_ROWS][10];
    c.vision.image_size = 28;
    c.most_tiles = 1;
    assert_true(c.family->plan_is_valid(&c, &plan));
    c.family->mix(&c, &plan, 100, -1, 10, from[0], weights[0]);
    static const int32_t first[10] = {100, 101, 102, 103, 104, 108, -1, 112, 116, -1};
    for (int i = 0; i < 10; i++) {
        bool whole = i < 4 || i == 6 || i == 9;
        assert_int_equal(from[0][i], first[i]);
        assert_true(weights[0][i] == (whole ? 1.0f : 0.25f));
        assert_true(weights[3][i] == (whole ? 0.0f : 0.25f));
    }
    assert_true(from[1][4] == 105 && from[2][4] == 106 && from[3][4] == 107);
    assert_true(from[3][8] == 119);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(class_defaults), cmocka_unit_test(refused),
                                       cmocka_unit_test(plans), cmocka_unit_test(mixes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
