/* Grids, sizes and single values of coded linears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "src/base/packed_parts.h"
#include "tests/unit/schemes.h"

static void grids(void **state)
{
    (void)state;
    static const struct {
        vlmp_scheme scheme;
        vlmp_code_grid grid;
    } cases[] = {{SCHEME(4, 32, true, false), {16, 0, 15, 8, 7.5f, {0}}},
                 {SCHEME(4, 32, false, false), {16, 0, 15, 8, 7.5f, {0}}},
                 {SCHEME(3, 32, true, false), {8, 0, 7, 4, 3.5f, {0}}},
                 {SCHEME(3, 32, false, false), {8, 0, 7, 4, 3.5f, {0}}},
                 {SCHEME(8, 0, true, false), {255, 1, 255, 128, 127.5f, {0}}},
                 {SCHEME(8, 0, false, false), {256, 0, 255, 128, 127.5f, {0}}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_code_grid grid = vlmp_code_grid_of(&cases[i].scheme);
        assert_memory_equal(&grid, &cases[i].grid, sizeof grid);
        for (int code = grid.low; code <= grid.high; code++) {
            float level = vlmp_code_level(&grid, code, 5);
            assert_int_equal(vlmp_code_nearest(&grid, level, 5), code);
            assert_int_equal(vlmp_code_nearest(&grid, level + 0.49f, 5), code);
        }
        assert_int_equal(vlmp_code_nearest(&grid, -1e30f, 5), grid.low);
        assert_int_equal(vlmp_code_nearest(&grid, INFINITY, 5), grid.high);
        assert_int_equal(vlmp_code_nearest(&grid, 0.5f, 5), 5); /* ties to even levels */
        assert_int_equal(vlmp_code_nearest(&grid, 1.5f, 5), 7);
    }
    assert_int_equal(vlmp_code_type_of_bits(3), VLMP_CODES_U3);
    assert_int_equal(vlmp_code_type_of_bits(2), VLMP_CODES_NONE);
}

static void sizes(void **state)
{
    (void)state;
    vlmp_packed_shape shape;
    vlmp_scheme odd = SCHEME(4, 3, false, false), channel = SCHEME(8, 0, true, false);
    assert_true(vlmp_packed_shape_of(&shape, 5, 9, &odd));
    assert_int_equal(shape.groups, 3);
    assert_int_equal(shape.parts[VLMP_PACKED_CODES].columns, 5);
    assert_int_equal(shape.parts[VLMP_PACKED_CODES].used_bits, 4);
    assert_int_equal(shape.parts[VLMP_PACKED_SCALES].bytes, 5 * 3 * 2);
    assert_int_equal(shape.parts[VLMP_PACKED_ZEROS].columns, 2);
    assert_int_equal(shape.bytes, 5 * 5 + 5 * 3 * 2 + 5 * 2);
    assert_true(vlmp_packed_shape_of(&shape, INT32_MAX, INT32_MAX, &channel));
    assert_int_equal(shape.bytes, (size_t)INT32_MAX * INT32_MAX + (size_t)INT32_MAX * 4);
    assert_int_equal(shape.parts[VLMP_PACKED_ZEROS].columns, 0);
    assert_false(vlmp_packed_shape_of(&shape, 5, 10, &odd));
    assert_false(vlmp_packed_shape_of(&shape, 0, 9, &odd));
    assert_false(vlmp_packed_shape_of(&shape, (int64_t)INT32_MAX + 1, 9, &odd));
    odd.group = -1;
    assert_false(vlmp_packed_shape_of(&shape, 5, 9, &odd));
    channel.global_scale = 2; /* no file holds it */
    assert_false(vlmp_packed_shape_of(&shape, 5, 9, &channel));
    vlmp_scheme planes = SCHEME(3, 3, false, false);
    assert_true(vlmp_packed_shape_of(&shape, 5, 9, &planes));
    assert_int_equal(shape.parts[VLMP_PACKED_CODES].columns, 3);
    assert_int_equal(shape.parts[VLMP_PACKED_CODES].used_bits, 2);
    assert_int_equal(shape.parts[VLMP_PACKED_HIGH].columns, 2);
    assert_int_equal(shape.parts[VLMP_PACKED_HIGH].used_bits, 1);
    assert_int_equal(shape.parts[VLMP_PACKED_ZEROS].columns, 2); /* of 4 bits each */
    assert_int_equal(shape.bytes, 5 * 3 + 5 * 2 + 5 * 3 * 2 + 5 * 2);
    for (int part = 0; part < VLMP_PACKED_PARTS; part++)
        for (int type = VLMP_CODES_U3; type <= VLMP_CODES_U4; type++) {
            char leaf[16];
            snprintf(leaf, sizeof leaf, ".%s",
                     vlmp_packed_part_name((vlmp_packed_part)part, (vlmp_code_type)type));
            assert_int_equal(vlmp_packed_part_of(leaf), part);
        }
    assert_int_equal(vlmp_packed_part_of(".codes2"), VLMP_PACKED_CODES);
    assert_int_equal(vlmp_packed_part_of(".codes1"), VLMP_PACKED_HIGH);
    assert_int_equal(vlmp_packed_part_of(".codes3"), VLMP_PACKED_PARTS);
    assert_int_equal(vlmp_packed_part_of(".zeros"), VLMP_PACKED_ZEROS);
    assert_int_equal(vlmp_packed_part_of("codes"), VLMP_PACKED_PARTS);
}

/* The scale's type is the scheme's, also for one group that is the whole row. */
static void values(void **state)
{
    (void)state;
    static const uint8_t codes[] = {0x21, 0x43, 0x05};
    uint8_t back[5], row[3] = {0xff, 0xff, 0xff};
    vlmp_codes_unpack(back, codes, 5, 4);
    for (int i = 0; i < 5; i++)
        assert_int_equal(vlmp_code_at(codes, i, 4), i + 1);
    vlmp_codes_pack(row, back, 5, 4);
    assert_memory_equal(row, codes, sizeof row); /* the last half byte is 0 */
    /* 3 bits, by hand: 5, 2, 7, 0, 6 are 01 10 11 00 10 and 1 0 1 0 1. */
    static const uint8_t three[] = {5, 2, 7, 0, 6};
    uint8_t low[2] = {0xff, 0xff}, high[1] = {0xff};
    vlmp_planes_pack(low, high, three, 5, VLMP_CODES_U3);
    assert_memory_equal(low, ((uint8_t[]){0x39, 0x02}), 2);
    assert_int_equal(high[0], 0x15);
    vlmp_planes_unpack(back, low, high, 5, VLMP_CODES_U3);
    assert_memory_equal(back, three, sizeof back);
    for (int i = 0; i < 5; i++)
        assert_int_equal(vlmp_planes_at(low, high, i, VLMP_CODES_U3), three[i]);
    unsigned char scales[9];
    vlmp_dtype types[] = {VLMP_F16, VLMP_F32};
    for (int t = 0; t < 2; t++) {
        vlmp_scale_put(scales + 1, 1, types[t], 0.375f);
        assert_true(vlmp_scale_at(scales + 1, 1, types[t]) == 0.375f);
        assert_true(vlmp_scale_stored(0, types[t]) == VLMP_SCALE_MIN);
    }
    assert_true(isinf(vlmp_scale_stored(66000, VLMP_F16)));
    assert_true(vlmp_scale_stored(66000, VLMP_F32) == 66000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grids), cmocka_unit_test(sizes),
                                       cmocka_unit_test(values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
