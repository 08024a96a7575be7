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

/* What a reader sees of a token: ∎ behind the last, … where it is part of a character alone. */
static void put_token(vlmp_buffer *out, const char *text, const vlmp_answer_tokens *tokens,
                      size_t t)
{
    size_t from = t > 0 && t <= tokens->count ? tokens->ends[t - 1] : 0;
    if (t >= tokens->count)
        vlmp_buffer_text(out, "∎");
    else if (tokens->ends[t] == from)
        vlmp_buffer_text(out, "…");
    else
        vlmp_escape(out, VLMP_ESCAPE_XML, text + from, tokens->ends[t] - from);
}

/* The answer, with the first token marked that the original has otherwise, and both of them. */
static void put_answer(vlmp_buffer *out, const char *text, const vlmp_answer_tokens *tokens,
                       const vlmp_worst_sample *w)
{
    const vlmp_answer_tokens *original = &w->original_tokens;
    size_t length = strlen(text), t = 0, from, end;
    bool known = tokens->ids != NULL && original->ids != NULL;
    while (known && t < tokens->count && t < original->count && tokens->ids[t] == original->ids[t])
        t++;
    if (!known || (t == tokens->count && t == original->count)) {
        vlmp_report_escape(out, text);
        return;
    }
    from = t > 0 ? tokens->ends[t - 1] : 0;
    end = t < tokens->count ? tokens->ends[t] : length;
    vlmp_escape(out, VLMP_ESCAPE_XML, text, from);
    vlmp_buffer_text(out, "<mark>");
    put_token(out, text, tokens, t);
    vlmp_buffer_text(out, "</mark>");
    vlmp_escape(out, VLMP_ESCAPE_XML, text + end, length - end);
    vlmp_buffer_printf(out, " <span class=\"soft part\">token %zu: “", t + 1);
    put_token(out, text, tokens, t);
    vlmp_buffer_text(out, "”, original “");
    put_token(out, w->original, original, t);
    vlmp_buffer_text(out, "”</span>");
}

static void put_sample(vlmp_buffer *out, const vlmp_report *report, const vlmp_worst_sample *w)
{
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
    vlmp_buffer_text(out, "<dt>◇ original</dt>");
    vlmp_report_element(out, "dd",
                        w->original != NULL
                            ? w->original
                            : "not recorded: no answers were generated with it at hand");
    for (size_t i = 0; i < report->count; i++) {
        const vlmp_eval_result *r = &report->results[i];
        char number[VLMP_NUMBER_BYTES];
        if (r->original) continue;
        vlmp_report_element(out, "dt", vlmp_report_name(r->model));
        vlmp_buffer_text(out, "<dd>");
        const vlmp_sample_result *s = &r->per_sample[w->index];
        if (s->answer != NULL) put_answer(out, s->answer, &s->answer_tokens, w);
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
        "that any file has on the data's answer. Marked: the first token that the original "
        "answers otherwise (∎ the end), counted from 1.</p>\n"
        "<div class=\"grid\">\n",
        report->worst_count);
    for (size_t i = 0; i < report->worst_count; i++)
        put_sample(out, report, &report->worst[i]);
    vlmp_buffer_text(out, "</div>\n");
}
