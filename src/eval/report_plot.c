#include "src/eval/report_plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/table.h"
#include "src/eval/report_cells.h"

vlmp_axis vlmp_axis_over(double low, double high, bool log, double from, double to)
{
    vlmp_axis axis = {low, high, from, to, log};
    if (log) {
        double room = fmax(high / low, 1.5);
        axis.low = low / pow(room, 0.08);
        axis.high = high * pow(room, 0.08);
        return axis;
    }
    double room = high > low ? 0.06 * (high - low) : high != 0 ? 0.1 * fabs(high) : 1;
    axis.low = low == 0 ? 0 : low - room;
    axis.high = high == 0 && low != 0 ? 0 : high + room;
    return axis;
}

double vlmp_axis_at(const vlmp_axis *axis, double value)
{
    double share = axis->log ? log(fmax(value, axis->low) / axis->low) / log(axis->high / axis->low)
                             : (value - axis->low) / (axis->high - axis->low);
    return axis->from + share * (axis->to - axis->from);
}

static int log_ticks(const vlmp_axis *axis, double ticks[VLMP_TICKS])
{
    static const int parts[] = {1, 2, 5};
    /* Over many decades only powers of ten, then only some of them. */
    double decades = log10(axis->high / axis->low);
    int each = decades > 2.2 ? 1 : 3, step = 1 + (int)(decades / VLMP_TICKS), count = 0;
    for (int p = (int)floor(log10(axis->low)); p <= (int)ceil(log10(axis->high)); p += step)
        for (int i = 0; i < each; i++) {
            double tick = parts[i] * pow(10, p);
            if (tick >= axis->low && tick <= axis->high && count < VLMP_TICKS)
                ticks[count++] = tick;
        }
    return count;
}

int vlmp_axis_ticks(const vlmp_axis *axis, double ticks[VLMP_TICKS])
{
    if (axis->log) return log_ticks(axis, ticks);
    double rough = (axis->high - axis->low) / 5, power = pow(10, floor(log10(rough)));
    double part = rough / power, step = power * (part < 1.5   ? 1
                                                 : part < 3.5 ? 2
                                                 : part < 7.5 ? 5
                                                              : 10);
    int count = 0;
    for (double n = ceil(axis->low / step); n * step <= axis->high && count < VLMP_TICKS; n++)
        ticks[count++] = n * step;
    return count;
}

void vlmp_plot_number(char out[VLMP_NUMBER_BYTES], double value, int digits)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    char text[32];
    if (!isfinite(value)) {
        snprintf(out, VLMP_NUMBER_BYTES, "%s", isnan(value) ? "–" : value > 0 ? "∞" : "−∞");
        return;
    }
    const char *sign = value < 0 ? "−" : "";
    snprintf(text, sizeof text, "%.*e", digits - 1, fabs(value));
    int power = value == 0 ? 0 : (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (power >= -2 && power < 5) {
        snprintf(out, VLMP_NUMBER_BYTES, "%s%.*g", sign, digits > power ? digits : power + 1,
                 fabs(value));
        return;
    }
    double mantissa = strtod(text, NULL) / pow(10, power);
    int used = snprintf(out, VLMP_NUMBER_BYTES, "%s", sign);
    char *at = out + used;
    used = fabs(mantissa - 1) < 1e-9 ? 0 : snprintf(at, 16, "%.*g·", digits, mantissa);
    used += (int)(at - out);
    used += snprintf(out + used, 16, "10%s", power < 0 ? "⁻" : "");
    int magnitude = power < 0 ? -power : power;
    for (int place = magnitude >= 100 ? 100 : magnitude >= 10 ? 10 : 1; place > 0; place /= 10)
        used += snprintf(out + used, VLMP_NUMBER_BYTES - (size_t)used, "%s",
                         raised[magnitude / place % 10]);
}

void vlmp_plot_begin(vlmp_buffer *out, int height, const char *about)
{
    vlmp_buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><title>", VLMP_PLOT_WIDTH,
                       height);
    vlmp_report_escape(out, about);
    vlmp_buffer_text(out, "</title>\n");
}

void vlmp_plot_text(vlmp_buffer *out, double x, double y, const char *anchor, const char *name,
                    const char *text)
{
    vlmp_buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\"", x, y);
    if (strcmp(anchor, "start") != 0) vlmp_buffer_printf(out, " text-anchor=\"%s\"", anchor);
    if (name != NULL) vlmp_buffer_printf(out, " class=\"%s\"", name);
    vlmp_buffer_text(out, ">");
    vlmp_report_escape(out, text);
    vlmp_buffer_text(out, "</text>\n");
}

void vlmp_plot_line(vlmp_buffer *out, const char *name, double x1, double y1, double x2, double y2)
{
    vlmp_buffer_printf(out,
                       "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                       name, x1, y1, x2, y2);
}

static void mark(vlmp_buffer *out, const vlmp_point *p, double x, double y)
{
    if (strcmp(p->kind, "original") == 0)
        vlmp_buffer_printf(out, "<path class=\"original\" d=\"M%.1f %.1fl6 6l-6 6l-6 -6z\"/>\n", x,
                           y - 6);
    else
        vlmp_buffer_printf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", p->kind,
                           x, y);
}

static bool has_interval(const vlmp_point *p)
{
    return isfinite(p->ci.lo) && isfinite(p->ci.hi);
}

/* The extremes of what is drawn; false: nothing is. */
static bool extremes(const vlmp_point *points, size_t count, bool of_y, double *low, double *high,
                     double *least)
{
    *low = *least = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        const vlmp_point *p = &points[i];
        if (!isfinite(p->x) || !isfinite(p->y)) continue;
        bool ends = of_y && has_interval(p);
        double values[] = {of_y ? p->y : p->x, ends ? p->ci.lo : NAN, ends ? p->ci.hi : NAN};
        for (int k = 0; k < 3; k++) {
            *low = fmin(*low, values[k]);
            *high = fmax(*high, values[k]);
            if (values[k] > 0) *least = fmin(*least, values[k]);
        }
    }
    return *low <= *high;
}

/* Boxes that texts and marks take: a name goes where it covers none. */
enum { BOXES = 256 };
typedef struct {
    struct {
        double x, y, width, height;
    } at[BOXES];
    int count;
} taken;

static void take(taken *t, double x, double y, double width, double height)
{
    if (t->count == BOXES) return;
    t->at[t->count].x = x;
    t->at[t->count].y = y;
    t->at[t->count].width = width;
    t->at[t->count++].height = height;
}

static bool is_free(const taken *t, double x, double y, double width, double height)
{
    for (int i = 0; i < t->count; i++)
        if (x < t->at[i].x + t->at[i].width && t->at[i].x < x + width &&
            y < t->at[i].y + t->at[i].height && t->at[i].y < y + height)
            return false;
    return true;
}

/* Units of a text in the figures' font, a little more than it takes. */
static double text_width(const char *text)
{
    return 7.2 * vlmp_text_width(text) + 2;
}

/* Beside the mark at x, y, or the nearest free place above or below. */
static void label(vlmp_buffer *out, taken *t, double x, double y, const char *name)
{
    enum { HEIGHT = 15, RIGHT = VLMP_PLOT_WIDTH - 4, LEFT = 62, LOW = 240 };
    char cut[64];
    snprintf(cut, sizeof cut, "%.*s", (int)vlmp_text_cut(name, 20), name);
    double width = text_width(cut);
    for (int away = 0; away < 12; away++)
        for (int side = 0; side < 4; side++) {
            double left = side % 2 == 0 ? x + 9 : x - 9 - width;
            double middle = y + (side < 2 ? -1 : 1) * away * 8;
            if (left < LEFT || left + width > RIGHT || middle < 30 || middle > LOW) continue;
            if (!is_free(t, left, middle - HEIGHT / 2.0, width, HEIGHT)) continue;
            take(t, left, middle - HEIGHT / 2.0, width, HEIGHT);
            vlmp_plot_text(out, side % 2 == 0 ? left : left + width, middle + 4,
                           side % 2 == 0 ? "start" : "end", NULL, cut);
            return;
        }
}

static void frame(vlmp_buffer *out, const vlmp_axis *x, const vlmp_axis *y, bool zero)
{
    double ticks[VLMP_TICKS];
    char text[VLMP_NUMBER_BYTES];
    int count = vlmp_axis_ticks(y, ticks);
    for (int i = 0; i < count; i++) {
        double at = vlmp_axis_at(y, ticks[i]);
        if (zero && at > y->from - 14) continue;
        vlmp_plot_line(out, "grid", x->from, at, x->to, at);
        vlmp_plot_number(text, ticks[i], 3);
        vlmp_plot_text(out, x->from - 6, at + 4, "end", "soft", text);
    }
    if (zero) vlmp_plot_text(out, x->from - 6, y->from + 4, "end", "soft", "0");
    vlmp_plot_line(out, "axis", x->from, y->from, x->to, y->from);
    count = vlmp_axis_ticks(x, ticks);
    for (int i = 0; i < count; i++) {
        double at = vlmp_axis_at(x, ticks[i]);
        vlmp_plot_line(out, "axis", at, y->from, at, y->from + 4);
        vlmp_plot_number(text, ticks[i], 3);
        vlmp_plot_text(out, at, y->from + 18, "middle", "soft", text);
    }
}

void vlmp_plot_scatter(vlmp_buffer *out, const char *about, const char *x_name, const char *y_name,
                       const vlmp_point *points, size_t count)
{
    double low, high, least, left, right, ignored;
    if (!extremes(points, count, true, &low, &high, &least) || !(high > 0)) return;
    extremes(points, count, false, &left, &right, &ignored);
    bool log = least < high / 20, zero = log && low <= 0;
    vlmp_axis x = vlmp_axis_over(left, right, false, 62, VLMP_PLOT_WIDTH - 12);
    vlmp_axis y = vlmp_axis_over(log ? least : low, high, log, 250, 34);
    if (zero) y.low /= pow(y.high / y.low, 0.12); /* 0 has a place below the least */
    vlmp_plot_begin(out, 292, about);
    vlmp_plot_text(out, 4, 14, "start", "name", y_name);
    vlmp_plot_text(out, VLMP_PLOT_WIDTH - 12, 286, "end", "name", x_name);
    frame(out, &x, &y, zero);
    taken t = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        const vlmp_point *p = &points[i];
        if (!isfinite(p->x) || !isfinite(p->y)) continue;
        double at = vlmp_axis_at(&x, p->x), middle = vlmp_axis_at(&y, p->y);
        take(&t, at - 6, middle - 6, 12, 12);
        if (!has_interval(p) || p->ci.hi <= p->ci.lo) continue;
        double top = vlmp_axis_at(&y, p->ci.hi), end = vlmp_axis_at(&y, p->ci.lo);
        vlmp_plot_line(out, "whisker", at, top, at, end);
        vlmp_plot_line(out, "whisker", at - 4, top, at + 4, top);
        vlmp_plot_line(out, "whisker", at - 4, end, at + 4, end);
        take(&t, at - 4, top, 8, end - top);
    }
    for (size_t i = 0; i < count; i++) {
        const vlmp_point *p = &points[i];
        if (!isfinite(p->x) || !isfinite(p->y)) continue;
        double at = vlmp_axis_at(&x, p->x), middle = vlmp_axis_at(&y, p->y);
        mark(out, p, at, middle);
        label(out, &t, at, middle, p->name);
    }
    vlmp_buffer_text(out, "</svg>\n");
}

void vlmp_plot_differences(vlmp_buffer *out, const char *about, const char *unit,
                           const vlmp_point *points, size_t count)
{
    enum { LEFT = 142, RIGHT = 366, ROW = 26, TOP = 6 };
    double low = 0, high = 0;
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        const vlmp_point *p = &points[i];
        if (!isfinite(p->x)) continue;
        rows++;
        low = fmin(low, has_interval(p) ? fmin(p->x, p->ci.lo) : p->x);
        high = fmax(high, has_interval(p) ? fmax(p->x, p->ci.hi) : p->x);
    }
    if (rows == 0) return;
    vlmp_axis x = vlmp_axis_over(low, high, false, LEFT, RIGHT);
    int decimals = (int)fmin(6, fmax(0, 2 - floor(log10(x.high - x.low))));
    double bottom = TOP + ROW * (double)rows, middle = TOP + ROW / 2.0;
    vlmp_plot_begin(out, (int)bottom + 26, about);
    double ticks[VLMP_TICKS];
    char text[VLMP_NUMBER_BYTES + 16];
    int tick_count = vlmp_axis_ticks(&x, ticks);
    for (int i = 0; i < tick_count; i++) {
        double at = vlmp_axis_at(&x, ticks[i]);
        vlmp_plot_line(out, ticks[i] == 0 ? "zero" : "grid", at, TOP, at, bottom);
        vlmp_plot_number(text, ticks[i], 3);
        if (tick_count < 6 || i % 2 == 0 || ticks[i] == 0)
            vlmp_plot_text(out, at, bottom + 16, "middle", "soft", text);
    }
    for (size_t i = 0; i < count; i++) {
        const vlmp_point *p = &points[i];
        if (!isfinite(p->x)) continue;
        char cut[64];
        snprintf(cut, sizeof cut, "%.*s", (int)vlmp_text_cut(p->name, 19), p->name);
        vlmp_plot_text(out, LEFT - 10, middle + 4, "end", NULL, cut);
        if (has_interval(p))
            vlmp_plot_line(out, "whisker", vlmp_axis_at(&x, p->ci.lo), middle,
                           vlmp_axis_at(&x, p->ci.hi), middle);
        mark(out, p, vlmp_axis_at(&x, p->x), middle);
        snprintf(text, sizeof text, "%s%.*f%s", p->x < 0 ? "−" : "+", decimals, fabs(p->x), unit);
        vlmp_plot_text(out, VLMP_PLOT_WIDTH - 4, middle + 4, "end", NULL, text);
        middle += ROW;
    }
    vlmp_buffer_text(out, "</svg>\n");
}
