/* Pictures of any size: how large they become, in which order their patches stand, and where their
 * rows lie in a prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/flow/sequence.h"
#include "src/picture/smart_resize.h"

/* What the reference's smart_resize gives (transformers 5.24): width and height, then height and
 * width for squares of 28 within 3136 … 12845056, within 3136 … 1003520, and of 32 within 65536 …
 * 16777216. */
static const int resized[][8] = {
    {640, 480, 476, 644, 476, 644, 480, 640},
    {1920, 1080, 1092, 1932, 728, 1316, 1088, 1920},
    {336, 336, 336, 336, 336, 336, 320, 320},
    {30, 30, 56, 56, 56, 56, 256, 256},
    {42, 1000, 1008, 56, 1008, 56, 1280, 64},
    {28, 28, 56, 56, 56, 56, 256, 256},
    {4000, 3000, 2996, 4004, 840, 1148, 3008, 4000},
    {30, 900, 896, 28, 896, 28, 1408, 64},
    {1, 200, 812, 28, 812, 28, 3648, 32},
    {70, 42, 56, 56, 56, 56, 224, 352}, /* 70 / 28 and 42 / 28 are halves: to even */
};

static void check_size(const int *row, int square, int64_t least, int64_t most, int height,
                       int width)
{
    int h = row[1], w = row[0];
    assert_true(vlmp_smart_resize(&h, &w, square, least, most));
    assert_int_equal(h, height);
    assert_int_equal(w, width);
}

static void sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof resized / sizeof *resized; i++) {
        const int *row = resized[i];
        check_size(row, 28, 3136, 12845056, row[2], row[3]);
        check_size(row, 28, 3136, 1003520, row[4], row[5]);
        check_size(row, 32, 65536, 16777216, row[6], row[7]);
    }
    int height = 201, width = 1;
    assert_false(vlmp_smart_resize(&height, &width, 28, 3136, 12845056));
    height = 1, width = 200;
    assert_false(vlmp_smart_resize(&height, &width, 28, (int64_t)1 << 60, (int64_t)1 << 61));
}

/* 6 × 4 patches in squares of 2, windows of 4 × 4 patches: one whole, one of 2 × 4. */
static void windows(void **state)
{
    (void)state;
    vlmp_vision_config vision = {.patch_size = 4, .merge = 2, .window = 4};
    vlmp_patch_grid grid = {6, 4};
    static const int32_t order[24] = {0,  1,  4,  5,  2,  3,  6,  7,  8,  9,  12, 13,
                                      10, 11, 14, 15, 16, 17, 20, 21, 18, 19, 22, 23};
    int32_t got[24], ranks[6];
    int rows[2];
    vlmp_grid_order(&vision, grid, got);
    assert_memory_equal(got, order, sizeof order);
    assert_int_equal(vlmp_grid_windows(&vision, grid, NULL), 2);
    assert_int_equal(vlmp_grid_windows(&vision, grid, rows), 2);
    assert_true(rows[0] == 16 && rows[1] == 8);
    /* Windows of one square on a wider grid: columns of windows come first. */
    grid = (vlmp_patch_grid){4, 6};
    vision.window = 4;
    vlmp_grid_ranks(&vision, grid, ranks);
    static const int32_t expected[6] = {0, 1, 4, 2, 3, 5};
    assert_memory_equal(ranks, expected, sizeof expected);
}

/* Row by row where nothing is merged and there are no windows. */
static void plain_order(void **state)
{
    (void)state;
    const vlmp_vision_config vision = {.image_size = 13, .patch_size = 4, .merge = 1};
    vlmp_patch_grid grid = vlmp_tile_grid(&vision, NULL);
    int32_t got[9];
    assert_true(grid.rows == 3 && grid.cols == 3);
    vlmp_grid_order(&vision, grid, got);
    for (int32_t i = 0; i < 9; i++)
        assert_int_equal(got[i], i);
    assert_int_equal(vlmp_grid_bytes(&vision, grid), 3 * 13 * 13);
}

/* Two pictures of 2 × 3 and 1 × 1 squares among text. */
static void positions(void **state)
{
    (void)state;
    enum { P = 9, LENGTH = 12 };
    vlmp_config config = {.vision = {.patch_size = 4, .merge = 2}, .image_token = P};
    int32_t ids[LENGTH] = {1, 2, P, P, P, P, P, P, 3, P, 4, 5}, got[3][LENGTH];
    vlmp_image_plan plans[2] = {{.tiles = 1, .rows = 4, .cols = 6},
                                {.tiles = 1, .rows = 2, .cols = 2}};
    const vlmp_sequence sequence = {
        .length = LENGTH, .ids = ids, .image_count = 2, .plans = plans, .tiles = 2};
    static const int32_t expected[3][LENGTH] = {{0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 8},
                                                {0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 8},
                                                {0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8}};
    int behind = vlmp_sequence_positions(&sequence, &config, got[0], LENGTH);
    assert_memory_equal(got, expected, sizeof expected);
    assert_int_equal(behind, 9 - LENGTH);
    /* Whatever a damaged file has between a picture's rows, no picture more is looked for. */
    ids[4] = 7, ids[8] = P;
    behind = vlmp_sequence_positions(&sequence, &config, got[0], LENGTH);
    assert_int_equal(got[0][LENGTH - 1], behind + LENGTH - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(windows),
                                       cmocka_unit_test(plain_order), cmocka_unit_test(positions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
