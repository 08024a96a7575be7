/* What people read: the table of several files as text, Markdown or HTML, and JUnit for CI. All
 * append to a buffer; check out->failed. Results are judged (gates.h) before if there are gates. */
#pragma once

#include "src/base/memory.h"
#include "src/eval/results.h"

/* One row a file; columns without any value are left out; then notes and gates. */
void vlmp_report_text(vlmp_buffer *out, const vlmp_eval_result *results, size_t count);

/* For a job summary: verdict first, then the table, gates, notes. Stays under 900 KiB. */
void vlmp_report_markdown(vlmp_buffer *out, const char *data, const vlmp_eval_result *results,
                          size_t count);

/* One test case a gate and file; without gates one case a file that says it was evaluated. */
void vlmp_report_junit(vlmp_buffer *out, const vlmp_eval_result *results, size_t count);

/* What the page shows beside the results. */
typedef struct {
    const char *data;
    const vlmp_eval_result *results;
    size_t count;
    const char *command; /* that evaluates again, for a shell; NULL: not known */
} vlmp_report;

/* One self-contained file, XML as well as HTML: no scripts, nothing loaded. */
void vlmp_report_html(vlmp_buffer *out, const vlmp_report *report);
