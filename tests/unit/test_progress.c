#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/json.h"
#include "tools/events.h"
#include "tools/progress.h"

/* A work of units whose seconds are known. */
enum { UNITS = 200 };
typedef struct {
    double seconds[UNITS], costs[UNITS];
} series;

/* The share of the time after which what is said to be left is never again more than a tenth
 * wrong, as long as `until` units are left: one unit's own chance is not the estimator's. mean: by
 * the average since the beginning, for comparison. */
static double settles(const series *s, bool mean, int until)
{
    double end = 0, total = 0, time = 0, done = 0, settled = 0;
    for (int i = 0; i < UNITS; i++) {
        end += s->seconds[i];
        total += s->costs[i];
    }
    vlmp_pace pace = {0};
    for (int i = 0; i < UNITS - until; i++) {
        time += s->seconds[i];
        done += s->costs[i];
        vlmp_pace_add(&pace, time, done);
        double left = mean ? (total - done) * time / done : vlmp_pace_left(&pace, time, total);
        if (!(fabs(left - (end - time)) <= 0.1 * (end - time))) settled = time;
    }
    return settled / end;
}

static uint32_t next(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

static void constant(series *s)
{
    for (int i = 0; i < UNITS; i++)
        s->seconds[i] = s->costs[i] = 1;
}

static void an_even_pace_is_known_at_once(void **state)
{
    (void)state;
    series s;
    constant(&s);
    assert_true(settles(&s, false, 1) == 0);
}

/* Each unit up to 15 % faster or slower, evenly: a standard deviation of 0.15/√3 = 8.7 %. Weights
 * that grow as the square leave 5/9 of n units to count, so the pace after n = 20 is known to
 * 8.7/√11.1 = 2.6 %, and the last 10 units differ from it by 8.7/√10 = 2.7 %: together 3.8 %, of
 * which a tenth is 2.6 deviations. From 40 units on it is 3.3, at one unit in a thousand; of the
 * hundred series less than one in twenty may settle later. */
static void a_trembling_pace_settles(void **state)
{
    (void)state;
    uint32_t random = 1;
    int late = 0;
    for (int round = 0; round < 100; round++) {
        series s;
        constant(&s);
        for (int i = 0; i < UNITS; i++)
            s.seconds[i] = 0.85 + 0.3 * (next(&random) / 4294967296.0);
        late += settles(&s, false, 10) > 0.2;
    }
    assert_true(late <= 5);
}

/* The first twentieth takes four times as long (a cold disk): s = 40 of 230 s. At time t it weighs
 * (s/t)³, and the pace is short by ¾ of that: less than a tenth above it once (s/t)³·¾ < 1/11, at
 * t = 2.02 s, which is 0.351 of the time. The average is that near only at the end. */
static void a_slow_start_is_forgotten(void **state)
{
    (void)state;
    series s;
    constant(&s);
    for (int i = 0; i < UNITS / 20; i++)
        s.seconds[i] = 4;
    assert_true(settles(&s, false, 1) <= 0.352);
    assert_true(settles(&s, true, 1) > 0.8);
}

/* Tower blocks, then text blocks that cost six times as much each: with costs there is nothing to
 * learn. With costs that are half wrong, the pace is too fast by (s/t)³/2, less than 1/9
 * of it once t = 1.65 s, s being 60 of 900 s. */
static void unlike_units_are_weighed(void **state)
{
    (void)state;
    series s;
    constant(&s);
    for (int i = 60; i < UNITS; i++)
        s.seconds[i] = s.costs[i] = 6;
    assert_true(settles(&s, false, 1) == 0);
    for (int i = 60; i < UNITS; i++)
        s.costs[i] = 4;
    assert_true(settles(&s, false, 1) <= 1.66 * 60 / 900);
    for (int i = 60; i < UNITS; i++)
        s.costs[i] = 1;
    assert_true(settles(&s, false, 1) > 0.1);
}

static void a_resumed_run_starts_anew(void **state)
{
    (void)state;
    vlmp_pace pace = {0};
    vlmp_pace_add(&pace, 0.01, 20); /* taken from the journal */
    vlmp_pace_add(&pace, 10.01, 21);
    vlmp_pace_add(&pace, 20.01, 22);
    assert_true(fabs(vlmp_pace_left(&pace, 20.01, 32) - 100) < 1);
    assert_true(fabs(vlmp_pace_left(&pace, 24.01, 32) - 96) < 1);
    assert_true(vlmp_pace_left(&pace, 1e6, 32) == 0);
    vlmp_pace none = {0};
    assert_true(vlmp_pace_left(&none, 3, 32) < 0);
}

static void the_line_says_rate_and_rest(void **state)
{
    (void)state;
    char text[128];
    vlmp_progress p = {.label = "quantizing", .total = 32, .done = 8};
    vlmp_pace_add(&p.units, 64, 8);
    p.costs = p.units;
    vlmp_progress_format(text, sizeof text, &p, 64, "text block 8");
    assert_string_equal(text, "quantizing  8/32  25 %  8.0s each  3m12s left  text block 8");
    p = (vlmp_progress){.label = "checking", .total = 4e9, .done = 1e9, .bytes = true};
    vlmp_pace_add(&p.units, 2, 1e9);
    p.costs = p.units;
    vlmp_progress_format(text, sizeof text, &p, 2, NULL);
    assert_string_equal(text, "checking  1.00 GB/4.00 GB  25 %  500 MB/s  6.0s left");
    p = (vlmp_progress){.label = "scoring", .total = 10};
    vlmp_progress_format(text, sizeof text, &p, 9, NULL);
    assert_string_equal(text, "scoring  0/10  0 %");
}

static void events_are_lines_of_json(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    vlmp_error err = {0};
    assert_int_equal(vlmp_events_open(ends[0], &err), VLMP_ERR_USAGE); /* for reading */
    assert_int_equal(vlmp_events_open(ends[1], &err), VLMP_OK);
    vlmp_cli_args args = {.quiet = true, .events = ends[1]};
    vlmp_progress p;
    vlmp_progress_begin(&p, &args, "scor\ning", 2);
    vlmp_progress_update(&p, 1, "a \"block\"");
    vlmp_progress_update(&p, 2, NULL); /* within half a second: none */
    vlmp_progress_end(&p);
    close(ends[1]);
    char text[2048];
    ssize_t length = read(ends[0], text, sizeof text);
    static const char *const kinds[] = {"begin", "progress", "end"};
    char *at = text;
    for (int i = 0; i < 3; i++) {
        char *line = at;
        at = memchr(line, '\n', (size_t)(text + length - line));
        assert_non_null(at);
        cJSON *event;
        assert_int_equal(vlmp_json_parse(&event, line, (size_t)(at - line), "event", &err), 0);
        assert_string_equal(vlmp_json_get(event, "event")->valuestring, kinds[i]);
        assert_string_equal(vlmp_json_get(event, "stage")->valuestring, "scor\ning");
        assert_true(vlmp_json_get(event, "total")->valuedouble == 2);
        cJSON_Delete(event);
        at++;
    }
    assert_ptr_equal(at, text + length);
    /* A reader that went away. */
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(vlmp_events_open(ends[1], &err), VLMP_OK);
    close(ends[0]);
    vlmp_json_writer w;
    vlmp_event_begin(&w, "begin");
    vlmp_event_send(&w, ends[1], VLMP_EVENT_WAIT);
    close(ends[1]);
    /* One that does not read: a pipe of 64 KiB is full long before the end. */
    assert_int_equal(pipe(ends), 0);
    args.events = ends[1];
    vlmp_progress_begin(&p, &args, "scoring", 1e4);
    for (int i = 1; i <= 10000; i++) {
        p.last_event = 0;
        vlmp_progress_update(&p, i, "a block");
    }
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_even_pace_is_known_at_once),
        cmocka_unit_test(a_trembling_pace_settles),
        cmocka_unit_test(a_slow_start_is_forgotten),
        cmocka_unit_test(unlike_units_are_weighed),
        cmocka_unit_test(a_resumed_run_starts_anew),
        cmocka_unit_test(the_line_says_rate_and_rest),
        cmocka_unit_test(events_are_lines_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
