/* quant: round to nearest against the format's definition, packed bytes, bad files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/half.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/method/rtn.h"
#include "tests/unit/schemes.h"

#define N 37
#define K 384

static const vlmp_scheme schemes[] = {
    SCHEME(4, 32, true, false),   SCHEME(4, 64, true, false),  SCHEME(4, 128, true, false),
    SCHEME(4, 0, true, false),    SCHEME(4, 32, false, false), SCHEME(4, 64, false, false),
    SCHEME(4, 128, false, false), SCHEME(4, 0, false, false),  SCHEME(8, 32, true, false),
    SCHEME(8, 128, false, false), SCHEME(8, 0, true, false),   SCHEME(8, 0, false, false),
    SCHEME(3, 32, true, false),   SCHEME(3, 64, false, false), SCHEME(3, 0, true, false),
};
#define SCHEMES (sizeof schemes / sizeof *schemes)

static vlmp_pool *pool_of(int threads)
{
    vlmp_error err = {0};
    vlmp_pool *pool;
    assert_int_equal(vlmp_pool_create(&pool, threads, &err), VLMP_OK);
    return pool;
}

/* Weights of several sizes, rows of one sign, a group of zeros, an outlier. */
static float *weights(void)
{
    vlmp_rng rng = {7};
    float *w = vlmp_alloc(N * K, sizeof *w);
    assert_non_null(w);
    for (int r = 0; r < N; r++)
        for (int i = 0; i < K; i++) {
            float x = (float)(vlmp_rng_uniform(&rng) + vlmp_rng_uniform(&rng) - 1.0);
            x *= r % 5 == 0 ? 1e-7f : r % 5 == 1 ? 300.0f : 0.05f;
            if (r % 7 == 3) x = fabsf(x) + 0.01f;
            if (r % 7 == 5) x = -fabsf(x) - 0.01f;
            if (r == 4 && i < 128) x = 0.0f;
            if (r == 9 && i == 70) x = 2.5f;
            w[r * K + i] = x;
        }
    return w;
}

/* The definition in the format's specification, one weight at a time; every intermediate value
 * that the definition calls F32 or F16 is rounded there and nowhere else. */
static void defined_group(const float *w, int count, const vlmp_scheme *s, bool half, float *scale,
                          int *zero, int *codes)
{
    double low = 0, high = 0;
    bool symmetric = s->zeros == VLMP_ZEROS_NONE;
    int bits = vlmp_code_types[s->codes].bits;
    int top = (1 << bits) - 1, floor_code = bits == 8 && symmetric ? 1 : 0;
    for (int i = 0; i < count; i++) {
        low = fmin(low, (double)w[i]);
        high = fmax(high, (double)w[i]);
    }
    *zero = 1 << (bits - 1);
    *scale = 1.0f;
    if (low != 0 || high != 0) {
        /* quotients of F32 values by 7.5, 15, 127.5 and 255, correctly rounded to F32 */
        float amax = (float)fmax(-low, high);
        float range = (float)high - (float)low;
        *scale = symmetric ? amax / ((float)top / 2) : range / (float)top;
        if (half) *scale = vlmp_f16_to_f32(vlmp_f32_to_f16(*scale));
        if (*scale < 0x1p-24f) *scale = 0x1p-24f;
        if (!symmetric) {
            double z = nearbyint((double)(-(float)low / *scale));
            *zero = (int)fmin(fmax(z, 0), top);
        }
    }
    for (int i = 0; i < count; i++) {
        double u = nearbyint((double)(w[i] / *scale)) + *zero;
        codes[i] = (int)fmin(fmax(u, floor_code), top);
    }
}

static void rtn_is_the_definition(void **state)
{
    (void)state;
    vlmp_pool *pool = pool_of(2);
    float *w = weights();
    for (size_t i = 0; i < SCHEMES; i++) {
        vlmp_error err = {0};
        vlmp_quantized q;
        assert_int_equal(vlmp_quantized_alloc(&q, N, K, &schemes[i], &err), VLMP_OK);
        assert_int_equal(vlmp_rtn(&q, w, pool, "x", &err), VLMP_OK);
        for (int r = 0; r < N; r++)
            for (int g = 0; g < q.groups; g++) {
                float scale;
                int zero, codes[K];
                int at = r * q.groups + g;
                defined_group(w + r * K + g * q.group, q.group, &schemes[i], q.groups > 1, &scale,
                              &zero, codes);
                assert_true(q.scales[at] == scale);
                assert_int_equal(q.zeros[at], zero);
                for (int c = 0; c < q.group; c++)
                    assert_int_equal(q.codes[r * K + g * q.group + c], codes[c]);
            }
        vlmp_quantized_free(&q);
    }
    free(w);
    vlmp_pool_free(pool);
}

static void packed_bytes_round_trip(void **state)
{
    (void)state;
    vlmp_rng rng = {3};
    for (size_t i = 0; i < SCHEMES; i++) {
        vlmp_error err = {0};
        vlmp_quantized q, back;
        vlmp_packed_shape shape;
        int k = schemes[i].group == 0 ? K - 1 : K; /* an odd row ends in half a byte */
        assert_true(vlmp_packed_shape_of(&shape, N, k, &schemes[i]));
        size_t codes = shape.parts[VLMP_PACKED_CODES].bytes;
        size_t scales = shape.parts[VLMP_PACKED_SCALES].bytes;
        size_t third = shape.parts[VLMP_PACKED_HIGH].bytes, all = (size_t)k;
        int bits = vlmp_code_types[schemes[i].codes].bits;
        assert_int_equal(codes, N * (bits == 3 ? (all + 3) / 4 : (all * (size_t)bits + 7) / 8));
        assert_int_equal(third, bits == 3 ? N * ((all + 7) / 8) : 0);
        assert_int_equal(vlmp_quantized_alloc(&q, N, k, &schemes[i], &err), VLMP_OK);
        assert_int_equal(vlmp_quantized_alloc(&back, N, k, &schemes[i], &err), VLMP_OK);
        assert_int_equal(scales, (size_t)(N * q.groups) * (q.groups == 1 ? 4 : 2));
        int low = q.grid.low, high = q.grid.high;
        for (int c = 0; c < N * k; c++)
            q.codes[c] = (uint8_t)(low + (int)vlmp_rng_below(&rng, (uint64_t)(high - low + 1)));
        for (int c = 0; c < N * q.groups; c++) {
            q.scales[c] = vlmp_scale_stored((float)vlmp_rng_uniform(&rng), q.scheme.scales);
            if (q.scheme.zeros == VLMP_ZEROS_PACKED)
                q.zeros[c] = (uint8_t)vlmp_rng_below(&rng, (uint64_t)high + 1);
        }
        uint8_t *bytes = vlmp_alloc(shape.bytes, 1);
        assert_non_null(bytes);
        uint8_t *plane = third > 0 ? bytes + codes : NULL, *at = bytes + codes + third;
        vlmp_pack(&q, bytes, plane, at, at + scales);
        assert_int_equal(vlmp_unpack(&back, bytes, plane, at, at + scales, "x", &err), VLMP_OK);
        assert_memory_equal(q.codes, back.codes, (size_t)(N * k));
        assert_memory_equal(q.scales, back.scales, (size_t)(N * q.groups) * sizeof(float));
        assert_memory_equal(q.zeros, back.zeros, (size_t)(N * q.groups));
        if (bits == 4) assert_int_equal(bytes[0], q.codes[0] | q.codes[1] << 4);
        if (bits == 3) assert_int_equal(bytes[0] & 15, (q.codes[0] & 3) | (q.codes[1] & 3) << 2);
        if (bits == 3) assert_int_equal(plane[0] & 3, q.codes[0] >> 2 | q.codes[1] >> 2 << 1);
        free(bytes);
        vlmp_quantized_free(&q);
        vlmp_quantized_free(&back);
    }
}

static void refuses(void **state)
{
    (void)state;
    vlmp_pool *pool = pool_of(1);
    vlmp_error err = {0};
    vlmp_quantized q;
    const vlmp_scheme none = {.group = 32, .global_scale = 1}, group = SCHEME(4, 48, true, false);
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &none, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &group, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    const vlmp_scheme fine = SCHEME(4, 32, true, false), channel = SCHEME(8, 0, true, false);
    float w[2][64] = {{1.0f}, {0}};
    w[1][40] = 65504.0f * 7.6f; /* a scale of 66377 */
    assert_int_equal(vlmp_quantized_alloc(&q, 2, 64, &fine, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&q, w[0], pool, "text.layers.0.mlp.up", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "text.layers.0.mlp.up"));
    assert_non_null(strstr(err.message, "row 1"));
    err = (vlmp_error){0};
    uint8_t codes[64] = {0};
    uint16_t scales[4] = {0x3c00, 0x3c00, 0x3c00, 0x7c00};
    assert_int_equal(vlmp_unpack(&q, codes, NULL, scales, NULL, "x", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "row 1, group 1"));
    err = (vlmp_error){0};
    scales[3] = 0;
    assert_int_equal(vlmp_unpack(&q, codes, NULL, scales, NULL, "x", &err), VLMP_ERR_INPUT);
    vlmp_quantized_free(&q);
    err = (vlmp_error){0};
    float one = 1.0f;
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &channel, &err), VLMP_OK);
    assert_int_equal(vlmp_unpack(&q, codes, NULL, &one, NULL, "x", &err),
                     VLMP_ERR_INPUT); /* code 0 */
    vlmp_quantized_free(&q);
    /* A zero has 4 bits, of which 3 are codes. */
    const vlmp_scheme three = SCHEME(3, 32, false, false);
    uint8_t zeros[1] = {0x87};
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &three, &err), VLMP_OK);
    err = (vlmp_error){0};
    scales[0] = scales[1] = 0x3c00;
    assert_int_equal(vlmp_unpack(&q, codes, codes, scales, zeros, "x", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "x.zeros: row 0, group 1: 8"));
    zeros[0] = 0x77;
    assert_int_equal(vlmp_unpack(&q, codes, codes, scales, zeros, "x", &err), VLMP_OK);
    vlmp_quantized_free(&q);
    vlmp_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtn_is_the_definition),
        cmocka_unit_test(packed_bytes_round_trip),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
