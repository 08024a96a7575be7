/* base: half-precision conversions over all values, JSON strictness, parallel-for and shares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/half.h"
#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/base/parallel.h"

static void check_allocation(void *(*alloc)(size_t, size_t), size_t bytes, uintptr_t border)
{
    unsigned char *memory = alloc(bytes, 1);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % border, 0);
    if (bytes > 0) memory[0] = memory[bytes - 1] = 1;
    free(memory);
    assert_null(alloc(SIZE_MAX / 2, 3));
    assert_null(alloc(SIZE_MAX, 1));
}

static void allocations_keep_their_borders(void **state)
{
    (void)state;
    const size_t large = (size_t)4 << 20;
    for (size_t bytes = 0; bytes < 200; bytes += 63) {
        check_allocation(vlmp_alloc, bytes, VLMP_ALIGN);
        check_allocation(vlmp_alloc_large, bytes, VLMP_ALIGN);
    }
    check_allocation(vlmp_alloc, large + 1, VLMP_ALIGN);
    check_allocation(vlmp_alloc_large, large + 1, (uintptr_t)2 << 20);
}

static void half_round_trips(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        float value = vlmp_f16_to_f32((uint16_t)i);
        if (isnan(value)) continue;
        assert_int_equal(vlmp_f32_to_f16(value), i);
        float b = vlmp_bf16_to_f32((uint16_t)i);
        if (!isnan(b)) assert_int_equal(vlmp_f32_to_bf16(b), i);
    }
    assert_int_equal(vlmp_f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(vlmp_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(vlmp_f32_to_f16(1.0f + 0x1p-11f), 0x3c00); /* a tie goes to even */
    assert_int_equal(vlmp_f32_to_f16(0x1.8p-24f), 0x0002);
    assert_true(isnan(vlmp_f16_to_f32(vlmp_f32_to_f16(NAN))));
    assert_true(isnan(vlmp_bf16_to_f32(vlmp_f32_to_bf16(NAN))));
}

static void json_refuses(void **state)
{
    (void)state;
    const char *bad[] = {"{\"a\":1,\"a\":2}",
                         "{} x",
                         "[1,]",
                         "{\"a\":\"\\u0000\"}",
                         "{\"a\":1",
                         "",
                         "[01]",
                         "[-007]",
                         "[1.]",
                         "[.5]",
                         "[1e]",
                         "[-]",
                         "[1.e2]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_error err = {0};
        cJSON *tree;
        assert_int_equal(vlmp_json_parse(&tree, bad[i], strlen(bad[i]), "test", &err),
                         VLMP_ERR_INPUT);
        assert_null(tree);
        assert_non_null(strstr(err.message, "test:"));
    }
}

static void json_writes_what_it_reads(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1,-2.5,\"x\\n\\\"\",true,null],\"b\":{},\"c\":0.1}";
    vlmp_error err = {0};
    cJSON *tree;
    assert_int_equal(vlmp_json_parse(&tree, text, strlen(text), "test", &err), VLMP_OK);
    vlmp_json_writer w = {0};
    vlmp_json_put_tree(&w, tree);
    assert_string_equal(w.out.data, text);
    vlmp_buffer_free(&w.out);
    cJSON_Delete(tree);
}

static void count_task(void *arg, int task, int thread)
{
    (void)thread;
    ((int *)arg)[task]++;
}

static void parallel_runs_each_task_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        vlmp_error err = {0};
        vlmp_pool *pool;
        assert_int_equal(vlmp_pool_create(&pool, threads, &err), VLMP_OK);
        for (int round = 0; round < 200; round++) {
            int seen[37] = {0};
            vlmp_parallel_for(pool, 37, count_task, seen);
            for (int i = 0; i < 37; i++)
                assert_int_equal(seen[i], 1);
        }
        vlmp_pool_free(pool);
    }
}

struct owners {
    int items;
    int owner[37]; /* 1 + the share that had the item */
};

static void own_share(void *arg, int first, int end, int thread)
{
    struct owners *o = arg;
    (void)thread;
    assert_true(first < end && end <= o->items);
    for (int i = first; i < end; i++) {
        assert_int_equal(o->owner[i], 0);
        o->owner[i] = first + 1;
    }
}

/* At most one share a thread, in order, of sizes that differ by one. */
static void check_owners(const struct owners *o, int threads)
{
    int shares = 0, smallest = o->items, largest = 0;
    for (int i = 0; i < o->items;) {
        int first = i;
        assert_int_equal(o->owner[i], first + 1);
        while (i < o->items && o->owner[i] == first + 1)
            i++;
        shares++;
        smallest = i - first < smallest ? i - first : smallest;
        largest = i - first > largest ? i - first : largest;
    }
    assert_int_equal(shares, threads < o->items ? threads : o->items);
    assert_true(o->items == 0 || largest - smallest <= 1);
}

static void parallel_shares_are_contiguous(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        vlmp_error err = {0};
        vlmp_pool *pool;
        assert_int_equal(vlmp_pool_create(&pool, threads, &err), VLMP_OK);
        for (int items = 0; items <= 37; items++) {
            struct owners owners = {.items = items};
            vlmp_parallel_shares(pool, items, own_share, &owners);
            check_owners(&owners, threads);
        }
        vlmp_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_keep_their_borders),
        cmocka_unit_test(half_round_trips),
        cmocka_unit_test(json_refuses),
        cmocka_unit_test(json_writes_what_it_reads),
        cmocka_unit_test(parallel_runs_each_task_once),
        cmocka_unit_test(parallel_shares_are_contiguous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
