#include "src/base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The folder of path, which is shorter than 4096 bytes. */
static void folder_of(char out[4096], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
    memcpy(out, slash == NULL ? "." : path, length);
    out[length] = '\0';
}

/* Only what is not there or, with force, a regular file may be written over. */
static int check_target(const char *path, bool force, vlmp_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno == ENOENT) return VLMP_OK;
        return vlmp_fail_errno(err, "%s: cannot be written", path);
    }
    if (S_ISDIR(info.st_mode))
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: is a folder; name a file in it", path);
    if (S_ISLNK(info.st_mode))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: is a link, which is neither followed nor replaced; name the file "
                         "itself",
                         path);
    if (!S_ISREG(info.st_mode))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: is a device, FIFO or socket; only regular files are written, name "
                         "one",
                         path);
    if (force) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE, "%s: exists; --force replaces it", path);
}

static int check_folder(const char *path, vlmp_error *err)
{
    char folder[4096];
    folder_of(folder, path);
    struct stat info;
    struct statvfs space;
    if (stat(folder, &info) != 0)
        return vlmp_fail_errno(err, "%s: cannot be written, its folder '%.200s'", path, folder);
    if (!S_ISDIR(info.st_mode)) {
        errno = ENOTDIR;
        return vlmp_fail_errno(err, "%s: cannot be written, '%.200s'", path, folder);
    }
    if (access(folder, W_OK | X_OK) != 0)
        return vlmp_fail_errno(err, "%s: cannot be written, its folder '%.200s'", path, folder);
    if (statvfs(folder, &space) == 0 && space.f_blocks > 0 && space.f_bfree == 0) {
        errno = ENOSPC;
        return vlmp_fail_errno(err, "%s: cannot be written", path);
    }
    return VLMP_OK;
}

int vlmp_output_check(const char *path, bool force, vlmp_error *err)
{
    size_t length = strlen(path);
    if (length >= sizeof((vlmp_outfile *)NULL)->path)
        return vlmp_fail(err, VLMP_ERR_USAGE, "%.80s…: the path is too long", path);
    if (length == 0 || path[length - 1] == '/')
        return vlmp_fail(err, VLMP_ERR_USAGE, "'%s': names a folder; name a file in it", path);
    VLMP_TRY(check_target(path, force, err));
    return check_folder(path, err);
}

/* Creates the temporary file, or opens the one that is there. *created tells which. */
static int open_temporary(vlmp_outfile *file, bool *created, vlmp_error *err)
{
    const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    file->fd = open(file->temporary, flags | O_CREAT | O_EXCL, 0666);
    *created = file->fd >= 0;
    if (file->fd < 0 && errno == EEXIST) file->fd = open(file->temporary, flags);
    if (file->fd >= 0) return VLMP_OK;
    if (errno == ELOOP)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: is a link, which is not followed; remove it",
                         file->temporary);
    return vlmp_fail_errno(err, "%s: cannot create", file->temporary);
}

/* Whether the open file is what the temporary name stands for; the process that had the lock may
 * have renamed or removed it since. */
static bool still_there(const vlmp_outfile *file, const struct stat *opened)
{
    struct stat named;
    return lstat(file->temporary, &named) == 0 && named.st_dev == opened->st_dev &&
           named.st_ino == opened->st_ino;
}

/* Locks the open temporary file and empties it. *again: it was another's, and is gone. *created:
 * this process made the file; no longer when another one locked it first, whose it is then. */
static int take_temporary(vlmp_outfile *file, bool *created, bool *again, vlmp_error *err)
{
    struct stat info;
    *again = false;
    bool locked = flock(file->fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) {
        *created = false;
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "%s: another run is writing it; wait for it or choose another name",
                         file->path);
    }
    /* Where a file system has no locks, what this process created is its own all the same. */
    if (!locked && !*created)
        return vlmp_fail_errno(err, "%s: cannot lock; remove it if no other run writes it",
                               file->temporary);
    if (fstat(file->fd, &info) != 0)
        return vlmp_fail_errno(err, "%s: cannot stat", file->temporary);
    *again = !still_there(file, &info);
    if (*again || *created) return VLMP_OK;
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1 || info.st_uid != geteuid())
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "%s: is in the way and not this program's; remove it", file->temporary);
    if (ftruncate(file->fd, 0) != 0)
        return vlmp_fail_errno(err, "%s: cannot be emptied", file->temporary);
    return VLMP_OK;
}

int vlmp_outfile_open(vlmp_outfile *file, const char *path, bool force, vlmp_error *err)
{
    *file = (vlmp_outfile){.fd = -1, .force = force};
    VLMP_TRY(vlmp_output_check(path, force, err));
    snprintf(file->path, sizeof file->path, "%s", path);
    snprintf(file->temporary, sizeof file->temporary, "%s" VLMP_PART_SUFFIX, path);
    int status;
    bool created, again;
    do {
        status = open_temporary(file, &created, err);
        if (status == VLMP_OK) status = take_temporary(file, &created, &again, err);
        if (status == VLMP_OK && !again) return VLMP_OK;
        if (status != VLMP_OK && created) unlink(file->temporary);
        if (file->fd >= 0) close(file->fd);
    } while (status == VLMP_OK);
    *file = (vlmp_outfile){.fd = -1};
    return status;
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
    folder_of(folder, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return vlmp_fail_errno(err, "%s: is complete, but its folder cannot be opened", path);
    int status = VLMP_OK;
    if (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = vlmp_fail_errno(err, "%s: is complete, but its folder cannot be flushed", path);
    close(fd);
    return status;
}

static int rename_into_place(const vlmp_outfile *file, vlmp_error *err)
{
    if (!file->force) {
        if (renameat2(AT_FDCWD, file->temporary, AT_FDCWD, file->path, RENAME_NOREPLACE) == 0)
            return VLMP_OK;
        /* EINVAL, ENOSYS: the file system or the system does not know the flag. */
        if (errno == EEXIST)
            return vlmp_fail(err, VLMP_ERR_USAGE, "%s: exists by now; --force replaces it",
                             file->path);
        if (errno != EINVAL && errno != ENOSYS)
            return vlmp_fail_errno(err, "%s: cannot rename into place", file->path);
    }
    VLMP_TRY(check_target(file->path, file->force, err));
    if (rename(file->temporary, file->path) == 0) return VLMP_OK;
    return vlmp_fail_errno(err, "%s: cannot rename into place", file->path);
}

int vlmp_outfile_commit(vlmp_outfile *file, vlmp_error *err)
{
    if (fsync(file->fd) != 0) return vlmp_fail_errno(err, "%s: cannot flush", file->path);
    VLMP_TRY(rename_into_place(file, err));
    /* Only now: the lock ends with it. All bytes are on the disk, so that it cannot fail them. */
    close(file->fd);
    file->fd = -1;
    return sync_folder(file->path, err);
}

void vlmp_outfile_abort(vlmp_outfile *file)
{
    if (file->fd >= 0) {
        unlink(file->temporary);
        close(file->fd);
    }
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

const char *vlmp_temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] != '\0' ? folder : "/tmp";
}

int vlmp_workfile_create(int *fd, char *path, vlmp_error *err)
{
    *fd = mkstemp(path);
    if (*fd < 0) return vlmp_fail_errno(err, "%s: cannot create the work file", path);
    /* Twice: nobody else would remove it, and on a network one call may fail. */
    if (unlink(path) == 0 || unlink(path) == 0) return VLMP_OK;
    int status = vlmp_fail_errno(err, "%s: cannot take the work file's name away; remove it", path);
    close(*fd);
    *fd = -1;
    return status;
}
