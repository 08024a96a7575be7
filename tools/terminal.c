#include "tools/terminal.h"

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

int vlmp_terminal_width(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}
