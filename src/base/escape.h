/* Text that came from outside, made fit to be shown. The one place for it: whoever finds a fault
 * quotes names as they are, whoever prints or writes a report comes through here.
 *
 * Characters that a reader cannot see or that steer a terminal (C0 and C1 controls, bidirectional
 * overrides, tags, non-characters) become visible: "\x1b", "\u202e"; a byte that is not UTF-8
 * becomes "\xff". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/memory.h"

typedef enum {
    VLMP_ESCAPE_LINE,     /* terminal; line breaks and tabs become visible too */
    VLMP_ESCAPE_TEXT,     /* terminal; line breaks and tabs stay */
    VLMP_ESCAPE_XML,      /* XML and HTML, in attributes too; line breaks and tabs stay */
    VLMP_ESCAPE_MARKDOWN, /* a cell of a table, where a line break becomes a space */
} vlmp_escape_kind;

void vlmp_escape(vlmp_buffer *out, vlmp_escape_kind kind, const char *text, size_t length);

bool vlmp_is_hidden(uint32_t code);

#define VLMP_VISIBLE_BYTES 12

/* The first character of text (length > 0 bytes), of which *used were taken, as it is shown.
 * Returns how many bytes that takes in out, at most VLMP_VISIBLE_BYTES; more than one of ASCII: it
 * was made visible. Allocates nothing: for signal handlers, too. */
size_t vlmp_visible(char out[VLMP_VISIBLE_BYTES], const char *text, size_t length, size_t *used);
