#include "tools/events.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "src/base/clock.h"

int vlmp_events_open(int descriptor, vlmp_error *err)
{
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--json-progress: descriptor %d is not open for writing; add %d>FILE, or "
                         "give 2 for standard error",
                         descriptor, descriptor);
    signal(SIGPIPE, SIG_IGN);
    return VLMP_OK;
}

void vlmp_event_begin(vlmp_json_writer *w, const char *kind)
{
    *w = (vlmp_json_writer){0};
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "event", kind);
    vlmp_json_pair_double(w, "time", vlmp_seconds());
}

void vlmp_event_send(vlmp_json_writer *w, int descriptor, int wait)
{
    vlmp_json_close(w, '}');
    vlmp_buffer_text(&w->out, "\n");
    const char *at = w->out.data;
    size_t left = w->out.failed ? 0 : w->out.length;
    while (left > 0) {
        /* a pipe that can be written to takes PIPE_BUF bytes without waiting */
        struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
        if (poll(&ready, 1, wait) <= 0) break;
        ssize_t written = write(descriptor, at, left < PIPE_BUF ? left : PIPE_BUF);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) break;
        at += written;
        left -= (size_t)written;
    }
    vlmp_buffer_free(&w->out);
}
