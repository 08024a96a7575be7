#include <stdio.h>

#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

void vlmp_report_element(vlmp_buffer *out, const char *tag, const char *text)
{
    vlmp_buffer_printf(out, "<%s>", tag);
    vlmp_report_escape(out, text);
    vlmp_buffer_printf(out, "</%s>", tag);
}

void vlmp_report_cell(vlmp_buffer *out, const char *text)
{
    vlmp_report_element(out, "td", text);
}

static void head(vlmp_buffer *out, const vlmp_report *report)
{
    const vlmp_eval_result *results = report->results;
    vlmp_buffer_text(out,
                     "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                     "<title>vlm-eval report</title>\n<style>");
    vlmp_buffer_text(out, vlmp_report_style);
    vlmp_buffer_text(out, "</style>\n</head>\n<body>\n<h1>What quantization cost</h1>\n"
                          "<p class=\"soft\">");
    vlmp_report_escape(out, report->data);
    if (report->count > 0) {
        vlmp_buffer_printf(out, " · %lld samples", (long long)results[0].samples);
        if (results[0].tokens >= 0)
            vlmp_buffer_printf(out, " · %lld answer tokens", (long long)results[0].tokens);
        if (results[0].reference != NULL) {
            vlmp_buffer_text(out, " · original: ");
            vlmp_report_escape(out, vlmp_report_name(results[0].reference));
        }
    }
    vlmp_buffer_text(out, "</p>\n");
    size_t gates, failed = vlmp_report_failed(results, report->count, &gates);
    if (gates == 0)
        vlmp_buffer_text(out, "<p class=\"verdict\">No gates were set.</p>\n");
    else if (failed == 0)
        vlmp_buffer_printf(out, "<p class=\"verdict good\">✓ All %zu gates passed.</p>\n", gates);
    else
        vlmp_buffer_printf(out, "<p class=\"verdict bad\">✗ %zu of %zu gates failed.</p>\n", failed,
                           gates);
}

void vlmp_report_html(vlmp_buffer *out, const vlmp_report *report)
{
    head(out, report);
    vlmp_report_table(out, report);
    vlmp_report_figures(out, report);
    vlmp_report_classes(out, report);
    vlmp_report_samples(out, report);
    vlmp_report_layers(out, report);
    vlmp_report_calibration(out, report);
    vlmp_report_speed(out, report);
    vlmp_report_files(out, report);
    vlmp_buffer_text(out, "<p class=\"soft\">Intervals: 2.5 and 97.5 percentile of a paired "
                          "bootstrap over samples. How to read each part: docs/report.md of "
                          "vlmpack.</p>\n</body>\n</html>\n");
}
