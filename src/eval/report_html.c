#include <math.h>
#include <stdio.h>

#include "src/base/table.h"
#include "src/eval/gates.h"
#include "src/eval/report.h"
#include "src/eval/report_cells.h"

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2733;--soft:#5d6b7a;--line:#d9e0e7;--paper:#fff;"
    "--tint:#f4f7fa;--bar:#2f6fb0;--good:#1b7f4b;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;"
    "--paper:#0f141a;--tint:#171e26;--bar:#6cb0f2;--good:#4cc38a;--bad:#ff8a80}}"
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:72rem;margin:2.5rem auto;padding:0 1.5rem}"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}"
    "p.data{color:var(--soft);margin:.2rem 0 1.5rem}"
    ".verdict{border-left:.35rem solid var(--soft);background:var(--tint);padding:.8rem 1.1rem;"
    "font-weight:600}.verdict.good{border-color:var(--good)}.verdict.bad{border-color:var(--bad)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:"
    "tabular-nums}th,td{padding:.4rem .7rem;border-bottom:1px solid var(--line);text-align:left;"
    "white-space:nowrap}th{color:var(--soft);font-weight:600;font-size:.85rem}"
    "td.n,th.n{text-align:right}li.bad{color:var(--bad);font-weight:600}li.good{color:var(--good)}"
    "svg text{fill:var(--ink);font:13px system-ui,sans-serif}svg .soft{fill:var(--soft)}"
    "svg .bar{fill:var(--bar)}svg .line{stroke:var(--ink);stroke-width:1.5}"
    "svg .axis{stroke:var(--line)}svg{page-break-inside:avoid}h2{page-break-after:avoid}"
    "@page{size:A4 landscape;margin:12mm}@media "
    "print{body{margin:0;max-width:none;padding:0}th,td{white-space:normal;"
    "padding:.2rem .3rem;font-size:.68rem}}";

static void head(vlmp_buffer *out, const char *data, const vlmp_eval_result *results, size_t count)
{
    vlmp_buffer_text(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width\">\n"
                          "<title>vlm-eval report</title>\n<style>");
    vlmp_buffer_text(out, style);
    vlmp_buffer_text(out, "</style>\n</head>\n<body>\n<h1>What quantization cost</h1>\n"
                          "<p class=\"data\">");
    vlmp_report_escape(out, data);
    if (count > 0) {
        vlmp_buffer_printf(out, " · %lld samples", (long long)results[0].samples);
        if (results[0].tokens >= 0)
            vlmp_buffer_printf(out, " · %lld answer tokens", (long long)results[0].tokens);
        if (results[0].reference != NULL) {
            vlmp_buffer_text(out, " · reference ");
            vlmp_report_escape(out, vlmp_report_name(results[0].reference));
        }
    }
    vlmp_buffer_text(out, "</p>\n");
    size_t gates, failed = vlmp_report_failed(results, count, &gates);
    if (gates == 0)
        vlmp_buffer_text(out, "<p class=\"verdict\">No gates were set.</p>\n");
    else if (failed == 0)
        vlmp_buffer_printf(out, "<p class=\"verdict good\">✓ All %zu gates passed.</p>\n", gates);
    else
        vlmp_buffer_printf(out, "<p class=\"verdict bad\">✗ %zu of %zu gates failed.</p>\n", failed,
                           gates);
}

static void table(vlmp_buffer *out, const vlmp_eval_result *results, size_t count)
{
    vlmp_report_cells cells;
    if (!vlmp_report_cells_build(&cells, results, count)) out->failed = true;
    vlmp_buffer_text(out, "<div class=\"wide\"><table>\n<tr>");
    for (size_t c = 0; c < cells.column_count; c++)
        vlmp_buffer_printf(out, "<th%s>%s</th>", cells.columns[c].right ? " class=\"n\"" : "",
                           cells.columns[c].header);
    vlmp_buffer_text(out, "</tr>\n");
    for (size_t i = 0; i < count && !out->failed; i++) {
        vlmp_buffer_text(out, "<tr>");
        for (size_t c = 0; c < cells.column_count; c++) {
            const char *text = cells.cells[i * cells.column_count + c];
            vlmp_buffer_text(out, cells.columns[c].right ? "<td class=\"n\">" : "<td>");
            vlmp_report_escape(out, text != NULL ? text : "–");
            vlmp_buffer_text(out, "</td>");
        }
        vlmp_buffer_text(out, "</tr>\n");
    }
    vlmp_buffer_text(out, "</table></div>\n");
    vlmp_arena_free(&cells.arena);
}

/* One bar a file, with its interval as a whisker. */
typedef struct {
    const char *title, *about;
    const char *value, *low, *high; /* names as gates know them; low and high may be NULL */
} chart;

static double value_of(const vlmp_eval_result *r, const char *name)
{
    double value = NAN;
    if (name != NULL) vlmp_result_value(r, name, &value);
    return value;
}

static void bar(vlmp_buffer *out, const chart *c, const vlmp_eval_result *r, double most, int y)
{
    const double left = 220, width = 560;
    double value = value_of(r, c->value);
    vlmp_buffer_printf(out, "<text x=\"210\" y=\"%d\" text-anchor=\"end\">", y + 15);
    char name[128];
    snprintf(name, sizeof name, "%s", vlmp_report_name(r->model));
    name[vlmp_text_cut(name, 28)] = '\0';
    vlmp_report_escape(out, name);
    vlmp_buffer_text(out, "</text>");
    if (isnan(value)) {
        vlmp_buffer_printf(out, "<text class=\"soft\" x=\"%.0f\" y=\"%d\">no value</text>\n",
                           left + 6, y + 15);
        return;
    }
    double length = value > 0 ? value / most * width : 0;
    double low = value_of(r, c->low), high = value_of(r, c->high);
    double end = length;
    vlmp_buffer_printf(
        out,
        "<rect class=\"bar\" fill=\"#2f6fb0\" x=\"%.0f\" y=\"%d\" width=\"%.1f\" height=\"20\" "
        "rx=\"3\"/>",
        left, y, length);
    if (!isnan(low) && !isnan(high)) {
        end = fmax(end, high / most * width);
        vlmp_buffer_printf(
            out,
            "<line class=\"line\" stroke=\"#1c2733\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>",
            left + low / most * width, left + high / most * width, y + 10, y + 10);
    }
    vlmp_buffer_printf(out, "<text x=\"%.1f\" y=\"%d\">%.4g</text>\n", left + end + 8, y + 15,
                       value);
}

static void draw(vlmp_buffer *out, const chart *c, const vlmp_eval_result *results, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        double value = value_of(&results[i], c->value), high = value_of(&results[i], c->high);
        if (value > most) most = value;
        if (high > most) most = high;
    }
    if (!(most > 0)) return; /* nothing measured */
    int height = 30 * (int)count + 4;
    vlmp_buffer_printf(out,
                       "<h2>%s</h2>\n<svg viewBox=\"0 0 900 %d\" role=\"img\" aria-label=\"%s\">\n",
                       c->title, height, c->about);
    vlmp_buffer_printf(out, "<title>%s</title>\n", c->about);
    vlmp_buffer_printf(
        out, "<line class=\"axis\" stroke=\"#d9e0e7\" x1=\"220\" x2=\"220\" y1=\"0\" y2=\"%d\"/>\n",
        height);
    for (size_t i = 0; i < count; i++)
        bar(out, c, &results[i], most, 4 + 30 * (int)i);
    vlmp_buffer_text(out, "</svg>\n");
}

static void details(vlmp_buffer *out, const vlmp_eval_result *r)
{
    if (r->gate_count + r->note_count == 0) return;
    vlmp_buffer_text(out, "<h2>");
    vlmp_report_escape(out, vlmp_report_name(r->model));
    vlmp_buffer_text(out, "</h2>\n<ul>\n");
    for (size_t g = 0; g < r->gate_count; g++) {
        char text[256];
        vlmp_report_gate(text, sizeof text, &r->gates[g]);
        vlmp_buffer_text(out, r->gates[g].pass ? "<li class=\"good\">✓ passed: "
                                               : "<li class=\"bad\">✗ failed: ");
        vlmp_report_escape(out, text);
        vlmp_buffer_text(out, "</li>\n");
    }
    for (size_t n = 0; n < r->note_count; n++) {
        vlmp_buffer_text(out, "<li>");
        vlmp_report_escape(out, r->notes[n]);
        vlmp_buffer_text(out, "</li>\n");
    }
    vlmp_buffer_text(out, "</ul>\n");
}

void vlmp_report_html(vlmp_buffer *out, const char *data, const vlmp_eval_result *results,
                      size_t count)
{
    static const chart charts[] = {
        {"KL score (lower is better)",
         "Square root of mean times 99th percentile of the KL divergence", "kl.score",
         "kl.score_ci95.lo", "kl.score_ci95.hi"},
        {"Perplexity (lower is better)", "Perplexity of the answers", "ppl", "ppl_ci95.lo",
         "ppl_ci95.hi"},
        {"BLEU-4 (higher is better)", "BLEU-4 of the generated answers", "bleu.4", "bleu_ci95.4.lo",
         "bleu_ci95.4.hi"},
        {"Decoding, tokens per second (higher is better)", "Decoding speed", "speed.decode_tps",
         NULL, NULL},
        {"Bits per weight", "Stored bits per weight", "bits_per_weight", NULL, NULL},
    };
    head(out, data, results, count);
    table(out, results, count);
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        draw(out, &charts[i], results, count);
    for (size_t i = 0; i < count; i++)
        details(out, &results[i]);
    vlmp_buffer_text(out, "<p class=\"data\">Intervals: 2.5 and 97.5 percentile of a paired "
                          "bootstrap over samples.</p>\n</body>\n</html>\n");
}
