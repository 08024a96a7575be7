/* Output that appears complete or not at all: written under a temporary name beside the target,
 * renamed by commit. Only regular files are ever replaced, and no link is followed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

/* What the temporary name ends in. The file is locked (flock) while a process writes it, on shared
 * volumes and across PID namespaces too; one that a killed process left is taken over by the next
 * run to the same name. */
#define VLMP_PART_SUFFIX ".vlmp-part"

typedef struct {
    char path[4096];
    char temporary[4096 + sizeof VLMP_PART_SUFFIX];
    int fd; /* -1: closed */
    bool force;
    uint64_t written; /* bytes */
} vlmp_outfile;

/* Whether an output may be written there; commands ask before their work. A folder, a link, a
 * device, a FIFO or a socket, or, unless force, an existing file: VLMP_ERR_USAGE. A folder that is
 * missing, read-only or full: VLMP_ERR_SYSTEM. */
int vlmp_output_check(const char *path, bool force, vlmp_error *err);

/* The same checks; then a temporary file that another process has open is VLMP_ERR_SYSTEM. On
 * failure nothing is left to abort. */
int vlmp_outfile_open(vlmp_outfile *file, const char *path, bool force, vlmp_error *err);
int vlmp_outfile_write(vlmp_outfile *file, const void *bytes, size_t length, vlmp_error *err);

/* fsync, rename. Without force a target that came up meanwhile stays: VLMP_ERR_USAGE. */
int vlmp_outfile_commit(vlmp_outfile *file, vlmp_error *err);
void vlmp_outfile_abort(vlmp_outfile *file); /* removes; harmless after commit */

/* One call for small documents. */
int vlmp_file_write(const char *path, const void *bytes, size_t length, bool force,
                    vlmp_error *err);

/* The folder for such files where nothing else is said: $TMPDIR, else /tmp. */
const char *vlmp_temporary_folder(void);

/* A file for reading and writing that has no name and goes with *fd. path: where it is created;
 * ends in XXXXXX, which becomes the name it had. *fd is -1 on failure. */
int vlmp_workfile_create(int *fd, char *path, vlmp_error *err);

/* write(2) until all is written; fd errors are reported with path. */
int vlmp_write_all(int fd, const void *bytes, size_t length, const char *path, vlmp_error *err);
