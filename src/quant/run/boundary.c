#include "src/quant/run/boundary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/memory.h"

#define FILES 2
#define SHARE \
    20 /* the time between two borders kept is at least so many times what keeping takes */
#define PIECE ((size_t)1 << 20) /* bytes hashed at a time */

static void file_path(char out[4200], const char *path, int file)
{
    snprintf(out, 4200, "%s-%d", path, file);
}

static void note_name(char out[32], int file)
{
    snprintf(out, 32, "boundary-%d", file);
}

/* What the journal says about a file. */
struct note {
    bool named;
    vlmp_border border;
    uint64_t bytes;
    char sha256[VLMP_SHA256_HEX];
};

static int parse_note(struct note *note, const char *text, vlmp_error *err)
{
    cJSON *root;
    const char *sha256;
    int64_t done, bytes;
    VLMP_TRY(vlmp_json_parse(&root, text, strlen(text), "journal", err));
    int status = vlmp_json_bool(root, "vision", false, &note->border.vision, "journal", err);
    if (status == VLMP_OK)
        status = vlmp_json_int(root, "done", 0, 0, 1 << 20, &done, "journal", err);
    if (status == VLMP_OK)
        status = vlmp_json_int(root, "bytes", 0, 0, INT64_MAX, &bytes, "journal", err);
    if (status == VLMP_OK) status = vlmp_json_string(root, "sha256", "", &sha256, "journal", err);
    if (status == VLMP_OK) {
        note->named = true;
        note->border.done = (int)done;
        note->bytes = (uint64_t)bytes;
        snprintf(note->sha256, sizeof note->sha256, "%s", sha256);
    }
    cJSON_Delete(root);
    return status;
}

static int read_note(struct note *note, const vlmp_quantize_job *job, int file, vlmp_error *err)
{
    char name[32];
    const char *text;
    *note = (struct note){0};
    note_name(name, file);
    VLMP_TRY(job->sink->noted(job->sink, name, &text, err));
    return text != NULL ? parse_note(note, text, err) : VLMP_OK;
}

/* The same fault as one of the file, which a run can do without, and not of the system. */
static int as_damage(vlmp_error *err, const vlmp_error *fault)
{
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s", fault->message);
}

/* The file's hash is the note's. */
static int check_hash(int fd, const char *path, const struct note *note, vlmp_error *err)
{
    char hex[VLMP_SHA256_HEX];
    unsigned char *piece = vlmp_alloc(PIECE, 1);
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    int status = piece != NULL ? VLMP_OK : vlmp_fail_memory(err, path);
    for (uint64_t at = 0; at < note->bytes && status == VLMP_OK; at += PIECE) {
        size_t length = note->bytes - at < PIECE ? (size_t)(note->bytes - at) : PIECE;
        vlmp_error fault = {0};
        if (vlmp_read_all(fd, piece, length, path, &fault) != VLMP_OK)
            status = as_damage(err, &fault);
        else
            vlmp_sha256_update(&hash, piece, length);
    }
    vlmp_sha256_finish(&hash, hex);
    free(piece);
    if (status == VLMP_OK && strcmp(hex, note->sha256) != 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged", path);
    return status;
}

/* *fd: the file, checked and standing at its start. VLMP_ERR_INPUT: it is not what the note says.
 */
static int open_checked(int *fd, const char *path, const struct note *note, vlmp_error *err)
{
    struct stat info;
    vlmp_error fault = {0};
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0) {
        vlmp_fail_errno(&fault, "%s: cannot open", path);
        return as_damage(err, &fault);
    }
    int status;
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != note->bytes)
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged", path);
    else
        status = check_hash(*fd, path, note, err);
    if (status == VLMP_OK && lseek(*fd, 0, SEEK_SET) != 0)
        status = vlmp_fail_errno(err, "%s: cannot seek", path);
    if (status == VLMP_OK) return VLMP_OK;
    close(*fd);
    *fd = -1;
    return status;
}

/* Whether a border lies behind another. */
static bool is_behind(const vlmp_border *a, const vlmp_border *b)
{
    return a->vision != b->vision ? b->vision : a->done > b->done;
}

static int try_file(vlmp_boundary *boundary, const struct note *note, int file, vlmp_error *err)
{
    char path[4200], text[1200];
    vlmp_error fault = {0};
    file_path(path, boundary->job->boundary, file);
    int status = open_checked(&boundary->fd, path, note, &fault);
    if (status == VLMP_OK) {
        boundary->found = true;
        boundary->border = note->border;
        boundary->bytes = note->bytes;
        boundary->next = 1 - file;
        return VLMP_OK;
    }
    if (status != VLMP_ERR_INPUT) return vlmp_fail(err, status, "%s", fault.message);
    snprintf(text, sizeof text, "%s; going back further, for the same result", fault.message);
    boundary->job->on_notice(boundary->job->arg, text);
    return VLMP_OK;
}

int vlmp_boundary_open(vlmp_boundary *boundary, const vlmp_quantize_job *job, vlmp_error *err)
{
    *boundary = (vlmp_boundary){.job = job, .fd = -1, .saved = vlmp_seconds()};
    struct note notes[FILES];
    for (int file = 0; file < FILES; file++) {
        char path[4200];
        VLMP_TRY(read_note(&notes[file], job, file, err));
        file_path(path, job->boundary, file);
        if (!notes[file].named) unlink(path);
    }
    int first =
        notes[1].named && (!notes[0].named || is_behind(&notes[1].border, &notes[0].border));
    for (int i = 0; i < FILES && !boundary->found; i++) {
        int file = i == 0 ? first : 1 - first;
        if (notes[file].named) VLMP_TRY(try_file(boundary, &notes[file], file, err));
    }
    return VLMP_OK;
}

void vlmp_boundary_close(vlmp_boundary *boundary)
{
    if (boundary->fd >= 0) close(boundary->fd);
    boundary->fd = -1;
}

static uint64_t stores_bytes(vlmp_activations *const *stores, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (uint64_t)stores[i]->rows * (uint64_t)stores[i]->dim * sizeof(float);
    return bytes;
}

int vlmp_boundary_load(vlmp_boundary *boundary, vlmp_activations *const *stores, int count,
                       vlmp_error *err)
{
    char path[4200];
    file_path(path, boundary->job->boundary, 1 - boundary->next);
    if (stores_bytes(stores, count) != boundary->bytes)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: other activations than this run has; start over with --force", path);
    for (int i = 0; i < count; i++)
        VLMP_TRY(vlmp_activations_load(stores[i], boundary->fd, path, err));
    vlmp_boundary_close(boundary);
    return VLMP_OK;
}

/* A file of its own: what bears the name already goes, whatever it is or points to. The name is not
 * made durable: what a power failure takes away costs time, and no more. */
static int write_file(const char *path, vlmp_activations *const *stores, int count,
                      char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return vlmp_fail_errno(err, "%s: cannot be replaced", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return vlmp_fail_errno(err, "%s: cannot create", path);
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    int status = VLMP_OK;
    for (int i = 0; i < count && status == VLMP_OK; i++)
        status = vlmp_activations_save(stores[i], fd, path, &hash, err);
    vlmp_sha256_finish(&hash, hex);
    if (status == VLMP_OK && fsync(fd) != 0 && errno != EINVAL)
        status = vlmp_fail_errno(err, "%s: cannot flush", path);
    if (close(fd) != 0 && status == VLMP_OK)
        status = vlmp_fail_errno(err, "%s: cannot close", path);
    if (status != VLMP_OK) unlink(path); /* half of it, on a full disk */
    return status;
}

static int put_note(const vlmp_boundary *boundary, const vlmp_border *border, uint64_t bytes,
                    const char *sha256, vlmp_error *err)
{
    char name[32];
    vlmp_json_writer w = {0};
    note_name(name, boundary->next);
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "vision");
    vlmp_json_put_bool(&w, border->vision);
    vlmp_json_key(&w, "done");
    vlmp_json_put_int(&w, border->done);
    vlmp_json_key(&w, "bytes");
    vlmp_json_put_int(&w, (int64_t)bytes);
    vlmp_json_key(&w, "sha256");
    vlmp_json_put_string(&w, sha256);
    vlmp_json_close(&w, '}');
    vlmp_sink *sink = boundary->job->sink;
    int status =
        w.out.failed ? vlmp_fail_memory(err, "journal") : sink->note(sink, name, w.out.data, err);
    vlmp_buffer_free(&w.out);
    return status;
}

int vlmp_boundary_save(vlmp_boundary *boundary, vlmp_border border, vlmp_activations *const *stores,
                       int count, vlmp_error *err)
{
    const volatile sig_atomic_t *interrupted = boundary->job->sweep.interrupted;
    double start = vlmp_seconds();
    bool stopping = interrupted != NULL && *interrupted;
    if (!stopping && start - boundary->saved < SHARE * boundary->cost) return VLMP_OK;
    char path[4200], hex[VLMP_SHA256_HEX] = "";
    file_path(path, boundary->job->boundary, boundary->next);
    VLMP_TRY(write_file(path, stores, count, hex, err));
    VLMP_TRY(put_note(boundary, &border, stores_bytes(stores, count), hex, err));
    boundary->next = 1 - boundary->next;
    boundary->saved = vlmp_seconds();
    boundary->cost = boundary->saved - start;
    return VLMP_OK;
}

void vlmp_boundary_remove(const char *path)
{
    for (int file = 0; file < FILES; file++) {
        char full[4200];
        file_path(full, path, file);
        unlink(full);
    }
}
