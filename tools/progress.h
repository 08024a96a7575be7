/* Progress on stderr: one live line on a terminal; elsewhere a plain line now and then; with
 * --json-progress events for programs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tools/cli.h"
#include "tools/pace.h"

typedef struct {
    const char *label; /* "quantizing" */
    double total;      /* units of work: blocks, samples, bytes … */
    double done;
    double started; /* seconds, monotonic */
    double last;    /* of the last line */
    double last_event;
    /* Where units are not alike: the first `few` cost so much each, the others 1; few 0: all alike.
     * What is left is told from costs. */
    double few, few_cost;
    vlmp_pace units, costs;
    int events; /* descriptor; 0: none */
    bool bytes; /* units are bytes */
    bool live, quiet, colour, shown;
    char line[256]; /* the last one, as it was before the terminal's width */
} vlmp_progress;

/* label must outlive it; total ≤ 0: unknown, no ETA. Silent under -q, but for events. */
void vlmp_progress_begin(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                         double total);
void vlmp_progress_begin_bytes(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                               double total);

/* After the beginning: a unit of the first `few` costs few_cost times as much as one of the rest.
 */
void vlmp_progress_weigh(vlmp_progress *p, double few, double few_cost);

/* done of total; detail may be NULL ("text.layers.7.mlp.down"). Prints at most every 0.1 s on a
 * terminal, every 10 s elsewhere, the first after 0.1 s, an event at most every 0.5 s. */
void vlmp_progress_update(vlmp_progress *p, double done, const char *detail);

/* A line that stays (a table row, a warning), above the live line. Also under -q nothing. */
__attribute__((format(printf, 2, 3))) void vlmp_progress_say(vlmp_progress *p, const char *fmt,
                                                             ...);

/* The same of a table's row, cut to a terminal's width. */
void vlmp_progress_row(vlmp_progress *p, const char *row);

/* Clears the live line and prints "label: 12 in 3.4 s". */
void vlmp_progress_end(vlmp_progress *p);

/* Clears the live line and says no more, of what is no news once it is done. */
void vlmp_progress_drop(vlmp_progress *p);

/* "label  7/32  21 %  0.4/s  3m12s left  detail" at elapsed seconds. */
void vlmp_progress_format(char *out, size_t capacity, const vlmp_progress *p, double elapsed,
                          const char *detail);

/* "0.4s", "12s", "3m12s", "2h05m". */
void vlmp_format_seconds(char *out, size_t capacity, double seconds);

/* "512 B", "1.5 MB", "7.06 GB": powers of 1000. */
void vlmp_format_bytes(char *out, size_t capacity, double bytes);
