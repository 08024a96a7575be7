#include "src/base/table.h"

#include <string.h>
#include <utf8proc.h>

#include "src/base/escape.h"
#include "src/base/utf8.h"

/* Width of the character at text as it is shown; its bytes go to *step. */
static int next_width(const char *text, size_t length, size_t *step)
{
    char shown[VLMP_VISIBLE_BYTES];
    size_t bytes = vlmp_visible(shown, text, length, step);
    if (memcmp(shown, text, *step) != 0) return (int)bytes; /* made visible: ASCII */
    return utf8proc_charwidth((utf8proc_int32_t)vlmp_utf8_code((const unsigned char *)text, *step));
}

int vlmp_text_width(const char *text)
{
    size_t length = strlen(text), at = 0, step;
    int width = 0;
    while (at < length) {
        width += next_width(text + at, length - at, &step);
        at += step;
    }
    return width;
}

size_t vlmp_text_cut(const char *text, int width)
{
    size_t length = strlen(text), at = 0, step;
    while (at < length) {
        width -= next_width(text + at, length - at, &step);
        if (width < 0) break;
        at += step;
    }
    return at;
}

void vlmp_table_fit(vlmp_column *columns, size_t count, const char *const *cells, size_t rows)
{
    for (size_t c = 0; c < count; c++) {
        int width = vlmp_text_width(columns[c].header);
        if (width > columns[c].width) columns[c].width = width;
    }
    for (size_t i = 0; i < rows * count; i++) {
        int width = cells[i] != NULL ? vlmp_text_width(cells[i]) : 0;
        if (width > columns[i % count].width) columns[i % count].width = width;
    }
}

static void repeat(vlmp_buffer *out, const char *text, int times)
{
    for (int i = 0; i < times; i++)
        vlmp_buffer_text(out, text);
}

/* White space at the end of a line would only wrap. */
static void end_line(vlmp_buffer *out)
{
    while (out->length > 0 && out->data[out->length - 1] == ' ')
        out->length--;
    vlmp_buffer_text(out, "\n");
}

void vlmp_table_row(vlmp_buffer *out, const vlmp_column *columns, size_t count,
                    const char *const *cells)
{
    for (size_t c = 0; c < count; c++) {
        const char *text = cells[c] != NULL ? cells[c] : "";
        int fill = columns[c].width - vlmp_text_width(text);
        if (c > 0) vlmp_buffer_text(out, "  ");
        if (columns[c].right) repeat(out, " ", fill);
        vlmp_escape(out, VLMP_ESCAPE_LINE, text, strlen(text));
        if (!columns[c].right) repeat(out, " ", fill);
    }
    end_line(out);
}

void vlmp_table_head(vlmp_buffer *out, const vlmp_column *columns, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        const char *text = columns[c].header;
        int fill = columns[c].width - vlmp_text_width(text);
        if (c > 0) vlmp_buffer_text(out, "  ");
        if (columns[c].right) repeat(out, " ", fill);
        vlmp_buffer_text(out, text);
        if (!columns[c].right) repeat(out, " ", fill);
    }
    end_line(out);
    for (size_t c = 0; c < count; c++) {
        if (c > 0) vlmp_buffer_text(out, "  ");
        int width = vlmp_text_width(columns[c].header);
        repeat(out, "─", columns[c].width > width ? columns[c].width : width);
    }
    vlmp_buffer_text(out, "\n");
}

void vlmp_table_print(vlmp_buffer *out, vlmp_column *columns, size_t count,
                      const char *const *cells, size_t rows)
{
    vlmp_table_fit(columns, count, cells, rows);
    vlmp_table_head(out, columns, count);
    for (size_t r = 0; r < rows; r++)
        vlmp_table_row(out, columns, count, cells + r * count);
}
