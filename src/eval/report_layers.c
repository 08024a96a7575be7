#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

/* The plot in its figure. */
enum { LEFT = 62, RIGHT = VLMP_PLOT_WIDTH - 8, TOP = 10, LOW = 170 };

/* "vision.layers.3" of "vision.layers.3.mlp.fc1", "projector" of "projector.0", "text.head": the
 * linears of a block stand above each other. */
static size_t block_length(const char *name)
{
    const char *layers = strstr(name, ".layers.");
    if (layers == NULL) return strncmp(name, "projector", 9) == 0 ? 9 : strlen(name);
    const char *number = layers + strlen(".layers.");
    return (size_t)(number - name) + strspn(number, "0123456789");
}

static bool same_block(const char *a, const char *b)
{
    size_t length = block_length(a);
    return length == block_length(b) && memcmp(a, b, length) == 0;
}

/* "vision", "projector", "text.head": what is named under the axis. */
static int component_length(const char *name)
{
    const char *layers = strstr(name, ".layers.");
    return (int)(layers != NULL ? (size_t)(layers - name) : block_length(name));
}

static bool recorded(const vlmp_linear_record *l)
{
    return isfinite(100 * l->error) && l->error > 0;
}

static bool any_recorded(const vlmp_eval_result *r)
{
    for (size_t i = 0; i < r->linear_count; i++)
        if (recorded(&r->linears[i])) return true;
    return false;
}

/* Of all files, so that their figures can be compared. */
static bool range_of(const vlmp_report *report, double *low, double *high)
{
    *low = INFINITY;
    *high = 0;
    for (size_t i = 0; i < report->count; i++)
        for (size_t k = 0; k < report->results[i].linear_count; k++) {
            const vlmp_linear_record *l = &report->results[i].linears[k];
            if (!recorded(l)) continue;
            *low = fmin(*low, 100 * l->error);
            *high = fmax(*high, 100 * l->error);
        }
    return *high > 0;
}

static void dot(vlmp_buffer *out, const vlmp_linear_record *l, double x, double y)
{
    if (strstr(l->name, ".attn.") != NULL)
        vlmp_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n", x, y);
    else if (strstr(l->name, ".mlp.") != NULL)
        vlmp_buffer_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7\" height=\"7\"/>\n", x - 3.5,
                           y - 3.5);
    else
        vlmp_buffer_printf(out, "<path d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\"/>\n", x, y - 5);
}

/* Where the components lie, and their names below. */
static void name_component(vlmp_buffer *out, const vlmp_linear_record *l, double from, double to,
                           bool first)
{
    char name[32];
    snprintf(name, sizeof name, "%.*s", component_length(l->name), l->name);
    if (!first) vlmp_plot_line(out, "grid", from, TOP, from, LOW);
    bool wide = to - from > 7.0 * (double)strlen(name);
    if (wide) vlmp_plot_text(out, (from + to) / 2, LOW + 32, "middle", "name", name);
}

/* The number of a layer, where there is room for it. */
static void name_layer(vlmp_buffer *out, const char *name, double x, double step)
{
    const char *layers = strstr(name, ".layers.");
    if (layers == NULL) return;
    long number = strtol(layers + strlen(".layers."), NULL, 10), each = 1 + (long)(18 / step);
    char text[24];
    snprintf(text, sizeof text, "%ld", number);
    if (number % each == 0) vlmp_plot_text(out, x, LOW + 15, "middle", "soft", text);
}

static void draw(vlmp_buffer *out, const vlmp_linear_record *const *linears, size_t count,
                 const vlmp_axis *y)
{
    size_t blocks = 1;
    for (size_t i = 1; i < count; i++)
        blocks += !same_block(linears[i]->name, linears[i - 1]->name);
    vlmp_plot_begin(out, LOW + 40, "Error of each linear by layer");
    double ticks[VLMP_TICKS], step = (RIGHT - LEFT) / (double)blocks;
    char text[VLMP_NUMBER_BYTES + 4];
    int tick_count = vlmp_axis_ticks(y, ticks);
    for (int i = 0; i < tick_count; i++) {
        double at = vlmp_axis_at(y, ticks[i]);
        vlmp_plot_line(out, "grid", LEFT, at, RIGHT, at);
        vlmp_plot_number(text, ticks[i], 2);
        snprintf(text + strlen(text), 4, " %%");
        vlmp_plot_text(out, LEFT - 6, at + 4, "end", "soft", text);
    }
    double x = LEFT + step / 2, began = LEFT;
    size_t first = 0;
    for (size_t i = 0; i < count; i++) {
        const vlmp_linear_record *l = linears[i], *before = linears[i > 0 ? i - 1 : 0];
        bool next = !same_block(l->name, before->name);
        if (next) x += step;
        if (next || i == 0) name_layer(out, l->name, x, step);
        int length = component_length(l->name);
        if (length != component_length(before->name) ||
            memcmp(l->name, before->name, (size_t)length) != 0) {
            name_component(out, linears[first], began, x - step / 2, first == 0);
            began = x - step / 2;
            first = i;
        }
        dot(out, l, x, vlmp_axis_at(y, 100 * l->error));
    }
    name_component(out, linears[first], began, RIGHT, first == 0);
    vlmp_buffer_text(out, "</svg>\n");
}

static int worse_first(const void *a, const void *b)
{
    double x = (*(const vlmp_linear_record *const *)a)->error,
           y = (*(const vlmp_linear_record *const *)b)->error;
    return (x < y) - (x > y);
}

/* The linears with the largest errors, by name; sorts them. */
static void name_worst(vlmp_buffer *out, const vlmp_linear_record **linears, size_t count)
{
    enum { WORST = 3 };
    qsort(linears, count, sizeof *linears, worse_first);
    vlmp_buffer_text(out, "<p class=\"soft\">Largest: ");
    for (size_t i = 0; i < count && i < WORST; i++) {
        char text[VLMP_NUMBER_BYTES];
        vlmp_plot_number(text, 100 * linears[i]->error, 3);
        if (i > 0) vlmp_buffer_text(out, ", ");
        vlmp_report_escape(out, linears[i]->name);
        vlmp_buffer_printf(out, " (%s %%)", text);
    }
    vlmp_buffer_text(out, "</p>\n");
}

/* Linears without a record of their error are left out. */
static void draw_file(vlmp_buffer *out, const vlmp_eval_result *r, const vlmp_axis *y)
{
    const vlmp_linear_record **linears = vlmp_alloc(r->linear_count, sizeof *linears);
    size_t count = 0;
    if (linears == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < r->linear_count; i++)
        if (recorded(&r->linears[i])) linears[count++] = &r->linears[i];
    vlmp_buffer_text(out, "<figure>");
    vlmp_report_element(out, "figcaption", vlmp_report_name(r->model));
    draw(out, linears, count, y);
    name_worst(out, linears, count);
    if (count < r->linear_count)
        vlmp_buffer_printf(out,
                           "<p class=\"soft\">%zu more linears have none recorded: plain "
                           "rounding sees no samples.</p>\n",
                           r->linear_count - count);
    vlmp_buffer_text(out, "</figure>\n");
    free(linears);
}

void vlmp_report_layers(vlmp_buffer *out, const vlmp_report *report)
{
    double low, high;
    if (!range_of(report, &low, &high)) return;
    vlmp_axis y = vlmp_axis_over(low, high, true, LOW, TOP);
    vlmp_buffer_text(
        out, "<h2>Error by layer</h2>\n<p class=\"soft\">What quantizing a linear changed of its "
             "output, on calibration samples held out (where none were, on those seen), as the "
             "packed file records it: ● attention, ■ MLP, ◆ others. All files on one logarithmic "
             "scale.</p>\n<div class=\"grid\">\n");
    for (size_t i = 0; i < report->count; i++)
        if (any_recorded(&report->results[i])) draw_file(out, &report->results[i], &y);
    vlmp_buffer_text(out, "</div>\n");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        if (r->linear_count == 0 || any_recorded(r)) continue;
        vlmp_buffer_text(out, "<p class=\"soft\">");
        vlmp_report_escape(out, vlmp_report_name(r->model));
        vlmp_buffer_text(out, ": not recorded; plain rounding sees no samples.</p>\n");
    }
}
