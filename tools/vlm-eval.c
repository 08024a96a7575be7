/* vlm-eval: quality against a reference, speed and memory; one row per file; gates for CI. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/tensor_file.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/outfile.h"
#include "src/eval/against.h"
#include "src/eval/baseline.h"
#include "src/eval/gates.h"
#include "src/eval/report.h"
#include "src/quant/run/selection.h"
#include "tools/cli.h"
#include "tools/date.h"
#include "tools/engine.h"
#include "tools/eval_ablate.h"
#include "tools/eval_report.h"
#include "tools/eval_sensitivity.h"
#include "tools/eval_survey.h"
#include "tools/interrupt.h"
#include "tools/opening.h"
#include "tools/outputs.h"

struct options {
    const char *sensitivity, *ablate, *data, *image_root, *reference, *save_reference, *date,
        *metrics, *report, *junit, *summary, *baseline;
    int64_t samples, tokens, max_new_tokens, batch, skip_broken;
    bool fast_activations, allow_overlap, force;
    vlmp_cli_list gates;
    vlmp_picture_reading pictures;
    vlmp_opener opener;
};

struct command {
    const vlmp_cli_command *cli;
    const vlmp_cli_args *args;
    struct options opt;
    vlmp_outfile saved; /* the reference; open from the start */
    vlmp_engine engine;
    vlmp_eval_data data;
    vlmp_eval_job job;
    vlmp_baseline baseline;
    vlmp_eval_run shared;
    vlmp_worst_sample worst[VLMP_WORST]; /* in report_arena */
    size_t worst_count;
    vlmp_arena report_arena;
    vlmp_buffer line;         /* the command as it was given */
    char work[VLMP_PATH_MAX]; /* folder of spilled activations */
    vlmp_reference reference;
    struct tm date;
    bool has_reference, saved_reference;
    vlmp_gate *gates;
    vlmp_eval_result *results;
};

/* Inputs are data, reference, baseline and models. */
static int keep_inputs(const struct command *c, const char *const *outputs, size_t count,
                       vlmp_error *err)
{
    size_t models = c->args->positional_count;
    const char **inputs = vlmp_calloc(models + 3, sizeof *inputs);
    if (inputs == NULL) return vlmp_fail_memory(err, "inputs");
    for (size_t i = 0; i < models; i++)
        inputs[i] = c->args->positionals[i];
    inputs[models] = c->opt.data;
    inputs[models + 1] = c->opt.reference;
    inputs[models + 2] = c->opt.baseline;
    int status = vlmp_outputs_apart(outputs, count, inputs, models + 3, err);
    free(inputs);
    return status;
}

/* Everything that can be refused before work is. */
static int check_options(struct command *c, vlmp_error *err)
{
    struct options *o = &c->opt;
    if (o->data == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--data D is missing; usage: vlm-eval MODEL-or-PACKED… --data D");
    VLMP_TRY(vlmp_date_parse(o->date, &c->date, &c->data.date, err));
    c->job.date_text = o->date;
    c->has_reference = o->reference != NULL;
    unsigned metrics = VLMP_METRIC_ALL;
    if (!c->has_reference) metrics &= ~(unsigned)VLMP_METRIC_KL;
    if (o->metrics != NULL) VLMP_TRY(vlmp_metrics_parse(&metrics, o->metrics, err));
    if ((metrics & VLMP_METRIC_KL) != 0 && !c->has_reference)
        return vlmp_fail(
            err, VLMP_ERR_USAGE,
            "kl compares with the original model: give --reference MODEL (or a saved .ref file)");
    if (o->save_reference != NULL && !c->has_reference)
        return vlmp_fail(err, VLMP_ERR_USAGE, "--save-reference needs --reference MODEL");
    c->gates = vlmp_calloc(o->gates.count, sizeof *c->gates);
    if (c->gates == NULL) return vlmp_fail_memory(err, "gates");
    for (size_t i = 0; i < o->gates.count; i++) {
        VLMP_TRY(vlmp_gate_parse(&c->gates[i], o->gates.items[i], err));
        VLMP_TRY(vlmp_gate_check(&c->gates[i], metrics, c->has_reference, err));
    }
    const char *outputs[] = {o->report, o->junit, o->summary, o->save_reference};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        if (outputs[i] != NULL) VLMP_TRY(vlmp_output_check(outputs[i], o->force, err));
    VLMP_TRY(keep_inputs(c, outputs, sizeof outputs / sizeof *outputs, err));
    if (o->save_reference != NULL)
        VLMP_TRY(vlmp_outfile_open(&c->saved, o->save_reference, o->force, err));
    c->job.metrics = metrics;
    return VLMP_OK;
}

static int load_reference(struct command *c, vlmp_error *err)
{
    vlmp_tensor_file *file;
    const char *path = c->opt.reference;
    if (c->opt.save_reference != NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--save-reference saves a model's run; %s is one already", path);
    VLMP_TRY(vlmp_tensor_file_open(&file, path, VLMP_REFERENCE_KEY,
                                   "make it again with --save-reference", err));
    int status = vlmp_tensor_file_verify(file, NULL, NULL, err);
    if (status == VLMP_OK)
        status =
            vlmp_reference_import(&c->reference, vlmp_tensor_file_find, vlmp_tensor_file_release,
                                  file, vlmp_tensor_file_metadata(file), path, c->work, err);
    vlmp_tensor_file_close(file);
    const char *alpha = c->reference.alpha;
    if (status == VLMP_OK && alpha[0] != '\0' && strcmp(alpha, c->opt.pictures.alpha) != 0)
        status =
            vlmp_fail(err, VLMP_ERR_INPUT,
                      "%s: made with --alpha %s on transparent pictures, this run has %s; give "
                      "the same",
                      path, alpha, c->opt.pictures.alpha);
    c->saved_reference = status == VLMP_OK;
    return status;
}

/* A saved reference is of this data, and brings the answers that stood in. */
static int take_stand_ins(struct command *c, vlmp_error *err)
{
    const char *path = c->opt.reference;
    char digest[VLMP_SHA256_HEX];
    vlmp_eval_data_digest(&c->data, digest);
    if (strcmp(digest, c->reference.data_digest) != 0 ||
        (size_t)c->reference.hidden.samples != c->data.count)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: made on other data than %s (%zu samples within the context of %d "
                         "tokens); give the data and --samples it was made with, or the reference "
                         "model itself",
                         path, c->opt.data, c->data.count, c->data.context);
    if (c->data.lacks_answers && c->reference.stand_ins == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: lacks the answers that stood in where the data has none; make it "
                         "again with --save-reference",
                         path);
    c->data.stand_ins = c->reference.stand_ins;
    c->reference.stand_ins = NULL;
    return VLMP_OK;
}

/* Looks at all models before any of them works: whether they can be compared, and which samples
 * fit the shortest context. */
static int survey(struct command *c, vlmp_error *err)
{
    const char *path = c->opt.reference;
    vlmp_side reference = c->reference.side, side;
    int context = reference.context, common;
    if (path != NULL && !c->saved_reference) {
        VLMP_TRY(vlmp_eval_look(&c->engine, path, &reference, err));
        context = reference.context;
    }
    for (size_t i = 0; i < c->args->positional_count; i++) {
        const char *name = c->args->positionals[i];
        VLMP_TRY(vlmp_eval_look(&c->engine, name, &side, err));
        if (path != NULL) VLMP_TRY(vlmp_side_check(&side, name, &reference, path, &common, err));
        if (context == 0 || side.context < context) context = side.context;
    }
    const char *counter = path != NULL && !c->saved_reference ? path : c->args->positionals[0];
    c->data.context = context;
    VLMP_TRY(vlmp_eval_look_at_data(&c->engine, counter, &c->data, c->args, err));
    if (!c->saved_reference) return VLMP_OK;
    return take_stand_ins(c, err);
}

/* What is known of the run before it computes, and whether the baseline is of the same. */
static int share(struct command *c, vlmp_error *err)
{
    c->shared = (vlmp_eval_run){.data = c->opt.data,
                                .max_new_tokens = (int)c->opt.max_new_tokens,
                                .left_out = c->data.left_out,
                                .left_out_count = c->data.left_out_count};
    c->shared.samples = c->data.count;
    VLMP_TRY(vlmp_eval_answers_digest(&c->data, c->shared.digest, err));
    if (c->opt.baseline == NULL) return VLMP_OK;
    return vlmp_baseline_check(&c->baseline, &c->shared, c->args->positionals,
                               c->args->positional_count, err);
}

static int save_reference(struct command *c, vlmp_error *err)
{
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    size_t count;
    const char *metadata;
    int status = vlmp_reference_export(&c->reference, &arena, &tensors, &count, &metadata, err);
    if (status == VLMP_OK)
        status = vlmp_tensor_file_write(&c->saved, VLMP_REFERENCE_KEY, metadata, tensors, count,
                                        vlmp_reference_read, &c->reference, err);
    vlmp_arena_free(&arena);
    return status;
}

static int prepare_reference(struct command *c, vlmp_error *err)
{
    const char *path = c->opt.reference;
    if (!c->saved_reference) {
        const char *answering = path != NULL ? path : c->args->positionals[0];
        if (c->data.lacks_answers)
            VLMP_TRY(vlmp_eval_stand_ins(&c->engine, answering, &c->data, err));
        if (path == NULL) return VLMP_OK;
        vlmp_eval_job job = c->job;
        job.path = path;
        VLMP_TRY(vlmp_eval_reference(&job, &c->engine, &c->reference, err));
        if (c->opt.save_reference != NULL) VLMP_TRY(save_reference(c, err));
    }
    c->job.reference = &c->reference;
    return VLMP_OK;
}

typedef void writer(vlmp_buffer *out, const struct command *c);

static void write_html(vlmp_buffer *out, const struct command *c)
{
    const vlmp_report report = {.data = c->opt.data,
                                .results = c->results,
                                .count = c->args->positional_count,
                                .worst = c->worst,
                                .worst_count = c->worst_count,
                                .command = c->line.data};
    vlmp_report_html(out, &report);
}

static void write_junit(vlmp_buffer *out, const struct command *c)
{
    vlmp_report_junit(out, c->results, c->args->positional_count);
}

static void write_summary(vlmp_buffer *out, const struct command *c)
{
    vlmp_report_markdown(out, c->opt.data, c->results, c->args->positional_count);
}

static int write_reports(const struct command *c, vlmp_error *err)
{
    const struct {
        const char *path;
        writer *write;
    } files[] = {
        {c->opt.report, write_html}, {c->opt.junit, write_junit}, {c->opt.summary, write_summary}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i].path == NULL) continue;
        vlmp_buffer out = {0};
        files[i].write(&out, c);
        int status = out.failed
                         ? vlmp_fail_memory(err, files[i].path)
                         : vlmp_file_write(files[i].path, out.data, out.length, c->opt.force, err);
        vlmp_buffer_free(&out);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static int print_results(const struct command *c, vlmp_error *err)
{
    vlmp_buffer out = {0};
    if (c->args->json) {
        vlmp_json_writer w = {.indent = 1};
        vlmp_results_write(&w, &c->shared, c->results, c->args->positional_count);
        out = w.out;
        vlmp_buffer_text(&out, "\n");
    } else {
        vlmp_report_text(&out, c->results, c->args->positional_count);
    }
    int status = out.failed ? vlmp_fail_memory(err, "report") : VLMP_OK;
    if (status == VLMP_OK) fwrite(out.data, 1, out.length, stdout);
    vlmp_buffer_free(&out);
    return status;
}

/* What GGUF files lack is most often that of the folder which they are compared with. */
static int set_opener(struct command *c, bool saved, vlmp_error *err)
{
    vlmp_path_kind kind = VLMP_PATH_FILE;
    vlmp_error other = {0};
    bool fits = c->opt.reference != NULL &&
                vlmp_opener_check(&c->opt.opener, &c->opt.reference, 1, &other) == VLMP_OK;
    VLMP_TRY(vlmp_fail_tried(err, &other));
    if (!fits)
        VLMP_TRY(vlmp_opener_check(&c->opt.opener, c->args->positionals, c->args->positional_count,
                                   err));
    c->engine.opener = c->opt.opener;
    if (c->opt.reference == NULL || saved) return VLMP_OK;
    VLMP_TRY(vlmp_path_look(&kind, c->opt.reference, err));
    if (kind != VLMP_PATH_FILE) c->engine.opener.spare = c->opt.reference;
    return VLMP_OK;
}

/* Modes that print a table of their own leave nothing for these to say. */
static int check_mode(const struct command *c, const char *mode, vlmp_error *err)
{
    static const char *const others[] = {"gate",    "report",         "junit",          "summary",
                                         "metrics", "save-reference", "max-new-tokens", "batch"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (vlmp_cli_given(c->cli, c->args, others[i]))
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "--%s and --%s contradict each other; give one of them", mode,
                             others[i]);
    return VLMP_OK;
}

/* What rounding costs, before anything is rounded. */
static int show_sensitivity(struct command *c, vlmp_error *err)
{
    VLMP_TRY(check_mode(c, "sensitivity", err));
    if (c->args->positional_count != 1 || c->opt.data != NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--sensitivity takes one model and no --data: it measures on samples of "
                         "the calibration");
    VLMP_TRY(vlmp_engine_start(&c->engine, c->args, err));
    return vlmp_eval_sensitivity(c->cli, c->args, &c->engine, c->args->positionals[0],
                                 c->opt.sensitivity, c->opt.tokens, err);
}

static int run(struct command *c, vlmp_error *err)
{
    if (c->opt.sensitivity == NULL && vlmp_cli_given(c->cli, c->args, "tokens"))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--tokens is of --sensitivity: what its rounding sees; --samples says how "
                         "much is evaluated");
    if (c->opt.sensitivity != NULL) return show_sensitivity(c, err);
    if (c->opt.ablate != NULL) VLMP_TRY(check_mode(c, "ablate", err));
    VLMP_TRY(check_options(c, err));
    if (c->opt.baseline != NULL) VLMP_TRY(vlmp_baseline_load(&c->baseline, c->opt.baseline, err));
    VLMP_TRY(vlmp_engine_start(&c->engine, c->args, err));
    VLMP_TRY(vlmp_dataset_open(&c->data.data, c->opt.data, c->opt.image_root, err));
    c->data.pictures = &c->opt.pictures;
    c->data.most = (size_t)c->opt.samples;
    c->data.allowed = c->opt.skip_broken;
    c->job.args = c->args;
    c->job.data = &c->data;
    c->job.max_new_tokens = (int)c->opt.max_new_tokens;
    c->job.batch = (int)c->opt.batch;
    c->job.fast_activations = c->opt.fast_activations;
    c->job.allow_overlap = c->opt.allow_overlap;
    vlmp_work_folder(c->work, NULL);
    c->job.work_folder = c->work;
    c->job.pictures = &c->opt.pictures;
    bool saved = false;
    if (c->opt.ablate != NULL && (c->opt.reference == NULL || c->args->positional_count != 1))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--ablate compares one packed file with --reference MODEL");
    if (c->opt.reference != NULL)
        VLMP_TRY(vlmp_tensor_file_is(&saved, c->opt.reference, VLMP_REFERENCE_KEY, err));
    if (saved && c->opt.ablate != NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--ablate puts the original's weights back: give --reference the model "
                         "itself, not a saved run");
    if (saved) VLMP_TRY(load_reference(c, err));
    VLMP_TRY(set_opener(c, saved, err));
    VLMP_TRY(survey(c, err));
    VLMP_TRY(share(c, err));
    VLMP_TRY(prepare_reference(c, err));
    if (c->opt.ablate != NULL) {
        c->job.path = c->args->positionals[0];
        return vlmp_eval_ablate(&c->job, &c->engine, c->opt.reference, err);
    }
    size_t failed_gates = 0, count = c->args->positional_count;
    c->results = vlmp_calloc(count, sizeof *c->results);
    if (c->results == NULL) return vlmp_fail_memory(err, "results");
    for (size_t i = 0; i < count; i++)
        vlmp_result_init(&c->results[i]);
    for (size_t i = 0; i < count; i++) {
        size_t failed = 0;
        c->job.path = c->args->positionals[i];
        VLMP_TRY(vlmp_eval_model(&c->job, &c->engine, &c->results[i], err));
        VLMP_TRY(vlmp_gates_judge(&c->results[i], c->gates, c->opt.gates.count, &failed, err));
        failed_gates += failed;
        if (c->opt.baseline != NULL)
            VLMP_TRY(vlmp_baseline_judge(&c->baseline, i, &c->results[i], (uint64_t)c->args->seed,
                                         &failed_gates, err));
    }
    VLMP_TRY(vlmp_against_original(c->results, count, (uint64_t)c->args->seed, err));
    VLMP_TRY(print_results(c, err));
    if (c->opt.report != NULL)
        VLMP_TRY(vlmp_eval_worst(&c->job, &c->engine, c->results, count, &c->report_arena, c->worst,
                                 &c->worst_count, err));
    VLMP_TRY(write_reports(c, err));
    if (failed_gates > 0)
        return vlmp_fail(err, VLMP_ERR_GATE, "%zu gate%s failed", failed_gates,
                         failed_gates == 1 ? "" : "s");
    return VLMP_OK;
}

int main(int argc, char **argv)
{
    struct command c = {.opt = {.tokens = VLMP_TOKENS_AUTO,
                                .max_new_tokens = 48,
                                .batch = 8,
                                .pictures = VLMP_PICTURE_READING_DEFAULT,
                                .opener = VLMP_OPENER_DEFAULT},
                        .saved = {.fd = -1}};
    struct options *o = &c.opt;
    const vlmp_cli_option options[] = {
        {.name = "data",
         .value = "D",
         .help = "JSONL, LLaVA JSON, COCO captions, or a folder of pictures",
         .string = &o->data},
        {.name = "sensitivity",
         .value = "CALIB",
         .help = "instead: what rounding each linear of the model costs, measured on samples of a "
                 "calibration; kept in CALIB.sensitivity.json",
         .string = &o->sensitivity},
        {.name = "tokens",
         .value = "N|all",
         .help = "of --sensitivity: tokens of the calibration that the rounding sees (default: as "
                 "vlm-quantize)",
         .integer = &o->tokens,
         .word = "all",
         .low = 1,
         .high = 1ll << 40},
        {.name = "ablate",
         .value = "components",
         .help = "instead: what each component of a packed file costs alone, and what is gained "
                 "where it is put back",
         .string = &o->ablate,
         .choices = "components"},
        {.name = "image-root",
         .value = "DIR",
         .help = "folder that picture paths are relative to",
         .string = &o->image_root},
        {.name = "date",
         .value = "DATE",
         .help =
             "what strftime_now of the chat template shows, as 2026-11-26 or 2026-11-26T09:30:00",
         .string = &o->date},
        {.name = "reference",
         .value = "R",
         .help = "the original model, or a saved .ref: KL, top-1, ratios",
         .string = &o->reference},
        {.name = "save-reference",
         .value = "R.ref",
         .help = "save the reference's run for later calls",
         .string = &o->save_reference},
        {.name = "metrics",
         .value = "LIST",
         .help = "of ppl, kl, bleu, cider, speed (default: all that can be computed)",
         .string = &o->metrics},
        {.name = "samples",
         .value = "N",
         .help = "the first N samples (default: all)",
         .integer = &o->samples,
         .low = 1,
         .high = 1 << 24},
        {.name = "max-new-tokens",
         .value = "N",
         .help = "of generated answers (default 48)",
         .integer = &o->max_new_tokens,
         .low = 1,
         .high = 1 << 20},
        {.name = "batch",
         .value = "N",
         .help = "answers generated together (default 8); changes no answer",
         .integer = &o->batch,
         .low = 1,
         .high = 1024},
        {.name = "skip-broken",
         .value = "N",
         .help = "broken samples to leave out, each listed (default 0)",
         .integer = &o->skip_broken,
         .low = 0,
         .high = 1 << 24},
        {.name = "fast-activations",
         .help = "int8 activations in all quantized linears",
         .flag = &o->fast_activations},
        {.name = "allow-overlap",
         .help = "score samples that the file was calibrated on",
         .flag = &o->allow_overlap},
        VLMP_PICTURE_OPTIONS(&o->pictures),
        VLMP_OPENER_OPTIONS(&o->opener),
        {.name = "gate",
         .value = "EXPR",
         .help = "fail (exit 3) unless it holds: \"kl.mean<=0.02\"",
         .list = &o->gates},
        {.name = "baseline",
         .value = "OLD.json",
         .help = "fail (exit 3) where a metric got worse than in this --json document",
         .string = &o->baseline},
        {.name = "report", .value = "F.html", .help = "write a report", .string = &o->report},
        {.name = "junit",
         .value = "F.xml",
         .help = "write the gates as JUnit",
         .string = &o->junit},
        {.name = "summary",
         .value = "F.md",
         .help = "write the table as Markdown",
         .string = &o->summary},
        {.name = "force", .help = "replace existing outputs", .flag = &o->force},
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-eval",
        .summary =
            "Measures quality against a reference, speed and memory of models and packed files.",
        .usage = "MODEL-or-PACKED… --data D [--reference MODEL] [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = -1,
        .options = options,
        .examples =
            "vlm-eval gptq.vlmp int8.vlmp --reference demo/model --data demo/eval/data.jsonl "
            "--samples 32\n"
            "vlm-eval int8.vlmp --reference demo/model --data demo/eval/data.jsonl "
            "--metrics kl --gate \"kl.mean<=0.02\""};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    c.cli = &command;
    c.args = &args;
    vlmp_interrupt_install();
    vlmp_command_line(&c.line, argc, argv);
    vlmp_error err = {0};
    int status = run(&c, &err);
    vlmp_buffer_free(&c.line);
    vlmp_arena_free(&c.report_arena);
    for (size_t i = 0; c.results != NULL && i < args.positional_count; i++)
        vlmp_result_free(&c.results[i]);
    free(c.results);
    free(c.gates);
    vlmp_baseline_free(&c.baseline);
    vlmp_picture_reading_free(&o->pictures);
    vlmp_reference_free(&c.reference);
    vlmp_outfile_abort(&c.saved);
    vlmp_eval_data_free(&c.data);
    vlmp_engine_free(&c.engine);
    return vlmp_cli_finish(&command, &args, status, &err);
}
