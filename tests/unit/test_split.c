/* Idefics3's plans: sizes of both resizes and the grid. */
#include "tests/unit/golden_images.h"

#include "src/picture/split.h"

static void check_line(const char *line)
{
    vlmp_split_plan want, got;
    vlmp_split_bounds bounds = {.split = true};
    int height, width;
    assert_int_equal(sscanf(line, "%d %d %d %d %d %d %d %d %d %d", &height, &width,
                            &bounds.longest_edge, &bounds.tile, &want.resized_height,
                            &want.resized_width, &want.canvas_height, &want.canvas_width,
                            &want.rows, &want.cols),
                     10);
    assert_true(vlmp_split_choose(&got, height, width, &bounds));
    if (memcmp(&got, &want, sizeof got) != 0)
        fail_msg("%s: got %d %d %d %d %d %d", line, got.resized_height, got.resized_width,
                 got.canvas_height, got.canvas_width, got.rows, got.cols);
}

static void equals_reference(void **state)
{
    (void)state;
    each_golden_line("splits.txt", 400, check_line);
}

static void without_splitting(void **state)
{
    (void)state;
    vlmp_split_plan plan;
    assert_true(vlmp_split_choose(&plan, 30, 40, &(vlmp_split_bounds){.tile = 16}));
    assert_true(plan.resized_height == 30 && plan.resized_width == 40);
    assert_true(plan.canvas_height == 16 && plan.canvas_width == 16);
    assert_true(plan.rows == 0 && plan.cols == 0);
    const vlmp_split_bounds sides = {.tile = 16, .height = 8, .width = 16, .split = true};
    assert_true(vlmp_split_choose(&plan, 30, 40, &sides));
    assert_true(plan.resized_height == 8 && plan.canvas_height == 16 && plan.rows == 0);
}

/* 49·(1/49) is below 1 in double; and no picture has more than 1024 tiles. */
static void impossible_grids(void **state)
{
    (void)state;
    vlmp_split_plan plan;
    assert_false(vlmp_split_choose(&plan, 49, 1, &(vlmp_split_bounds){.tile = 49, .split = true}));
    const vlmp_split_bounds many = {.tile = 10, .height = 330, .width = 330, .split = true};
    assert_false(vlmp_split_choose(&plan, 5, 5, &many));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_reference),
                                       cmocka_unit_test(without_splitting),
                                       cmocka_unit_test(impossible_grids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
