/* Runs a fuzz target without libFuzzer: every file of the folders given, then mutants of them.
 *     fuzz_NAME [-runs=N] [-seed=N] PATH…
 * Fixed seed, so that a test sees the same inputs every time. */
#include <dirent.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/fuzz/fuzz.h"

#define CAPACITY  ((size_t)1 << 19)
#define MAX_FILES 1024

__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity,
                                                     unsigned seed);

typedef struct {
    char *bytes;
    size_t length;
} seed_file;

static vlmp_rng rng = {1};
static seed_file files[MAX_FILES];
static size_t file_count;

static size_t below(size_t n)
{
    return (size_t)vlmp_rng_below(&rng, n);
}

/* Pieces of the languages that the parsers read. */
static const char *const pieces[] = {"0",
                                     "1",
                                     "18446744073709551615",
                                     "9223372036854775807",
                                     "-1",
                                     "1e9",
                                     "0.5",
                                     "0000",
                                     "\"",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "64",
                                     "\\",
                                     "\xff",
                                     "\\u0000",
                                     "\\ud800",
                                     "null",
                                     "true",
                                     "\"shape\":[",
                                     "{{",
                                     "}}",
                                     "{%",
                                     "%}",
                                     "-%}",
                                     " | ",
                                     "(",
                                     ")",
                                     " if ",
                                     " in ",
                                     ".",
                                     "\xc3\xa9",
                                     "\n",
                                     "\xf0\x9f\x98\x80",
                                     "<=",
                                     "*",
                                     "%"};

/* Moves bytes [from, size) to `to`; the new size, or the old one when it does not fit. */
static size_t shift(uint8_t *data, size_t from, size_t to, size_t size, size_t capacity)
{
    if (from > size || size - from + to > capacity) return size;
    memmove(data + to, data + from, size - from);
    return size - from + to;
}

static size_t put(uint8_t *data, size_t size, size_t at, const void *bytes, size_t count,
                  size_t capacity, bool insert)
{
    if (insert && size + count <= capacity) size = shift(data, at, at + count, size, capacity);
    if (at + count <= size) memcpy(data + at, bytes, count);
    return size;
}

static size_t change(uint8_t *data, size_t size, size_t capacity)
{
    const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
    size_t at = below(size + 1), count;
    uint8_t copy[64];
    if (size == 0) return put(data, size, 0, piece, strlen(piece), capacity, true);
    switch (below(6)) {
    case 0:
        if (at < size) data[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1:
        return shift(data, at + 1 + below(12), at, size, capacity);
    case 2:
    case 3:
        return put(data, size, at, piece, strlen(piece), capacity, below(2) == 0);
    case 4:
        count = 1 + below(sizeof copy - 1);
        if (at + count > size) return size;
        memcpy(copy, data + at, count);
        return put(data, size, below(size), copy, count, capacity, true);
    default: /* a digit */
        while (at < size && (data[at] < '0' || data[at] > '9'))
            at++;
        if (at < size) data[at] = (uint8_t)('0' + below(10));
        return size;
    }
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity)
{
    for (size_t n = 1 + below(4); n > 0; n--)
        size = change(data, size, capacity);
    return size;
}

static void take_file(const char *path)
{
    vlmp_error err = {0};
    seed_file *f = &files[file_count];
    if (file_count == MAX_FILES ||
        vlmp_file_read(&f->bytes, &f->length, path, CAPACITY / 2, &err) != VLMP_OK) {
        fprintf(stderr, "%s: %s\n", path, err.message);
        exit(1);
    }
    file_count++;
    LLVMFuzzerTestOneInput((const uint8_t *)f->bytes, f->length);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of names, so that runs are alike. */
static void take(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) take_file(path);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        take_file(name);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

int main(int argc, char **argv)
{
    static uint8_t mutant[CAPACITY];
    long runs = 0;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0)
            runs = atol(argv[i] + 6);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            rng.state = (uint64_t)atol(argv[i] + 6);
        else
            take(argv[i]);
    }
    if (file_count == 0) return 1; /* a test without inputs shows nothing */
    for (long i = 0; i < runs; i++) {
        const seed_file *f = &files[below(file_count)];
        memcpy(mutant, f->bytes, f->length);
        size_t size =
            LLVMFuzzerCustomMutator != NULL
                ? LLVMFuzzerCustomMutator(mutant, f->length, CAPACITY, (unsigned)below(UINT32_MAX))
                : LLVMFuzzerMutate(mutant, f->length, CAPACITY);
        LLVMFuzzerTestOneInput(mutant, size);
    }
    printf("%zu files, %ld mutants\n", file_count, runs);
    for (size_t i = 0; i < file_count; i++)
        free(files[i].bytes);
    return 0;
}
