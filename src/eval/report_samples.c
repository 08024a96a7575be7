#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/eval/report_cells.h"
#include "src/eval/report_parts.h"

struct ranked {
    double kl; /* the largest mean over a sample's tokens that a file has */
    size_t index;
};

static int worst_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->kl != y->kl) return x->kl < y->kl ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static double mean_kl(const vlmp_eval_result *r, size_t sample)
{
    const vlmp_sample_result *s = &r->per_sample[sample];
    double sum = 0;
    for (size_t t = 0; s->kl != NULL && t < s->tokens; t++)
        sum += s->kl[t];
    return s->kl != NULL && s->tokens > 0 ? sum / (double)s->tokens : NAN;
}

int vlmp_report_worst(const vlmp_eval_result *results, size_t count, size_t out[VLMP_WORST],
                      size_t *found, vlmp_error *err)
{
    size_t samples = count > 0 ? (size_t)results[0].samples : 0;
    struct ranked *ranked = vlmp_calloc(samples, sizeof *ranked);
    *found = 0;
    if (ranked == NULL) return vlmp_fail_memory(err, "worst samples");
    for (size_t s = 0; s < samples; s++) {
        ranked[s].index = s;
        for (size_t i = 0; i < count; i++)
            if (!results[i].original) ranked[s].kl = fmax(ranked[s].kl, mean_kl(&results[i], s));
    }
    qsort(ranked, samples, sizeof *ranked, worst_first);
    for (size_t s = 0; s < samples && s < VLMP_WORST && ranked[s].kl > 0; s++)
        out[(*found)++] = ranked[s].index;
    free(ranked);
    return VLMP_OK;
}

/* Bytes of text before the first word that the original's answer has otherwise; all of it when none
 * is. */
static size_t parting(const char *text, const char *original)
{
    size_t at = 0;
    while (text[at] != '\0' && text[at] == original[at])
        at++;
    if (text[at] == original[at]) return at;
    while (at > 0 && text[at - 1] != ' ')
        at--;
    return at;
}

/* The answer, with the word marked where it leaves the original's. */
static void put_answer(vlmp_buffer *out, const char *text, const char *original)
{
    size_t length = strlen(text), at = original != NULL ? parting(text, original) : length;
    size_t end = at + strcspn(text + at, " ");
    vlmp_escape(out, VLMP_ESCAPE_XML, text, at);
    if (end > at) {
        vlmp_buffer_text(out, "<mark>");
        vlmp_escape(out, VLMP_ESCAPE_XML, text + at, end - at);
        vlmp_buffer_text(out, "</mark>");
    } else if (at < length || (original != NULL && original[at] != '\0')) {
        vlmp_buffer_text(out, "<mark>∎</mark>"); /* it ends where the original goes on */
    }
    vlmp_escape(out, VLMP_ESCAPE_XML, text + end, length - end);
}

static const char *original_answer(const vlmp_report *report, size_t sample)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->results[i].original) return report->results[i].per_sample[sample].answer;
    return NULL;
}

static void put_sample(vlmp_buffer *out, const vlmp_report *report, const vlmp_worst_sample *w)
{
    const char *original = original_answer(report, w->index);
    vlmp_buffer_text(out, "<div class=\"sample\">");
    if (w->picture != NULL) {
        vlmp_buffer_text(out, "<img alt=\"the sample's picture\" src=\"data:image/png;base64,");
        vlmp_buffer_text(out, w->picture);
        vlmp_buffer_text(out, "\"/>");
    } else {
        vlmp_buffer_text(out, "<p class=\"soft\">no picture</p>");
    }
    vlmp_buffer_text(out, "<div>\n<p><b>");
    vlmp_report_escape(out, vlmp_report_name(w->where));
    vlmp_buffer_text(out, "</b> ");
    vlmp_report_escape(out, w->prompt);
    vlmp_buffer_text(out, "</p>\n<dl>");
    if (w->expected != NULL) {
        vlmp_buffer_text(out, "<dt>data</dt>");
        vlmp_report_element(out, "dd", w->expected);
    }
    if (original != NULL) {
        vlmp_buffer_text(out, "<dt>◇ original</dt>");
        vlmp_report_element(out, "dd", original);
    }
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        char number[VLMP_NUMBER_BYTES];
        if (r->original) continue;
        vlmp_report_element(out, "dt", vlmp_report_name(r->model));
        vlmp_buffer_text(out, "<dd>");
        if (r->per_sample[w->index].answer != NULL)
            put_answer(out, r->per_sample[w->index].answer, original);
        vlmp_plot_number(number, mean_kl(r, w->index), 2);
        vlmp_buffer_printf(out, " <span class=\"soft\">KL %s</span></dd>\n", number);
    }
    vlmp_buffer_text(out, "</dl></div></div>\n");
}

void vlmp_report_samples(vlmp_buffer *out, const vlmp_report *report)
{
    if (report->worst_count == 0) return;
    vlmp_buffer_printf(
        out,
        "<h2>The %zu worst samples</h2>\n<p class=\"soft\">By the largest mean KL divergence "
        "that any file has on the data's answer. Marked: the first word that the original "
        "answers otherwise (∎ the end), where the original is among the files.</p>\n"
        "<div class=\"grid\">\n",
        report->worst_count);
    for (size_t i = 0; i < report->worst_count; i++)
        put_sample(out, report, &report->worst[i]);
    vlmp_buffer_text(out, "</div>\n");
}
