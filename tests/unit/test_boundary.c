/* Activations at block borders: what was kept comes back, whatever is damaged costs only itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/journal_sink.h"
#include "src/base/file.h"
#include "src/quant/run/boundary.h"
#include "tests/unit/temp_folder.h"

enum { ROWS = 300, DIM = 1000, SMALL = 7 }; /* more than the megabyte that is moved at a time */

static char path[1024];
static int notices;
static char last_notice[1200];
static volatile sig_atomic_t interrupted;

static void on_notice(void *arg, const char *text)
{
    (void)arg;
    notices++;
    snprintf(last_notice, sizeof last_notice, "%s", text);
}

/* A run that is started anew or resumed. */
struct fixture {
    vlmp_sink *sink;
    vlmp_quantize_job job;
    vlmp_boundary boundary;
    vlmp_activations large, small;
    vlmp_activations *stores[2];
};

static void start(struct fixture *f, vlmp_journal_mode mode)
{
    vlmp_error err = {0};
    *f = (struct fixture){0};
    notices = 0;
    interrupted = 0;
    snprintf(path, sizeof path, "%s", temp_path("b"));
    assert_int_equal(vlmp_journal_sink_open(&f->sink, temp_path("j"), "run: 1\n", mode, &err), 0);
    f->job = (vlmp_quantize_job){.sweep = {.interrupted = &interrupted},
                                 .sink = f->sink,
                                 .boundary = path,
                                 .on_notice = on_notice};
    /* One in memory, one spilled. */
    assert_int_equal(vlmp_activations_create(&f->large, ROWS, DIM, 0, temp_folder, &err), 0);
    assert_int_equal(vlmp_activations_create(&f->small, SMALL, 3, 1 << 20, temp_folder, &err), 0);
    f->stores[0] = &f->large;
    f->stores[1] = &f->small;
    assert_int_equal(vlmp_boundary_open(&f->boundary, &f->job, &err), 0);
}

static void stop(struct fixture *f)
{
    vlmp_boundary_close(&f->boundary);
    vlmp_activations_free(&f->large);
    vlmp_activations_free(&f->small);
    vlmp_journal_sink_close(f->sink);
}

static float value(size_t row, int column, int done)
{
    return (float)(row * DIM + (size_t)column) + 0.25f * (float)done;
}

static void save(struct fixture *f, bool vision, int done)
{
    vlmp_error err = {0};
    float row[DIM];
    for (int s = 0; s < 2; s++)
        for (size_t r = 0; r < f->stores[s]->rows; r++) {
            for (int c = 0; c < f->stores[s]->dim; c++)
                row[c] = value(r, c, done);
            assert_int_equal(vlmp_activations_put(f->stores[s], r, 1, row, &err), 0);
        }
    vlmp_border border = {.vision = vision, .done = done};
    if (vlmp_boundary_save(&f->boundary, border, f->stores, 2, &err) != 0)
        fail_msg("%s", err.message);
}

/* Saves regardless of the time. */
static void save_now(struct fixture *f, bool vision, int done)
{
    f->boundary.cost = 0;
    save(f, vision, done);
}

/* A resumed run finds this border, with its values. */
static void expect(bool vision, int done, int told)
{
    struct fixture f;
    vlmp_error err = {0};
    float scratch[DIM], *row;
    start(&f, VLMP_JOURNAL_RESUME);
    assert_true(f.boundary.found);
    assert_int_equal(f.boundary.border.vision, vision);
    assert_int_equal(f.boundary.border.done, done);
    assert_int_equal(notices, told);
    assert_int_equal(vlmp_boundary_load(&f.boundary, f.stores, 2, &err), 0);
    for (int s = 0; s < 2; s++)
        for (size_t r = 0; r < f.stores[s]->rows; r++) {
            assert_int_equal(vlmp_activations_get(f.stores[s], r, 1, scratch, &row, &err), 0);
            for (int c = 0; c < f.stores[s]->dim; c++)
                assert_true(row[c] == value(r, c, done));
        }
    stop(&f);
}

static void expect_none(int told)
{
    struct fixture f;
    start(&f, VLMP_JOURNAL_RESUME);
    assert_false(f.boundary.found);
    assert_int_equal(notices, told);
    stop(&f);
}

static void change_byte(const char *name, long at)
{
    FILE *file = fopen(temp_path(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    fputc(byte ^ 1, file);
    fclose(file);
}

static void the_latest_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, VLMP_JOURNAL_REPLACE);
    assert_false(f.boundary.found);
    save_now(&f, true, 2);
    stop(&f);
    expect(true, 2, 0);
    start(&f, VLMP_JOURNAL_RESUME);
    save_now(&f, true, 9);
    save_now(&f, false, 1); /* behind every block of the tower */
    stop(&f);
    expect(false, 1, 0);
    start(&f, VLMP_JOURNAL_RESUME);
    save_now(&f, false, 2);
    stop(&f);
    expect(false, 2, 0);
}

/* Border 4 in one file, 5 in the other, in this order or the other way round. */
static void make_two(bool swapped)
{
    struct fixture f;
    start(&f, VLMP_JOURNAL_REPLACE);
    if (swapped) save_now(&f, false, 3);
    save_now(&f, false, 4);
    save_now(&f, false, 5);
    stop(&f);
}

static void damage_costs_only_itself(void **state)
{
    (void)state;
    const long places[] = {0, 500000, -1};
    for (int swapped = 0; swapped < 2; swapped++)
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            const char *newer = swapped ? "b-0" : "b-1", *older = swapped ? "b-1" : "b-0";
            make_two(swapped);
            change_byte(older, places[i]);
            expect(false, 5, 0);
            change_byte(newer, places[i]);
            expect_none(2);
            change_byte(older, places[i]);
            expect(false, 4, 1);
            assert_non_null(strstr(last_notice, newer));
            assert_non_null(strstr(last_notice, "damaged"));
        }
    make_two(false);
    assert_int_equal(truncate(temp_path("b-1"), 1000), 0);
    expect(false, 4, 1);
    unlink(temp_path("b-1"));
    expect(false, 4, 1);
    assert_int_equal(mkdir(temp_path("b-1"), 0777), 0);
    expect(false, 4, 1);
    rmdir(temp_path("b-1"));
    unlink(temp_path("b-0"));
    expect_none(2);
}

/* After a damaged border the next one goes into its file, and the sound one stays. */
static void the_sound_one_is_kept(void **state)
{
    (void)state;
    struct fixture f;
    make_two(false);
    change_byte("b-1", 0);
    start(&f, VLMP_JOURNAL_RESUME);
    save_now(&f, false, 6);
    stop(&f);
    change_byte("b-1", 0);
    expect(false, 4, 1);
    change_byte("b-1", 0);
    expect(false, 6, 0);
}

static void only_what_the_journal_names(void **state)
{
    (void)state;
    struct fixture f;
    make_two(false);
    start(&f, VLMP_JOURNAL_REPLACE);
    assert_false(f.boundary.found);
    assert_int_not_equal(access(temp_path("b-0"), F_OK), 0);
    assert_int_not_equal(access(temp_path("b-1"), F_OK), 0);
    /* A link is replaced, not followed. */
    temp_write("notes", "mine", 4);
    assert_int_equal(symlink(temp_path("notes"), temp_path("b-0")), 0);
    save_now(&f, true, 1);
    stop(&f);
    char *text;
    size_t length;
    vlmp_error err = {0};
    assert_int_equal(vlmp_file_read(&text, &length, temp_path("notes"), 100, &err), 0);
    assert_string_equal(text, "mine");
    free(text);
    expect(true, 1, 0);
    vlmp_boundary_remove(path);
    assert_int_not_equal(access(temp_path("b-0"), F_OK), 0);
}

static void often_enough(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, VLMP_JOURNAL_REPLACE);
    save(&f, false, 1); /* the first one always: nobody knows what it costs */
    assert_true(f.boundary.cost > 0);
    f.boundary.cost = 1000;
    save(&f, false, 2);
    assert_int_equal(f.boundary.next, 1); /* too soon */
    interrupted = 1;
    save(&f, false, 3);
    assert_int_equal(f.boundary.next, 0);
    stop(&f);
    expect(false, 3, 0);
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    vlmp_error err = {0};
    make_two(false);
    start(&f, VLMP_JOURNAL_RESUME);
    assert_int_equal(vlmp_boundary_load(&f.boundary, f.stores, 1, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "--force"));
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_comes_back),       cmocka_unit_test(damage_costs_only_itself),
        cmocka_unit_test(the_sound_one_is_kept),       cmocka_unit_test(often_enough),
        cmocka_unit_test(only_what_the_journal_names), cmocka_unit_test(other_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
