#include "src/eval/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/eval/gates.h"
#include "src/eval/report_cells.h"

/* What a scatter shows of quality: the first that was measured. */
static const struct quality {
    const char *name, *low, *high, *title, *unit;
} qualities[] = {
    {"kl.score", "kl.score_ci95.lo", "kl.score_ci95.hi", "KL score", "lower is better"},
    {"ppl_ratio", "ppl_ratio_ci95.lo", "ppl_ratio_ci95.hi", "perplexity ratio", "lower is better"},
    {"ppl", "ppl_ci95.lo", "ppl_ci95.hi", "perplexity", "lower is better"},
    {"bleu.4", "bleu_ci95.4.lo", "bleu_ci95.4.hi", "BLEU-4", "higher is better"},
    {"cider", "cider_ci95.lo", "cider_ci95.hi", "CIDEr", "higher is better"},
};

static double value_of(const vlmp_eval_result *r, const char *name)
{
    double value = NAN;
    vlmp_result_value(r, name, &value);
    return value;
}

static const struct quality *measured_quality(const vlmp_report *report)
{
    for (size_t q = 0; q < sizeof qualities / sizeof *qualities; q++)
        for (size_t i = 0; i < report->count; i++)
            if (!isnan(value_of(&report->results[i], qualities[q].name))) return &qualities[q];
    return NULL;
}

static void figure_begin(vlmp_buffer *out, const char *title, const char *about)
{
    vlmp_buffer_text(out, "<figure><figcaption>");
    vlmp_report_escape(out, title);
    vlmp_buffer_text(out, " <span class=\"soft\">");
    vlmp_report_escape(out, about);
    vlmp_buffer_text(out, "</span></figcaption>\n");
}

static void scatter(vlmp_buffer *out, const vlmp_report *report, vlmp_point *points)
{
    const struct quality *q = measured_quality(report);
    if (q == NULL) return;
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        points[i] = (vlmp_point){vlmp_report_name(r->model),
                                 vlmp_report_kind(r),
                                 r->bits_per_weight,
                                 value_of(r, q->name),
                                 {value_of(r, q->low), value_of(r, q->high)}};
    }
    figure_begin(out, "Quality against size", q->unit);
    vlmp_plot_scatter(out, "Quality of each file against its bits per weight", "bits per weight",
                      q->title, points, report->count);
    vlmp_buffer_text(out, "</figure>\n");
}

/* In percent of the original's perplexity. */
static void differences(vlmp_buffer *out, const vlmp_report *report, vlmp_point *points)
{
    bool any = false;
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        const char *kind = vlmp_report_kind(r);
        points[i] = (vlmp_point){vlmp_report_name(r->model),
                                 kind,
                                 r->original ? NAN : 100 * (value_of(r, "ppl_ratio") - 1),
                                 0,
                                 {100 * (value_of(r, "ppl_ratio_ci95.lo") - 1),
                                  100 * (value_of(r, "ppl_ratio_ci95.hi") - 1)}};
        any = any || !isnan(points[i].x);
    }
    if (!any) return;
    figure_begin(out, "Perplexity against the original", "0: as good; right of it: worse");
    vlmp_plot_differences(out, "Change of perplexity against the original, in percent", " %",
                          points, report->count);
    vlmp_buffer_text(out, "</figure>\n");
}

/* Of the generated answers' BLEU-4 or CIDEr. */
static void caption_differences(vlmp_buffer *out, const vlmp_report *report, const char *metric,
                                bool cider, vlmp_point *points)
{
    bool any = false;
    char title[64];
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        const vlmp_difference *d = cider ? &r->cider_difference : &r->bleu_difference;
        const char *kind = d->ci95.hi < 0 ? "bad" : d->ci95.lo > 0 ? "good" : "same";
        points[i] = (vlmp_point){vlmp_report_name(r->model), kind, d->value, 0, d->ci95};
        any = any || !isnan(d->value);
    }
    if (!any) return;
    snprintf(title, sizeof title, "%s against the original", metric);
    figure_begin(out, title, "0: as good; left of it: worse");
    vlmp_plot_differences(out, title, "", points, report->count);
    vlmp_buffer_text(out, "</figure>\n");
}

void vlmp_report_figures(vlmp_buffer *out, const vlmp_report *report)
{
    vlmp_point *points = vlmp_calloc(report->count, sizeof *points);
    if (points == NULL) {
        out->failed = true;
        return;
    }
    vlmp_buffer_text(out, "<div class=\"grid\">\n");
    scatter(out, report, points);
    differences(out, report, points);
    caption_differences(out, report, "BLEU-4", false, points);
    caption_differences(out, report, "CIDEr", true, points);
    vlmp_buffer_text(out, "</div>\n");
    free(points);
}
