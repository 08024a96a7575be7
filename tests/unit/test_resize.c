/* Resampling equals Pillow's and torchvision's bytes; a window equals the same part of the whole.
 */
#include "tests/unit/golden_images.h"

#include "src/picture/resize.h"

static void check_line(const char *line)
{
    int w, h, kind, seed, to_w, to_h, filter, precision;
    char hex[VLMP_SHA256_HEX];
    assert_int_equal(sscanf(line, "%d %d %d %d %d %d %d %d %64s", &w, &h, &kind, &seed, &to_w,
                            &to_h, &filter, &precision, hex),
                     9);
    vlmp_image in = pattern(w, h, kind, seed), out;
    vlmp_error err = {0};
    assert_int_equal(vlmp_resize(&out, &in, to_w, to_h, NULL, (vlmp_resample)filter,
                                 (vlmp_resize_precision)precision, &err),
                     VLMP_OK);
    assert_int_equal(out.width, to_w);
    assert_int_equal(out.height, to_h);
    assert_golden(out.pixels, (size_t)to_w * (size_t)to_h * 3, hex, line);
    free(in.pixels);
    free(out.pixels);
}

static void equals_reference(void **state)
{
    (void)state;
    each_golden_line("resize.txt", 100, check_line);
}

static void check_window(const vlmp_image *in, int to_w, int to_h, vlmp_resample filter,
                         vlmp_resize_precision precision, const vlmp_rect *r)
{
    vlmp_image whole, part;
    vlmp_error err = {0};
    assert_int_equal(vlmp_resize(&whole, in, to_w, to_h, NULL, filter, precision, &err), VLMP_OK);
    assert_int_equal(vlmp_resize(&part, in, to_w, to_h, r, filter, precision, &err), VLMP_OK);
    assert_int_equal(part.width, r->width);
    assert_int_equal(part.height, r->height);
    for (int y = 0; y < r->height; y++)
        assert_memory_equal(part.pixels + (size_t)y * (size_t)r->width * 3,
                            whole.pixels + ((size_t)(r->y + y) * (size_t)to_w + (size_t)r->x) * 3,
                            (size_t)r->width * 3);
    free(whole.pixels);
    free(part.pixels);
}

/* All filters; sizes that shrink, grow and stay, so that each order of passes occurs. */
static void windows_are_parts(void **state)
{
    (void)state;
    static const int sizes[][4] = {{40, 30, 17, 50}, {40, 90, 35, 20}, {40, 30, 40, 12},
                                   {40, 30, 25, 30}, {40, 30, 40, 30}, {9, 8, 60, 70}};
    uint32_t index = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        vlmp_image in = pattern(sizes[i][0], sizes[i][1], 0, (int)i);
        int to_w = sizes[i][2], to_h = sizes[i][3];
        for (int n = 0; n < 24; n++) {
            vlmp_rect r = {0};
            r.x = pattern_noise(index++, 7) % to_w;
            r.y = pattern_noise(index++, 7) % to_h;
            r.width = 1 + pattern_noise(index++, 7) % (to_w - r.x);
            r.height = 1 + pattern_noise(index++, 7) % (to_h - r.y);
            check_window(&in, to_w, to_h, (vlmp_resample)(n % 6), VLMP_RESIZE_PILLOW, &r);
            check_window(&in, to_w, to_h, VLMP_RESAMPLE_BICUBIC, VLMP_RESIZE_TORCHVISION, &r);
        }
        free(in.pixels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_reference),
        cmocka_unit_test(windows_are_parts),
    };
    return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
