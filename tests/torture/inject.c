/* Preloaded into a program, makes its n-th call of a kind fail (tests/torture/torture.py):
 *
 *     VLMP_FAULT=KIND:N:HOW   KIND alloc (memory, threads) or io; N from 1 on, 0 only counts;
 *                             HOW fail, on (that one and all later), or for io: space (ENOSPC),
 *                             short (half is done), intr (EINTR), cut (files below the current
 *                             folder keep only their first N bytes once they are mapped)
 *     VLMP_FAULT_LOG=FILE     counting: one line a call, its name, a hash of where it was made, and
 *                             the program's two innermost places, as offsets in it;
 *                             failing: the name, and where
 *
 * The glibc interposes its own use of malloc, and the libraries' use of everything. */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

enum how { HOW_FAIL, HOW_ON, HOW_SPACE, HOW_SHORT, HOW_INTR, HOW_CUT };
enum { FRAMES = 14, OWN_FRAMES = 2, MOST_CALLS = 1 << 20 };

static bool ready;
static bool kind_is_io;
static enum how how;
static long fail_at;
static long calls;
static int log_fd = -1;
static __thread bool inside; /* what this library calls itself is not counted */
static uintptr_t program, program_end;

/* Where the program itself lies: the first in the list. */
static int find_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    program = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t end = program + part->p_vaddr + part->p_memsz;
        if (part->p_type == PT_LOAD && end > program_end) program_end = end;
    }
    return 1;
}

static void log_call(const char *name, bool failing)
{
    void *frames[FRAMES];
    char line[4096];
    int count = backtrace(frames, FRAMES);
    uint64_t hash = 1469598103934665603u;
    size_t used = 0;
    for (int i = 2; i < count; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
    used = (size_t)snprintf(line, sizeof line, "%s %016llx", name, (unsigned long long)hash);
    for (int i = 2, own = 0; !failing && i < count && own < OWN_FRAMES; i++) {
        uintptr_t at = (uintptr_t)frames[i];
        if (at < program || at >= program_end) continue;
        used += (size_t)snprintf(line + used, sizeof line - used, " 0x%zx", at - program);
        own++;
    }
    for (int i = 2; failing && i < count && used < sizeof line - 512; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) == 0 || info.dli_fname == NULL) continue;
        const char *base = strrchr(info.dli_fname, '/');
        used += (size_t)snprintf(line + used, sizeof line - used, " %.100s+0x%lx",
                                 base != NULL ? base + 1 : info.dli_fname,
                                 (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
    }
    line[used++] = '\n';
    ssize_t ignored = write(log_fd, line, used);
    (void)ignored;
}

/* Whether this call is the one. */
static bool hit(bool io, const char *name)
{
    if (!ready || inside || io != kind_is_io || how == HOW_CUT) return false;
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    bool failing = number == fail_at || (how == HOW_ON && fail_at > 0 && number > fail_at);
    if (log_fd >= 0 && (number == fail_at || (fail_at == 0 && number < MOST_CALLS))) {
        int saved = errno;
        inside = true;
        log_call(name, failing);
        inside = false;
        errno = saved;
    }
    return failing;
}

static uintptr_t next(const char *name)
{
    bool was = inside;
    inside = true;
    uintptr_t address = (uintptr_t)dlsym(RTLD_NEXT, name);
    inside = was;
    return address;
}

__attribute__((constructor)) static void start(void)
{
    static const char *const names[] = {"fail", "on", "space", "short", "intr", "cut"};
    const char *spec = getenv("VLMP_FAULT"), *path = getenv("VLMP_FAULT_LOG");
    if (spec == NULL) return;
    inside = true;
    kind_is_io = strncmp(spec, "io:", 3) == 0;
    char *rest;
    fail_at = strtol(strchr(spec, ':') + 1, &rest, 10);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (*rest == ':' && strcmp(rest + 1, names[i]) == 0) how = (enum how)i;
    void *frames[2];
    backtrace(frames, 2); /* opens its library now */
    dl_iterate_phdr(find_program, NULL);
    if (path != NULL) log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    inside = false;
    ready = true;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

EXPORT void *malloc(size_t size)
{
    return hit(false, "malloc") ? no_memory() : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return hit(false, "calloc") ? no_memory() : __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    return hit(false, "realloc") ? no_memory() : __libc_realloc(old, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return hit(false, "aligned_alloc") ? no_memory() : __libc_memalign(alignment, size);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *arg)
{
    typedef int type(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (hit(false, "pthread_create")) return EAGAIN;
    return ((type *)next("pthread_create"))(thread, attributes, run, arg);
}

/* Files are mapped for reading, memory is not: two kinds. */
static void *map(const char *name, void *at, size_t length, int protection, int flags, int fd,
                 off64_t offset)
{
    typedef void *type(void *, size_t, int, int, int, off64_t);
    if (hit((flags & MAP_ANONYMOUS) == 0, name)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *address = ((type *)next("mmap64"))(at, length, protection, flags, fd, offset);
    if (ready && how == HOW_CUT && (flags & MAP_ANONYMOUS) == 0 && fail_at > 0) {
        char link[64], path[4096], here[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t got = readlink(link, path, sizeof path - 1);
        path[got > 0 ? got : 0] = '\0';
        bool inside_here = getcwd(here, sizeof here) != NULL &&
                           strncmp(path, here, strlen(here)) == 0 && path[strlen(here)] == '/';
        if (inside_here && length > (size_t)fail_at && truncate(path, fail_at) != 0) abort();
    }
    return address;
}

EXPORT void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return map("mmap", at, length, protection, flags, fd, offset);
}

EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    return map("mmap64", at, length, protection, flags, fd, offset);
}

/* --- files ------------------------------------------------------------------------------------ */

static int io_error(void)
{
    errno = how == HOW_SPACE ? ENOSPC : how == HOW_INTR ? EINTR : EIO;
    return -1;
}

/* A call that returns -1, and never does half. */
#define SIMPLE(type, name, parameters, arguments)          \
    EXPORT type name parameters                            \
    {                                                      \
        if (hit(true, #name)) return (type)io_error();     \
        return ((type(*) parameters)next(#name))arguments; \
    }

/* One that moves bytes. */
#define MOVING(name, pointer, offset_parameter, offset_argument)               \
    EXPORT ssize_t name(int fd, pointer bytes, size_t length offset_parameter) \
    {                                                                          \
        typedef ssize_t type(int, pointer, size_t offset_parameter);           \
        if (hit(true, #name)) {                                                \
            if (how != HOW_SHORT) return io_error();                           \
            length = length / 2 + (length == 1);                               \
        }                                                                      \
        return ((type *)next(#name))(fd, bytes, length offset_argument);       \
    }

#define COMMA ,
MOVING(read, void *, , )
MOVING(write, const void *, , )
MOVING(pread, void *, COMMA off_t offset, COMMA offset)
MOVING(pread64, void *, COMMA off64_t offset, COMMA offset)
MOVING(pwrite, const void *, COMMA off_t offset, COMMA offset)
MOVING(pwrite64, const void *, COMMA off64_t offset, COMMA offset)

SIMPLE(int, fsync, (int fd), (fd))
SIMPLE(int, rename, (const char *from, const char *to), (from, to))
SIMPLE(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
       (a, from, b, to, flags))
SIMPLE(int, ftruncate, (int fd, off_t length), (fd, length))
SIMPLE(int, ftruncate64, (int fd, off64_t length), (fd, length))
SIMPLE(int, fstat, (int fd, struct stat *out), (fd, out))
SIMPLE(int, fstat64, (int fd, struct stat64 *out), (fd, out))
SIMPLE(int, stat, (const char *path, struct stat *out), (path, out))
SIMPLE(int, stat64, (const char *path, struct stat64 *out), (path, out))
SIMPLE(int, lstat, (const char *path, struct stat *out), (path, out))
SIMPLE(int, lstat64, (const char *path, struct stat64 *out), (path, out))
SIMPLE(int, access, (const char *path, int mode), (path, mode))
SIMPLE(int, statvfs64, (const char *path, struct statvfs64 *out), (path, out))
SIMPLE(off_t, lseek, (int fd, off_t offset, int from), (fd, offset, from))
SIMPLE(off64_t, lseek64, (int fd, off64_t offset, int from), (fd, offset, from))
SIMPLE(int, flock, (int fd, int operation), (fd, operation))
SIMPLE(int, unlink, (const char *path), (path))
SIMPLE(int, mkdir, (const char *path, mode_t mode), (path, mode))
SIMPLE(int, mkstemp64, (char *path), (path))
SIMPLE(int, fflush, (FILE * file), (file))

EXPORT int close(int fd)
{
    int status = ((int (*)(int))next("close"))(fd);
    return hit(true, "close") ? io_error() : status;
}

#define OPENING(name)                                                             \
    EXPORT int name(const char *path, int flags, ...)                             \
    {                                                                             \
        va_list list;                                                             \
        va_start(list, flags);                                                    \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;          \
        va_end(list);                                                             \
        if (hit(true, #name)) return io_error();                                  \
        return ((int (*)(const char *, int, ...))next(#name))(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

/* Those that return a pointer. */
#define POINTING(type, name, parameters, arguments)        \
    EXPORT type name parameters                            \
    {                                                      \
        if (hit(true, #name)) {                            \
            io_error();                                    \
            return NULL;                                   \
        }                                                  \
        return ((type(*) parameters)next(#name))arguments; \
    }
POINTING(FILE *, fopen, (const char *path, const char *mode), (path, mode))
POINTING(FILE *, fopen64, (const char *path, const char *mode), (path, mode))
POINTING(DIR *, opendir, (const char *path), (path))
POINTING(struct dirent *, readdir, (DIR * folder), (folder))
POINTING(struct dirent64 *, readdir64, (DIR * folder), (folder))
POINTING(char *, realpath, (const char *path, char *out), (path, out))
