/* Preloaded into a program: kills it, or interrupts it, at the n-th call that changes a file.
 *
 *     VLMP_KILL_AT=N [VLMP_INTERRUPT=1] LD_PRELOAD=libkill_hook.so PROGRAM…
 *
 * Counted are write, fsync, ftruncate, rename, renameat2 and unlink, standard streams apart. A
 * write at which the process dies has put half of its bytes; the other calls have done nothing yet.
 * Interrupted is it before the call, which is then done as always.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t write(int fd, const void *bytes, size_t length);
__attribute__((visibility("default"))) int fsync(int fd);
__attribute__((visibility("default"))) int ftruncate(int fd, off_t length);
__attribute__((visibility("default"))) int rename(const char *from, const char *to);
__attribute__((visibility("default"))) int renameat2(int from_at, const char *from, int to_at,
                                                     const char *to, unsigned flags);
__attribute__((visibility("default"))) int unlink(const char *path);

/* Whether this call is the one. */
static int is_last(void)
{
    static long count;
    const char *at = getenv("VLMP_KILL_AT");
    return at != NULL && ++count == atol(at);
}

static int interrupts(void)
{
    return getenv("VLMP_INTERRUPT") != NULL;
}

static void die_at_last(void)
{
    if (is_last()) raise(interrupts() ? SIGINT : SIGKILL);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    if (fd > STDERR_FILENO && is_last()) {
        if (!interrupts()) {
            syscall(SYS_write, fd, bytes, length / 2);
            raise(SIGKILL);
        }
        raise(SIGINT);
    }
    return syscall(SYS_write, fd, bytes, length);
}

int fsync(int fd)
{
    die_at_last();
    return (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t length)
{
    die_at_last();
    return (int)syscall(SYS_ftruncate, fd, length);
}

int rename(const char *from, const char *to)
{
    die_at_last();
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    die_at_last();
    return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
}

int unlink(const char *path)
{
    die_at_last();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
