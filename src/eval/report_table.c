#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/eval/gates.h"
#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

/* Columns in the order of what a reader decides by. value: the name by which the best file is
 * found, if there is a best: the lowest or the highest. */
static const struct column {
    const char *header, *value;
    bool highest;
    const char *about;
} columns[] = {
    {"KL score", "kl.score", false, "√(mean · 99th percentile) of the KL divergence; 0 is best"},
    {"ratio", "ppl_ratio", false, "perplexity over the original's; 1 is as good"},
    {"bits/weight", "bits_per_weight", false, "stored bits over all weights that are used"},
    {"top-1", "top1", true, "tokens for which both models have the same favourite"},
    {"perplexity", "ppl", false, "of the data's answers"},
    {"BLEU-4", "bleu.4", true, "of the generated answers"},
    {"CIDEr", "cider", true, "of the generated answers"},
    {"KL", "kl.mean", false, "mean KL divergence, nats a token"},
    {"decode tok/s", "speed.decode_tps", true, "tokens a second, one answer at a time"},
    {"peak memory", "memory.peak_rss_bytes", false, "of the program while it evaluated"},
    {"quantized in", NULL, false, "time that vlm-quantize took"},
    {"method", NULL, false, "method, bits and group"},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

const char *vlmp_report_kind(const vlmp_eval_result *r)
{
    if (r->original) return "original";
    if (!isnan(r->ppl_ratio_ci95.lo) && r->ppl_ratio_ci95.lo > 1) return "bad";
    if (!isnan(r->ppl_ratio_ci95.hi) && r->ppl_ratio_ci95.hi < 1) return "good";
    return "same";
}

static void verdict(vlmp_buffer *out, const vlmp_eval_result *r)
{
    size_t gates, failed = vlmp_report_failed(r, 1, &gates);
    const char *kind = vlmp_report_kind(r);
    if (failed > 0)
        vlmp_buffer_printf(out, "<td class=\"words bad\">✗ failed %zu of %zu</td>", failed, gates);
    else if (gates > 0)
        vlmp_buffer_text(out, "<td class=\"words good\">✓ passed</td>");
    else if (r->original)
        vlmp_buffer_text(out, "<td class=\"words\">◇ original</td>");
    else if (isnan(r->ppl_ratio_ci95.lo))
        vlmp_buffer_text(out, "<td class=\"words\">–</td>");
    else if (strcmp(kind, "same") == 0)
        vlmp_buffer_text(out, "<td class=\"words\">= same</td>");
    else
        vlmp_buffer_printf(out, "<td class=\"words %s\">%s</td>", kind,
                           strcmp(kind, "bad") == 0 ? "▼ worse" : "▲ better");
}

/* The best value among the files that were made from the original; NAN when there are not two. */
static double best_of(const vlmp_report *report, const struct column *column)
{
    double best = NAN;
    size_t count = 0;
    for (size_t i = 0; i < report->count && column->value != NULL; i++) {
        double value = NAN;
        vlmp_result_value(&report->results[i], column->value, &value);
        if (report->results[i].original || isnan(value)) continue;
        count++;
        best = column->highest ? fmax(best, value) : fmin(best, value);
    }
    return count > 1 ? best : NAN;
}

/* "1.33e-03" as "1.33·10⁻³"; all else as it is. */
static void put_text(vlmp_buffer *out, const char *text)
{
    char number[VLMP_NUMBER_BYTES];
    const char *power = text != NULL ? strpbrk(text, "e") : NULL;
    if (power == NULL || strspn(text, "0123456789.e+-") != strlen(text)) {
        vlmp_report_escape(out, text != NULL ? text : "–");
        return;
    }
    vlmp_plot_number(number, strtod(text, NULL), 3);
    vlmp_buffer_text(out, number);
}

static void row(vlmp_buffer *out, const vlmp_report *report, size_t i,
                const vlmp_report_cells *cells, const int *places, const double *best)
{
    const vlmp_eval_result *r = &report->results[i];
    vlmp_buffer_text(out, "<tr>");
    vlmp_report_element(out, "td", vlmp_report_name(r->model));
    verdict(out, r);
    for (int c = 0; c < COLUMNS; c++) {
        double value = NAN;
        if (places[c] < 0) continue;
        if (columns[c].value != NULL) vlmp_result_value(r, columns[c].value, &value);
        bool words = strcmp(columns[c].header, "method") == 0;
        vlmp_buffer_text(out, words                              ? "<td class=\"words\">"
                              : value == best[c] && !r->original ? "<td class=\"best\">"
                                                                 : "<td>");
        put_text(out, cells->cells[i * cells->column_count + (size_t)places[c]]);
        vlmp_buffer_text(out, "</td>");
    }
    vlmp_buffer_text(out, "</tr>\n");
}

void vlmp_report_table(vlmp_buffer *out, const vlmp_report *report)
{
    vlmp_report_cells cells;
    int places[COLUMNS];
    double best[COLUMNS];
    if (!vlmp_report_cells_build(&cells, report->results, report->count)) out->failed = true;
    vlmp_buffer_text(out, "<div class=\"wide\"><table>\n<tr><th>model</th>"
                          "<th class=\"words\">verdict</th>");
    for (int c = 0; c < COLUMNS; c++) {
        places[c] = -1;
        for (size_t k = 0; k < cells.column_count && !out->failed; k++)
            if (strcmp(cells.columns[k].header, columns[c].header) == 0) places[c] = (int)k;
        best[c] = best_of(report, &columns[c]);
        if (places[c] < 0) continue;
        vlmp_buffer_printf(out, "<th%s title=\"%s\">%s</th>",
                           strcmp(columns[c].header, "method") == 0 ? " class=\"words\"" : "",
                           columns[c].about, columns[c].header);
    }
    vlmp_buffer_text(out, "</tr>\n");
    for (size_t i = 0; i < report->count && !out->failed; i++)
        row(out, report, i, &cells, places, best);
    vlmp_buffer_text(out, "</table></div>\n");
    vlmp_arena_free(&cells.arena);
    vlmp_buffer_text(
        out,
        "<p class=\"soft\">★ the best of its column, the original left out. ± is half of a 95 % "
        "interval over samples. Where no gates are set, a verdict is about perplexity: worse "
        "when the interval of its ratio to the original lies above 1, same when it holds "
        "1.</p>\n");
}
