#include "tools/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/journal_sink.h"
#include "formats/packed.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/table.h"
#include "src/budget/knapsack.h"
#include "src/budget/measure.h"
#include "src/model/family.h"
#include "src/quant/run/holdout.h"
#include "src/quant/run/record.h"
#include "src/quant/run/selection.h"
#include "tools/calibration_file.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/quantize_plan.h"
#include "tools/sensitivity_work.h"
#include "tools/source_id.h"
#include "tools/terminal.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)

/* One measurement. */
struct work {
    vlmp_sensitivity_job *job;
    vlmp_sensitivity *table;
    const vlmp_model *model;
    vlmp_linear_info *linears;
    int linear_count;
    vlmp_calibration calibration;
    vlmp_preprocess preprocess;
    vlmp_sequence *sequences; /* held out */
    vlmp_span **spans;        /* our own, of those without an answer; else NULL */
    int count;
    vlmp_sensitivity_work kept;
    vlmp_source *rounded[VLMP_CANDIDATES_MAX];
    int candidate; /* at work */
    vlmp_progress progress;
};

static int blocks_of(const struct work *w)
{
    return w->model->vision.layers + w->model->text.layers;
}

/* A linear is rounded by the candidate, or kept where the group does not divide its inputs. */
static int make_recipe(const struct work *w, int candidate, vlmp_recipe *out, vlmp_error *err)
{
    const vlmp_recipe_scheme *scheme = &w->table->candidates[candidate];
    *out = (vlmp_recipe){0};
    out->rules =
        vlmp_arena_alloc(&out->arena, (size_t)w->table->site_count + 1, sizeof *out->rules);
    if (out->rules == NULL) return vlmp_fail_memory(err, "a recipe");
    bool any = false;
    for (int s = 0; s < w->table->site_count; s++) {
        const vlmp_budget_site *site = &w->table->sites[s];
        bool fallback;
        vlmp_plan_group(w->linears[site->linears[0]].k, scheme->group, &fallback);
        any |= !fallback;
        if (fallback)
            out->rules[out->count++] = (vlmp_recipe_rule){VLMP_RULE_GLOB, site->name, site->name,
                                                          .scheme.method = VLMP_METHOD_KEEP};
    }
    if (any)
        out->rules[out->count++] = (vlmp_recipe_rule){VLMP_RULE_GLOB, "*", "*", .scheme = *scheme};
    return VLMP_OK;
}

/* The candidate's bytes in every site. */
static void take_bytes(struct work *w, int candidate, const vlmp_plan *plan)
{
    for (int s = 0; s < w->table->site_count; s++) {
        const vlmp_budget_site *site = &w->table->sites[s];
        vlmp_site_candidate *cell = vlmp_sensitivity_cell(w->table, s, candidate);
        *cell = (vlmp_site_candidate){.error = candidate == 0 ? 0 : NAN,
                                      .kl = candidate == 0 ? 0 : NAN};
        for (int i = 0; i < site->count; i++) {
            const vlmp_plan_entry *entry = &plan->entries[site->linears[i]];
            cell->bytes += entry->bytes;
            if (candidate > 0 && entry->method == VLMP_METHOD_KEEP) {
                cell->bytes = VLMP_NO_OPTION;
                break;
            }
        }
    }
}

static int plan_candidate(struct work *w, int candidate, vlmp_quantize_plan *out, vlmp_error *err)
{
    vlmp_recipe recipe;
    *out = (vlmp_quantize_plan){0};
    int status = make_recipe(w, candidate, &recipe, err);
    if (status == VLMP_OK)
        status = vlmp_quantize_plan_make(out, w->model, &recipe, "candidates", err);
    if (status == VLMP_OK) take_bytes(w, candidate, &out->plan);
    vlmp_recipe_free(&recipe);
    return status;
}

/* Everything of the table that headers tell. */
static int list_candidates(struct work *w, vlmp_error *err)
{
    vlmp_sensitivity *t = w->table;
    VLMP_TRY(vlmp_model_linears(w->model, &w->linears, &w->linear_count, err));
    VLMP_TRY(vlmp_budget_sites(w->linears, w->linear_count, w->model->config.text.tied, &t->sites,
                               &t->site_count, err));
    vlmp_sensitivity_candidates(t);
    t->cells = vlmp_calloc((size_t)t->site_count * (size_t)t->candidate_count, sizeof *t->cells);
    if (t->cells == NULL) return vlmp_fail_memory(err, "the table of candidates");
    for (int c = 0; c < t->candidate_count; c++) {
        vlmp_quantize_plan plan;
        int status = plan_candidate(w, c, &plan, err);
        vlmp_quantize_plan_free(&plan);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static void add_error(struct work *w, const vlmp_linear_result *result)
{
    for (int s = 0; s < w->table->site_count; s++) {
        const vlmp_budget_site *site = &w->table->sites[s];
        for (int i = 0; i < site->count; i++) {
            if (strcmp(w->linears[site->linears[i]].name, result->name) != 0) continue;
            double *error = &vlmp_sensitivity_cell(w->table, s, w->candidate)->error;
            double one = isnan(result->held_error) ? result->error : result->held_error;
            *error = isnan(*error) ? one : *error + one;
        }
    }
}

/* Errors of the candidate, out of the records of its steps: some may be of an earlier run. */
static int take_errors(struct work *w, vlmp_sink *sink, vlmp_error *err)
{
    const char *step, *text;
    for (size_t i = 0; (step = vlmp_journal_sink_step(sink, i)) != NULL; i++) {
        cJSON *record;
        const cJSON *item;
        VLMP_TRY(sink->record(sink, step, &text, err));
        VLMP_TRY(vlmp_json_parse(&record, text, strlen(text), "journal", err));
        int status = VLMP_OK;
        cJSON_ArrayForEach(item, vlmp_json_get(record, "linears"))
        {
            vlmp_linear_result result;
            if (status == VLMP_OK) status = vlmp_record_read(&result, item, "journal", err);
            if (status == VLMP_OK) add_error(w, &result);
        }
        cJSON_Delete(record);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static void on_linear(void *arg, const vlmp_linear_result *result)
{
    (void)arg;
    (void)result;
}

static void on_notice(void *arg, const char *text)
{
    struct work *w = arg;
    vlmp_progress_say(&w->progress, "%s", text);
}

static void on_block(void *arg, const char *stage, int done, int total)
{
    struct work *w = arg;
    char detail[96];
    int before = strcmp(stage, "text") == 0 ? w->model->vision.layers : 0;
    snprintf(detail, sizeof detail, "rounding %d of %d, %s block %d of %d", w->candidate,
             w->table->candidate_count - 1, stage, done, total);
    vlmp_progress_update(&w->progress, (w->candidate - 1) * blocks_of(w) + before + done, detail);
}

static void on_site(void *arg, int done, int total, const char *site)
{
    struct work *w = arg;
    char detail[VLMP_NAME_MAX + 64];
    snprintf(detail, sizeof detail, "running site %d of %d, %s", done, total, site);
    vlmp_progress_update(&w->progress, (w->table->candidate_count - 1) * blocks_of(w) + done,
                         detail);
}

/* The rounded model: put together out of the journal, and noted as whole. */
static int put_rounded(struct work *w, const vlmp_packed_plan *plan, vlmp_sink *sink,
                       vlmp_error *err)
{
    char path[VLMP_PATH_MAX], digest[VLMP_SHA256_HEX];
    vlmp_sensitivity_work_path(&w->kept, w->candidate, path);
    VLMP_TRY(
        vlmp_packed_write(plan, NULL, 0, path, true, vlmp_journal_sink_read, sink, digest, err));
    VLMP_TRY(take_errors(w, sink, err));
    VLMP_TRY(vlmp_sensitivity_work_rounded(&w->kept, w->candidate, digest, err));
    return vlmp_packed_open(&w->rounded[w->candidate], path, err);
}

/* The model that an earlier run has rounded, when it is whole. */
static int reopen_rounded(struct work *w, vlmp_error *err)
{
    char path[VLMP_PATH_MAX], digest[VLMP_SHA256_HEX];
    vlmp_error fault = {0};
    vlmp_source *source = NULL;
    vlmp_sensitivity_work_path(&w->kept, w->candidate, path);
    VLMP_TRY(vlmp_sensitivity_work_find(&w->kept, w->candidate, digest, err));
    if (digest[0] == '\0') return VLMP_OK;
    int status = vlmp_packed_open(&source, path, &fault);
    bool whole = status == VLMP_OK && strcmp(source->digest, digest) == 0 &&
                 vlmp_packed_verify(source, NULL, NULL, &fault) == VLMP_OK;
    if (whole)
        w->rounded[w->candidate] = source;
    else if (status == VLMP_OK)
        source->close(source);
    return VLMP_OK;
}

static int round_candidate(struct work *w, vlmp_error *err)
{
    char border[VLMP_PATH_MAX];
    vlmp_quantize_plan what = {0};
    vlmp_sink *sink = NULL;
    vlmp_selection selection = {0};
    int status = plan_candidate(w, w->candidate, &what, err);
    vlmp_quantize_job job = {.sweep = {.ctx = w->job->engine->ctx,
                                       .model = w->model,
                                       .preprocess = &w->preprocess,
                                       .work_folder = w->job->work,
                                       .memory_limit = VLMP_STORE_MEMORY,
                                       .progress = on_block,
                                       .progress_arg = w,
                                       .interrupted = vlmp_interrupt_flag()},
                             .linears = w->linears,
                             .linear_count = w->linear_count,
                             .plan = &what.plan,
                             .calibration = &w->calibration,
                             .selection = &selection,
                             .gptq = vlmp_gptq_defaults(),
                             .boundary = border,
                             .on_linear = on_linear,
                             .on_notice = on_notice,
                             .arg = w};
    if (status == VLMP_OK)
        status = vlmp_quantize_check(w->linears, &what.plan, &w->calibration, w->job->calib, err);
    if (status == VLMP_OK)
        status = vlmp_select(&selection, &job, w->job->tokens, (uint64_t)w->job->args->seed, err);
    if (status == VLMP_OK)
        status = vlmp_sensitivity_work_sink(&w->kept, w->candidate, &sink, border, err);
    job.sink = sink;
    if (status == VLMP_OK) status = vlmp_quantize(&job, err);
    if (status == VLMP_OK) status = put_rounded(w, &what.packed, sink, err);
    if (status == VLMP_OK)
        vlmp_sensitivity_work_sink_end(&w->kept, sink);
    else
        vlmp_journal_sink_close(sink);
    vlmp_selection_free(&selection);
    vlmp_quantize_plan_free(&what);
    return status;
}

/* Every candidate's model. One that no site can have is not made. */
static int round_all(struct work *w, vlmp_error *err)
{
    w->rounded[0] = w->job->engine->source;
    for (w->candidate = 1; w->candidate < w->table->candidate_count; w->candidate++) {
        bool any = false;
        for (int s = 0; s < w->table->site_count; s++)
            any |= vlmp_sensitivity_cell(w->table, s, w->candidate)->bytes != VLMP_NO_OPTION;
        if (any) VLMP_TRY(reopen_rounded(w, err));
        if (any && w->rounded[w->candidate] == NULL) VLMP_TRY(round_candidate(w, err));
        on_block(w, "text", w->model->text.layers, w->model->text.layers);
    }
    return VLMP_OK;
}

/* Where no answer is there to be scored, all text is, from the second token on. */
static int score_text(vlmp_sequence *sequence, vlmp_span **spans, int image_token, vlmp_error *err)
{
    *spans = vlmp_calloc((size_t)sequence->length, sizeof **spans);
    if (*spans == NULL) return vlmp_fail_memory(err, "samples");
    sequence->answers = *spans;
    for (int i = 1; i < sequence->length; i++) {
        vlmp_span *last = sequence->answers + sequence->answer_count - 1;
        if (sequence->ids[i] == image_token) continue;
        if (sequence->answer_count > 0 && last->end == i)
            last->end++;
        else
            sequence->answers[sequence->answer_count++] = (vlmp_span){i, i + 1};
    }
    return VLMP_OK;
}

static int take_samples(struct work *w, vlmp_error *err)
{
    size_t all = w->calibration.count;
    bool *held = vlmp_alloc(all, sizeof *held);
    w->sequences = vlmp_alloc(all, sizeof *w->sequences);
    w->spans = vlmp_calloc(all, sizeof *w->spans);
    int status = held != NULL && w->sequences != NULL && w->spans != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "samples");
    if (status == VLMP_OK && vlmp_hold_out(&w->calibration, held) == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: with one sample none can be held out to measure on; calibrate on "
                           "more",
                           w->job->calib);
    for (size_t i = 0; i < all && status == VLMP_OK; i++) {
        if (!held[i]) continue;
        vlmp_sequence *sequence = &w->sequences[w->count];
        *sequence = w->calibration.samples[i].sequence;
        if (sequence->answer_count == 0)
            status = score_text(sequence, &w->spans[w->count], w->model->config.image_token, err);
        w->count++;
    }
    free(held);
    return status;
}

static void free_work(struct work *w)
{
    for (int c = 1; c < VLMP_CANDIDATES_MAX; c++)
        if (w->rounded[c] != NULL) w->rounded[c]->close(w->rounded[c]);
    for (int i = 0; i < w->count; i++)
        free(w->spans[i]);
    free(w->spans);
    free(w->sequences);
    free(w->linears);
    vlmp_calibration_free(&w->calibration);
}

static int on_measured(void *arg, int site, double kl, vlmp_error *err)
{
    struct work *w = arg;
    return vlmp_sensitivity_work_ran(&w->kept, site, kl, err);
}

static int run_all(struct work *w, vlmp_error *err)
{
    vlmp_measure_job job = {.sweep = {.ctx = w->job->engine->ctx,
                                      .model = w->model,
                                      .preprocess = &w->preprocess,
                                      .work_folder = w->job->work,
                                      .memory_limit = VLMP_STORE_MEMORY,
                                      .interrupted = vlmp_interrupt_flag()},
                            .linears = w->linears,
                            .sequences = w->sequences,
                            .count = w->count,
                            .rounded = (const vlmp_source *const *)w->rounded,
                            .progress = on_site,
                            .measured = on_measured,
                            .arg = w};
    VLMP_TRY(vlmp_sensitivity_work_runs(&w->kept, err));
    return vlmp_measure_sites(&job, w->table, err);
}

static int measure(struct work *w, vlmp_error *err)
{
    double started = vlmp_seconds();
    VLMP_TRY(vlmp_preprocess_from_source(&w->preprocess, NULL, w->job->engine->source, err));
    VLMP_TRY(take_samples(w, err));
    int status = vlmp_sensitivity_work_open(&w->kept, w->table, w->job->work, err);
    if (status == VLMP_OK) {
        vlmp_progress_begin(&w->progress, w->job->args, "measuring",
                            (w->table->candidate_count - 1) * blocks_of(w) + w->table->site_count);
        if (w->kept.again)
            vlmp_progress_say(&w->progress, "going on from what an earlier run has measured");
        status = round_all(w, err);
        if (status == VLMP_OK) status = run_all(w, err);
        vlmp_progress_end(&w->progress);
    }
    if (status == VLMP_ERR_INTERRUPTED)
        snprintf(err->message, sizeof err->message,
                 "interrupted; what is measured is saved, the same command continues");
    w->job->seconds = vlmp_seconds() - started;
    return status;
}

/* A cache that cannot be kept is no reason to fail. */
static int keep(const struct work *w, const char *path, vlmp_error *err)
{
    vlmp_json_writer json = {.indent = 1};
    vlmp_error fault = {0};
    vlmp_sensitivity_write(w->table, &json);
    vlmp_buffer_text(&json.out, "\n");
    int status = json.out.failed ? vlmp_fail_memory(err, path) : VLMP_OK;
    if (status == VLMP_OK &&
        vlmp_file_write(path, json.out.data, json.out.length, true, &fault) != VLMP_OK)
        vlmp_cli_warn(w->job->cli, w->job->args, "not kept for further budgets: %s", fault.message);
    vlmp_buffer_free(&json.out);
    return status;
}

static int read_kept(const struct work *w, const char *path, bool *same, vlmp_error *err)
{
    vlmp_path_kind there;
    cJSON *document;
    const char *why;
    *same = false;
    VLMP_TRY(vlmp_path_look(&there, path, err));
    if (there == VLMP_PATH_ABSENT) return VLMP_OK;
    VLMP_TRY(vlmp_json_load(&document, path, FILE_BYTES_MAX, err));
    int status = vlmp_sensitivity_read(w->table, document, path, same, &why, err);
    cJSON_Delete(document);
    if (status == VLMP_OK && !*same)
        vlmp_cli_warn(w->job->cli, w->job->args, "%s is of another %s; measuring anew", path, why);
    return status;
}

/* What else the numbers depend on. */
static void describe(const struct work *w, char *out, size_t size)
{
    char tokens[32] = "all";
    if (w->job->tokens != 0) snprintf(tokens, sizeof tokens, "%lld", (long long)w->job->tokens);
    snprintf(out, size, "%.180s, seed %lld, tokens %s", vlmp_ctx_describe(w->job->engine->ctx),
             (long long)w->job->args->seed,
             w->job->tokens == VLMP_TOKENS_AUTO ? "by width" : tokens);
}

int vlmp_sensitivity_get(vlmp_sensitivity_job *job, vlmp_sensitivity *out, vlmp_error *err)
{
    struct work w = {.job = job, .table = out, .model = &job->engine->model};
    char path[VLMP_PATH_MAX];
    bool same;
    *out = (vlmp_sensitivity){0};
    if (!vlmp_family_runs(w.model->config.family))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a model of this architecture is not run here, so nothing can be "
                         "measured; give a recipe",
                         job->engine->source->path);
    snprintf(path, sizeof path, "%.4100s.sensitivity.json", job->calib);
    snprintf(out->program, sizeof out->program, "%.64s", vlmp_source_id());
    describe(&w, out->kernels, sizeof out->kernels);
    int status = vlmp_identity_of(&out->model, job->engine->source, err);
    if (status == VLMP_OK)
        status = vlmp_calibration_load(&w.calibration, job->calib, w.model, &out->model,
                                       out->calibration, err);
    if (status == VLMP_OK) status = list_candidates(&w, err);
    if (status == VLMP_OK) status = read_kept(&w, path, &same, err);
    if (status == VLMP_OK && !same) {
        status = measure(&w, err);
        if (status == VLMP_OK) status = keep(&w, path, err);
        /* of bad input nothing can be gone on from */
        vlmp_sensitivity_work_close(&w.kept, status != VLMP_OK && status != VLMP_ERR_INPUT);
    }
    free_work(&w);
    return status;
}
