/* Floats of 4 and 8 bits against what torch and compressed-tensors make of the same numbers
 * (tests/golden/floats, scripts/golden-floats.py): tables, rounding, scales, whole matrices, bit
 * for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "formats/safetensors.h"
#include "src/base/memory.h"
#include "src/quant/method/rtn.h"

enum { N = 144, K = 256 };

static vlmp_safetensors file;

static int set_up(void **state)
{
    (void)state;
    vlmp_error err = {0};
    return vlmp_safetensors_open(&file, VLMP_SOURCE_ROOT "/tests/golden/floats/vectors.safetensors",
                                 &err);
}

static int tear_down(void **state)
{
    (void)state;
    vlmp_safetensors_close(&file);
    return 0;
}

/* A tensor's bytes, and how many elements it has. */
static const unsigned char *golden(const char *name, vlmp_dtype dtype, size_t *count)
{
    const vlmp_st_tensor *tensor = vlmp_safetensors_find(&file, name);
    if (tensor == NULL) fail_msg("no golden tensor '%s'", name);
    assert_int_equal(tensor->dtype, dtype);
    *count = (size_t)(tensor->end - tensor->begin) / vlmp_dtype_size(dtype);
    return vlmp_safetensors_data(&file, tensor);
}

static float *golden_floats(const char *name, vlmp_dtype dtype, size_t *count)
{
    const unsigned char *bytes = golden(name, dtype, count);
    float *values = vlmp_alloc(*count, sizeof *values);
    assert_non_null(values);
    vlmp_to_f32(values, bytes, dtype, *count);
    return values;
}

static void same_format(const vlmp_minifloat *format, const char *prefix)
{
    char name[32];
    size_t codes, count;
    snprintf(name, sizeof name, "%s.values", prefix);
    float *values = golden_floats(name, VLMP_F32, &codes);
    assert_int_equal(codes, 1 << format->bits);
    for (unsigned code = 0; code < codes; code++) {
        if (isnan(values[code])) continue;
        float value = vlmp_minifloat_value(format, code);
        assert_memory_equal(&value, &values[code], sizeof value); /* the sign of zeros too */
        unsigned canonical = value == 0 ? 0 : code;
        assert_int_equal(vlmp_minifloat_code(format, value), canonical);
    }
    snprintf(name, sizeof name, "%s.inputs", prefix);
    float *inputs = golden_floats(name, VLMP_F32, &count);
    snprintf(name, sizeof name, "%s.codes", prefix);
    const unsigned char *wanted = golden(name, VLMP_U8, &codes);
    for (size_t i = 0; i < count; i++) {
        unsigned code = vlmp_minifloat_code(format, vlmp_minifloat_round(format, inputs[i]));
        assert_int_equal(code, vlmp_code_at(wanted, (int)i, format->bits));
    }
    free(values);
    free(inputs);
}

static void tables_and_rounding(void **state)
{
    (void)state;
    const vlmp_minifloat e4m3 = VLMP_E4M3, e2m1 = VLMP_E2M1;
    same_format(&e4m3, "e4m3");
    same_format(&e2m1, "e2m1");
    for (int type = VLMP_CODES_FP8; type < VLMP_CODE_TYPES; type++) {
        const vlmp_minifloat *own = &vlmp_code_types[type].floats;
        assert_memory_equal(own, own->bits == 8 ? &e4m3 : &e2m1, sizeof *own);
    }
}

static void scales_of_8_bits(void **state)
{
    (void)state;
    size_t count, other;
    const unsigned char *codes = golden("e8m0.codes", VLMP_U8, &count);
    float *values = golden_floats("e8m0.values", VLMP_F32, &other);
    assert_int_equal(count, other);
    for (size_t i = 0; i < count; i++) {
        unsigned char back;
        assert_true(vlmp_scale_at(codes, i, VLMP_F8_E8M0) == values[i]);
        assert_true(vlmp_scale_stored(values[i], VLMP_F8_E8M0) == values[i]);
        vlmp_scale_put(&back, 0, VLMP_F8_E8M0, values[i]);
        assert_int_equal(back, codes[i]);
    }
    free(values);
    float *amax = golden_floats("e8m0.amax", VLMP_F32, &count);
    codes = golden("e8m0.scales", VLMP_U8, &other);
    for (size_t i = 0; i < count; i++)
        assert_true(vlmp_scale_stored(amax[i] / 4, VLMP_F8_E8M0) ==
                    vlmp_scale_at(codes, i, VLMP_F8_E8M0));
    free(amax);
    static const unsigned char nans[] = {0x7f, 0xff};
    assert_true(isnan(vlmp_scale_at(nans, 0, VLMP_F8_E4M3)));
    assert_true(isnan(vlmp_scale_at(nans, 1, VLMP_F8_E4M3))); /* with the sign */
    assert_true(isnan(vlmp_scale_at(nans, 1, VLMP_F8_E8M0)));
    assert_true(vlmp_scale_at("", 0, VLMP_F8_E8M0) == 0x1p-127f);
    assert_true(vlmp_scale_stored(0, VLMP_F8_E8M0) == VLMP_SCALE_MIN);
    assert_true(vlmp_scale_stored(-1, VLMP_F8_E8M0) == VLMP_SCALE_MIN);
    assert_true(isinf(vlmp_scale_stored(INFINITY, VLMP_F8_E8M0)));
    assert_true(vlmp_scale_stored(0, VLMP_F8_E4M3) == 0x1p-9f);
    assert_true(vlmp_scale_stored(1e9f, VLMP_F8_E4M3) == 448);
    assert_true(vlmp_scale_under(3 * 0x1p-20f, VLMP_F8_E4M3, 0x1p-22f) == 3 * 0x1p-20f);
}

/* Round to nearest of the golden weights gives the golden bytes, and these are read back. */
static void same_matrix(const char *prefix, vlmp_code_type codes, int group)
{
    vlmp_error err = {0};
    vlmp_pool *pool;
    vlmp_quantized q, back;
    vlmp_packed_shape shape;
    char name[32];
    size_t count, scale_count;
    vlmp_scheme scheme = vlmp_scheme_make(codes, group, VLMP_ZEROS_NONE, false);
    if (codes == VLMP_CODES_NVFP4) {
        float *global = golden_floats("nvfp4.global", VLMP_F32, &count);
        scheme.global_scale = *global;
        free(global);
    }
    float *w = golden_floats("weight", VLMP_F16, &count);
    assert_int_equal(count, N * K);
    assert_int_equal(vlmp_pool_create(&pool, 2, &err), VLMP_OK);
    assert_int_equal(vlmp_quantized_alloc(&q, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_quantized_alloc(&back, N, K, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&q, w, pool, "x", &err), VLMP_OK);
    assert_true(vlmp_packed_shape_of(&shape, N, K, &scheme));
    uint8_t *packed = vlmp_alloc(shape.parts[VLMP_PACKED_CODES].bytes, 1);
    uint8_t *scales = vlmp_alloc(shape.parts[VLMP_PACKED_SCALES].bytes, 1);
    assert_true(packed != NULL && scales != NULL);
    vlmp_pack(&q, packed, NULL, scales, NULL);
    snprintf(name, sizeof name, "%s.codes", prefix);
    const unsigned char *wanted = golden(name, VLMP_U8, &count);
    assert_int_equal(count, shape.parts[VLMP_PACKED_CODES].bytes);
    assert_memory_equal(packed, wanted, count);
    snprintf(name, sizeof name, "%s.scales", prefix);
    vlmp_dtype type = scheme.scales == VLMP_F32 ? VLMP_F32 : VLMP_U8;
    wanted = golden(name, type, &scale_count);
    assert_int_equal(scale_count * vlmp_dtype_size(type), shape.parts[VLMP_PACKED_SCALES].bytes);
    assert_memory_equal(scales, wanted, shape.parts[VLMP_PACKED_SCALES].bytes);
    assert_int_equal(vlmp_unpack(&back, packed, NULL, scales, NULL, "x", &err), VLMP_OK);
    assert_memory_equal(q.codes, back.codes, N * K);
    assert_memory_equal(q.scales, back.scales, (size_t)(N * q.groups) * sizeof(float));
    free(packed);
    free(scales);
    free(w);
    vlmp_quantized_free(&q);
    vlmp_quantized_free(&back);
    vlmp_pool_free(pool);
}

static void matrices(void **state)
{
    (void)state;
    same_matrix("fp8", VLMP_CODES_FP8, VLMP_GROUP_CHANNEL);
    same_matrix("block", VLMP_CODES_FP8, VLMP_BLOCK_OUTPUTS);
    same_matrix("mxfp4", VLMP_CODES_MXFP4, 32);
    same_matrix("nvfp4", VLMP_CODES_NVFP4, 16);
}

/* One number for linears that engines fuse; groups without weights; bytes that are no code. */
static void scales_and_edges(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_pool *pool;
    vlmp_quantized q;
    assert_int_equal(vlmp_pool_create(&pool, 1, &err), VLMP_OK);
    for (float largest = 1e-30f; largest < 1e30f; largest *= 1.37f) {
        int exponent;
        float global = vlmp_global_scale_of(largest), scale = largest / 6 / global;
        assert_true(frexpf(global, &exponent) == 0.5f);
        assert_true(scale < 224.001f && (scale > 111.999f || global == 0x1p-100f));
    }
    assert_true(vlmp_global_scale_of(0) == 1);
    vlmp_scheme nvfp4 = vlmp_scheme_make(VLMP_CODES_NVFP4, 16, VLMP_ZEROS_NONE, false);
    nvfp4.global_scale = 0x1p-12f;
    float w[64] = {[20] = -0.01f, [40] = 1e-9f};
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &nvfp4, &err), VLMP_OK);
    assert_int_equal(vlmp_rtn(&q, w, pool, "x", &err), VLMP_OK);
    assert_true(q.scales[0] == 448 * 0x1p-12f);     /* the nearest to 1 */
    assert_true(q.scales[2] == 0x1p-9f * 0x1p-12f); /* the least */
    for (int i = 0; i < 64; i++)
        assert_int_equal(q.codes[i], i == 20 ? 15 : 0);
    vlmp_quantized_free(&q);
    vlmp_scheme fp8 = vlmp_scheme_make(VLMP_CODES_FP8, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE, false);
    uint8_t codes[64] = {[63] = 0xff};
    float one = 1;
    assert_int_equal(vlmp_quantized_alloc(&q, 1, 64, &fp8, &err), VLMP_OK);
    assert_int_equal(vlmp_unpack(&q, codes, NULL, &one, NULL, "x", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "row 0, input 63: 255"));
    vlmp_quantized_free(&q);
    vlmp_pool_free(pool);
}

/* What the codes cannot have has no shape. */
static void shapes(void **state)
{
    (void)state;
    vlmp_packed_shape shape;
    static const struct {
        vlmp_code_type codes;
        int group, n, k;
        bool fits;
        size_t bytes;
    } cases[] = {{VLMP_CODES_FP8, 0, 5, 7, true, 35 + 20},
                 {VLMP_CODES_FP8, 128, 129, 256, true, 129 * 256 + 2 * 2 * 4},
                 {VLMP_CODES_FP8, 64, 128, 256, false, 0},
                 {VLMP_CODES_MXFP4, 32, 5, 64, true, 5 * 32 + 5 * 2},
                 {VLMP_CODES_MXFP4, 16, 5, 64, false, 0},
                 {VLMP_CODES_MXFP4, 0, 5, 64, false, 0},
                 {VLMP_CODES_MXFP4, 32, 5, 48, false, 0},
                 {VLMP_CODES_NVFP4, 16, 5, 48, true, 5 * 24 + 5 * 3 + 4},
                 {VLMP_CODES_NVFP4, 32, 5, 64, false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_scheme scheme =
            vlmp_scheme_make(cases[i].codes, cases[i].group, VLMP_ZEROS_NONE, false);
        assert_int_equal(vlmp_packed_shape_of(&shape, cases[i].n, cases[i].k, &scheme),
                         cases[i].fits);
        if (cases[i].fits) assert_int_equal(shape.bytes, cases[i].bytes);
        scheme.zeros = VLMP_ZEROS_PACKED;
        assert_false(vlmp_packed_shape_of(&shape, cases[i].n, cases[i].k, &scheme));
        scheme.zeros = VLMP_ZEROS_NONE;
        scheme.int8_activations = true;
        assert_false(vlmp_packed_shape_of(&shape, cases[i].n, cases[i].k, &scheme));
    }
    assert_int_equal(vlmp_code_type_of("nvfp4", 4), VLMP_CODES_NVFP4);
    assert_int_equal(vlmp_code_type_of("nvfp4", 8), VLMP_CODES_NONE);
    assert_int_equal(vlmp_code_type_of("fp6", 8), VLMP_CODES_NONE);
    assert_int_equal(vlmp_code_type_of(NULL, 8), VLMP_CODES_U8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_and_rounding), cmocka_unit_test(scales_of_8_bits),
        cmocka_unit_test(matrices), cmocka_unit_test(scales_and_edges), cmocka_unit_test(shapes)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
