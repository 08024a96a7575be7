#include "src/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/memory.h"

/* Why path cannot be looked at. *absent, and no error: there is nothing. */
static int look_failed(bool *absent, const char *path, vlmp_error *err)
{
    *absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
    if (*absent) return VLMP_OK;
    if (errno == EACCES) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no permission to read", path);
    if (errno == ELOOP) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: links that go in circles", path);
    if (errno == ENOMEM) return vlmp_fail_memory(err, path);
    return vlmp_fail_errno(err, "%s: cannot open", path);
}

int vlmp_file_open(int *fd, size_t *length, const char *path, vlmp_error *err)
{
    /* Non-blocking, so that a FIFO is refused and not waited for. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        bool absent;
        if (errno == ENXIO) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a regular file", path);
        VLMP_TRY(look_failed(&absent, path, err));
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file", path);
    }
    struct stat info;
    if (fstat(*fd, &info) != 0) {
        int status = vlmp_fail_errno(err, "%s: cannot stat", path);
        close(*fd);
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(*fd);
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a regular file", path);
    }
    *length = (size_t)info.st_size;
    return VLMP_OK;
}

/* length bytes from offset on; offset NULL: from where fd stands. */
static int read_whole(int fd, char *out, size_t length, const uint64_t *offset, const char *path,
                      vlmp_error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = offset != NULL ? pread(fd, out + done, length - done, (off_t)(*offset + done))
                                     : read(fd, out + done, length - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return vlmp_fail_errno(err, "%s: cannot read", path);
        if (got == 0)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: became shorter while being read", path);
        done += (size_t)got;
    }
    return VLMP_OK;
}

int vlmp_file_read_at(int fd, void *out, size_t length, uint64_t offset, const char *path,
                      vlmp_error *err)
{
    return read_whole(fd, out, length, &offset, path, err);
}

int vlmp_read_all(int fd, void *bytes, size_t length, const char *path, vlmp_error *err)
{
    return read_whole(fd, bytes, length, NULL, path, err);
}

int vlmp_file_read(char **out, size_t *length, const char *path, size_t max_bytes, vlmp_error *err)
{
    *out = NULL;
    int fd;
    VLMP_TRY(vlmp_file_open(&fd, length, path, err));
    int status = VLMP_OK;
    if (*length > max_bytes) {
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu bytes, more than the limit of %zu", path,
                           *length, max_bytes);
    } else if ((*out = vlmp_alloc(*length + 1, 1)) == NULL) {
        status = vlmp_fail_memory(err, path);
    } else {
        status = vlmp_read_all(fd, *out, *length, path, err);
        (*out)[*length] = '\0';
    }
    close(fd);
    if (status != VLMP_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

int vlmp_path_look(vlmp_path_kind *kind, const char *path, vlmp_error *err)
{
    struct stat info;
    bool absent = stat(path, &info) != 0;
    *kind = VLMP_PATH_ABSENT;
    if (absent) return look_failed(&absent, path, err);
    *kind = S_ISDIR(info.st_mode) ? VLMP_PATH_FOLDER : VLMP_PATH_FILE;
    return VLMP_OK;
}

int vlmp_path_resolve(char **out, const char *path, vlmp_error *err)
{
    bool absent;
    *out = realpath(path, NULL);
    return *out != NULL ? VLMP_OK : look_failed(&absent, path, err);
}

bool vlmp_path_join(char *out, size_t capacity, const char *folder, const char *name)
{
    int length = snprintf(out, capacity, "%s/%s", folder, name);
    return length >= 0 && (size_t)length < capacity;
}

static int map_file(vlmp_map *map, int fd, size_t length, const char *path, vlmp_error *err)
{
    *map = (vlmp_map){.length = length};
    if (length == 0) return VLMP_OK;
    void *data = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data != MAP_FAILED) {
        map->data = data;
        return VLMP_OK;
    }
    *map = (vlmp_map){0};
    return errno == ENOMEM ? vlmp_fail_memory(err, path)
                           : vlmp_fail_errno(err, "%s: cannot map", path);
}

int vlmp_map_open(vlmp_map *map, const char *path, vlmp_error *err)
{
    *map = (vlmp_map){0};
    int fd;
    size_t length = 0;
    VLMP_TRY(vlmp_file_open(&fd, &length, path, err));
    int status = map_file(map, fd, length, path, err);
    close(fd);
    return status;
}

int vlmp_map_work(vlmp_map *map, int fd, const char *path, vlmp_error *err)
{
    struct stat info;
    *map = (vlmp_map){0};
    if (fstat(fd, &info) != 0) return vlmp_fail_errno(err, "%s: cannot stat", path);
    return map_file(map, fd, (size_t)info.st_size, path, err);
}

void vlmp_map_close(vlmp_map *map)
{
    /* The cast drops const: munmap takes the address, not the contents. */
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->length);
    *map = (vlmp_map){0};
}

/* A fault maps what the page cache holds around it, in addresses aligned to this (Linux's
 * fault_around_bytes), and so brings back the ends of neighbours released before. */
#define FAULT_AROUND ((uintptr_t)64 << 10)

void vlmp_map_release(const vlmp_map *map, size_t offset, size_t length)
{
    if (map->data == NULL || length == 0) return;
    /* Rounded outward: what else lies there is only read again. */
    uintptr_t start = (uintptr_t)map->data, end = start + map->length;
    uintptr_t first = (start + offset) / FAULT_AROUND * FAULT_AROUND;
    uintptr_t last = (start + offset + length + FAULT_AROUND - 1) / FAULT_AROUND * FAULT_AROUND;
    if (first < start) first = start;
    if (last > end) last = end;
    madvise((void *)first, last - first, MADV_DONTNEED);
}
