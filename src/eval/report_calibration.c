#include <math.h>
#include <stdio.h>

#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

static const double f16_max = 65504;
/* Residuals and attention's sums are larger than what linears read, and other pictures than these
 * will give larger inputs. */
static const double least_headroom = 4;

static void tokens_cell(vlmp_buffer *out, int64_t tokens, int64_t samples)
{
    vlmp_buffer_printf(out, "<td>%lld tokens of %lld samples</td>", (long long)tokens,
                       (long long)samples);
}

static void range_cells(vlmp_buffer *out, const vlmp_activation_range *range)
{
    char text[VLMP_NUMBER_BYTES];
    double headroom = f16_max / range->max_abs;
    vlmp_report_cell(out, range->component);
    vlmp_buffer_printf(out, "<td>%lld</td>", (long long)range->tokens);
    vlmp_plot_number(text, range->max_abs, 3);
    vlmp_report_cell(out, text);
    vlmp_report_cell(out, range->site);
    vlmp_plot_number(text, headroom, 2);
    if (headroom < least_headroom)
        vlmp_buffer_printf(out, "<td class=\"bad\">%s times: too little</td>", text);
    else
        vlmp_buffer_printf(out, "<td>%s times</td>", text);
}

static void file_rows(vlmp_buffer *out, const vlmp_eval_result *r)
{
    const vlmp_calibration_record *c = r->calibration;
    size_t rows = c->range_count > 0 ? c->range_count : 1;
    for (size_t i = 0; i < rows; i++) {
        vlmp_buffer_text(out, "<tr>");
        vlmp_report_cell(out, vlmp_report_name(r->model));
        if (c->tokens_seen >= 0)
            tokens_cell(out, c->tokens_seen, c->samples_seen);
        else
            vlmp_buffer_printf(out, "<td>not recorded, of %lld samples</td>",
                               (long long)c->samples);
        if (c->tokens_held >= 0)
            tokens_cell(out, c->tokens_held, c->samples_held);
        else
            vlmp_report_cell(out, "not recorded");
        if (c->range_count > 0)
            range_cells(out, &c->ranges[i]);
        else
            vlmp_buffer_text(out, "<td>not recorded</td><td>–</td><td>–</td><td>–</td><td>–</td>");
        vlmp_buffer_text(out, "</tr>\n");
    }
}

void vlmp_report_calibration(vlmp_buffer *out, const vlmp_report *report)
{
    size_t calibrated = 0, packed = 0;
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_calibration_record *c = report->results[i].calibration;
        packed += c != NULL;
        calibrated += c != NULL && c->calibrated;
    }
    if (packed == 0) return;
    vlmp_buffer_text(out, "<h2>Calibration</h2>\n");
    if (calibrated > 0)
        vlmp_buffer_text(out,
                         "<div class=\"wide\"><table>\n<tr><th>model</th><th>seen</th>"
                         "<th>held out</th><th>component</th><th>measured tokens</th>"
                         "<th>largest activation</th><th>at</th><th>FP16 headroom</th></tr>\n");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        if (r->calibration != NULL && r->calibration->calibrated) file_rows(out, r);
    }
    if (calibrated > 0)
        vlmp_buffer_text(out, "</table></div>\n<p class=\"soft\">What the methods saw, and what "
                              "was held out to judge them. Headroom: 65504, the largest number of "
                              "FP16, over the largest activation that a linear read.</p>\n");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        if (r->calibration == NULL || r->calibration->calibrated) continue;
        vlmp_buffer_text(out, "<p class=\"soft\">");
        vlmp_report_escape(out, vlmp_report_name(r->model));
        vlmp_buffer_text(out, ": made without a calibration.</p>\n");
    }
}
