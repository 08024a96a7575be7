/* Parts of the HTML report (private to report*.c). Each writes its heading and what is below it, or
 * nothing when there is nothing to show. */
#pragma once

#include "src/eval/report.h"
#include "src/eval/report_plot.h"

/* The style sheet: light and dark, telephone, paper. */
extern const char *const vlmp_report_style;

/* The accuracy table with its verdicts and what they mean. */
void vlmp_report_table(vlmp_buffer *out, const vlmp_report *report);

/* How a file stands to the original: "original", "good", "bad" or "same". */
const char *vlmp_report_kind(const vlmp_eval_result *result);

/* Quality against size, and differences to the original. */
void vlmp_report_figures(vlmp_buffer *out, const vlmp_report *report);
/* The KL divergence of numbers, content words, … */
void vlmp_report_classes(vlmp_buffer *out, const vlmp_report *report);
/* The worst samples with picture and answers. */
void vlmp_report_samples(vlmp_buffer *out, const vlmp_report *report);
/* Error of each linear, by component and layer. */
void vlmp_report_layers(vlmp_buffer *out, const vlmp_report *report);
/* What the files record of their calibration: samples, ranges, room to the limit of FP16. */
void vlmp_report_calibration(vlmp_buffer *out, const vlmp_report *report);
void vlmp_report_speed(vlmp_buffer *out, const vlmp_report *report);
/* Gates, notes, provenance and recipe of each file; the commands that make it again. */
void vlmp_report_files(vlmp_buffer *out, const vlmp_report *report);

/* "<tag>text</tag>", the text escaped. */
void vlmp_report_element(vlmp_buffer *out, const char *tag, const char *text);
/* A cell of a table of numbers. */
void vlmp_report_cell(vlmp_buffer *out, const char *text);
