/* A folder for one test program, removed at its end. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_folder[256];

static inline int temp_folder_make(void **state)
{
    (void)state;
    /* In memory where possible: the journal's tests flush thousands of times. */
    const char *base = getenv("TMPDIR");
    if (base == NULL) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(temp_folder, sizeof temp_folder, "%.200s/vlmp-test-XXXXXX", base);
    return mkdtemp(temp_folder) == NULL;
}

static inline int temp_remove_one(const char *path, const struct stat *info, int kind,
                                  struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline int temp_folder_remove(void **state)
{
    (void)state;
    return nftw(temp_folder, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* name inside the folder; four results stay valid. */
static inline const char *temp_path(const char *name)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%.700s", temp_folder, name);
    return path;
}

static inline void temp_write(const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(temp_path(name), "wb");
    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0) abort();
}

/* Whether two files of the folder are there and have the same bytes. */
static inline int temp_same(const char *a, const char *b)
{
    FILE *first = fopen(temp_path(a), "rb"), *second = fopen(temp_path(b), "rb");
    int x = first != NULL && second != NULL ? 0 : 1, y = 0;
    while (x == y && x != EOF)
        x = getc(first), y = getc(second);
    if (first != NULL) fclose(first);
    if (second != NULL) fclose(second);
    return x == EOF && y == EOF;
}
