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

enum { VLMP_WORST = 10 };

/* A sample on which a file differs most from the original. */
typedef struct {
    size_t index;         /* in per_sample */
    const char *where;    /* "data.jsonl:12" */
    const char *prompt;   /* the last question */
    const char *expected; /* the data's first answer; NULL: none */
    const char *original; /* the original's answer; NULL: not known */
    vlmp_answer_tokens original_tokens;
    const char *picture; /* the first, small: PNG in base64; NULL: none */
} vlmp_worst_sample;

/* Places of the samples whose mean KL divergence in any of the files but the original is largest,
 * at most VLMP_WORST; none where there is none. */
int vlmp_report_worst(const vlmp_eval_result *results, size_t count, size_t out[VLMP_WORST],
                      size_t *found, vlmp_error *err);

/* What the page shows beside the results. */
typedef struct {
    const char *data;
    const vlmp_eval_result *results;
    size_t count;
    const vlmp_worst_sample *worst; /* [worst_count] */
    size_t worst_count;
    const char *command; /* that evaluates again, for a shell; NULL: not known */
} vlmp_report;

/* One self-contained file, XML as well as HTML: no scripts, nothing loaded. */
void vlmp_report_html(vlmp_buffer *out, const vlmp_report *report);
