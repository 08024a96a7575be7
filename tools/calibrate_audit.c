#include "tools/calibrate_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "tools/engine.h"
#include "tools/progress.h"
#include "tools/terminal.h"

#define F16_MAX 65504.0

static const char *const state_names[] = {"left", "chosen", "broken", "duplicate", "too_long"};

static int compare_exact(const void *a, const void *b)
{
    const vlmp_candidate *x = *(vlmp_candidate *const *)a, *y = *(vlmp_candidate *const *)b;
    int order = memcmp(x->exact, y->exact, sizeof x->exact);
    return order != 0 ? order : (x > y) - (x < y);
}

static int compare_loose(const void *a, const void *b)
{
    const vlmp_candidate *x = *(vlmp_candidate *const *)a, *y = *(vlmp_candidate *const *)b;
    int order = memcmp(x->loose, y->loose, sizeof x->loose);
    return order != 0 ? order : (x > y) - (x < y);
}

static size_t usable(vlmp_candidate *candidates, size_t count, vlmp_candidate **out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (candidates[i].state == VLMP_CANDIDATE_OK) out[n++] = &candidates[i];
    return n;
}

int vlmp_mark_duplicates(vlmp_candidate *candidates, size_t count, vlmp_error *err)
{
    vlmp_candidate **sorted = vlmp_alloc(count, sizeof *sorted);
    if (sorted == NULL) return vlmp_fail_memory(err, "samples");
    size_t n = usable(candidates, count, sorted);
    if (n > 0) qsort(sorted, n, sizeof *sorted, compare_exact);
    for (size_t i = 1; i < n; i++)
        if (memcmp(sorted[i - 1]->exact, sorted[i]->exact, sizeof sorted[i]->exact) == 0)
            sorted[i]->state = VLMP_CANDIDATE_DUPLICATE;
    n = usable(candidates, count, sorted);
    if (n > 0) qsort(sorted, n, sizeof *sorted, compare_loose);
    for (size_t i = 1; i < n; i++)
        sorted[i]->changed =
            memcmp(sorted[i - 1]->loose, sorted[i]->loose, sizeof sorted[i]->loose) == 0;
    free(sorted);
    return VLMP_OK;
}

static void count_tokens(vlmp_audit *a, const vlmp_calibration *c, int32_t image_token)
{
    for (size_t i = 0; i < c->count; i++) {
        const vlmp_sequence *s = &c->samples[i].sequence;
        for (int t = 0; t < s->length; t++) {
            if (s->ids[t] == image_token)
                a->picture_tokens++;
            else
                a->text_tokens++;
        }
        a->answer_tokens += vlmp_sequence_answer_tokens(s);
        if (s->length > a->longest) a->longest = s->length;
    }
}

static float largest(const vlmp_site_statistics *s)
{
    float max = 0;
    for (int i = 0; i < VLMP_TOKEN_KINDS * s->dim; i++)
        if (s->max_abs[i] > max) max = s->max_abs[i];
    return max;
}

static void write_layers(vlmp_audit *a, const vlmp_calibration *c, vlmp_json_writer *w)
{
    a->headroom = 1e30;
    vlmp_json_key(w, "sites");
    vlmp_json_open(w, '[');
    for (int i = 0; i < c->statistics.count; i++) {
        const vlmp_site_statistics *s = &c->statistics.sites[i];
        double max = (double)largest(s), headroom = max > 0 ? F16_MAX / max : 1e30;
        if (headroom < a->headroom) {
            a->headroom = headroom;
            memcpy(a->headroom_site, s->name, sizeof a->headroom_site);
        }
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "site");
        vlmp_json_put_string(w, s->name);
        vlmp_json_key(w, "max_abs");
        vlmp_json_put_double(w, max);
        vlmp_json_key(w, "fp16_headroom");
        vlmp_json_put_double(w, headroom);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static void write_measured(const vlmp_measured *measured, vlmp_json_writer *w)
{
    vlmp_json_key(w, "measured");
    vlmp_json_open(w, '{');
    if (measured->budget > 0)
        vlmp_json_pair_int(w, "budget", measured->budget);
    else
        vlmp_json_key(w, "budget"), vlmp_json_put_string(w, "all");
    vlmp_json_pair_int(w, "samples", measured->samples);
    vlmp_json_pair_int(w, "tokens", measured->tokens);
    vlmp_json_pair_int(w, "picture_tokens", measured->picture_tokens);
    vlmp_json_close(w, '}');
}

static void write_left_out(const vlmp_candidate *candidates, size_t count, vlmp_json_writer *w)
{
    vlmp_json_key(w, "left_out");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < count; i++) {
        const vlmp_candidate *c = &candidates[i];
        if (c->state <= VLMP_CANDIDATE_CHOSEN) continue;
        vlmp_json_open(w, '{');
        vlmp_json_pair_int(w, "line", c->line);
        vlmp_json_key(w, "why");
        vlmp_json_put_string(w, state_names[c->state]);
        if (c->reason != NULL) {
            vlmp_json_key(w, "reason");
            vlmp_json_put_string(w, c->reason);
        }
        if (c->tokens > 0) vlmp_json_pair_int(w, "tokens", c->tokens);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

int vlmp_audit_make(vlmp_audit *a, const vlmp_candidate *candidates, size_t count,
                    const vlmp_picture_reading *pictures, vlmp_calibration *calibration,
                    const vlmp_model *model, vlmp_error *err)
{
    for (size_t i = 0; i < count; i++) {
        a->states[candidates[i].state]++;
        bool chosen = candidates[i].state == VLMP_CANDIDATE_CHOSEN;
        a->stand_ins += chosen && candidates[i].stood_in;
        a->changed += chosen && candidates[i].changed;
        a->end_differs += chosen && candidates[i].end_differs;
    }
    count_tokens(a, calibration, model->config.image_token);
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_int(&w, "read", (int64_t)count);
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
        vlmp_json_pair_int(&w, state_names[i], (int64_t)a->states[i]);
    vlmp_json_pair_int(&w, "strata", (int64_t)a->strata);
    vlmp_json_pair_int(&w, "stand_in_answers", (int64_t)a->stand_ins);
    vlmp_json_pair_int(&w, "differ_in_white_space", (int64_t)a->changed);
    vlmp_json_pair_int(&w, "text_before_end_token", (int64_t)a->end_differs);
    if (a->date != NULL) {
        vlmp_json_key(&w, "date");
        vlmp_json_put_string(&w, a->date);
    }
    vlmp_json_pair_int(&w, "text_tokens", a->text_tokens);
    vlmp_json_pair_int(&w, "picture_tokens", a->picture_tokens);
    vlmp_json_pair_int(&w, "answer_tokens", a->answer_tokens);
    vlmp_json_pair_int(&w, "longest", a->longest);
    write_measured(&a->measured, &w);
    write_left_out(candidates, count, &w);
    vlmp_json_key(&w, "pictures");
    vlmp_picture_remarks_write(&w, pictures);
    write_layers(a, calibration, &w);
    vlmp_json_close(&w, '}');
    if (w.out.failed) {
        vlmp_buffer_free(&w.out);
        return vlmp_fail_memory(err, "audit");
    }
    calibration->audit = w.out.data; /* the buffer's memory comes from realloc: free() fits */
    return VLMP_OK;
}

int vlmp_audit_print(const vlmp_audit *a, const vlmp_cli_args *args, const char *output,
                     const vlmp_picture_reading *pictures, const vlmp_calibration *calibration,
                     vlmp_error *err)
{
    (void)err;
    if (args->json) {
        printf("%s\n", calibration->audit);
        return VLMP_OK;
    }
    if (args->quiet) return VLMP_OK;
    char memory[32];
    vlmp_format_bytes(memory, sizeof memory, (double)vlmp_peak_memory());
    fprintf(stderr,
            "samples   %zu chosen of %zu in %zu strata; left: %zu not drawn, %zu duplicates, %zu "
            "too long, %zu broken\n",
            a->states[VLMP_CANDIDATE_CHOSEN],
            a->states[0] + a->states[1] + a->states[2] + a->states[3] + a->states[4], a->strata,
            a->states[VLMP_CANDIDATE_OK], a->states[VLMP_CANDIDATE_DUPLICATE],
            a->states[VLMP_CANDIDATE_LONG], a->states[VLMP_CANDIDATE_BROKEN]);
    fprintf(stderr,
            "tokens    %lld of pictures, %lld of text (%lld of answers); longest sample %d\n",
            (long long)a->picture_tokens, (long long)a->text_tokens, (long long)a->answer_tokens,
            a->longest);
    int64_t tokens = a->picture_tokens + a->text_tokens;
    fprintf(stderr, "measured  activations of %lld tokens in %lld samples%s\n",
            (long long)a->measured.tokens, (long long)a->measured.samples,
            a->measured.tokens < tokens ? "; --audit-tokens all takes all" : "");
    char odd[512];
    vlmp_picture_summary(pictures, odd, sizeof odd);
    if (odd[0] != '\0') vlmp_show_line(stderr, "pictures  %s", odd);
    if (a->stand_ins > 0)
        fprintf(stderr, "answers   %zu are the model's own, because the data has none\n",
                a->stand_ins);
    if (a->changed > 0)
        fprintf(stderr,
                "notice    %zu chosen samples differ from another record in white space alone\n",
                a->changed);
    if (a->end_differs > 0)
        fprintf(stderr,
                "notice    the chat template puts text between the answer and the end token of %zu "
                "samples; an old template may spell the token wrongly\n",
                a->end_differs);
    fprintf(
        stderr, "range     largest activation at %s leaves a factor of %.0f to the fp16 limit%s\n",
        a->headroom_site, a->headroom, a->headroom < 4 ? ": too little for fp16 inference" : "");
    vlmp_show_line(stderr, "%s written, peak memory %s", output, memory);
    return VLMP_OK;
}
