/* Files that are read: whole, or as read-only maps. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

/* The whole file, NUL-terminated (the NUL is not counted). Missing, not a regular file, or larger
 * than max_bytes: VLMP_ERR_INPUT. Free with free(). */
int vlmp_file_read(char **out, size_t *length, const char *path, size_t max_bytes, vlmp_error *err);

typedef enum { VLMP_PATH_ABSENT, VLMP_PATH_FOLDER, VLMP_PATH_FILE } vlmp_path_kind;

/* What is at path, links followed; devices and the like are files, which cannot be opened. A path
 * that cannot be looked at is not absent: VLMP_ERR_INPUT without permission, else
 * VLMP_ERR_SYSTEM. */
int vlmp_path_look(vlmp_path_kind *kind, const char *path, vlmp_error *err);

/* The path with all links resolved; free *out. *out is NULL when it leads to nothing. */
int vlmp_path_resolve(char **out, const char *path, vlmp_error *err);

/* A regular file opened for reading, and its length. Missing, unreadable or of another kind:
 * VLMP_ERR_INPUT. Close *fd. */
int vlmp_file_open(int *fd, size_t *length, const char *path, vlmp_error *err);

/* length bytes from offset. A file that ends before is VLMP_ERR_INPUT: it became shorter. */
int vlmp_file_read_at(int fd, void *out, size_t length, uint64_t offset, const char *path,
                      vlmp_error *err);

/* folder + "/" + name into out; false when it does not fit. */
bool vlmp_path_join(char *out, size_t capacity, const char *folder, const char *name);

/* A read-only map of a file. data is NULL for an empty file. */
typedef struct {
    const unsigned char *data;
    size_t length;
} vlmp_map;

int vlmp_map_open(vlmp_map *map, const char *path, vlmp_error *err);

/* The same of an open file that has no name; path is for messages. fd is not kept. */
int vlmp_map_work(vlmp_map *map, int fd, const char *path, vlmp_error *err);
void vlmp_map_close(vlmp_map *map);

/* Drops the pages of [offset, offset + length) from this process's resident memory. They are read
 * again on the next access: peak memory stays that of a block. */
void vlmp_map_release(const vlmp_map *map, size_t offset, size_t length);

/* read(2) until length bytes are there; a file that ends before is VLMP_ERR_INPUT. */
int vlmp_read_all(int fd, void *bytes, size_t length, const char *path, vlmp_error *err);
