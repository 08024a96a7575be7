#include "tools/terminal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool vlmp_terminal_live(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

bool vlmp_terminal_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    return vlmp_terminal_live(fd) && (no_color == NULL || no_color[0] == '\0');
}

void vlmp_show(FILE *stream, vlmp_escape_kind kind, const char *text, size_t length)
{
    char out[1024];
    size_t filled = 0;
    for (size_t at = 0, used; at < length; at += used) {
        if (filled + VLMP_VISIBLE_BYTES > sizeof out) {
            fwrite(out, 1, filled, stream);
            filled = 0;
        }
        bool space = text[at] == '\n' || text[at] == '\t';
        if (space && kind == VLMP_ESCAPE_TEXT) {
            out[filled++] = text[at];
            used = 1;
        } else {
            filled += vlmp_visible(out + filled, text + at, length - at, &used);
        }
    }
    fwrite(out, 1, filled, stream);
}

void vlmp_show_line(FILE *stream, const char *fmt, ...)
{
    char few[4096], *text = few;
    va_list list;
    va_start(list, fmt);
    int length = vsnprintf(few, sizeof few, fmt, list);
    va_end(list);
    if (length >= (int)sizeof few && (text = malloc((size_t)length + 1)) != NULL) {
        va_start(list, fmt);
        vsnprintf(text, (size_t)length + 1, fmt, list);
        va_end(list);
    }
    const char *shown = text != NULL ? text : few;
    vlmp_show(stream, VLMP_ESCAPE_LINE, shown, strlen(shown));
    fputs(text != NULL ? "\n" : "…\n", stream);
    if (text != few) free(text);
}

int vlmp_terminal_width(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}
