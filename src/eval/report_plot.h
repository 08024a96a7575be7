/* Figures of the HTML report as inline SVG (private to report*.c). Each is VLMP_PLOT_WIDTH units
 * wide; the page scales it. Colours and fonts are the page's, by class. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/memory.h"
#include "src/eval/bootstrap.h"

enum { VLMP_PLOT_WIDTH = 480 };

/* From values to units of the figure, linear or logarithmic. */
typedef struct {
    double low, high; /* values at the ends; log: > 0 */
    double from, to;  /* units at the ends */
    bool log;
} vlmp_axis;

/* An axis over [low, high] with some room at both ends. log: values ≤ 0 lie at its low end. */
vlmp_axis vlmp_axis_over(double low, double high, bool log, double from, double to);
double vlmp_axis_at(const vlmp_axis *axis, double value);

/* Values at which to write numbers, at most VLMP_TICKS. Returns how many. */
enum { VLMP_TICKS = 8 };
int vlmp_axis_ticks(const vlmp_axis *axis, double ticks[VLMP_TICKS]);

/* "0.0123", "1.2·10⁻⁵": as people write it, to `digits` digits; NAN: "–", infinity "∞". */
enum { VLMP_NUMBER_BYTES = 40 };
void vlmp_plot_number(char out[VLMP_NUMBER_BYTES], double value, int digits);

/* What a figure shows of one file. */
typedef struct {
    const char *name;
    const char *kind; /* its class: "original", "good", "bad", "same" */
    double x, y;      /* not finite: nothing to show. A list of differences has x alone */
    vlmp_interval ci; /* of what is measured; NAN: none */
} vlmp_point;

/* Points with vertical intervals; where no value is above 0, nothing is drawn. */
void vlmp_plot_scatter(vlmp_buffer *out, const char *about, const char *x_name, const char *y_name,
                       const vlmp_point *points, size_t count);

/* A line a file with its horizontal interval; 0 is on the axis. unit follows each number. */
void vlmp_plot_differences(vlmp_buffer *out, const char *about, const char *unit,
                           const vlmp_point *points, size_t count);

/* <svg …><title>about</title>; end it with "</svg>\n". */
void vlmp_plot_begin(vlmp_buffer *out, int height, const char *about);

/* A text at x, y. anchor: "start", "middle", "end"; name: a class or NULL. */
void vlmp_plot_text(vlmp_buffer *out, double x, double y, const char *anchor, const char *name,
                    const char *text);
void vlmp_plot_line(vlmp_buffer *out, const char *name, double x1, double y1, double x2, double y2);
