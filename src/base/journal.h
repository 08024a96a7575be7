/* An append-only work file, so that long work continues after a kill: records are grouped by
 * commits, and what was not committed is cut when the file is opened again. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/sha256.h"

#define VLMP_JOURNAL_MAX_NAME ((size_t)1024) /* bytes */

typedef struct vlmp_journal vlmp_journal;

typedef struct {
    uint32_t kind; /* the caller's */
    const char *name;
    uint64_t offset;              /* of the payload in the file */
    uint64_t length;              /* of the payload, bytes */
    char sha256[VLMP_SHA256_HEX]; /* of the payload */
} vlmp_journal_record;

typedef enum {
    VLMP_JOURNAL_NEW,     /* an existing file is VLMP_ERR_USAGE with a hint at --resume, --force */
    VLMP_JOURNAL_RESUME,  /* continues an existing file, else starts one */
    VLMP_JOURNAL_REPLACE, /* starts over */
} vlmp_journal_mode;

/* identity: everything that the result depends on, one "key: value" a line. A journal of another
 * identity is VLMP_ERR_INPUT naming the first key that differs. The file is locked; one that
 * another process has open is VLMP_ERR_SYSTEM. All committed payloads are read and checked: from
 * the first damaged byte on the file is cut back to the commit before. */
int vlmp_journal_open(vlmp_journal **out, const char *path, const char *identity,
                      vlmp_journal_mode mode, vlmp_error *err);

/* Closes; the file stays. Uncommitted records are lost. NULL is allowed. */
void vlmp_journal_close(vlmp_journal *journal);

/* Writes a record, whose payload is head [head_length] followed by bytes [length]; it counts only
 * after the next commit. name is 1 … VLMP_JOURNAL_MAX_NAME bytes. */
int vlmp_journal_append(vlmp_journal *journal, uint32_t kind, const char *name, const void *head,
                        size_t head_length, const void *bytes, size_t length, vlmp_error *err);

/* Makes all records so far durable (fsync), together or not at all. */
int vlmp_journal_commit(vlmp_journal *journal, vlmp_error *err);

/* Committed and appended records in order. Pointers stay valid until the next append. */
size_t vlmp_journal_count(const vlmp_journal *journal);
const vlmp_journal_record *vlmp_journal_at(const vlmp_journal *journal, size_t index);

/* The latest record of this kind and name; NULL when absent. */
const vlmp_journal_record *vlmp_journal_find(const vlmp_journal *journal, uint32_t kind,
                                             const char *name);

/* length bytes of the payload from offset on. */
int vlmp_journal_read(const vlmp_journal *journal, const vlmp_journal_record *record,
                      uint64_t offset, void *out, size_t length, vlmp_error *err);
