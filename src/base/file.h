/* Files: whole reads, read-only maps, output that appears complete or not at all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

/* The whole file, NUL-terminated (the NUL is not counted). Missing, not a regular file, or larger
 * than max_bytes: VLMP_ERR_INPUT. Free with free(). */
int vlmp_file_read(char **out, size_t *length, const char *path, size_t max_bytes, vlmp_error *err);

/* A regular file opened for reading, and its length. Missing, unreadable or of another kind:
 * VLMP_ERR_INPUT. Close *fd. */
int vlmp_file_open(int *fd, size_t *length, const char *path, vlmp_error *err);

/* length bytes from offset. A file that ends before is VLMP_ERR_INPUT: it became shorter. */
int vlmp_file_read_at(int fd, void *out, size_t length, uint64_t offset, const char *path,
                      vlmp_error *err);

bool vlmp_file_exists(const char *path);
bool vlmp_is_folder(const char *path);

/* folder + "/" + name into out; false when it does not fit. */
bool vlmp_path_join(char *out, size_t capacity, const char *folder, const char *name);

/* A read-only map of a file. data is NULL for an empty file. */
typedef struct {
    const unsigned char *data;
    size_t length;
} vlmp_map;

int vlmp_map_open(vlmp_map *map, const char *path, vlmp_error *err);
void vlmp_map_close(vlmp_map *map);

/* Drops the pages of [offset, offset + length) from this process's resident memory. They are read
 * again on the next access: peak memory stays that of a block. */
void vlmp_map_release(const vlmp_map *map, size_t offset, size_t length);

/* Output under a temporary name beside the target, renamed by commit. */
typedef struct {
    char path[4096];
    char temporary[4128];
    int fd; /* -1: closed */
    uint64_t written;
} vlmp_outfile;

/* force false: an existing target is VLMP_ERR_USAGE with a hint at --force. */
int vlmp_outfile_open(vlmp_outfile *file, const char *path, bool force, vlmp_error *err);
int vlmp_outfile_write(vlmp_outfile *file, const void *bytes, size_t length, vlmp_error *err);
int vlmp_outfile_commit(vlmp_outfile *file, vlmp_error *err); /* fsync, rename */
void vlmp_outfile_abort(vlmp_outfile *file);                  /* removes; harmless after commit */

/* One call for small documents. */
int vlmp_file_write(const char *path, const void *bytes, size_t length, bool force,
                    vlmp_error *err);

/* write(2) until all is written; fd errors are reported with path. */
int vlmp_write_all(int fd, const void *bytes, size_t length, const char *path, vlmp_error *err);
