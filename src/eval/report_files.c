#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/eval/gates.h"
#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

static void number_cell(vlmp_buffer *out, double value, int digits)
{
    char text[VLMP_NUMBER_BYTES];
    vlmp_plot_number(text, value, digits);
    vlmp_report_cell(out, text);
}

static void megabyte_cell(vlmp_buffer *out, int64_t bytes)
{
    char text[32] = "–";
    if (bytes >= 1000000000)
        snprintf(text, sizeof text, "%.2f GB", (double)bytes / 1e9);
    else if (bytes >= 0)
        snprintf(text, sizeof text, "%.1f MB", (double)bytes / 1e6);
    vlmp_report_cell(out, text);
}

void vlmp_report_speed(vlmp_buffer *out, const vlmp_report *report)
{
    bool any = false;
    for (size_t i = 0; i < report->count; i++)
        any = any || !isnan(report->results[i].speed.decode_tps);
    if (!any) return;
    vlmp_buffer_text(
        out, "<h2>Speed and memory</h2>\n<div class=\"wide\"><table>\n<tr><th>model</th>"
             "<th>first token: half within</th><th>95 % within</th><th>99 % within</th>"
             "<th>prompt tok/s</th><th>decode tok/s</th><th>weights</th><th>keys and values</th>"
             "<th>peak memory</th><th>peak on device</th><th>device</th></tr>\n");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        const double times[] = {r->speed.ttft_ms.p50, r->speed.ttft_ms.p95, r->speed.ttft_ms.p99};
        vlmp_buffer_text(out, "<tr>");
        vlmp_report_cell(out, vlmp_report_name(r->model));
        for (int k = 0; k < 3; k++) {
            char text[VLMP_NUMBER_BYTES + 4];
            vlmp_plot_number(text, times[k], 3);
            vlmp_buffer_printf(out, "<td>%s%s</td>", text, isnan(times[k]) ? "" : " ms");
        }
        number_cell(out, r->speed.prefill_tps, 4);
        number_cell(out, r->speed.decode_tps, 4);
        megabyte_cell(out, r->memory.weights_bytes);
        megabyte_cell(out, r->memory.kv_bytes);
        megabyte_cell(out, r->memory.peak_rss_bytes);
        megabyte_cell(out, r->memory.peak_device_bytes);
        vlmp_report_cell(out, r->speed.device != NULL ? r->speed.device : "–");
        vlmp_buffer_text(out, "</tr>\n");
    }
    vlmp_buffer_text(out, "</table></div>\n<p class=\"soft\">Of answers given alone, the first of "
                          "the data; weights as they are stored.</p>\n");
}

static void gates_and_notes(vlmp_buffer *out, const vlmp_eval_result *r)
{
    if (r->gate_count + r->note_count == 0) return; /* a change has a gate */
    vlmp_buffer_text(out, "<ul>\n");
    for (size_t g = 0; g < r->gate_count; g++) {
        char text[256];
        vlmp_report_gate(text, sizeof text, &r->gates[g]);
        vlmp_buffer_text(out, r->gates[g].pass ? "<li class=\"good\">✓ passed: "
                                               : "<li class=\"bad\">✗ failed: ");
        vlmp_report_escape(out, text);
        vlmp_buffer_text(out, "</li>\n");
    }
    for (size_t c = 0; c < r->change_count; c++) {
        char text[256];
        vlmp_report_change(text, sizeof text, &r->changes[c]);
        vlmp_buffer_text(out, "<li>against the baseline: ");
        vlmp_report_escape(out, text);
        vlmp_buffer_text(out, "</li>\n");
    }
    for (size_t n = 0; n < r->note_count; n++) {
        vlmp_report_element(out, "li", r->notes[n]);
        vlmp_buffer_text(out, "\n");
    }
    vlmp_buffer_text(out, "</ul>\n");
}

/* A rule a line. */
static void put_recipe(vlmp_buffer *out, const char *recipe)
{
    static const char rule[] = "{\"match\"";
    vlmp_buffer_text(out, "<pre>");
    for (const char *next; *recipe != '\0'; recipe = next) {
        next = strstr(recipe + 1, rule);
        if (next == NULL) next = recipe + strlen(recipe);
        vlmp_escape(out, VLMP_ESCAPE_XML, recipe, (size_t)(next - recipe));
        if (*next != '\0') vlmp_buffer_text(out, "\n ");
    }
    vlmp_buffer_text(out, "</pre>\n");
}

void vlmp_report_files(vlmp_buffer *out, const vlmp_report *report)
{
    vlmp_buffer_text(out, "<h2>Files</h2>\n");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        vlmp_report_element(out, "h3", vlmp_report_name(r->model));
        vlmp_buffer_text(out, "\n");
        gates_and_notes(out, r);
        vlmp_buffer_text(out, "<dl>\n");
        for (size_t f = 0; f < r->fact_count; f++) {
            vlmp_report_element(out, "dt", r->facts[f].key);
            vlmp_report_element(out, "dd", r->facts[f].value);
            vlmp_buffer_text(out, "\n");
        }
        if (r->fact_count == 0)
            vlmp_buffer_text(out, "<dt>provenance</dt><dd>not recorded: not a packed file</dd>\n");
        vlmp_buffer_text(out, "</dl>\n");
        if (r->recipe == NULL) continue;
        vlmp_buffer_text(out, "<p class=\"soft\">Made again by vlm-quantize from that source, with "
                              "--recipe of this text:</p>\n");
        put_recipe(out, r->recipe);
    }
    if (report->command == NULL) return;
    vlmp_buffer_text(out, "<h2>Evaluate again</h2>\n");
    vlmp_report_element(out, "pre", report->command);
    vlmp_buffer_text(out, "\n");
}
