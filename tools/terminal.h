/* Writing to streams that people read, and what a stream is connected to. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "src/base/escape.h"

/* A terminal that can move its cursor (TERM is not "dumb"). */
bool vlmp_terminal_live(int fd);

/* Live, and NO_COLOR is unset or empty. */
bool vlmp_terminal_colour(int fd);

/* Text from outside, escaped; allocates nothing. */
void vlmp_show(FILE *stream, vlmp_escape_kind kind, const char *text, size_t length);

/* One line: the formatted text escaped, then a line break. What had to be cut for want of memory
 * ends in "…". */
__attribute__((format(printf, 2, 3))) void vlmp_show_line(FILE *stream, const char *fmt, ...);

/* Columns; 80 when unknown. */
int vlmp_terminal_width(int fd);
