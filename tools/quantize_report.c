#include "tools/quantize_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/journal_sink.h"
#include "src/base/outfile.h"
#include "src/base/table.h"
#include "src/quant/run/record.h"
#include "tools/engine.h"
#include "tools/inspect.h"
#include "tools/progress.h"
#include "tools/quantize_origin.h"
#include "tools/terminal.h"

static const char *const component_names[] = {"vision", "projector", "embeddings", "text", "head"};

void vlmp_method_text(char *out, size_t capacity, vlmp_method method, const vlmp_scheme *scheme)
{
    char group[16] = "channel", codes[16];
    if (method == VLMP_METHOD_KEEP) {
        snprintf(out, capacity, "kept");
        return;
    }
    if (scheme->blocks)
        snprintf(group, sizeof group, "block");
    else if (scheme->group > 0)
        snprintf(group, sizeof group, "g%d", scheme->group);
    vlmp_codes_text(codes, sizeof codes, scheme);
    snprintf(out, capacity, "%s %s %s%s%s", vlmp_method_name(method), codes, group,
             scheme->zeros == VLMP_ZEROS_NONE ? "" : " asymmetric",
             scheme->int8_activations ? " A8" : "");
}

/* Consecutive linears of one component and scheme are one line. */
struct plan_line {
    vlmp_component component;
    char scheme[64];
    int linears;
    double weights, bytes;
};

static int plan_lines(struct plan_line *lines, const vlmp_linear_info *linears,
                      const vlmp_plan *plan)
{
    int count = 0;
    for (int i = 0; i < plan->count; i++) {
        const vlmp_plan_entry *entry = &plan->entries[i];
        char scheme[64];
        vlmp_method_text(scheme, sizeof scheme, entry->method, &entry->scheme);
        int at = 0;
        while (at < count && (lines[at].component != linears[i].component ||
                              strcmp(lines[at].scheme, scheme) != 0))
            at++;
        if (at == count) {
            lines[count] = (struct plan_line){.component = linears[i].component};
            memcpy(lines[count++].scheme, scheme, sizeof scheme);
        }
        lines[at].linears++;
        lines[at].weights += (double)linears[i].n * linears[i].k;
        lines[at].bytes += (double)entry->bytes;
    }
    return count;
}

/* The plan is what a dry run is for: there it goes to stdout. */
static int print_lines(const struct plan_line *lines, int count, double total, double work,
                       bool dry_run, vlmp_error *err)
{
    vlmp_column columns[] = {{.header = "component"},
                             {.header = "scheme"},
                             {.header = "linears", .right = true},
                             {.header = "weights", .right = true},
                             {.header = "bits/weight", .right = true},
                             {.header = "size", .right = true}};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    char(*text)[4][32] = calloc((size_t)count, sizeof *text);
    const char **cells = calloc((size_t)count * COLUMNS, sizeof *cells);
    for (int i = 0; text != NULL && cells != NULL && i < count; i++) {
        snprintf(text[i][0], 32, "%d", lines[i].linears);
        snprintf(text[i][1], 32, "%.2f M", lines[i].weights / 1e6);
        snprintf(text[i][2], 32, "%.3f", 8 * lines[i].bytes / lines[i].weights);
        vlmp_format_bytes(text[i][3], 32, lines[i].bytes);
        const char *row[COLUMNS] = {component_names[lines[i].component],
                                    lines[i].scheme,
                                    text[i][0],
                                    text[i][1],
                                    text[i][2],
                                    text[i][3]};
        memcpy(cells + (size_t)i * COLUMNS, row, sizeof row);
    }
    vlmp_buffer out = {0};
    if (text != NULL && cells != NULL)
        vlmp_table_print(&out, columns, COLUMNS, cells, (size_t)count);
    char size[32];
    vlmp_format_bytes(size, sizeof size, total);
    vlmp_buffer_printf(&out, "packed file: %.0f bytes (%s)\n", total, size);
    vlmp_format_bytes(size, sizeof size, work);
    if (work > 0) vlmp_buffer_printf(&out, "beside it until the run ends: up to %s\n", size);
    bool failed = text == NULL || cells == NULL || out.failed;
    if (!failed) fputs(out.data, dry_run ? stdout : stderr);
    vlmp_buffer_free(&out);
    free(text);
    free(cells);
    return failed ? vlmp_fail_memory(err, "plan") : VLMP_OK;
}

static void put_flag(vlmp_json_writer *w, const char *key, bool value)
{
    if (!value) return;
    vlmp_json_key(w, key);
    vlmp_json_put_bool(w, true);
}

static int print_json(const vlmp_linear_info *linears, const vlmp_plan *plan, const char *tensors,
                      uint64_t total, uint64_t work, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "schema");
    vlmp_json_put_int(&w, 1);
    vlmp_json_key(&w, "bytes");
    vlmp_json_put_int(&w, (int64_t)total);
    if (work > 0) {
        vlmp_json_key(&w, "work_bytes");
        vlmp_json_put_int(&w, (int64_t)work);
    }
    vlmp_json_key(&w, "group_fallbacks");
    vlmp_json_put_int(&w, plan->group_fallbacks);
    vlmp_json_key(&w, "auto_channels");
    vlmp_json_put_int(&w, plan->auto_channels);
    vlmp_json_key(&w, "linears");
    vlmp_json_open(&w, '[');
    for (int i = 0; i < plan->count; i++) {
        const vlmp_plan_entry *entry = &plan->entries[i];
        vlmp_json_open(&w, '{');
        vlmp_json_key(&w, "name");
        vlmp_json_put_string(&w, linears[i].name);
        vlmp_json_key(&w, "method");
        vlmp_json_put_string(&w, vlmp_method_name(entry->method));
        if (entry->method != VLMP_METHOD_KEEP) {
            if (vlmp_code_types[entry->scheme.codes].name != NULL)
                vlmp_json_pair_string(&w, "codes", vlmp_code_types[entry->scheme.codes].name);
            vlmp_json_key(&w, "bits");
            vlmp_json_put_int(&w, vlmp_code_types[entry->scheme.codes].bits);
            vlmp_json_key(&w, "group");
            vlmp_json_put_int(&w, entry->scheme.group);
            vlmp_json_key(&w, "symmetric");
            vlmp_json_put_bool(&w, entry->scheme.zeros == VLMP_ZEROS_NONE);
            vlmp_json_key(&w, "activations");
            vlmp_json_put_string(&w, entry->scheme.int8_activations ? "int8" : "float");
            put_flag(&w, "group_fallback", entry->group_fallback);
            put_flag(&w, "auto_channel", entry->auto_channel);
        }
        vlmp_json_key(&w, "bytes");
        vlmp_json_put_int(&w, (int64_t)entry->bytes);
        vlmp_json_close(&w, '}');
    }
    vlmp_json_close(&w, ']');
    if (tensors != NULL) {
        vlmp_json_key(&w, "tensors");
        vlmp_put_json_text(&w, tensors, strlen(tensors));
    }
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "plan") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

int vlmp_quantize_print_plan(const vlmp_cli_args *args, const vlmp_quantize_plan *what,
                             const char *tensors, bool dry_run, uint64_t work, vlmp_error *err)
{
    const vlmp_plan *plan = &what->plan;
    const vlmp_linear_info *linears = what->linears;
    uint64_t total;
    VLMP_TRY(vlmp_quantize_plan_bytes(what, tensors, &total, err));
    if (args->json && dry_run) return print_json(linears, plan, tensors, total, work, err);
    if (args->quiet && !dry_run) return VLMP_OK;
    struct plan_line *lines = calloc((size_t)plan->count + 1, sizeof *lines);
    if (lines == NULL) return vlmp_fail_memory(err, "plan");
    int status = print_lines(lines, plan_lines(lines, linears, plan), (double)total, (double)work,
                             dry_run, err);
    free(lines);
    return status;
}

int vlmp_quantize_check_groups(const vlmp_cli_command *command, const vlmp_cli_args *args,
                               const vlmp_linear_info *linears, const vlmp_plan *plan,
                               int64_t allowed, vlmp_error *err)
{
    const vlmp_linear_info *fallen = NULL, *channel = NULL;
    for (int i = plan->count - 1; i >= 0; i--) {
        if (plan->entries[i].group_fallback) fallen = &linears[i];
        if (plan->entries[i].auto_channel) channel = &linears[i];
    }
    if (channel != NULL)
        vlmp_cli_warn(command, args,
                      "no group of 128, 64 or 32 divides the inputs of %d linears (first: %s, %d "
                      "inputs): they get one scale per channel",
                      plan->auto_channels, channel->name, channel->k);
    if (fallen == NULL) return VLMP_OK;
    vlmp_cli_warn(command, args,
                  "the group asked for does not divide the inputs of %d linears (first: %s, %d "
                  "inputs): they fall back to a smaller one or to one scale per channel",
                  plan->group_fallbacks, fallen->name, fallen->k);
    if (plan->group_fallbacks <= allowed) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_GATE,
                     "%d linears fall back to another group (first: %s); take a group that divides "
                     "them, or accept them with --allow-fallbacks %d",
                     plan->group_fallbacks, fallen->name, plan->group_fallbacks);
}

void vlmp_quantize_head(vlmp_buffer *out)
{
    vlmp_buffer_printf(out, "%-30s %-22s %10s %10s %10s %8s %7s", "linear", "method", "error",
                       "held out", "rtn", "damping", "time");
}

static void percent(char out[16], double value)
{
    if (isnan(value))
        snprintf(out, 16, "-");
    else
        snprintf(out, 16, "%.4f %%", 100 * value);
}

void vlmp_quantize_row(vlmp_buffer *out, const vlmp_linear_result *r)
{
    char scheme[64], error[16], held[16], rtn[16], damping[16] = "-", time[16];
    vlmp_method_text(scheme, sizeof scheme, r->method, &r->scheme);
    percent(error, r->error);
    percent(held, r->held_error);
    percent(rtn, r->held_rtn_error);
    if (r->damping > 0) snprintf(damping, sizeof damping, "%.3g", r->damping);
    vlmp_format_seconds(time, sizeof time, r->seconds);
    vlmp_buffer_printf(out, "%-30s %-22s %10s %10s %10s %8s %7s%s%s%s", r->name, scheme, error,
                       held, rtn, damping, time, r->kept_rtn ? "  round to nearest was better" : "",
                       r->unguarded ? "  unguarded" : "", r->fallback ? "  FALLBACK" : "");
}

int vlmp_quantize_count(vlmp_quantize_summary *summary, const cJSON *linears, vlmp_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, linears)
    {
        vlmp_linear_result r;
        VLMP_TRY(vlmp_record_read(&r, item, "decisions", err));
        summary->linears++;
        summary->kept_rtn += r.kept_rtn;
        summary->unguarded += r.unguarded;
        if (r.fallback && summary->fallbacks++ == 0)
            memcpy(summary->first_fallback, r.name, sizeof r.name);
    }
    return VLMP_OK;
}

static int collect_step(vlmp_quantize_summary *s, const cJSON *record, vlmp_packed_plan *packed,
                        vlmp_json_writer *decisions, vlmp_error *err)
{
    const cJSON *item, *linears = vlmp_json_get(record, "linears");
    VLMP_TRY(vlmp_quantize_count(s, linears, err));
    cJSON_ArrayForEach(item, linears)
    {
        vlmp_json_put_tree(decisions, item);
    }
    cJSON_ArrayForEach(item, vlmp_json_get(record, "replaced"))
    {
        if (cJSON_IsString(item))
            VLMP_TRY(vlmp_packed_plan_replace(packed, item->valuestring, VLMP_F32, err));
    }
    return VLMP_OK;
}

int vlmp_quantize_collect(vlmp_quantize_summary *summary, vlmp_sink *sink, vlmp_packed_plan *packed,
                          vlmp_json_writer *decisions, vlmp_error *err)
{
    vlmp_json_open(decisions, '[');
    const char *step;
    for (size_t i = 0; (step = vlmp_journal_sink_step(sink, i)) != NULL; i++) {
        const char *text;
        cJSON *record;
        VLMP_TRY(sink->record(sink, step, &text, err));
        VLMP_TRY(vlmp_json_parse(&record, text, strlen(text), "journal", err));
        int status = collect_step(summary, record, packed, decisions, err);
        cJSON_Delete(record);
        VLMP_TRY(status);
    }
    vlmp_json_close(decisions, ']');
    return VLMP_OK;
}

int vlmp_quantize_done(const vlmp_cli_command *cli, const vlmp_cli_args *args, const char *output,
                       const char *digest, const vlmp_quantize_summary *summary, bool again,
                       double seconds, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "schema");
    vlmp_json_put_int(&w, 1);
    vlmp_json_key(&w, "output");
    vlmp_json_put_string(&w, output);
    vlmp_json_key(&w, "digest");
    vlmp_json_put_string(&w, digest);
    vlmp_json_key(&w, "linears");
    vlmp_json_put_int(&w, summary->linears);
    vlmp_json_key(&w, "fallbacks");
    vlmp_json_put_int(&w, summary->fallbacks);
    vlmp_json_key(&w, "kept_rtn");
    vlmp_json_put_int(&w, summary->kept_rtn);
    vlmp_json_key(&w, "unguarded");
    vlmp_json_put_int(&w, summary->unguarded);
    vlmp_json_key(&w, "auto_channels");
    vlmp_json_put_int(&w, summary->auto_channels);
    if (summary->selection != NULL) {
        vlmp_json_key(&w, "tokens");
        vlmp_selection_write(summary->selection, &w);
    }
    vlmp_json_key(&w, "threads");
    vlmp_json_put_int(&w, args->threads);
    vlmp_json_key(&w, "seconds");
    vlmp_json_put_double(&w, seconds);
    vlmp_json_key(&w, "peak_rss_bytes");
    vlmp_json_put_int(&w, (int64_t)vlmp_peak_memory());
    vlmp_json_close(&w, '}');
    char path[4200];
    snprintf(path, sizeof path, "%s.run.json", output);
    vlmp_error fault = {0};
    vlmp_path_kind there = VLMP_PATH_ABSENT;
    int status = w.out.failed ? vlmp_fail_memory(err, path) : VLMP_OK;
    if (status == VLMP_OK && again) status = vlmp_path_look(&there, path, err);
    if (status == VLMP_OK && there == VLMP_PATH_ABSENT &&
        vlmp_file_write(path, w.out.data, w.out.length, true, &fault) != VLMP_OK)
        vlmp_cli_warn(cli, args, "%s; the packed file is complete", fault.message);
    if (status == VLMP_OK && args->json) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    if (status != VLMP_OK || args->quiet) return status;
    char time[16], memory[32];
    vlmp_format_seconds(time, sizeof time, seconds);
    vlmp_format_bytes(memory, sizeof memory, (double)vlmp_peak_memory());
    vlmp_show_line(stderr,
                   "%s: %d linears %s (%d fallbacks, %d kept as round to nearest, %d unguarded) in "
                   "%s, peak memory %s",
                   output, summary->linears,
                   again ? "quantized already, by an earlier run" : "quantized", summary->fallbacks,
                   summary->kept_rtn, summary->unguarded, time, memory);
    return VLMP_OK;
}
