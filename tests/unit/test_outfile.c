/* base: outputs appear complete or not at all, replace only regular files, follow no link, and are
 * written by one process at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/outfile.h"
#include "tests/unit/temp_folder.h"

static int refused(const char *name, bool force)
{
    vlmp_error err = {0};
    vlmp_outfile file;
    int status = vlmp_outfile_open(&file, temp_path(name), force, &err);
    assert_int_equal(status, err.code);
    if (status == VLMP_OK) vlmp_outfile_abort(&file);
    if (status != VLMP_OK) assert_non_null(strstr(err.message, name));
    return status;
}

static void assert_holds(const char *name, const char *text)
{
    vlmp_error err = {0};
    char *have;
    size_t length;
    assert_int_equal(vlmp_file_read(&have, &length, temp_path(name), 100, &err), VLMP_OK);
    assert_string_equal(have, text);
    free(have);
}

static int write_text(const char *name, const char *text, bool force)
{
    vlmp_error err = {0};
    return vlmp_file_write(temp_path(name), text, strlen(text), force, &err);
}

static void only_regular_files_are_replaced(void **state)
{
    (void)state;
    temp_write("victim", "keep", 4);
    assert_int_equal(mkdir(temp_path("folder"), 0700), 0);
    assert_int_equal(mkfifo(temp_path("fifo"), 0600), 0);
    assert_int_equal(symlink(temp_path("victim"), temp_path("link")), 0);
    assert_int_equal(symlink("nowhere", temp_path("dangling")), 0);
    static const char *const names[] = {"folder", "fifo", "link", "dangling", "folder/"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int force = 0; force < 2; force++)
            assert_int_equal(refused(names[i], force), VLMP_ERR_USAGE);
    vlmp_error err = {0};
    assert_int_equal(vlmp_output_check("/dev/null", true, &err), VLMP_ERR_USAGE);
    assert_int_equal(refused("victim", false), VLMP_ERR_USAGE);
    assert_int_equal(refused("absent/out", true), VLMP_ERR_SYSTEM);
    assert_int_equal(refused("victim/out", true), VLMP_ERR_SYSTEM);
    assert_holds("victim", "keep");
    assert_int_equal(write_text("victim", "new", true), VLMP_OK);
    assert_holds("victim", "new");
}

static void nothing_planted_is_written_through(void **state)
{
    (void)state;
    temp_write("secret", "secret", 6);
    assert_int_equal(symlink(temp_path("secret"), temp_path("a" VLMP_PART_SUFFIX)), 0);
    assert_int_equal(link(temp_path("secret"), temp_path("b" VLMP_PART_SUFFIX)), 0);
    assert_int_equal(mkfifo(temp_path("c" VLMP_PART_SUFFIX), 0600), 0);
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(refused(names[i], true), VLMP_ERR_SYSTEM);
    assert_holds("secret", "secret");
}

static void a_killed_run_leaves_nothing_for_long(void **state)
{
    (void)state;
    temp_write("d" VLMP_PART_SUFFIX, "half of a long file", 19);
    assert_int_equal(write_text("d", "whole", false), VLMP_OK);
    assert_holds("d", "whole");
    assert_false(access(temp_path("d" VLMP_PART_SUFFIX), F_OK) == 0);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_outfile first;
    assert_int_equal(vlmp_outfile_open(&first, temp_path("e"), false, &err), VLMP_OK);
    assert_int_equal(vlmp_outfile_write(&first, "first", 5, &err), VLMP_OK);
    /* A lock, not a process number: in another PID namespace the writer has none. */
    assert_int_equal(refused("e", true), VLMP_ERR_SYSTEM);
    assert_int_equal(vlmp_outfile_commit(&first, &err), VLMP_OK);
    vlmp_outfile_abort(&first);
    assert_holds("e", "first");
    assert_false(access(temp_path("e" VLMP_PART_SUFFIX), F_OK) == 0);
}

static void what_came_up_meanwhile_stays(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_outfile file;
    assert_int_equal(vlmp_outfile_open(&file, temp_path("f"), false, &err), VLMP_OK);
    temp_write("f", "other", 5);
    assert_int_equal(vlmp_outfile_commit(&file, &err), VLMP_ERR_USAGE);
    vlmp_outfile_abort(&file);
    assert_holds("f", "other");
    assert_false(access(temp_path("f" VLMP_PART_SUFFIX), F_OK) == 0);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_outfile_open(&file, temp_path("g"), true, &err), VLMP_OK);
    assert_int_equal(mkfifo(temp_path("g"), 0600), 0);
    assert_int_equal(vlmp_outfile_commit(&file, &err), VLMP_ERR_USAGE);
    vlmp_outfile_abort(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_regular_files_are_replaced),
        cmocka_unit_test(nothing_planted_is_written_through),
        cmocka_unit_test(a_killed_run_leaves_nothing_for_long),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(what_came_up_meanwhile_stays),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
