/* Activations between blocks: in memory or spilled, the same values come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/flow/activations.h"

enum { ROWS = 37, DIM = 5, BATCH = 8 };

static void round_trip(size_t memory_limit, bool spilled)
{
    vlmp_error err = {0};
    vlmp_activations a;
    float values[BATCH * DIM], scratch[BATCH * DIM], *got;
    assert_int_equal(vlmp_activations_create(&a, ROWS, DIM, memory_limit, "/tmp", &err), 0);
    assert_int_equal(a.memory == NULL, spilled);
    for (int pass = 0; pass < 2; pass++) { /* the second overwrites */
        for (size_t first = 0; first < ROWS; first += BATCH) {
            size_t rows = ROWS - first < BATCH ? ROWS - first : BATCH;
            for (size_t i = 0; i < rows * DIM; i++)
                values[i] = (float)(first * DIM + i) + 1000.0f * (float)pass;
            assert_int_equal(vlmp_activations_put(&a, first, rows, values, &err), 0);
        }
    }
    assert_int_equal(vlmp_activations_get(&a, 3, BATCH, scratch, &got, &err), 0);
    assert_int_equal(got == scratch, spilled);
    for (size_t i = 0; i < BATCH * DIM; i++)
        assert_true(got[i] == (float)(3 * DIM + i) + 1000.0f);
    /* Beyond what was written there is nothing to read. */
    if (spilled) assert_int_equal(vlmp_activations_get(&a, ROWS, 1, scratch, &got, &err), 1);
    vlmp_activations_free(&a);
}

static void in_memory(void **state)
{
    (void)state;
    round_trip(ROWS * DIM * sizeof(float), false);
}

static void spilled(void **state)
{
    (void)state;
    round_trip(ROWS * DIM * sizeof(float) - 1, true);
}

/* A block border keeps stores that are filled only later, such as the tower's features. */
static void can_be_read_before_rows_are_stored(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_activations a;
    float scratch[ROWS * DIM], *got;
    assert_int_equal(vlmp_activations_create(&a, ROWS, DIM, 0, "/tmp", &err), 0);
    assert_int_equal(vlmp_activations_get(&a, 0, ROWS, scratch, &got, &err), 0);
    for (size_t i = 0; i < ROWS * DIM; i++)
        assert_true(got[i] == 0);
    vlmp_activations_free(&a);
}

static void no_folder(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_activations a;
    assert_int_equal(vlmp_activations_create(&a, 1, 1, 0, "/nonexistent", &err), VLMP_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_memory), cmocka_unit_test(spilled),
                                       cmocka_unit_test(can_be_read_before_rows_are_stored),
                                       cmocka_unit_test(no_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
