/* The journal: what is committed survives, what is torn is cut, whatever the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/journal.h"
#include "tests/unit/temp_folder.h"

static const char identity[] = "model: 1234\nmethod: gptq\nbits: 4\n";

/* Two commits of two records each, and one record that is not committed. */
static void write_sample(const char *name)
{
    vlmp_error err = {0};
    vlmp_journal *j;
    assert_int_equal(vlmp_journal_open(&j, temp_path(name), identity, VLMP_JOURNAL_REPLACE, &err),
                     VLMP_OK);
    assert_int_equal(vlmp_journal_append(j, 1, "a", "he", 2, "llo", 3, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_append(j, 2, "a", NULL, 0, NULL, 0, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_commit(j, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_append(j, 1, "b", NULL, 0, "world", 5, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_append(j, 1, "a", NULL, 0, "again", 5, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_commit(j, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_append(j, 1, "c", NULL, 0, "lost", 4, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_count(j), 5);
    vlmp_journal_close(j);
}

static void expect(const vlmp_journal *j, uint32_t kind, const char *name, const char *want)
{
    char text[16] = "";
    vlmp_error err = {0};
    const vlmp_journal_record *record = vlmp_journal_find(j, kind, name);
    assert_non_null(record);
    assert_int_equal(record->length, strlen(want));
    assert_int_equal(vlmp_journal_read(j, record, 0, text, strlen(want), &err), VLMP_OK);
    assert_string_equal(text, want);
}

/* The records are those of the first 0, 1 or 2 commits. */
static void expect_commits(const vlmp_journal *j, int commits)
{
    assert_int_equal(vlmp_journal_count(j), 2 * commits);
    if (commits > 0) expect(j, 2, "a", "");
    if (commits == 1) expect(j, 1, "a", "hello");
    if (commits == 2) expect(j, 1, "a", "again");
    if (commits == 2) expect(j, 1, "b", "world");
    assert_null(vlmp_journal_find(j, 1, "c"));
}

static void committed_records_survive(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_journal *j;
    write_sample("j");
    assert_int_equal(vlmp_journal_open(&j, temp_path("j"), identity, VLMP_JOURNAL_RESUME, &err),
                     VLMP_OK);
    expect_commits(j, 2);
    char part[3] = "";
    const vlmp_journal_record *record = vlmp_journal_find(j, 1, "b");
    assert_int_equal(vlmp_journal_read(j, record, 1, part, 2, &err), VLMP_OK);
    assert_string_equal(part, "or");
    assert_int_equal(vlmp_journal_read(j, record, 4, part, 2, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_journal_append(j, 3, "d", NULL, 0, "more", 4, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_commit(j, &err), VLMP_OK);
    vlmp_journal_close(j);
    assert_int_equal(vlmp_journal_open(&j, temp_path("j"), identity, VLMP_JOURNAL_RESUME, &err),
                     VLMP_OK);
    assert_int_equal(vlmp_journal_count(j), 5);
    expect(j, 3, "d", "more");
    vlmp_journal_close(j);
}

static char *load(const char *name, size_t *length)
{
    char *bytes;
    vlmp_error err = {0};
    assert_int_equal(vlmp_file_read(&bytes, length, temp_path(name), 1 << 20, &err), VLMP_OK);
    return bytes;
}

/* Where the identity's commit and the two others end, found by opening cut files. */
static int resume_cut(const char *bytes, size_t length)
{
    vlmp_error err = {0};
    vlmp_journal *j;
    temp_write("cut", bytes, length);
    if (vlmp_journal_open(&j, temp_path("cut"), identity, VLMP_JOURNAL_RESUME, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    int commits = (int)vlmp_journal_count(j) / 2;
    expect_commits(j, commits);
    assert_int_equal(vlmp_journal_append(j, 9, "new", NULL, 0, "x", 1, &err), VLMP_OK);
    assert_int_equal(vlmp_journal_commit(j, &err), VLMP_OK);
    vlmp_journal_close(j);
    assert_int_equal(vlmp_journal_open(&j, temp_path("cut"), identity, VLMP_JOURNAL_RESUME, &err),
                     VLMP_OK);
    expect(j, 9, "new", "x");
    assert_int_equal(vlmp_journal_count(j), 2 * commits + 1);
    vlmp_journal_close(j);
    return commits;
}

static void torn_tails_are_cut_at_every_byte(void **state)
{
    (void)state;
    size_t length, changes = 0;
    write_sample("j");
    char *bytes = load("j", &length);
    int last = resume_cut(bytes, length);
    assert_int_equal(last, 2);
    for (size_t cut = length; cut-- > 0;) {
        int commits = resume_cut(bytes, cut);
        assert_true(commits == last || commits == last - 1);
        changes += commits != last;
        last = commits;
    }
    assert_int_equal(changes, 2);
    assert_int_equal(last, 0);
    free(bytes);
}

/* A damaged byte costs what lies behind the commit before it, and never goes unnoticed. */
static void damage_is_cut_at_every_byte(void **state)
{
    (void)state;
    size_t length;
    write_sample("j");
    char *bytes = load("j", &length);
    for (size_t i = 4; i < length; i++) {
        bytes[i] ^= 0x10;
        temp_write("damaged", bytes, length);
        bytes[i] ^= 0x10;
        vlmp_error err = {0};
        vlmp_journal *j;
        assert_int_equal(
            vlmp_journal_open(&j, temp_path("damaged"), identity, VLMP_JOURNAL_RESUME, &err),
            VLMP_OK);
        expect_commits(j, (int)vlmp_journal_count(j) / 2);
        vlmp_journal_close(j);
    }
    free(bytes);
}

static void other_runs_are_refused(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_journal *j, *other;
    write_sample("j");
    assert_int_equal(vlmp_journal_open(&j, temp_path("j"), "model: 1234\nmethod: awq\nbits: 4\n",
                                       VLMP_JOURNAL_RESUME, &err),
                     VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "'method' differs"));
    err = (vlmp_error){0};
    assert_int_equal(
        vlmp_journal_open(&j, temp_path("j"), "model: 1234\n", VLMP_JOURNAL_RESUME, &err),
        VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "'method' differs"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_journal_open(&j, temp_path("j"), identity, VLMP_JOURNAL_NEW, &err),
                     VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "--resume"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_journal_open(&j, temp_path("j"), identity, VLMP_JOURNAL_RESUME, &err),
                     VLMP_OK);
    expect_commits(j, 2); /* a refused run has cut nothing */
    assert_int_equal(vlmp_journal_open(&other, temp_path("j"), identity, VLMP_JOURNAL_RESUME, &err),
                     VLMP_ERR_SYSTEM);
    assert_non_null(strstr(err.message, "another run"));
    vlmp_journal_close(j);
    temp_write("text", "not a journal", 13);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_journal_open(&j, temp_path("text"), identity, VLMP_JOURNAL_REPLACE, &err),
                     VLMP_ERR_INPUT);
    size_t length;
    char *bytes = load("text", &length);
    assert_int_equal(length, 13);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_records_survive),
        cmocka_unit_test(torn_tails_are_cut_at_every_byte),
        cmocka_unit_test(damage_is_cut_at_every_byte),
        cmocka_unit_test(other_runs_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
