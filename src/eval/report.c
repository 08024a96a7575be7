#include "src/eval/report.h"

#include <math.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/base/table.h"
#include "src/eval/gates.h"
#include "src/eval/report_cells.h"

enum { SUMMARY_MOST = 900 << 10 }; /* bytes: services cut job summaries at 1 MiB */

static void text_line(vlmp_buffer *out, const char *what, const char *name, const char *text)
{
    vlmp_buffer_printf(out, "%s: ", what);
    vlmp_escape(out, VLMP_ESCAPE_LINE, name, strlen(name));
    vlmp_buffer_text(out, ": ");
    vlmp_escape(out, VLMP_ESCAPE_LINE, text, strlen(text));
    vlmp_buffer_text(out, "\n");
}

void vlmp_report_text(vlmp_buffer *out, const vlmp_eval_result *results, size_t count)
{
    vlmp_report_cells cells;
    if (vlmp_report_cells_build(&cells, results, count)) {
        vlmp_column columns[VLMP_REPORT_COLUMNS];
        for (size_t c = 0; c < cells.column_count; c++)
            columns[c] = (vlmp_column){cells.columns[c].header, cells.columns[c].right, 0};
        vlmp_table_print(out, columns, cells.column_count, cells.cells, count);
    } else {
        out->failed = true;
    }
    vlmp_arena_free(&cells.arena);
    for (size_t i = 0; i < count; i++) {
        const vlmp_eval_result *r = &results[i];
        const char *name = vlmp_report_name(r->model);
        for (size_t n = 0; n < r->note_count; n++)
            text_line(out, "note", name, r->notes[n]);
        for (size_t c = 0; c < r->change_count; c++) {
            char text[256];
            vlmp_report_change(text, sizeof text, &r->changes[c]);
            text_line(out, "baseline", name, text);
        }
        for (size_t g = 0; g < r->gate_count; g++) {
            char text[256];
            vlmp_report_gate(text, sizeof text, &r->gates[g]);
            text_line(out, r->gates[g].pass ? "gate passed" : "gate FAILED", name, text);
        }
    }
}

static void markdown_cell(vlmp_buffer *out, const char *text)
{
    vlmp_escape(out, VLMP_ESCAPE_MARKDOWN, text, strlen(text));
}

static void markdown_table(vlmp_buffer *out, const vlmp_eval_result *results, size_t count)
{
    vlmp_report_cells cells;
    if (!vlmp_report_cells_build(&cells, results, count)) {
        out->failed = true;
        vlmp_arena_free(&cells.arena);
        return;
    }
    for (size_t c = 0; c < cells.column_count; c++)
        vlmp_buffer_printf(out, "| %s ", cells.columns[c].header);
    vlmp_buffer_text(out, "|\n");
    for (size_t c = 0; c < cells.column_count; c++)
        vlmp_buffer_text(out, cells.columns[c].right ? "| ---: " : "| --- ");
    vlmp_buffer_text(out, "|\n");
    for (size_t i = 0; i < count && out->length < SUMMARY_MOST / 2; i++) {
        for (size_t c = 0; c < cells.column_count; c++) {
            const char *text = cells.cells[i * cells.column_count + c];
            vlmp_buffer_text(out, "| ");
            markdown_cell(out, text != NULL ? text : "–");
            vlmp_buffer_text(out, " ");
        }
        vlmp_buffer_text(out, "|\n");
    }
    vlmp_arena_free(&cells.arena);
}

void vlmp_report_markdown(vlmp_buffer *out, const char *data, const vlmp_eval_result *results,
                          size_t count)
{
    size_t gates, failed = vlmp_report_failed(results, count, &gates);
    if (gates == 0)
        vlmp_buffer_text(out, "## vlm-eval\n\n");
    else if (failed == 0)
        vlmp_buffer_printf(out, "## vlm-eval: %zu gates passed\n\n", gates);
    else
        vlmp_buffer_printf(out, "## vlm-eval: %zu of %zu gates FAILED\n\n", failed, gates);
    vlmp_buffer_text(out, "Data: ");
    markdown_cell(out, data);
    if (count > 0) vlmp_buffer_printf(out, ", %lld samples", (long long)results[0].samples);
    vlmp_buffer_text(out, "\n\n");
    markdown_table(out, results, count);
    bool cut = false;
    for (size_t i = 0; i < count; i++) {
        const vlmp_eval_result *r = &results[i];
        if (r->gate_count + r->note_count > 0) {
            vlmp_buffer_text(out, "\n**");
            markdown_cell(out, vlmp_report_name(r->model));
            vlmp_buffer_text(out, "**\n\n");
        }
        /* Failed gates first: that is what the reader came for. */
        for (int pass = 0; pass < 2; pass++)
            for (size_t g = 0; g < r->gate_count; g++) {
                if (r->gates[g].pass != pass || (cut = cut || out->length > SUMMARY_MOST - 4096))
                    continue;
                char text[256];
                vlmp_report_gate(text, sizeof text, &r->gates[g]);
                vlmp_buffer_text(out, pass ? "* passed: " : "* **FAILED**: ");
                markdown_cell(out, text);
                vlmp_buffer_text(out, "\n");
            }
        for (size_t c = 0; c < r->change_count; c++) {
            if ((cut = cut || out->length > SUMMARY_MOST - 4096)) continue;
            char text[256];
            vlmp_report_change(text, sizeof text, &r->changes[c]);
            vlmp_buffer_text(out, "* against the baseline: ");
            markdown_cell(out, text);
            vlmp_buffer_text(out, "\n");
        }
        for (size_t n = 0; n < r->note_count; n++) {
            if ((cut = cut || out->length > SUMMARY_MOST - 4096)) continue;
            vlmp_buffer_text(out, "* note: ");
            markdown_cell(out, r->notes[n]);
            vlmp_buffer_text(out, "\n");
        }
    }
    if (cut) vlmp_buffer_text(out, "\nMore gates and notes are in the JSON document.\n");
}

static void junit_case(vlmp_buffer *out, const char *model, const char *name)
{
    vlmp_buffer_text(out, "    <testcase classname=\"");
    vlmp_report_escape(out, model);
    vlmp_buffer_text(out, "\" name=\"");
    vlmp_report_escape(out, name);
    vlmp_buffer_text(out, "\"");
}

void vlmp_report_junit(vlmp_buffer *out, const vlmp_eval_result *results, size_t count)
{
    size_t gates, failed = vlmp_report_failed(results, count, &gates), tests = gates;
    for (size_t i = 0; i < count; i++)
        tests += results[i].gate_count == 0;
    vlmp_buffer_printf(out,
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<testsuites tests=\"%zu\" failures=\"%zu\">\n"
                       "  <testsuite name=\"vlm-eval\" tests=\"%zu\" failures=\"%zu\">\n",
                       tests, failed, tests, failed);
    for (size_t i = 0; i < count; i++) {
        const vlmp_eval_result *r = &results[i];
        const char *model = vlmp_report_name(r->model);
        if (r->gate_count == 0) {
            junit_case(out, model, "evaluated");
            vlmp_buffer_text(out, "/>\n");
        }
        for (size_t g = 0; g < r->gate_count; g++) {
            junit_case(out, model, r->gates[g].expr);
            if (r->gates[g].pass) {
                vlmp_buffer_text(out, "/>\n");
                continue;
            }
            char text[256];
            /* The last gates are those of the changes. */
            size_t own = r->gate_count - r->change_count;
            if (g < own)
                vlmp_report_gate(text, sizeof text, &r->gates[g]);
            else
                vlmp_report_change(text, sizeof text, &r->changes[g - own]);
            vlmp_buffer_text(out, ">\n      <failure message=\"");
            vlmp_report_escape(out, text);
            vlmp_buffer_text(out, "\"/>\n    </testcase>\n");
        }
    }
    vlmp_buffer_text(out, "  </testsuite>\n</testsuites>\n");
}
