/* NaN and infinity in numbers of each type, wherever they lie. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/half.h"
#include "src/store/finite.h"

#define COUNT 10000 /* more than two of the steps that the search takes */

static const size_t places[] = {0, 1, 63, 4095, 4096, 4097, 8191, 8192, COUNT - 1};

static void activations(void **state)
{
    (void)state;
    static float values[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        values[i] = i % 2 ? FLT_MAX : -FLT_MIN / 2;
    assert_int_equal(vlmp_first_not_finite(values, VLMP_F32, COUNT), COUNT);
    assert_int_equal(vlmp_first_not_finite(values, VLMP_F32, 0), 0);
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        float kept = values[places[i]];
        values[places[i]] = bad[i % 3];
        assert_int_equal(vlmp_first_not_finite(values, VLMP_F32, COUNT), places[i]);
        assert_int_equal(vlmp_first_not_finite(values, VLMP_F32, places[i]),
                         places[i]); /* it lies behind */
        values[places[i]] = kept;
    }
}

static void check(const vlmp_tensor *tensor, size_t place, bool good)
{
    vlmp_error err = {0};
    char element[40];
    assert_int_equal(vlmp_tensor_check_finite(tensor, &err), good ? VLMP_OK : VLMP_ERR_INPUT);
    if (good) return;
    snprintf(element, sizeof element, "element %zu;", place);
    assert_non_null(strstr(err.message, element));
    assert_non_null(strstr(err.message, "m.safetensors: tensor 'w'"));
}

static void weights(void **state)
{
    (void)state;
    /* Largest finite number, infinity, a NaN; the last two bytes of a little-endian F32. */
    static const struct {
        vlmp_dtype dtype;
        uint16_t largest, infinity, nan;
    } types[] = {{VLMP_F16, 0x7bff, 0xfc00, 0x7e01},
                 {VLMP_BF16, 0x7f7f, 0xff80, 0x7fc1},
                 {VLMP_F32, 0x7f7f, 0x7f80, 0xffc0}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        size_t size = vlmp_dtype_size(types[t].dtype), bytes = COUNT * size;
        unsigned char *data = calloc(bytes + 1, 1), *at = data + 1; /* not aligned */
        assert_non_null(data);
        vlmp_tensor tensor = {.source_name = "w",
                              .file = "m.safetensors",
                              .dtype = types[t].dtype,
                              .data = at,
                              .bytes = bytes};
        for (size_t i = 0; i < COUNT; i++)
            memcpy(at + i * size + size - 2, &types[t].largest, 2);
        check(&tensor, 0, true);
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            unsigned char *element = at + places[i] * size + size - 2;
            memcpy(element, i % 2 ? &types[t].infinity : &types[t].nan, 2);
            check(&tensor, places[i], false);
            memcpy(element, &types[t].largest, 2);
        }
        tensor.dtype = VLMP_U8; /* codes, files */
        memset(at, 0xff, bytes);
        check(&tensor, 0, true);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations),
        cmocka_unit_test(weights),
    };
    return cmocka_run_group_tests_name("finite", tests, NULL, NULL);
}
