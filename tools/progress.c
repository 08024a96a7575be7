#include "tools/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "src/base/table.h"
#include "tools/events.h"
#include "tools/terminal.h"

/* Between plain lines, and until the first of what takes longer. */
#define PLAIN_SECONDS 10.0
#define FIRST_SECONDS 0.1

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

/* Which part of the costs `done` units are. */
static double cost(const vlmp_progress *p, double done)
{
    if (p->few == 0) return done;
    return done < p->few ? done * p->few_cost : p->few * p->few_cost + done - p->few;
}

static void put_amount(char *out, size_t capacity, const vlmp_progress *p, double amount)
{
    if (p->bytes)
        vlmp_format_bytes(out, capacity, amount);
    else
        snprintf(out, capacity, "%.0f", amount);
}

/* "  12/s", "  48s each". */
static void put_rate(char *out, size_t capacity, const vlmp_progress *p)
{
    double rate = p->units.rate;
    char amount[32];
    out[0] = '\0';
    if (!(rate > 0)) return;
    if (p->bytes || rate >= 99.5)
        put_amount(amount, sizeof amount, p, rate);
    else if (rate >= 1)
        snprintf(amount, sizeof amount, rate < 9.95 ? "%.1f" : "%.0f", rate);
    else
        vlmp_format_seconds(amount, sizeof amount, 1 / rate);
    snprintf(out, capacity, "  %s%s", amount, p->bytes || rate >= 1 ? "/s" : " each");
}

void vlmp_progress_format(char *out, size_t capacity, const vlmp_progress *p, double elapsed,
                          const char *detail)
{
    char done[32], total[32], rate[48], left[32] = "", time[24];
    put_amount(done, sizeof done, p, p->done);
    put_amount(total, sizeof total, p, p->total);
    put_rate(rate, sizeof rate, p);
    double seconds = vlmp_pace_left(&p->costs, elapsed, cost(p, p->total));
    if (seconds > 0 && p->done < p->total && elapsed > 0.5) {
        vlmp_format_seconds(time, sizeof time, seconds);
        snprintf(left, sizeof left, "  %s left", time);
    }
    const char *gap = detail != NULL ? "  " : "";
    if (detail == NULL) detail = "";
    if (p->total > 0)
        snprintf(out, capacity, "%s  %s/%s  %.0f %%%s%s%s%s", p->label, done, total,
                 100 * p->done / p->total, rate, left, gap, detail);
    else
        snprintf(out, capacity, "%s  %s%s%s%s", p->label, done, rate, gap, detail);
}

/* In place of the line before, in one piece: a terminal never shows it empty. */
static void draw(vlmp_progress *p)
{
    char piece[2048];
    const char *line = p->line;
    size_t used = 0, length = vlmp_text_cut(line, vlmp_terminal_width(STDERR_FILENO) - 1);
    used += (size_t)snprintf(piece, sizeof piece, "\r%s", p->colour ? "\033[36m" : "");
    for (size_t at = 0, step; at < length && used + VLMP_VISIBLE_BYTES + 16 < sizeof piece;
         at += step)
        used += vlmp_visible(piece + used, line + at, length - at, &step);
    used +=
        (size_t)snprintf(piece + used, sizeof piece - used, "%s\033[K", p->colour ? "\033[0m" : "");
    fwrite(piece, 1, used, stderr);
    p->shown = true;
}

static void print_line(vlmp_progress *p, double elapsed, const char *detail)
{
    vlmp_progress_format(p->line, sizeof p->line, p, elapsed, detail);
    if (p->live)
        draw(p);
    else
        vlmp_show_line(stderr, "%s", p->line);
}

static void put_total(vlmp_json_writer *w, const vlmp_progress *p)
{
    vlmp_json_pair_double(w, "total", p->total > 0 ? p->total : NAN);
}

static void begin(vlmp_progress *p, const vlmp_cli_args *args, const char *label, double total,
                  bool bytes)
{
    *p = (vlmp_progress){.label = label,
                         .total = total,
                         .bytes = bytes,
                         .events = (int)args->events,
                         .quiet = args->quiet};
    p->live = vlmp_terminal_live(STDERR_FILENO);
    p->colour = vlmp_terminal_colour(STDERR_FILENO);
    p->started = vlmp_seconds();
    p->last = p->live ? p->started : p->started - PLAIN_SECONDS + FIRST_SECONDS;
    if (p->live && !p->quiet) print_line(p, 0, NULL);
    if (p->events == 0) return;
    vlmp_json_writer w;
    vlmp_event_begin(&w, "begin");
    vlmp_json_pair_string(&w, "stage", label);
    put_total(&w, p);
    vlmp_json_pair_string(&w, "unit", bytes ? "byte" : NULL);
    vlmp_event_send(&w, p->events, VLMP_EVENT_WAIT);
}

void vlmp_progress_begin(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                         double total)
{
    begin(p, args, label, total, false);
}

void vlmp_progress_begin_bytes(vlmp_progress *p, const vlmp_cli_args *args, const char *label,
                               double total)
{
    begin(p, args, label, total, true);
}

void vlmp_progress_weigh(vlmp_progress *p, double few, double few_cost)
{
    p->few = few;
    p->few_cost = few_cost;
}

static void send_update(vlmp_progress *p, double elapsed, const char *detail)
{
    vlmp_json_writer w;
    double left = vlmp_pace_left(&p->costs, elapsed, cost(p, p->total));
    vlmp_event_begin(&w, "progress");
    vlmp_json_pair_string(&w, "stage", p->label);
    vlmp_json_pair_double(&w, "done", p->done);
    put_total(&w, p);
    vlmp_json_pair_double(&w, "elapsed", elapsed);
    vlmp_json_pair_double(&w, "rate", p->units.rate > 0 ? p->units.rate : NAN);
    vlmp_json_pair_double(&w, "left", p->total > 0 && left >= 0 ? left : NAN);
    vlmp_json_pair_string(&w, "detail", detail);
    vlmp_event_send(&w, p->events, 0);
}

void vlmp_progress_update(vlmp_progress *p, double done, const char *detail)
{
    double t = vlmp_seconds(), elapsed = t - p->started;
    p->done = done;
    vlmp_pace_add(&p->units, elapsed, done);
    vlmp_pace_add(&p->costs, elapsed, cost(p, done));
    if (p->events != 0 && t - p->last_event >= 0.5) {
        p->last_event = t;
        send_update(p, elapsed, detail);
    }
    if (p->quiet || t - p->last < (p->live ? 0.1 : PLAIN_SECONDS)) return;
    p->last = t;
    print_line(p, elapsed, detail);
}

static void clear_line(vlmp_progress *p)
{
    if (p->live && p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
}

void vlmp_progress_say(vlmp_progress *p, const char *fmt, ...)
{
    if (p->quiet) return;
    char line[1024];
    va_list list;
    va_start(list, fmt);
    vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    if (!p->shown) {
        vlmp_show_line(stderr, "%s", line);
        return;
    }
    fputs("\r", stderr);
    vlmp_show(stderr, VLMP_ESCAPE_LINE, line, strlen(line));
    fputs("\033[K\n", stderr);
    draw(p);
}

void vlmp_progress_row(vlmp_progress *p, const char *row)
{
    size_t length = strlen(row);
    if (p->live) length = vlmp_text_cut(row, vlmp_terminal_width(STDERR_FILENO) - 1);
    vlmp_progress_say(p, "%.*s", (int)length, row);
}

void vlmp_progress_drop(vlmp_progress *p)
{
    if (p->events != 0) {
        vlmp_json_writer w;
        vlmp_event_begin(&w, "end");
        vlmp_json_pair_string(&w, "stage", p->label);
        vlmp_json_pair_double(&w, "done", p->done);
        put_total(&w, p);
        vlmp_json_pair_double(&w, "elapsed", vlmp_seconds() - p->started);
        vlmp_event_send(&w, p->events, VLMP_EVENT_WAIT);
    }
    clear_line(p);
}

void vlmp_progress_end(vlmp_progress *p)
{
    double elapsed = vlmp_seconds() - p->started;
    vlmp_progress_drop(p);
    if (p->quiet) return;
    char time[24], done[32];
    vlmp_format_seconds(time, sizeof time, elapsed);
    put_amount(done, sizeof done, p, p->done);
    fprintf(stderr, "%s: %s in %s\n", p->label, done, time);
}
