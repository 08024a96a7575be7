#include "tools/abnormal_end.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/escape.h"
#include "src/base/outfile.h"

enum { MOST_PATH = 4096, MOST_FDS = 1024 };

static const char *program_name; /* NULL: it ends by itself */

/* Everything below may run in a signal handler: only calls that POSIX allows there, and no
 * registry, for the kernel knows what is mapped and what is open. */

/* A hexadecimal number at *text, which is moved behind it. */
static uintptr_t hex_number(const char **text)
{
    uintptr_t value = 0;
    for (;; ++*text) {
        char c = **text;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* "7f00-7f80 r--p 00000000 08:01 42   /path": the path, when address lies between the numbers. */
static const char *path_in_line(const char *line, uintptr_t address)
{
    uintptr_t first = hex_number(&line);
    if (*line++ != '-') return NULL;
    uintptr_t end = hex_number(&line);
    return address >= first && address < end ? strchr(line, '/') : NULL;
}

/* The file that is mapped at address; false: none, or there is no /proc. */
static bool mapped_file(char path[MOST_PATH], uintptr_t address)
{
    char line[MOST_PATH + 128], piece[1024];
    size_t filled = 0;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t got;
    while (fd >= 0 && !found && (got = read(fd, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < got && !found; i++) {
            if (piece[i] != '\n') {
                if (filled < sizeof line - 1) line[filled++] = piece[i];
                continue;
            }
            line[filled] = '\0';
            filled = 0;
            const char *hit = path_in_line(line, address);
            size_t length = hit != NULL ? strlen(hit) : 0;
            found = hit != NULL && length < MOST_PATH;
            if (found) memcpy(path, hit, length + 1);
        }
    }
    if (fd >= 0) close(fd);
    return found;
}

/* Temporary outputs are the open files of that name (src/base/outfile.h). */
static void remove_outputs(void)
{
    static const char suffix[] = VLMP_PART_SUFFIX;
    const ssize_t tail = sizeof suffix - 1;
    for (int fd = 3; fd < MOST_FDS; fd++) {
        char name[] = "/proc/self/fd/____", path[MOST_PATH];
        size_t at = sizeof "/proc/self/fd/" - 1;
        for (int unit = 1000; unit > 0; unit /= 10)
            if (fd >= unit || unit == 1) name[at++] = (char)('0' + fd / unit % 10);
        name[at] = '\0';
        ssize_t length = readlink(name, path, sizeof path - 1);
        if (length <= tail || memcmp(path + length - tail, suffix, (size_t)tail) != 0) continue;
        path[length] = '\0';
        unlink(path);
    }
}

/* The texts, escaped, as one line and one write. */
static void say(const char *const *texts)
{
    char out[MOST_PATH * 3];
    size_t filled = 0;
    for (; *texts != NULL; texts++)
        for (size_t at = 0, used, length = strlen(*texts);
             at < length && filled < sizeof out - VLMP_VISIBLE_BYTES - 1; at += used)
            filled += vlmp_visible(out + filled, *texts + at, length - at, &used);
    out[filled++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, out, filled);
    (void)ignored;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    char path[MOST_PATH];
    /* A signal that was sent, or a fault elsewhere, is not for us: it comes again, by default. */
    if (info->si_code <= 0 || !mapped_file(path, (uintptr_t)info->si_addr)) {
        signal(number, SIG_DFL);
        if (info->si_code <= 0) raise(number);
        return;
    }
    static atomic_flag told = ATOMIC_FLAG_INIT; /* of threads that fault together one speaks */
    while (atomic_flag_test_and_set(&told))
        pause();
    remove_outputs();
    say((const char *[]){program_name, ": error: ", path,
                         ": cannot be read any more; it became shorter, or its disk failed: leave "
                         "it as it is and run again",
                         NULL});
    _exit(1);
}

static void on_exit_of_a_library(void)
{
    if (program_name == NULL) return;
    remove_outputs();
    say((const char *[]){program_name,
                         ": error: out of memory: a library that was being opened ended "
                         "the program",
                         NULL});
    _exit(1);
}

void vlmp_abnormal_end_stop(void)
{
    program_name = NULL;
}

void vlmp_abnormal_end_watch(const char *program)
{
    program_name = program;
    atexit(on_exit_of_a_library);
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
