#include "src/base/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/memory.h"
#include "src/base/outfile.h"

/* A record: head (below), name, payload. Integers are little-endian.
 *
 *   0  4  magic
 *   4  4  kind; the two highest are the journal's own
 *   8  4  length of the name
 *  12  4  zero
 *  16  8  length of the payload
 *  24 64  SHA-256 of the payload, hex
 *  88 64  SHA-256 of bytes 0 … 87 and the name, hex
 *
 * The first record holds the identity; a commit record has no payload. */
#define MAGIC         0x314a4c56u /* "VLJ1" */
#define HEAD          152
#define KIND_IDENTITY 0xffffffffu
#define KIND_COMMIT   0xfffffffeu
#define MAX_IDENTITY  ((size_t)16 << 20)

struct vlmp_journal {
    int fd;
    char *path;
    uint64_t end; /* where the next record goes */
    vlmp_journal_record *records;
    size_t count;
    size_t capacity;
    vlmp_arena arena; /* names */
};

static void put_le(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get_le(const unsigned char *in, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;)
        value = value << 8 | in[i];
    return value;
}

static void head_hash(const unsigned char *head, const char *name, size_t length,
                      char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    vlmp_sha256_update(&hash, head, HEAD - 64);
    vlmp_sha256_update(&hash, name, length);
    vlmp_sha256_finish(&hash, hex);
}

static int add_record(vlmp_journal *j, vlmp_journal_record record, vlmp_error *err)
{
    if (j->count == j->capacity) {
        size_t capacity = j->capacity == 0 ? 256 : j->capacity * 2;
        void *grown = realloc(j->records, capacity * sizeof *j->records);
        if (grown == NULL) return vlmp_fail_memory(err, j->path);
        j->records = grown;
        j->capacity = capacity;
    }
    j->records[j->count++] = record;
    return VLMP_OK;
}

typedef struct {
    const void *head;
    size_t head_length;
    const void *bytes;
    size_t length;
} payload;

static void payload_hash(const payload *from, char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    vlmp_sha256_update(&hash, from->head, from->head_length);
    vlmp_sha256_update(&hash, from->bytes, from->length);
    vlmp_sha256_finish(&hash, hex);
}

/* The head of a record into head; its name and hash into record. */
static int make_head(vlmp_journal *j, const char *name, const payload *from,
                     vlmp_journal_record *record, unsigned char head[HEAD], vlmp_error *err)
{
    size_t name_length = strlen(name);
    if (name_length > VLMP_JOURNAL_MAX_NAME)
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: the record name '%.80s…' is too long", j->path,
                         name);
    record->offset = j->end + HEAD + name_length;
    record->length = (uint64_t)from->head_length + from->length;
    record->name = vlmp_arena_copy(&j->arena, name, name_length);
    if (record->name == NULL) return vlmp_fail_memory(err, j->path);
    payload_hash(from, record->sha256);
    put_le(head, MAGIC, 4);
    put_le(head + 4, record->kind, 4);
    put_le(head + 8, name_length, 4);
    put_le(head + 12, 0, 4);
    put_le(head + 16, record->length, 8);
    memcpy(head + 24, record->sha256, 64);
    char hex[VLMP_SHA256_HEX];
    head_hash(head, name, name_length, hex);
    memcpy(head + 88, hex, 64);
    return VLMP_OK;
}

static int write_record(vlmp_journal *j, uint32_t kind, const char *name, payload from,
                        vlmp_error *err)
{
    unsigned char head[HEAD];
    vlmp_journal_record record = {.kind = kind};
    VLMP_TRY(make_head(j, name, &from, &record, head, err));
    if (lseek(j->fd, (off_t)j->end, SEEK_SET) < 0)
        return vlmp_fail_errno(err, "%s: cannot seek", j->path);
    VLMP_TRY(vlmp_write_all(j->fd, head, sizeof head, j->path, err));
    VLMP_TRY(vlmp_write_all(j->fd, name, strlen(name), j->path, err));
    VLMP_TRY(vlmp_write_all(j->fd, from.head, from.head_length, j->path, err));
    VLMP_TRY(vlmp_write_all(j->fd, from.bytes, from.length, j->path, err));
    if (kind < KIND_COMMIT) VLMP_TRY(add_record(j, record, err));
    j->end = record.offset + record.length;
    return VLMP_OK;
}

/* Bytes that are there: the file's length is known when it is opened, and the file is locked. */
static int read_at(const vlmp_journal *j, uint64_t offset, void *out, size_t length,
                   vlmp_error *err)
{
    char *to = out;
    while (length > 0) {
        ssize_t got = pread(j->fd, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return vlmp_fail_errno(err, "%s: cannot read", j->path);
        if (got == 0)
            return vlmp_fail(err, VLMP_ERR_SYSTEM,
                             "%s: became shorter while in use; let no other program change it",
                             j->path);
        to += got;
        length -= (size_t)got;
        offset += (uint64_t)got;
    }
    return VLMP_OK;
}

/* Whether the payload has this hash. */
static int payload_intact(const vlmp_journal *j, const vlmp_journal_record *record, bool *intact,
                          vlmp_error *err)
{
    const size_t piece = (size_t)1 << 20;
    unsigned char *buffer = vlmp_alloc(piece, 1);
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    int status = buffer == NULL ? vlmp_fail_memory(err, j->path) : VLMP_OK;
    for (uint64_t at = 0; at < record->length && status == VLMP_OK; at += piece) {
        size_t want = record->length - at < piece ? (size_t)(record->length - at) : piece;
        status = read_at(j, record->offset + at, buffer, want, err);
        if (status == VLMP_OK) vlmp_sha256_update(&hash, buffer, want);
    }
    char hex[VLMP_SHA256_HEX];
    vlmp_sha256_finish(&hash, hex);
    free(buffer);
    *intact = memcmp(hex, record->sha256, 64) == 0;
    return status;
}

/* The record at offset. *intact false: torn or damaged, or the end of the file. */
static int scan_record(vlmp_journal *j, uint64_t offset, uint64_t file_bytes,
                       vlmp_journal_record *record, bool *intact, vlmp_error *err)
{
    unsigned char head[HEAD];
    char name[VLMP_JOURNAL_MAX_NAME + 1], hex[VLMP_SHA256_HEX];
    *intact = false;
    if (file_bytes - offset < HEAD) return VLMP_OK;
    VLMP_TRY(read_at(j, offset, head, HEAD, err));
    if (get_le(head, 4) != MAGIC || get_le(head + 12, 4) != 0) return VLMP_OK;
    size_t name_length = (size_t)get_le(head + 8, 4);
    if (name_length > VLMP_JOURNAL_MAX_NAME || file_bytes - offset - HEAD < name_length)
        return VLMP_OK;
    VLMP_TRY(read_at(j, offset + HEAD, name, name_length, err));
    head_hash(head, name, name_length, hex);
    if (memcmp(hex, head + 88, 64) != 0) return VLMP_OK;
    record->kind = (uint32_t)get_le(head + 4, 4);
    record->offset = offset + HEAD + name_length;
    record->length = get_le(head + 16, 8);
    memcpy(record->sha256, head + 24, 64);
    record->sha256[64] = '\0';
    if (record->length > file_bytes - record->offset) return VLMP_OK;
    record->name = vlmp_arena_copy(&j->arena, name, name_length);
    if (record->name == NULL) return vlmp_fail_memory(err, j->path);
    return payload_intact(j, record, intact, err);
}

/* Names the key of the first line in which the two texts differ. */
static int other_identity(const vlmp_journal *j, const char *have, const char *want,
                          vlmp_error *err)
{
    while (*have != '\0' && *want != '\0') {
        size_t a = strcspn(have, "\n"), b = strcspn(want, "\n");
        if (a != b || memcmp(have, want, a) != 0) break;
        have += a + (have[a] == '\n');
        want += b + (want[b] == '\n');
    }
    const char *line = *want != '\0' ? want : have;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: belongs to another run, '%.*s' differs; give the same options and inputs, "
        "or start over with --force",
        j->path, (int)strcspn(line, ":\n"), line);
}

static int check_identity(const vlmp_journal *j, const vlmp_journal_record *record,
                          const char *identity, vlmp_error *err)
{
    if (record->length > MAX_IDENTITY)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a journal of this program; remove it",
                         j->path);
    char *have = vlmp_calloc((size_t)record->length + 1, 1);
    if (have == NULL) return vlmp_fail_memory(err, j->path);
    int status = read_at(j, record->offset, have, (size_t)record->length, err);
    if (status == VLMP_OK && strcmp(have, identity) != 0)
        status = other_identity(j, have, identity, err);
    free(have);
    return status;
}

/* Reads what is there and cuts what no commit covers. *fresh: there is no committed identity. */
static int recover(vlmp_journal *j, uint64_t file_bytes, const char *identity, bool *fresh,
                   vlmp_error *err)
{
    uint64_t at = 0, committed_end = 0;
    size_t committed_count = 0;
    bool intact = true;
    while (intact) {
        vlmp_journal_record record;
        VLMP_TRY(scan_record(j, at, file_bytes, &record, &intact, err));
        if (!intact) break;
        if ((at == 0) != (record.kind == KIND_IDENTITY)) break;
        at = record.offset + record.length;
        if (record.kind == KIND_IDENTITY) {
            VLMP_TRY(check_identity(j, &record, identity, err));
        } else if (record.kind == KIND_COMMIT) {
            committed_end = at;
            committed_count = j->count;
        } else {
            VLMP_TRY(add_record(j, record, err));
        }
    }
    j->count = committed_count;
    j->end = committed_end;
    *fresh = committed_end == 0;
    if (ftruncate(j->fd, (off_t)committed_end) != 0)
        return vlmp_fail_errno(err, "%s: cannot cut", j->path);
    return VLMP_OK;
}

/* A file that is not a journal is never cut: the first bytes must be the magic, or a torn start. */
static int check_magic(const vlmp_journal *j, uint64_t file_bytes, vlmp_error *err)
{
    unsigned char magic[4], have[4];
    size_t length = file_bytes < 4 ? (size_t)file_bytes : 4;
    put_le(magic, MAGIC, 4);
    VLMP_TRY(read_at(j, 0, have, length, err));
    if (memcmp(have, magic, length) == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: byte 0: not a journal of this program; choose another --work folder",
                     j->path);
}

static int start(vlmp_journal *j, const char *identity, vlmp_error *err)
{
    VLMP_TRY(write_record(j, KIND_IDENTITY, "identity",
                          (payload){.bytes = identity, .length = strlen(identity)}, err));
    return vlmp_journal_commit(j, err);
}

static int open_file(vlmp_journal *j, const char *identity, vlmp_journal_mode mode, vlmp_error *err)
{
    j->fd = open(j->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (j->fd < 0 && errno == ELOOP)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: is a link, which is not followed; remove it",
                         j->path);
    if (j->fd < 0) return vlmp_fail_errno(err, "%s: cannot open", j->path);
    bool locked = flock(j->fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) return vlmp_fail_errno(err, "%s: cannot lock", j->path);
    if (!locked)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "%s: another run is using it; wait for it or choose another --work folder",
                         j->path);
    struct stat info;
    if (fstat(j->fd, &info) != 0) return vlmp_fail_errno(err, "%s: cannot stat", j->path);
    if (!S_ISREG(info.st_mode))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a regular file", j->path);
    uint64_t file_bytes = (uint64_t)info.st_size;
    VLMP_TRY(check_magic(j, file_bytes, err));
    if (mode == VLMP_JOURNAL_NEW && file_bytes > 0)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: exists; --resume continues that run, --force starts over", j->path);
    if (mode != VLMP_JOURNAL_RESUME) {
        if (ftruncate(j->fd, 0) != 0) return vlmp_fail_errno(err, "%s: cannot cut", j->path);
        return start(j, identity, err);
    }
    bool fresh;
    VLMP_TRY(recover(j, file_bytes, identity, &fresh, err));
    return fresh ? start(j, identity, err) : VLMP_OK;
}

int vlmp_journal_open(vlmp_journal **out, const char *path, const char *identity,
                      vlmp_journal_mode mode, vlmp_error *err)
{
    *out = NULL;
    vlmp_journal *j = vlmp_calloc(1, sizeof *j);
    if (j == NULL) return vlmp_fail_memory(err, path);
    j->fd = -1;
    j->path = vlmp_arena_copy(&j->arena, path, strlen(path));
    int status = j->path == NULL ? vlmp_fail_memory(err, path) : open_file(j, identity, mode, err);
    if (status != VLMP_OK) {
        vlmp_journal_close(j);
        return status;
    }
    *out = j;
    return VLMP_OK;
}

void vlmp_journal_close(vlmp_journal *journal)
{
    if (journal == NULL) return;
    if (journal->fd >= 0) close(journal->fd);
    free(journal->records);
    vlmp_arena_free(&journal->arena);
    free(journal);
}

int vlmp_journal_append(vlmp_journal *journal, uint32_t kind, const char *name, const void *head,
                        size_t head_length, const void *bytes, size_t length, vlmp_error *err)
{
    if (kind >= KIND_COMMIT || name[0] == '\0')
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: a record without a name or of a reserved kind",
                         journal->path);
    return write_record(journal, kind, name, (payload){head, head_length, bytes, length}, err);
}

int vlmp_journal_commit(vlmp_journal *journal, vlmp_error *err)
{
    /* One flush is enough: a commit record that reaches the disk before the payloads does not help
     * them, for their hashes are checked when the journal is opened. */
    VLMP_TRY(write_record(journal, KIND_COMMIT, "", (payload){0}, err));
    if (fsync(journal->fd) == 0 || errno == EINVAL) return VLMP_OK; /* EINVAL: no such thing here */
    return vlmp_fail_errno(err, "%s: cannot flush", journal->path);
}

size_t vlmp_journal_count(const vlmp_journal *journal)
{
    return journal->count;
}

const vlmp_journal_record *vlmp_journal_at(const vlmp_journal *journal, size_t index)
{
    return &journal->records[index];
}

const vlmp_journal_record *vlmp_journal_find(const vlmp_journal *journal, uint32_t kind,
                                             const char *name)
{
    for (size_t i = journal->count; i-- > 0;)
        if (journal->records[i].kind == kind && strcmp(journal->records[i].name, name) == 0)
            return &journal->records[i];
    return NULL;
}

int vlmp_journal_read(const vlmp_journal *journal, const vlmp_journal_record *record,
                      uint64_t offset, void *out, size_t length, vlmp_error *err)
{
    if (offset > record->length || length > record->length - offset)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: record '%s' has %llu bytes, not %llu",
                         journal->path, record->name, (unsigned long long)record->length,
                         (unsigned long long)(offset + length));
    return read_at(journal, record->offset + offset, out, length, err);
}
