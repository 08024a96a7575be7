#include "src/eval/results.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/nearest.h"
#include "src/eval/gates.h"
#include "src/eval/token_classes.h"

void vlmp_result_init(vlmp_eval_result *r)
{
    const vlmp_interval unknown = {NAN, NAN};
    *r = (vlmp_eval_result){.samples = -1,
                            .left_out = -1,
                            .tokens = -1,
                            .ppl = NAN,
                            .ppl_ci95 = unknown,
                            .reference_ppl = NAN,
                            .ppl_ratio = NAN,
                            .ppl_ratio_ci95 = unknown,
                            .kl = {NAN, unknown, NAN, NAN, NAN, NAN, unknown},
                            .top1 = NAN,
                            .cider = NAN,
                            .cider_ci95 = unknown,
                            .bleu_difference = {NAN, unknown},
                            .cider_difference = {NAN, unknown},
                            .speed = {NULL, {NAN, NAN, NAN}, NAN, NAN},
                            .memory = {-1, -1, -1, -1},
                            .bits_per_weight = NAN,
                            .bits_per_weight_quantized = NAN,
                            .quantize_seconds = NAN,
                            .fallbacks = -1,
                            .kept_rtn = -1,
                            .unguarded = -1};
    for (int i = 0; i < 4; i++) {
        r->bleu[i] = NAN;
        r->bleu_ci95[i] = unknown;
    }
    for (int c = 0; c < VLMP_KL_CLASSES; c++)
        r->kl_classes[c] = (vlmp_class_kl){-1, NAN, unknown};
}

void vlmp_result_free(vlmp_eval_result *result)
{
    vlmp_arena_free(&result->arena);
    vlmp_result_init(result);
}

int vlmp_result_note(vlmp_eval_result *result, vlmp_error *err, const char *fmt, ...)
{
    char text[1024];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    /* Notes are few: a new list each time keeps everything in the arena. */
    const char **notes = vlmp_arena_alloc(&result->arena, result->note_count + 1, sizeof *notes);
    char *copy = vlmp_arena_copy(&result->arena, text, strlen(text));
    if (notes == NULL || copy == NULL) return vlmp_fail_memory(err, "notes");
    for (size_t i = 0; i < result->note_count; i++)
        notes[i] = result->notes[i];
    notes[result->note_count++] = copy;
    result->notes = notes;
    return VLMP_OK;
}

static void put_count(vlmp_json_writer *w, const char *key, int64_t value)
{
    vlmp_json_key(w, key);
    if (value < 0)
        vlmp_json_put_null(w);
    else
        vlmp_json_put_int(w, value);
}

/* null when not computable. */
static void put_interval_value(vlmp_json_writer *w, vlmp_interval interval)
{
    if (isnan(interval.lo)) {
        vlmp_json_put_null(w);
        return;
    }
    vlmp_json_open(w, '{');
    vlmp_json_pair_double(w, "lo", interval.lo);
    vlmp_json_pair_double(w, "hi", interval.hi);
    vlmp_json_close(w, '}');
}

static void put_interval(vlmp_json_writer *w, const char *key, vlmp_interval interval)
{
    vlmp_json_key(w, key);
    put_interval_value(w, interval);
}

static void put_kl(vlmp_json_writer *w, const vlmp_kl_result *kl)
{
    vlmp_json_key(w, "kl");
    if (isnan(kl->mean)) {
        vlmp_json_put_null(w);
        return;
    }
    vlmp_json_open(w, '{');
    vlmp_json_pair_double(w, "mean", kl->mean);
    put_interval(w, "ci95", kl->ci95);
    vlmp_json_pair_double(w, "p95", kl->p95);
    vlmp_json_pair_double(w, "p99", kl->p99);
    vlmp_json_pair_double(w, "max", kl->max);
    vlmp_json_pair_double(w, "score", kl->score);
    put_interval(w, "score_ci95", kl->score_ci95);
    vlmp_json_close(w, '}');
}

static void put_kl_classes(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_pair_open(w, "kl_classes", '{');
    for (int c = 0; c < VLMP_KL_CLASSES; c++) {
        const vlmp_class_kl *kl = &r->kl_classes[c];
        vlmp_json_pair_open(w, vlmp_class_key((vlmp_kl_class)c), '{');
        vlmp_json_pair_int(w, "tokens", kl->tokens);
        vlmp_json_pair_double(w, "mean", kl->mean);
        put_interval(w, "ci95", kl->ci95);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, '}');
}

static void put_bleu(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_key(w, "bleu");
    if (isnan(r->bleu[0])) {
        vlmp_json_put_null(w);
        vlmp_json_key(w, "bleu_ci95");
        vlmp_json_put_null(w);
        return;
    }
    vlmp_json_open(w, '[');
    for (int i = 0; i < 4; i++)
        vlmp_json_put_double(w, r->bleu[i]);
    vlmp_json_close(w, ']');
    vlmp_json_key(w, "bleu_ci95");
    vlmp_json_open(w, '[');
    for (int i = 0; i < 4; i++)
        put_interval_value(w, r->bleu_ci95[i]);
    vlmp_json_close(w, ']');
}

/* Absent where the original is not among the files. */
static void put_difference(vlmp_json_writer *w, const char *key, const vlmp_difference *d)
{
    if (isnan(d->value)) return;
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_double(w, "value", d->value);
    put_interval(w, "ci95", d->ci95);
    vlmp_json_close(w, '}');
}

static void put_speed(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_key(w, "speed");
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "device", r->speed.device);
    vlmp_json_key(w, "ttft_ms");
    vlmp_json_open(w, '{');
    vlmp_json_pair_double(w, "p50", r->speed.ttft_ms.p50);
    vlmp_json_pair_double(w, "p95", r->speed.ttft_ms.p95);
    vlmp_json_pair_double(w, "p99", r->speed.ttft_ms.p99);
    vlmp_json_close(w, '}');
    vlmp_json_pair_double(w, "prefill_tps", r->speed.prefill_tps);
    vlmp_json_pair_double(w, "decode_tps", r->speed.decode_tps);
    vlmp_json_close(w, '}');
}

static void put_memory(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_key(w, "memory");
    vlmp_json_open(w, '{');
    put_count(w, "weights_bytes", r->memory.weights_bytes);
    put_count(w, "kv_bytes", r->memory.kv_bytes);
    put_count(w, "peak_rss_bytes", r->memory.peak_rss_bytes);
    put_count(w, "peak_device_bytes", r->memory.peak_device_bytes);
    vlmp_json_close(w, '}');
}

static void put_gates(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_key(w, "gates");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < r->gate_count; i++) {
        vlmp_json_open(w, '{');
        vlmp_json_pair_string(w, "expr", r->gates[i].expr);
        vlmp_json_pair_double(w, "value", r->gates[i].value);
        vlmp_json_key(w, "pass");
        vlmp_json_put_bool(w, r->gates[i].pass);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static void put_changes(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_pair_open(w, "baseline", '[');
    for (size_t i = 0; i < r->change_count; i++) {
        const vlmp_change *c = &r->changes[i];
        vlmp_json_open(w, '{');
        vlmp_json_pair_string(w, "metric", c->metric);
        vlmp_json_pair_double(w, "old", c->old);
        vlmp_json_pair_double(w, "now", c->now);
        put_interval(w, "change_ci95", c->ci95);
        vlmp_json_pair_string(w, "verdict", c->verdict);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static void put_bleu_counts(vlmp_json_writer *w, const vlmp_bleu_counts *b)
{
    vlmp_json_pair_open(w, "correct", '[');
    for (int i = 0; i < VLMP_NGRAM; i++)
        vlmp_json_put_double(w, b->correct[i]);
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "guess", '[');
    for (int i = 0; i < VLMP_NGRAM; i++)
        vlmp_json_put_double(w, b->guess[i]);
    vlmp_json_close(w, ']');
    vlmp_json_pair_double(w, "length", b->length);
    vlmp_json_pair_double(w, "reference_length", b->reference_length);
}

/* A line each. */
static void put_samples(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    int indent = w->indent;
    vlmp_json_pair_open(w, "per_sample", '[');
    for (int64_t i = 0; r->per_sample != NULL && i < r->samples; i++) {
        const vlmp_sample_result *s = &r->per_sample[i];
        vlmp_json_open(w, '{');
        w->indent = 0;
        vlmp_json_pair_int(w, "line", s->line);
        if (s->tokens > 0) {
            vlmp_json_pair_int(w, "tokens", (int64_t)s->tokens);
            vlmp_json_pair_double(w, "nll", s->nll);
        }
        if (s->kl != NULL) {
            vlmp_json_pair_double(w, "reference_nll", s->reference_nll);
            vlmp_json_pair_int(w, "same", (int64_t)s->same);
            vlmp_json_pair_open(w, "kl", '[');
            for (size_t t = 0; t < s->tokens; t++)
                vlmp_json_put_double(w, s->kl[t]);
            vlmp_json_close(w, ']');
            if (s->classes != NULL) {
                vlmp_json_key(w, "classes");
                vlmp_json_put_bytes(w, s->classes, s->tokens);
            }
        }
        if (s->answer != NULL) vlmp_json_pair_string(w, "answer", s->answer);
        if (s->captioned) {
            put_bleu_counts(w, &s->bleu);
            vlmp_json_pair_double(w, "cider", s->cider);
        }
        vlmp_json_close(w, '}');
        w->indent = indent;
    }
    vlmp_json_close(w, ']');
}

void vlmp_result_write(vlmp_json_writer *w, const vlmp_eval_result *r)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "model", r->model);
    vlmp_json_pair_string(w, "reference", r->reference);
    if (r->reference != NULL) vlmp_json_pair_bool(w, "original", r->original);
    vlmp_json_pair_string(w, "method", r->method);
    put_count(w, "samples", r->samples);
    put_count(w, "left_out", r->left_out);
    put_count(w, "tokens", r->tokens);
    if (r->metrics & VLMP_METRIC_PPL) {
        vlmp_json_pair_double(w, "ppl", r->ppl);
        put_interval(w, "ppl_ci95", r->ppl_ci95);
        if (r->reference != NULL) {
            vlmp_json_pair_double(w, "reference_ppl", r->reference_ppl);
            vlmp_json_pair_double(w, "ppl_ratio", r->ppl_ratio);
            put_interval(w, "ppl_ratio_ci95", r->ppl_ratio_ci95);
        }
    }
    if ((r->metrics & VLMP_METRIC_KL) && r->reference != NULL) {
        put_kl(w, &r->kl);
        if (r->kl_classes[0].tokens >= 0) put_kl_classes(w, r);
        vlmp_json_pair_double(w, "top1", r->top1);
    }
    if (r->metrics & VLMP_METRIC_BLEU) put_bleu(w, r);
    if (r->metrics & VLMP_METRIC_CIDER) {
        vlmp_json_pair_double(w, "cider", r->cider);
        put_interval(w, "cider_ci95", r->cider_ci95);
    }
    put_difference(w, "bleu_difference", &r->bleu_difference);
    put_difference(w, "cider_difference", &r->cider_difference);
    if (r->metrics & VLMP_METRIC_SPEED) put_speed(w, r);
    put_memory(w, r);
    vlmp_json_pair_double(w, "bits_per_weight", r->bits_per_weight);
    vlmp_json_pair_double(w, "bits_per_weight_quantized", r->bits_per_weight_quantized);
    vlmp_json_pair_double(w, "quantize_seconds", r->quantize_seconds);
    put_count(w, "fallbacks", r->fallbacks);
    put_count(w, "kept_rtn", r->kept_rtn);
    put_count(w, "unguarded", r->unguarded);
    vlmp_json_key(w, "notes");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < r->note_count; i++)
        vlmp_json_put_string(w, r->notes[i]);
    vlmp_json_close(w, ']');
    put_gates(w, r);
    if (r->changes != NULL) put_changes(w, r);
    put_samples(w, r);
    vlmp_json_close(w, '}');
}

void vlmp_results_write(vlmp_json_writer *w, const vlmp_eval_run *run,
                        const vlmp_eval_result *results, size_t count)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "schema", 1);
    vlmp_json_pair_string(w, "data", run->data);
    vlmp_json_pair_string(w, "data_digest", run->digest);
    vlmp_json_pair_int(w, "max_new_tokens", run->max_new_tokens);
    vlmp_json_pair_open(w, "left_out", '[');
    for (size_t i = 0; i < run->left_out_count; i++) {
        vlmp_json_open(w, '{');
        put_count(w, "line", run->left_out[i].line);
        vlmp_json_pair_string(w, "reason", run->left_out[i].reason);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    vlmp_json_key(w, "results");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < count; i++)
        vlmp_result_write(w, &results[i]);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

int vlmp_metrics_parse(unsigned *out, const char *text, vlmp_error *err)
{
    static const char *const names[] = {"ppl", "kl", "bleu", "cider", "speed"};
    *out = 0;
    while (true) {
        size_t length = strcspn(text, ",");
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0) bit = 1u << i;
        if (bit == 0) {
            char typed[41], hint[VLMP_HINT_MAX];
            snprintf(typed, sizeof typed, "%.*s", (int)(length < 40 ? length : 40), text);
            vlmp_nearest_hint(hint, typed, names, sizeof *names, sizeof names / sizeof *names);
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "--metrics: unknown '%s'%s; a list of ppl, kl, bleu, cider, speed",
                             typed, hint);
        }
        *out |= bit;
        if (text[length] == '\0') return VLMP_OK;
        text += length + 1;
    }
}
