/* Text tables: columns aligned by the width that characters take on a terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/memory.h"

typedef struct {
    const char *header;
    bool right; /* numbers: align right */
    int width;  /* at least, in terminal cells; vlmp_table_fit raises it */
} vlmp_column;

/* Terminal cells of a text as src/base/escape.h shows it: 0 for combining marks, 2 for wide
 * characters, 4 for "\xff". */
int vlmp_text_width(const char *text);

/* Bytes of the longest prefix of text that takes at most width cells. */
size_t vlmp_text_cut(const char *text, int width);

/* Raises the columns' widths to the headers' and those of cells[rows][columns]; NULL cells are
 * empty. */
void vlmp_table_fit(vlmp_column *columns, size_t count, const char *const *cells, size_t rows);

/* One line of count cells, escaped. A cell wider than its column pushes the rest to the right. */
void vlmp_table_row(vlmp_buffer *out, const vlmp_column *columns, size_t count,
                    const char *const *cells);

/* The headers and a rule. */
void vlmp_table_head(vlmp_buffer *out, const vlmp_column *columns, size_t count);

/* Fit, head, rows. */
void vlmp_table_print(vlmp_buffer *out, vlmp_column *columns, size_t count,
                      const char *const *cells, size_t rows);
