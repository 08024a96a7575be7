#include "tools/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/table.h"
#include "tools/terminal.h"

void vlmp_format_seconds(char *out, size_t capacity, double seconds)
{
    if (!(seconds < 1e9)) {
        snprintf(out, capacity, "?");
        return;
    }
    long whole = (long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(out, capacity, "%.1fs", seconds);
    else if (whole < 60)
        snprintf(out, capacity, "%lds", whole);
    else if (whole < 3600)
        snprintf(out, capacity, "%ldm%02lds", whole / 60, whole % 60);
    else
        snprintf(out, capacity, "%ldh%02ldm", whole / 3600, whole % 3600 / 60);
}

void vlmp_format_bytes(char *out, size_t capacity, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        unit++;
    }
    int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(out, capacity, "%.*f %s", decimals, bytes, units[unit]);
}

void vlmp_progress_begin(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                         double total)
{
    *p = (vlmp_progress){.label = label, .total = total, .quiet = args->quiet};
    p->live = vlmp_terminal_live(STDERR_FILENO);
    p->colour = vlmp_terminal_colour(STDERR_FILENO);
    p->started = vlmp_seconds();
    p->last = p->started;
}

void vlmp_progress_format(char *out, size_t capacity, const vlmp_progress *p, double elapsed,
                          const char *detail)
{
    char left[32] = "", time[24];
    if (p->done > 0 && p->done < p->total && elapsed > 0.5) {
        vlmp_format_seconds(time, sizeof time, elapsed * (p->total - p->done) / p->done);
        snprintf(left, sizeof left, "  %s left", time);
    }
    const char *gap = detail != NULL ? "  " : "";
    if (detail == NULL) detail = "";
    if (p->total > 0)
        snprintf(out, capacity, "%s  %.0f/%.0f  %.0f %%%s%s%s", p->label, p->done, p->total,
                 100 * p->done / p->total, left, gap, detail);
    else
        snprintf(out, capacity, "%s  %.0f%s%s", p->label, p->done, gap, detail);
}

static void clear_line(vlmp_progress *p)
{
    if (p->live && p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}

void vlmp_progress_update(vlmp_progress *p, double done, const char *detail)
{
    p->done = done;
    if (p->quiet) return;
    double t = vlmp_seconds();
    if (t - p->last < (p->live ? 0.1 : 10.0)) return;
    p->last = t;
    char line[512];
    vlmp_progress_format(line, sizeof line, p, t - p->started, detail);
    if (!p->live) {
        vlmp_show_line(stderr, "%s", line);
        return;
    }
    /* One cell less than the terminal: a full line would wrap on some. */
    line[vlmp_text_cut(line, vlmp_terminal_width(STDERR_FILENO) - 1)] = '\0';
    clear_line(p);
    fputs(p->colour ? "\033[36m" : "", stderr);
    vlmp_show(stderr, VLMP_ESCAPE_LINE, line, strlen(line));
    fputs(p->colour ? "\033[0m" : "", stderr);
    fflush(stderr);
    p->shown = true;
}

void vlmp_progress_say(vlmp_progress *p, const char *fmt, ...)
{
    if (p->quiet) return;
    clear_line(p);
    char line[1024];
    va_list list;
    va_start(list, fmt);
    vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    vlmp_show_line(stderr, "%s", line);
}

void vlmp_progress_end(vlmp_progress *p)
{
    if (p->quiet) return;
    clear_line(p);
    char time[24];
    vlmp_format_seconds(time, sizeof time, vlmp_seconds() - p->started);
    fprintf(stderr, "%s: %.0f in %s\n", p->label, p->done, time);
}
