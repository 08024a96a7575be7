/* quant: second moments, in memory and with those not held in a work file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/quant/method/moments.h"
#include "tests/unit/temp_folder.h"

enum { K = 40, ROWS = 24, BATCHES = 6, BREAK = 4 };

static vlmp_pool *pool;
static vlmp_ctx *ctx;

static int set_up(void **state)
{
    vlmp_error err = {0};
    if (temp_folder_make(state) != 0) return 1;
    assert_int_equal(vlmp_pool_create(&pool, 2, &err), 0);
    assert_int_equal(vlmp_ctx_create(&ctx, VLMP_BACKEND_REF, NULL, pool, &err), 0);
    return 0;
}

static int tear_down(void **state)
{
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
    return temp_folder_remove(state);
}

static void add_all(vlmp_moments *m, unsigned set)
{
    vlmp_error err = {0};
    vlmp_rng rng = {9};
    float x[ROWS * K], difference[ROWS * K];
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < ROWS * K; i++) {
            x[i] = (float)vlmp_rng_uniform(&rng) - 0.5f;
            difference[i] = 0.1f * (float)vlmp_rng_uniform(&rng);
        }
        unsigned now = b < BREAK ? set : set << 1;
        assert_int_equal(vlmp_moments_hold(m, now, &err), 0);
        vlmp_moments_add(m, now, (vlmp_act){x}, (vlmp_act){difference}, ROWS);
    }
}

static const float *matrix(vlmp_moments *m, int i)
{
    vlmp_error err = {0};
    assert_int_equal(vlmp_moments_hold(m, 1u << i, &err), 0);
    const float *all[VLMP_MOMENTS] = {m->gram, m->held, m->cross, m->held_cross};
    for (int other = 1; m->folder != NULL && other < VLMP_MOMENTS; other++)
        assert_true(other == i || all[other] == NULL);
    assert_non_null(all[i]);
    return all[i];
}

static void same(vlmp_moments *a, vlmp_moments *b)
{
    for (int round = 0; round < 2; round++) /* what was put away comes back again */
        for (int i = 0; i < VLMP_MOMENTS; i++)
            assert_memory_equal(matrix(a, i), matrix(b, i), K * K * sizeof(float));
}

static void both_triangles_are_there(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_moments m;
    assert_int_equal(vlmp_moments_create(&m, ctx, K, true, true, NULL, &err), 0);
    add_all(&m, VLMP_GRAM | VLMP_CROSS);
    assert_int_equal(vlmp_moments_finish(&m, &err), 0);
    const float *symmetric[] = {m.gram, m.held};
    for (size_t i = 0; i < sizeof symmetric / sizeof *symmetric; i++)
        for (int row = 0; row < K; row++)
            for (int column = 0; column < row; column++) {
                assert_true(symmetric[i][row * K + column] != 0);
                assert_true(symmetric[i][row * K + column] == symmetric[i][column * K + row]);
            }
    assert_true(m.cross[1] != m.cross[K]);
    vlmp_moments_free(&m);
}

static void in_a_file_as_in_memory(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_moments memory, file;
    float scales[K];
    assert_int_equal(vlmp_moments_create(&memory, ctx, K, true, true, NULL, &err), 0);
    assert_int_equal(vlmp_moments_create(&file, ctx, K, true, true, temp_folder, &err), 0);
    assert_null(file.held);
    add_all(&memory, VLMP_GRAM | VLMP_CROSS);
    add_all(&file, VLMP_GRAM);
    add_all(&file, VLMP_CROSS);
    assert_int_equal(vlmp_moments_finish(&memory, &err), 0);
    assert_int_equal(vlmp_moments_finish(&file, &err), 0);
    assert_true(memory.cross[1] != 0 && memory.held_cross[1] != 0);
    same(&memory, &file);
    for (int i = 0; i < K; i++)
        scales[i] = 0.5f + (float)i / K;
    assert_int_equal(vlmp_moments_unscale(&memory, scales, &err), 0);
    assert_int_equal(vlmp_moments_unscale(&file, scales, &err), 0);
    same(&memory, &file);
    vlmp_moments_free(&memory);
    vlmp_moments_free(&file);
    vlmp_moments_free(&file);
}

static void a_folder_that_is_not_there(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_moments m;
    assert_int_equal(vlmp_moments_create(&m, ctx, K, true, true, temp_path("none"), &err), 0);
    assert_int_equal(vlmp_moments_hold(&m, VLMP_CROSS, &err), 0);
    float x[K] = {1}, difference[K] = {1};
    vlmp_moments_add(&m, VLMP_CROSS, (vlmp_act){x}, (vlmp_act){difference}, 1);
    assert_int_equal(vlmp_moments_hold(&m, 0, &err), VLMP_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "none/moments-"));
    vlmp_moments_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_triangles_are_there),
        cmocka_unit_test(in_a_file_as_in_memory),
        cmocka_unit_test(a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
