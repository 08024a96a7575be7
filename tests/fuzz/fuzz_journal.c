/* A journal that was left behind: opened to go on, every record read, one more written. */
#include "src/base/journal.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const vlmp_journal *journal)
{
    for (size_t i = 0; i < vlmp_journal_count(journal); i++) {
        const vlmp_journal_record *record = vlmp_journal_at(journal, i);
        vlmp_error err = {0};
        char *payload = malloc((size_t)record->length + 1);
        if (payload == NULL ||
            vlmp_journal_read(journal, record, 0, payload, (size_t)record->length, &err) != VLMP_OK)
            abort();
        free(payload);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char identity[] = "model: tiny\nmethod: rtn\n";
    vlmp_journal *journal;
    vlmp_error err = {0};
    const char *path = fuzz_file("journal", data, size);
    int status = vlmp_journal_open(&journal, path, identity, VLMP_JOURNAL_RESUME, &err);
    if (!fuzz_was_read(status, &err)) return 0;
    read_all(journal);
    size_t count = vlmp_journal_count(journal);
    if (vlmp_journal_append(journal, 7, "more", NULL, 0, "x", 1, &err) != VLMP_OK ||
        vlmp_journal_commit(journal, &err) != VLMP_OK)
        abort();
    vlmp_journal_close(journal);
    if (vlmp_journal_open(&journal, path, identity, VLMP_JOURNAL_RESUME, &err) != VLMP_OK ||
        vlmp_journal_count(journal) != count + 1)
        abort();
    vlmp_journal_close(journal);
    return 0;
}
