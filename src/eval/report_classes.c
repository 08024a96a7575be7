#include <math.h>

#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"
#include "src/eval/token_classes.h"

static bool shown(const vlmp_eval_result *r)
{
    return r->kl_classes[0].tokens >= 0 && !r->original;
}

static void value_cell(vlmp_buffer *out, const vlmp_class_kl *kl)
{
    char mean[VLMP_NUMBER_BYTES], low[VLMP_NUMBER_BYTES], high[VLMP_NUMBER_BYTES];
    vlmp_plot_number(mean, kl->mean, 2);
    vlmp_plot_number(low, kl->ci95.lo, 2);
    vlmp_plot_number(high, kl->ci95.hi, 2);
    vlmp_buffer_printf(out, "<td>%s", mean);
    if (!isnan(kl->ci95.lo))
        vlmp_buffer_printf(out, " <span class=\"soft\">%s … %s</span>", low, high);
    vlmp_buffer_text(out, "</td>");
}

/* tokens: of the class; all files have the same. */
static void class_row(vlmp_buffer *out, const vlmp_report *report, vlmp_kl_class which,
                      int64_t tokens)
{
    /* The second way of telling tokens apart begins here. */
    vlmp_buffer_text(out, which == VLMP_KL_PICTURE ? "<tr class=\"apart\">" : "<tr>");
    vlmp_report_cell(out, vlmp_class_name(which));
    vlmp_buffer_printf(out, "<td>%lld</td>", (long long)tokens);
    for (size_t i = 0; i < report->count; i++)
        if (shown(&report->results[i])) value_cell(out, &report->results[i].kl_classes[which]);
    vlmp_buffer_text(out, "</tr>\n");
}

void vlmp_report_classes(vlmp_buffer *out, const vlmp_report *report)
{
    const vlmp_eval_result *first = NULL;
    for (size_t i = report->count; i-- > 0;)
        if (shown(&report->results[i])) first = &report->results[i];
    if (first == NULL) return;
    vlmp_buffer_text(out, "<h2>KL by kind of token</h2>\n<div class=\"wide\"><table>\n"
                          "<tr><th>tokens</th><th>how many</th>");
    for (size_t i = 0; i < report->count; i++)
        if (shown(&report->results[i]))
            vlmp_report_element(out, "th", vlmp_report_name(report->results[i].model));
    vlmp_buffer_text(out, "</tr>\n");
    for (int c = 0; c < VLMP_KL_CLASSES; c++)
        class_row(out, report, (vlmp_kl_class)c, first->kl_classes[c].tokens);
    vlmp_buffer_text(
        out, "</table></div>\n<p class=\"soft\">Mean KL divergence of the data's answers, nats a "
             "token, and its 95 % interval. Told by rules, not by grammar: numbers are digits "
             "and English cardinals, function words a list of English, content words all others. "
             "From the picture: numbers and content words that the question does not hold; from "
             "the text: all else.</p>\n");
}
