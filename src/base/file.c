#include "src/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/memory.h"

int vlmp_file_open(int *fd, size_t *length, const char *path, vlmp_error *err)
{
    /* Non-blocking, so that a FIFO is refused and not waited for. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file", path);
        if (errno == EACCES)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no permission to read", path);
        if (errno == ENXIO) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a regular file", path);
        return vlmp_fail_errno(err, "%s: cannot open", path);
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

int vlmp_file_read_at(int fd, void *out, size_t length, uint64_t offset, const char *path,
                      vlmp_error *err)
{
    size_t done = 0;
    while (done < length) {
        ssize_t got = pread(fd, (char *)out + done, length - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return vlmp_fail_errno(err, "%s: cannot read", path);
        if (got == 0)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: became shorter while being read", path);
        done += (size_t)got;
    }
    return VLMP_OK;
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
        status = vlmp_file_read_at(fd, *out, *length, 0, path, err);
        (*out)[*length] = '\0';
    }
    close(fd);
    if (status != VLMP_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

bool vlmp_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool vlmp_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool vlmp_path_join(char *out, size_t capacity, const char *folder, const char *name)
{
    int length = snprintf(out, capacity, "%s/%s", folder, name);
    return length >= 0 && (size_t)length < capacity;
}

int vlmp_map_open(vlmp_map *map, const char *path, vlmp_error *err)
{
    *map = (vlmp_map){0};
    int fd;
    VLMP_TRY(vlmp_file_open(&fd, &map->length, path, err));
    if (map->length > 0) {
        void *data = mmap(NULL, map->length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            int status = vlmp_fail_errno(err, "%s: cannot map", path);
            close(fd);
            *map = (vlmp_map){0};
            return status;
        }
        map->data = data;
    }
    close(fd);
    return VLMP_OK;
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

/* Removes the temporary files beside path of processes that were killed before they could. */
static void remove_orphans(const char *path)
{
    char folder[4096], full[4400];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t length = strlen(name);
    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path + 1) : 2,
             slash != NULL ? path : "./");
    DIR *entries = length <= NAME_MAX ? opendir(folder) : NULL;
    if (entries == NULL) return;
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        const char *rest = entry->d_name + length;
        if (strncmp(entry->d_name, name, length) != 0 || strncmp(rest, ".tmp-", 5) != 0) continue;
        char *end;
        long process = strtol(rest + 5, &end, 10);
        if (*end != '\0' || process <= 0 || kill((pid_t)process, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(full, sizeof full, "%s%s", folder, entry->d_name);
        unlink(full);
    }
    closedir(entries);
}

int vlmp_outfile_open(vlmp_outfile *file, const char *path, bool force, vlmp_error *err)
{
    *file = (vlmp_outfile){.fd = -1};
    if (strlen(path) >= sizeof file->path)
        return vlmp_fail(err, VLMP_ERR_USAGE, "%.80s…: the path is too long", path);
    if (!force && vlmp_file_exists(path))
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: exists; --force replaces it", path);
    remove_orphans(path);
    snprintf(file->path, sizeof file->path, "%s", path);
    snprintf(file->temporary, sizeof file->temporary, "%s.tmp-%ld", path, (long)getpid());
    file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->fd < 0) return vlmp_fail_errno(err, "%s: cannot create", file->temporary);
    return VLMP_OK;
}

int vlmp_write_all(int fd, const void *bytes, size_t length, const char *path, vlmp_error *err)
{
    const char *from = bytes;
    while (length > 0) {
        ssize_t put = write(fd, from, length);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return vlmp_fail_errno(err, "%s: cannot write", path);
        from += put;
        length -= (size_t)put;
    }
    return VLMP_OK;
}

int vlmp_outfile_write(vlmp_outfile *file, const void *bytes, size_t length, vlmp_error *err)
{
    VLMP_TRY(vlmp_write_all(file->fd, bytes, length, file->path, err));
    file->written += length;
    return VLMP_OK;
}

/* Makes a rename inside path's folder durable. File systems that cannot flush a folder say so. */
static int sync_folder(const char *path, vlmp_error *err)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, slash == NULL ? "." : path, length);
    folder[length] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return vlmp_fail_errno(err, "%s: cannot open", folder);
    int status = VLMP_OK;
    if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = vlmp_fail_errno(err, "%s: cannot flush", folder);
    close(fd);
    return status;
}

int vlmp_outfile_commit(vlmp_outfile *file, vlmp_error *err)
{
    int status = VLMP_OK;
    if (fsync(file->fd) != 0) status = vlmp_fail_errno(err, "%s: cannot flush", file->path);
    if (close(file->fd) != 0 && status == VLMP_OK)
        status = vlmp_fail_errno(err, "%s: cannot close", file->path);
    file->fd = -1;
    if (status == VLMP_OK && rename(file->temporary, file->path) != 0)
        status = vlmp_fail_errno(err, "%s: cannot rename into place", file->path);
    if (status != VLMP_OK) unlink(file->temporary);
    file->temporary[0] = '\0';
    return status == VLMP_OK ? sync_folder(file->path, err) : status;
}

void vlmp_outfile_abort(vlmp_outfile *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->temporary[0] != '\0') unlink(file->temporary);
    *file = (vlmp_outfile){.fd = -1};
}

int vlmp_file_write(const char *path, const void *bytes, size_t length, bool force, vlmp_error *err)
{
    vlmp_outfile file;
    VLMP_TRY(vlmp_outfile_open(&file, path, force, err));
    int status = vlmp_outfile_write(&file, bytes, length, err);
    if (status == VLMP_OK) status = vlmp_outfile_commit(&file, err);
    vlmp_outfile_abort(&file);
    return status;
}
