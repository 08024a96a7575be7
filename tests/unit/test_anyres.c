/* LLaVA-NeXT's choice of resolution, padding and token counts. */
#include "tests/unit/golden_images.h"

#include "src/picture/anyres.h"

static const int published[5][2] = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};

/* The table of the project's notes; 640 × 480 and 1024 × 899 are also in transformers' comments. */
static void known_pictures(void **state)
{
    (void)state;
    static const struct {
        int width, height, canvas_h, canvas_w, resized_h, resized_w, rows, cols, tokens;
    } table[] = {
        {336, 336, 336, 672, 336, 336, 24, 24, 1176},
        {640, 480, 672, 672, 504, 672, 36, 48, 2340},
        {480, 640, 672, 672, 672, 504, 48, 36, 2352},
        {1024, 899, 672, 672, 590, 672, 42, 48, 2634},
        {1024, 768, 672, 672, 504, 672, 36, 48, 2340},
        {1920, 1080, 672, 672, 378, 672, 28, 48, 1948},
        {1080, 1920, 672, 672, 672, 378, 48, 28, 1968},
        {500, 375, 672, 672, 505, 672, 36, 48, 2340},
        {672, 336, 336, 672, 336, 672, 24, 48, 1752},
        {1344, 336, 336, 1008, 252, 1008, 18, 72, 1890},
        {2000, 400, 336, 1008, 202, 1008, 14, 72, 1598},
        {100, 1000, 1008, 336, 1008, 101, 72, 8, 1224},
        {333, 500, 672, 336, 505, 336, 36, 24, 1476},
        {427, 640, 672, 672, 672, 449, 48, 32, 2160},
        {1, 1, 336, 672, 336, 336, 24, 24, 1176},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vlmp_anyres_plan plan;
        vlmp_error err = {0};
        assert_int_equal(
            vlmp_anyres_choose(&plan, table[i].height, table[i].width, published, 5, 336, &err),
            VLMP_OK);
        vlmp_anyres_layout l = vlmp_anyres_features(&plan, table[i].height, table[i].width, 24);
        assert_int_equal(plan.canvas_height, table[i].canvas_h);
        assert_int_equal(plan.canvas_width, table[i].canvas_w);
        assert_int_equal(plan.resized_height, table[i].resized_h);
        assert_int_equal(plan.resized_width, table[i].resized_w);
        assert_int_equal(l.rows, table[i].rows);
        assert_int_equal(l.cols, table[i].cols);
        assert_int_equal(l.tokens, table[i].tokens);
        assert_int_equal(l.base_tokens, 576);
    }
}

static int more[64][2], more_count; /* [336·i, 336·j] with i·j ≤ 6 */

static void check_line(const char *line)
{
    int h, w, set, canvas_h, canvas_w, new_h, new_w, tokens;
    assert_int_equal(sscanf(line, "%d %d %d %d %d %d %d %d", &h, &w, &set, &canvas_h, &canvas_w,
                            &new_h, &new_w, &tokens),
                     8);
    vlmp_anyres_plan plan;
    vlmp_error err = {0};
    const int(*pinpoints)[2] = set == 0 ? published : (const int(*)[2])more;
    assert_int_equal(
        vlmp_anyres_choose(&plan, h, w, pinpoints, set == 0 ? 5 : more_count, 336, &err), VLMP_OK);
    vlmp_anyres_layout l = vlmp_anyres_features(&plan, h, w, 24);
    if (plan.canvas_height != canvas_h || plan.canvas_width != canvas_w ||
        plan.resized_height != new_h || plan.resized_width != new_w || l.tokens != tokens)
        fail_msg("%s: got %d %d %d %d %d", line, plan.canvas_height, plan.canvas_width,
                 plan.resized_height, plan.resized_width, l.tokens);
    assert_int_equal(l.first_row * 2 + l.rows, l.map_rows);
    assert_int_equal(l.first_col * 2 + l.cols, l.map_cols);
}

static void equals_reference(void **state)
{
    (void)state;
    for (int i = 1; i < 7; i++)
        for (int j = 1; j < 7; j++)
            if (i * j <= 6) {
                more[more_count][0] = 336 * i;
                more[more_count++][1] = 336 * j;
            }
    each_golden_line("anyres.txt", 400, check_line);
}

/* Every map position is one feature of one tile, and none is taken twice. */
static void locations_cover_the_grid(void **state)
{
    (void)state;
    vlmp_anyres_layout l = {.side = 3, .map_rows = 6, .map_cols = 9};
    bool seen[6 * 9] = {false};
    for (int row = 0; row < l.map_rows; row++)
        for (int col = 0; col < l.map_cols; col++) {
            int tile, feature;
            vlmp_anyres_locate(&l, row, col, &tile, &feature);
            assert_in_range(tile, 0, 5);
            assert_in_range(feature, 0, 8);
            assert_false(seen[tile * 9 + feature]);
            seen[tile * 9 + feature] = true;
        }
    int tile, feature;
    vlmp_anyres_locate(&l, 4, 7, &tile, &feature); /* second tile row, third tile */
    assert_int_equal(tile, 5);
    assert_int_equal(feature, 4);
}

static void refuses(void **state)
{
    (void)state;
    vlmp_anyres_plan plan;
    vlmp_error err = {0};
    assert_int_equal(vlmp_anyres_choose(&plan, 10, 10, published, 0, 336, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_anyres_choose(&plan, 10, 10, published, 5, 224, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "336"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_pictures),
        cmocka_unit_test(equals_reference),
        cmocka_unit_test(locations_cover_the_grid),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("anyres", tests, NULL, NULL);
}
