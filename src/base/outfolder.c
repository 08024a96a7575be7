#include "src/base/outfolder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/sha256.h"

#define MAX_SUMS  ((size_t)64 << 20) /* bytes of a list of hashes */
#define MAX_FILES 100000
#define PIECE     ((size_t)1 << 20) /* bytes hashed at a time */

/* The entries of a folder but "." and "..", sorted. */
struct names {
    char **items;
    size_t count;
};

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct names *names, const char *name, const char *where, vlmp_error *err)
{
    if (names->count == MAX_FILES)
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: has too many files; name another folder", where);
    if (names->count % 64 == 0) {
        void *grown = realloc(names->items, (names->count + 64) * sizeof *names->items);
        if (grown == NULL) return vlmp_fail_memory(err, where);
        names->items = grown;
    }
    names->items[names->count] = strdup(name);
    if (names->items[names->count] == NULL) return vlmp_fail_memory(err, where);
    names->count++;
    return VLMP_OK;
}

/* Free names after a failure, too. */
static int list(struct names *names, const char *path, vlmp_error *err)
{
    *names = (struct names){0};
    DIR *dir = opendir(path);
    if (dir == NULL) return vlmp_fail_errno(err, "%s: cannot list the folder", path);
    int status = VLMP_OK;
    while (status == VLMP_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) status = vlmp_fail_errno(err, "%s: cannot list the folder", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = add_name(names, entry->d_name, path, err);
    }
    closedir(dir);
    if (names->count > 0) qsort(names->items, names->count, sizeof *names->items, by_bytes);
    return status;
}

/* Whether a line of sums is "HASH  NAME". */
static bool has_line(const char *sums, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = sums; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t bytes = end != NULL ? (size_t)(end - line) : strlen(line);
        if (bytes == 66 + length && memcmp(line + 64, "  ", 2) == 0 &&
            memcmp(line + 66, name, length) == 0)
            return true;
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

/* With force: the folder holds nothing but what its list of hashes names. */
static int check_replaceable(const char *path, vlmp_error *err)
{
    char sums_path[4200], *sums = NULL;
    size_t length;
    struct names names;
    snprintf(sums_path, sizeof sums_path, "%s/" VLMP_FOLDER_SUMS, path);
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, sums_path, err));
    if (kind != VLMP_PATH_FILE)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "%s: has no " VLMP_FOLDER_SUMS
                         ", so that it is not replaced; name another folder",
                         path);
    VLMP_TRY(vlmp_file_read(&sums, &length, sums_path, MAX_SUMS, err));
    int status = list(&names, path, err);
    for (size_t i = 0; i < names.count && status == VLMP_OK; i++)
        if (strcmp(names.items[i], VLMP_FOLDER_SUMS) != 0 && !has_line(sums, names.items[i]))
            status = vlmp_fail(err, VLMP_ERR_USAGE,
                               "%s: holds '%.200s', which its " VLMP_FOLDER_SUMS
                               " does not name, so that it is not replaced; name another folder",
                               path, names.items[i]);
    free_names(&names);
    free(sums);
    return status;
}

int vlmp_outfolder_check(const char *path, bool force, vlmp_error *err)
{
    struct stat info;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof((vlmp_outfolder *)NULL)->path - 300)
        return vlmp_fail(err, VLMP_ERR_USAGE, "'%.80s': no name for a folder; give another", path);
    if (path[length - 1] == '/')
        return vlmp_fail(err, VLMP_ERR_USAGE, "'%s': give the folder's name without the last '/'",
                         path);
    if (lstat(path, &info) != 0) return vlmp_output_check(path, false, err);
    if (!S_ISDIR(info.st_mode))
        return vlmp_fail(err, VLMP_ERR_USAGE, "%s: is there and no folder; name another", path);
    if (!force) return vlmp_fail(err, VLMP_ERR_USAGE, "%s: exists; --force replaces it", path);
    return check_replaceable(path, err);
}

/* Removes the files of the open folder; another folder in it is not ours. */
static int empty(const vlmp_outfolder *folder, vlmp_error *err)
{
    int removed = 1;
    while (removed > 0) { /* a pass may miss entries while others go */
        removed = 0;
        rewinddir(folder->dir);
        for (const struct dirent *entry; (entry = readdir(folder->dir)) != NULL;) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
            if (unlinkat(dirfd(folder->dir), entry->d_name, 0) == 0)
                removed++;
            else if (errno != ENOENT)
                return vlmp_fail_errno(err, "%s/%s: is in the way", folder->temporary,
                                       entry->d_name);
        }
    }
    return VLMP_OK;
}

static bool still_there(const vlmp_outfolder *folder)
{
    struct stat opened, named;
    return fstat(dirfd(folder->dir), &opened) == 0 && lstat(folder->temporary, &named) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static int open_temporary(vlmp_outfolder *folder)
{
    int fd = open(folder->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    folder->dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder->dir != NULL) return 0;
    int fault = errno;
    if (fd >= 0) close(fd);
    return fault;
}

/* Locks the open temporary folder and empties what another run has left. *again: it was another's,
 * and is gone. */
static int lock(vlmp_outfolder *folder, bool *created, bool *again, vlmp_error *err)
{
    bool locked = flock(dirfd(folder->dir), LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) {
        *created = false;
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "%s: another run is writing it; wait for it or choose another name",
                         folder->path);
    }
    /* Where a file system has no locks, what this process created is its own all the same. */
    if (!locked && !*created)
        return vlmp_fail_errno(err, "%s: cannot lock; remove it if no other run writes it",
                               folder->temporary);
    *again = !still_there(folder);
    return *again || *created ? VLMP_OK : empty(folder, err);
}

/* Creates or takes over the temporary folder. */
static int take(vlmp_outfolder *folder, bool *again, vlmp_error *err)
{
    *again = false;
    bool created = mkdir(folder->temporary, 0777) == 0;
    if (!created && errno != EEXIST)
        return vlmp_fail_errno(err, "%s: cannot make the folder", folder->temporary);
    errno = open_temporary(folder);
    *again = folder->dir == NULL && errno == ENOENT;
    int status = VLMP_OK;
    if (folder->dir == NULL && !*again)
        status = vlmp_fail_errno(err, "%s: cannot open", folder->temporary);
    if (folder->dir != NULL) status = lock(folder, &created, again, err);
    if (status != VLMP_OK && created) rmdir(folder->temporary);
    return status;
}

int vlmp_outfolder_open(vlmp_outfolder *folder, const char *path, bool force, vlmp_error *err)
{
    *folder = (vlmp_outfolder){.force = force};
    VLMP_TRY(vlmp_outfolder_check(path, force, err));
    snprintf(folder->path, sizeof folder->path, "%s", path);
    snprintf(folder->temporary, sizeof folder->temporary, "%s" VLMP_PART_SUFFIX, path);
    int status;
    bool again;
    do {
        status = take(folder, &again, err);
        if (status == VLMP_OK && !again) return VLMP_OK;
        if (folder->dir != NULL) closedir(folder->dir);
        folder->dir = NULL;
    } while (status == VLMP_OK);
    return status;
}

int vlmp_outfolder_path(char out[4096], const vlmp_outfolder *folder, const char *name,
                        vlmp_error *err)
{
    if (vlmp_path_join(out, 4096, folder->temporary, name)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE, "%.80s…: the path is too long", folder->path);
}

static int hash_file(const char *path, char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    int fd;
    size_t length;
    VLMP_TRY(vlmp_file_open(&fd, &length, path, err));
    unsigned char *piece = vlmp_alloc(PIECE, 1);
    int status = piece == NULL ? vlmp_fail_memory(err, path) : VLMP_OK;
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t at = 0; at < length && status == VLMP_OK; at += PIECE) {
        size_t bytes = length - at < PIECE ? length - at : PIECE;
        status = vlmp_file_read_at(fd, piece, bytes, at, path, err);
        if (status == VLMP_OK) vlmp_sha256_update(&hash, piece, bytes);
    }
    vlmp_sha256_finish(&hash, hex);
    free(piece);
    close(fd);
    return status;
}

static int write_sums(const vlmp_outfolder *folder, vlmp_error *err)
{
    char path[4096], hex[VLMP_SHA256_HEX];
    struct names names;
    vlmp_buffer sums = {0};
    int status = list(&names, folder->temporary, err);
    for (size_t i = 0; i < names.count && status == VLMP_OK; i++) {
        status = vlmp_outfolder_path(path, folder, names.items[i], err);
        if (status == VLMP_OK) status = hash_file(path, hex, err);
        vlmp_buffer_printf(&sums, "%s  %s\n", hex, names.items[i]);
    }
    free_names(&names);
    if (status == VLMP_OK && sums.failed) status = vlmp_fail_memory(err, folder->path);
    if (status == VLMP_OK) status = vlmp_outfolder_path(path, folder, VLMP_FOLDER_SUMS, err);
    if (status == VLMP_OK) status = vlmp_file_write(path, sums.data, sums.length, false, err);
    vlmp_buffer_free(&sums);
    return status;
}

/* The folder takes the target's place; with force what was there gets the temporary name. */
static int rename_into_place(const vlmp_outfolder *folder, bool *exchanged, vlmp_error *err)
{
    *exchanged = false;
    if (renameat2(AT_FDCWD, folder->temporary, AT_FDCWD, folder->path, RENAME_NOREPLACE) == 0)
        return VLMP_OK;
    if (errno != EEXIST) return vlmp_fail_errno(err, "%s: cannot rename into place", folder->path);
    VLMP_TRY(vlmp_outfolder_check(folder->path, folder->force, err));
    if (renameat2(AT_FDCWD, folder->temporary, AT_FDCWD, folder->path, RENAME_EXCHANGE) != 0)
        return vlmp_fail_errno(err, "%s: cannot be replaced; remove it", folder->path);
    *exchanged = true;
    return VLMP_OK;
}

int vlmp_outfolder_commit(vlmp_outfolder *folder, vlmp_error *err)
{
    bool exchanged;
    VLMP_TRY(write_sums(folder, err));
    if (fsync(dirfd(folder->dir)) != 0 && errno != EINVAL && errno != ENOTSUP)
        return vlmp_fail_errno(err, "%s: cannot flush", folder->temporary);
    VLMP_TRY(rename_into_place(folder, &exchanged, err));
    closedir(folder->dir);
    folder->dir = NULL;
    /* What was there before has the temporary name now. */
    if (exchanged && open_temporary(folder) == 0) vlmp_outfolder_abort(folder);
    return VLMP_OK;
}

void vlmp_outfolder_abort(vlmp_outfolder *folder)
{
    vlmp_error ignored = {0};
    if (folder->dir != NULL) {
        if (empty(folder, &ignored) == VLMP_OK) rmdir(folder->temporary);
        closedir(folder->dir);
    }
    *folder = (vlmp_outfolder){0};
}
