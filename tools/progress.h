/* Progress on stderr: one live line on a terminal; elsewhere a plain line now and then. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tools/cli.h"

typedef struct {
    const char *label; /* "quantizing" */
    double total;      /* units of work: blocks, samples, bytes … */
    double done;
    double started; /* seconds, monotonic */
    double last;    /* of the last line */
    bool live, quiet, colour, shown;
} vlmp_progress;

/* label and total must outlive it; total ≤ 0: unknown, no ETA. Silent under -q. */
void vlmp_progress_begin(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                         double total);

/* done of total; detail may be NULL ("text.layers.7.mlp.down"). Prints at most every 0.1 s on a
 * terminal, every 10 s elsewhere. */
void vlmp_progress_update(vlmp_progress *p, double done, const char *detail);

/* A line that stays (a table row, a warning), above the live line. Also under -q nothing. */
__attribute__((format(printf, 2, 3))) void vlmp_progress_say(vlmp_progress *p, const char *fmt,
                                                             ...);

/* Clears the live line and prints "label: 12 in 3.4 s". */
void vlmp_progress_end(vlmp_progress *p);

/* "label  7/32  21 %  3m12s left  detail"; elapsed in seconds. */
void vlmp_progress_format(char *out, size_t capacity, const vlmp_progress *p, double elapsed,
                          const char *detail);

/* "0.4s", "12s", "3m12s", "2h05m". */
void vlmp_format_seconds(char *out, size_t capacity, double seconds);

/* "512 B", "1.5 MB", "7.06 GB": powers of 1000. */
void vlmp_format_bytes(char *out, size_t capacity, double bytes);
