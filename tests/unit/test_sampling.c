/* calib: the draw of samples that a budget of tokens covers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/calib/sampling.h"

enum { COUNT = 120 };

/* Of four samples one is text alone; lengths differ by a factor of ten. */
static void make_items(vlmp_draw_item *items)
{
    vlmp_rng rng = {5};
    for (int i = 0; i < COUNT; i++) {
        int64_t tokens = 20 + (int64_t)vlmp_rng_below(&rng, 180);
        int64_t pictures = i % 4 == 0 ? 0 : 9 + (int64_t)vlmp_rng_below(&rng, 10);
        items[i] = (vlmp_draw_item){.key = vlmp_rng_next(&rng),
                                    .tokens = tokens,
                                    .pictures = pictures,
                                    .tower_rows = pictures > 0 ? 10 : 0};
    }
}

struct sums {
    int64_t tokens, tower_rows;
    int samples, with, without;
};

static struct sums draw(const vlmp_draw_item *items, size_t count, vlmp_draw_budget budget,
                        uint64_t seed, bool *drawn)
{
    vlmp_error err = {0};
    struct sums s = {0};
    assert_int_equal(vlmp_draw_samples(items, count, &budget, seed, drawn, &err), 0);
    for (size_t i = 0; i < count; i++) {
        if (!drawn[i]) continue;
        s.tokens += items[i].tokens;
        s.tower_rows += items[i].tower_rows;
        s.samples++;
        items[i].pictures > 0 ? s.with++ : s.without++;
    }
    return s;
}

static void reaches_the_budget_and_no_more(void **state)
{
    (void)state;
    vlmp_draw_item items[COUNT];
    bool drawn[COUNT];
    make_items(items);
    for (int64_t budget = 100; budget < 12000; budget += 700) {
        struct sums s = draw(items, COUNT, (vlmp_draw_budget){.tokens = budget}, 0, drawn);
        assert_true(s.tokens >= budget && s.tokens < budget + 2 * 200);
    }
    struct sums s = draw(items, COUNT, (vlmp_draw_budget){.tokens = INT64_MAX}, 0, drawn);
    assert_int_equal(s.samples, COUNT);
    s = draw(items, COUNT, (vlmp_draw_budget){.tower_rows = 405}, 0, drawn);
    assert_int_equal(s.tower_rows, 410);
    assert_int_equal(s.without, 1); /* text helps no tower */
    s = draw(items, COUNT, (vlmp_draw_budget){.tokens = 1, .samples = 17}, 0, drawn);
    assert_int_equal(s.samples, 17);
}

static void is_the_same_in_any_order(void **state)
{
    (void)state;
    vlmp_draw_item items[COUNT], turned[COUNT];
    bool drawn[COUNT], again[COUNT];
    make_items(items);
    for (size_t i = 0; i < COUNT; i++)
        turned[(i * 7 + 3) % COUNT] = items[i];
    vlmp_draw_budget budget = {.tokens = 3000, .tower_rows = 300};
    draw(items, COUNT, budget, 1, drawn);
    draw(turned, COUNT, budget, 1, again);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(drawn[i], again[(i * 7 + 3) % COUNT]);
    draw(items, COUNT, budget, 1, again);
    assert_memory_equal(drawn, again, sizeof drawn);
    draw(items, COUNT, budget, 2, again);
    assert_memory_not_equal(drawn, again, sizeof drawn);
}

static void draws_the_same_and_more_for_more(void **state)
{
    (void)state;
    vlmp_draw_item items[COUNT];
    bool few[COUNT], many[COUNT];
    make_items(items);
    draw(items, COUNT, (vlmp_draw_budget){.tokens = 1000}, 0, few);
    draw(items, COUNT, (vlmp_draw_budget){.tokens = 5000}, 0, many);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(!few[i] || many[i]);
}

/* Shares of kinds and lengths are those of all samples, as far as whole samples go. */
static void keeps_the_shares(void **state)
{
    (void)state;
    vlmp_draw_item items[COUNT];
    bool drawn[COUNT];
    make_items(items);
    double all = 0;
    for (int i = 0; i < COUNT; i++)
        all += (double)items[i].tokens / COUNT;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sums s = draw(items, COUNT, (vlmp_draw_budget){.samples = 40}, seed, drawn);
        assert_in_range(s.without, 7, 13);
        double mean = (double)s.tokens / s.samples;
        assert_true(mean > 0.85 * all && mean < 1.15 * all);
    }
}

static void takes_a_sample_of_each_kind_at_least(void **state)
{
    (void)state;
    vlmp_draw_item items[COUNT];
    bool drawn[COUNT];
    make_items(items);
    struct sums s = draw(items, COUNT, (vlmp_draw_budget){.tokens = 1}, 0, drawn);
    assert_int_equal(s.with, 1);
    assert_int_equal(s.without, 1);
    /* a single text among many pictures */
    for (int i = 0; i < COUNT; i++)
        items[i].pictures = i == 77 ? 0 : 9;
    s = draw(items, COUNT, (vlmp_draw_budget){.tokens = 500}, 0, drawn);
    assert_true(drawn[77] && s.with >= 1);
    s = draw(items, 1, (vlmp_draw_budget){.tokens = 1}, 0, drawn);
    assert_int_equal(s.samples, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reaches_the_budget_and_no_more),
        cmocka_unit_test(is_the_same_in_any_order),
        cmocka_unit_test(draws_the_same_and_more_for_more),
        cmocka_unit_test(keeps_the_shares),
        cmocka_unit_test(takes_a_sample_of_each_kind_at_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
