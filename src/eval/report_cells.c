#include "src/eval/report_cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/eval/gates.h"

const char *vlmp_report_name(const char *path)
{
    if (path == NULL) return "";
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    const char *name = path + length;
    while (name > path && name[-1] != '/')
        name--;
    return *name != '\0' ? name : path;
}

void vlmp_report_escape(vlmp_buffer *out, const char *text)
{
    vlmp_escape(out, VLMP_ESCAPE_XML, text, strlen(text));
}

void vlmp_report_gate(char *out, size_t capacity, const vlmp_gate_outcome *gate)
{
    if (isnan(gate->value))
        snprintf(out, capacity, "%s (no value)", gate->expr);
    else
        snprintf(out, capacity, "%s (%.6g)", gate->expr, gate->value);
}

void vlmp_report_change(char *out, size_t capacity, const vlmp_change *c)
{
    if (isnan(c->ci95.lo) || isnan(c->now))
        snprintf(out, capacity, "%s: %.4g → no value or no interval: %s", c->metric, c->old,
                 c->verdict);
    else
        snprintf(out, capacity, "%s: %.4g → %.4g, change %+.2g … %+.2g (95 %%): %s", c->metric,
                 c->old, c->now, c->ci95.lo, c->ci95.hi, c->verdict);
}

size_t vlmp_report_failed(const vlmp_eval_result *results, size_t count, size_t *gates)
{
    size_t failed = 0;
    *gates = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t g = 0; g < results[i].gate_count; g++, (*gates)++)
            failed += !results[i].gates[g].pass;
    return failed;
}

static void seconds(char *out, size_t capacity, double value)
{
    long whole = lround(value);
    if (value < 59.5)
        snprintf(out, capacity, "%.1f s", value);
    else if (whole < 3600)
        snprintf(out, capacity, "%ldm%02lds", whole / 60, whole % 60);
    else
        snprintf(out, capacity, "%ldh%02ldm", whole / 3600, whole % 3600 / 60);
}

static void megabytes(char *out, size_t capacity, int64_t bytes)
{
    if (bytes < 1000000000)
        snprintf(out, capacity, "%.1f MB", (double)bytes / 1e6);
    else
        snprintf(out, capacity, "%.2f GB", (double)bytes / 1e9);
}

/* Half the width of an interval, as "±". */
static double half(vlmp_interval interval)
{
    return (interval.hi - interval.lo) / 2;
}

/* Writes the cell's text; leaves it empty when there is no value. */
typedef void cell_writer(char *out, size_t capacity, const vlmp_eval_result *r);

static void cell_model(char *out, size_t capacity, const vlmp_eval_result *r)
{
    snprintf(out, capacity, "%s", vlmp_report_name(r->model));
}

static void cell_method(char *out, size_t capacity, const vlmp_eval_result *r)
{
    snprintf(out, capacity, "%s", r->method != NULL ? r->method : "–");
}

static void cell_bits(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->bits_per_weight)) snprintf(out, capacity, "%.2f", r->bits_per_weight);
}

static void cell_ppl(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (isnan(r->ppl)) return;
    if (isnan(r->ppl_ci95.lo))
        snprintf(out, capacity, "%.4f", r->ppl);
    else
        snprintf(out, capacity, "%.4f ± %.4f", r->ppl, half(r->ppl_ci95));
}

static void cell_ratio(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (isnan(r->ppl_ratio) || r->reference == NULL) return;
    if (isnan(r->ppl_ratio_ci95.lo))
        snprintf(out, capacity, "%.4f", r->ppl_ratio);
    else
        snprintf(out, capacity, "%.4f ± %.4f", r->ppl_ratio, half(r->ppl_ratio_ci95));
}

static void cell_bleu(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->bleu[3])) snprintf(out, capacity, "%.4f", r->bleu[3]);
}

static void cell_cider(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->cider)) snprintf(out, capacity, "%.4f", r->cider);
}

static void cell_kl(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->kl.mean)) snprintf(out, capacity, "%.2e", r->kl.mean);
}

static void cell_score(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->kl.score)) snprintf(out, capacity, "%.2e", r->kl.score);
}

static void cell_top1(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->top1)) snprintf(out, capacity, "%.2f %%", 100 * r->top1);
}

static void cell_speed(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->speed.decode_tps)) snprintf(out, capacity, "%.1f", r->speed.decode_tps);
}

static void cell_memory(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (r->memory.peak_rss_bytes >= 0) megabytes(out, capacity, r->memory.peak_rss_bytes);
}

static void cell_time(char *out, size_t capacity, const vlmp_eval_result *r)
{
    if (!isnan(r->quantize_seconds)) seconds(out, capacity, r->quantize_seconds);
}

static const struct {
    const char *header;
    bool right;
    cell_writer *write;
} columns[VLMP_REPORT_COLUMNS] = {
    {"model", false, cell_model},       {"method", false, cell_method},
    {"bits/weight", true, cell_bits},   {"perplexity", true, cell_ppl},
    {"ratio", true, cell_ratio},        {"BLEU-4", true, cell_bleu},
    {"CIDEr", true, cell_cider},        {"KL", true, cell_kl},
    {"KL score", true, cell_score},     {"top-1", true, cell_top1},
    {"decode tok/s", true, cell_speed}, {"peak memory", true, cell_memory},
    {"quantized in", true, cell_time},
};

bool vlmp_report_cells_build(vlmp_report_cells *out, const vlmp_eval_result *results, size_t count)
{
    *out = (vlmp_report_cells){0};
    const char **all = vlmp_arena_alloc(&out->arena, count * VLMP_REPORT_COLUMNS, sizeof *all);
    out->cells = vlmp_arena_alloc(&out->arena, count * VLMP_REPORT_COLUMNS, sizeof *out->cells);
    if (all == NULL || out->cells == NULL) return false;
    bool used[VLMP_REPORT_COLUMNS] = {true}; /* the model always */
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < VLMP_REPORT_COLUMNS; c++) {
            char text[256] = "";
            columns[c].write(text, sizeof text, &results[i]);
            if (text[0] == '\0') continue;
            used[c] = true;
            char *copy = vlmp_arena_copy(&out->arena, text, strlen(text));
            if (copy == NULL) return false;
            all[i * VLMP_REPORT_COLUMNS + c] = copy;
        }
    }
    for (size_t c = 0; c < VLMP_REPORT_COLUMNS; c++) {
        if (!used[c]) continue;
        out->columns[out->column_count++] =
            (vlmp_report_column){columns[c].header, columns[c].right};
    }
    for (size_t i = 0; i < count; i++) {
        size_t to = 0;
        for (size_t c = 0; c < VLMP_REPORT_COLUMNS; c++)
            if (used[c])
                out->cells[i * out->column_count + to++] = all[i * VLMP_REPORT_COLUMNS + c];
    }
    return true;
}
