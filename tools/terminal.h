/* What the stream is connected to. */
#pragma once

#include <stdbool.h>

/* A terminal that can move its cursor (TERM is not "dumb"). */
bool vlmp_terminal_live(int fd);

/* Live, and NO_COLOR is unset or empty. */
bool vlmp_terminal_colour(int fd);

/* Columns; 80 when unknown. */
int vlmp_terminal_width(int fd);
