/* runtime: who holds which pages of the key/value store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/runtime/pages.h"

enum { COUNT = 5 };

static int set_up(void **state)
{
    static vlmp_pages pages;
    vlmp_error err = {0};
    *state = &pages;
    return vlmp_pages_create(&pages, COUNT, &err);
}

static int tear_down(void **state)
{
    vlmp_pages_free(*state);
    return 0;
}

static void all_are_free_at_first(void **state)
{
    vlmp_pages *pages = *state;
    int32_t held[COUNT];
    assert_int_equal(pages->free_count, COUNT);
    assert_true(vlmp_pages_take(pages, held, 0));
    assert_true(vlmp_pages_take(pages, held, COUNT));
    for (int32_t i = 0; i < COUNT; i++) {
        assert_int_equal(held[i], i);
        assert_int_equal(pages->holders[i], 1);
    }
}

/* Too many: none are taken. What is dropped can be taken again. */
static void exhaustion_takes_nothing(void **state)
{
    vlmp_pages *pages = *state;
    int32_t first[3], second[3] = {-1, -1, -1};
    assert_true(vlmp_pages_take(pages, first, 3));
    assert_false(vlmp_pages_take(pages, second, 3));
    assert_int_equal(pages->free_count, 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(second[i], -1);
    assert_true(vlmp_pages_take(pages, second, 2));
    assert_false(vlmp_pages_take(pages, second, 1));
    vlmp_pages_drop(pages, first, 3);
    assert_int_equal(pages->free_count, 3);
    assert_true(vlmp_pages_take(pages, second, 3));
    bool seen[COUNT] = {false};
    for (int i = 0; i < 3; i++) {
        assert_in_range(second[i], 0, 2); /* those of the first, each once */
        assert_false(seen[second[i]]);
        seen[second[i]] = true;
    }
}

/* A page is free when nobody holds it any more. */
static void shared_pages_stay_until_the_last_drops_them(void **state)
{
    vlmp_pages *pages = *state;
    int32_t held[COUNT], other;
    assert_true(vlmp_pages_take(pages, held, COUNT));
    vlmp_pages_share(pages, held, 2);
    vlmp_pages_share(pages, held, 1);
    vlmp_pages_drop(pages, held, 2);
    assert_int_equal(pages->holders[held[0]], 2);
    assert_int_equal(pages->holders[held[1]], 1);
    assert_false(vlmp_pages_take(pages, &other, 1));
    vlmp_pages_drop(pages, held, 2);
    assert_int_equal(pages->free_count, 1);
    assert_true(vlmp_pages_take(pages, &other, 1));
    assert_int_equal(other, held[1]);
    vlmp_pages_drop(pages, held, 1);
    assert_true(vlmp_pages_take(pages, &other, 1));
    assert_int_equal(other, held[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_are_free_at_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exhaustion_takes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shared_pages_stay_until_the_last_drops_them, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
