/* vlm-quantize: a model folder into one packed file, block by block. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/export.h"
#include "formats/journal_sink.h"
#include "formats/packed.h"
#include "src/base/clock.h"
#include "src/base/file.h"
#include "src/base/outfile.h"
#include "src/model/family.h"
#include "src/quant/run/boundary.h"
#include "src/quant/run/driver.h"
#include "src/quant/run/record.h"
#include "tools/block_costs.h"
#include "tools/calibration_file.h"
#include "tools/cli.h"
#include "tools/engine.h"
#include "tools/interrupt.h"
#include "tools/outputs.h"
#include "tools/progress.h"
#include "tools/quantize_budget.h"
#include "tools/quantize_finished.h"
#include "tools/quantize_options.h"
#include "tools/quantize_origin.h"
#include "tools/quantize_plan.h"
#include "tools/quantize_report.h"
#include "tools/quantize_tensors.h"
#include "tools/terminal.h"

struct command {
    const vlmp_cli_command *cli;
    const vlmp_cli_args *args;
    vlmp_quantize_options opt;
    vlmp_engine engine;
    vlmp_recipe recipe;
    vlmp_quantize_plan what;
    vlmp_json_writer tensors; /* "vlmp.fates", of a model that is not run */
    vlmp_identity identity;
    char calib_digest[VLMP_SHA256_HEX];
    vlmp_calibration calibration;
    vlmp_selection selection;     /* what the run takes of it */
    char work[VLMP_PATH_MAX];     /* folder of spilled activations and the two below */
    char journal[VLMP_PATH_MAX];  /* path */
    char boundary[VLMP_PATH_MAX]; /* see vlmp_quantize_job */
    vlmp_sink *sink;
    vlmp_progress progress;
    double started;
    bool spoiled;  /* blocks were computed from a file that changed: the journal is of no use */
    bool finished; /* the packed file is in its place */
};

static bool is_run(const struct command *c)
{
    return vlmp_family_runs(c->engine.model.config.family);
}

/* Where nothing but a budget is given, the recipe follows from what is measured. */
static int choose_by_budget(struct command *c, vlmp_error *err)
{
    char work[VLMP_PATH_MAX];
    if (c->opt.work != NULL)
        snprintf(work, sizeof work, "%s", c->opt.work);
    else
        vlmp_work_folder(work, c->opt.output);
    return vlmp_budget_make_recipe(&c->recipe, c->cli, c->args, &c->opt, &c->engine, work, err);
}

static int make_plan(struct command *c, vlmp_error *err)
{
    VLMP_TRY(vlmp_quantize_plan_make(&c->what, &c->engine.model, &c->recipe,
                                     c->opt.recipe != NULL ? c->opt.recipe : "options", err));
    if (c->opt.data_free && c->what.plan.needs_calibration)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--data-free and gptq or awq, which need statistics, contradict each "
                         "other; take rtn or int8");
    return VLMP_OK;
}

/* Of a model that is not run: every tensor, before work starts and for the file. */
static int list_tensors(struct command *c, vlmp_error *err)
{
    vlmp_tensor_line *lines;
    int count;
    if (is_run(c)) return VLMP_OK;
    VLMP_TRY(
        vlmp_tensor_lines(&lines, &count, c->engine.source, c->what.linears, &c->what.plan, err));
    vlmp_tensor_lines_write(lines, count, &c->tensors);
    vlmp_buffer table = {0};
    vlmp_tensor_lines_print(lines, count, &table);
    free(lines);
    bool failed = c->tensors.out.failed || table.failed, dry = c->opt.dry_run;
    if (!failed && !(dry ? c->args->json : c->args->quiet))
        fprintf(dry ? stdout : stderr, "%s\n", table.data);
    vlmp_buffer_free(&table);
    return failed ? vlmp_fail_memory(err, "list of tensors") : VLMP_OK;
}

/* --for: whether the engine can load what this will be, in whatever format. */
static int check_engine(const struct command *c, vlmp_error *err)
{
    if (c->opt.engine == NULL) return VLMP_OK;
    vlmp_serve engine = vlmp_serve_from_name(c->opt.engine);
    vlmp_layout layout = vlmp_serve_layout(engine);
    VLMP_TRY(
        vlmp_export_check_family(&c->engine.model.config, layout, c->args->positionals[0], err));
    VLMP_TRY(vlmp_serve_check(&layout, engine, c->what.packed.linears, c->what.packed.linear_count,
                              c->opt.recipe != NULL ? c->opt.recipe : "options", err));
    if (layout != vlmp_serve_layout(engine))
        vlmp_cli_warn(c->cli, c->args, "%s takes this as vlm-export --format %s alone",
                      vlmp_serve_name(engine), vlmp_layout_name(layout));
    return VLMP_OK;
}

/* The part of a run that says what is computed. */
static vlmp_quantize_job job_of(const struct command *c)
{
    return (vlmp_quantize_job){.sweep = {.model = &c->engine.model},
                               .linears = c->what.linears,
                               .linear_count = c->what.linear_count,
                               .plan = &c->what.plan,
                               .calibration =
                                   c->what.plan.needs_calibration ? &c->calibration : NULL,
                               .selection = c->what.plan.needs_calibration ? &c->selection : NULL,
                               .sequential = c->opt.sequential};
}

static int load_calibration(struct command *c, vlmp_error *err)
{
    if (!c->what.plan.needs_calibration) return VLMP_OK;
    if (c->opt.calib == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "gptq and awq need statistics: give --calib CALIB, made by vlm-calibrate");
    const vlmp_identity *identity = c->opt.dry_run ? NULL : &c->identity; /* reads weights */
    VLMP_TRY(vlmp_calibration_load(&c->calibration, c->opt.calib, &c->engine.model, identity,
                                   c->calib_digest, err));
    VLMP_TRY(
        vlmp_quantize_check(c->what.linears, &c->what.plan, &c->calibration, c->opt.calib, err));
    vlmp_quantize_job job = job_of(c);
    return vlmp_select(&c->selection, &job, c->opt.tokens, (uint64_t)c->args->seed, err);
}

/* Bytes beside the output while it runs; 0 when that depends on a calibration file not given. */
static int plan_work(struct command *c, uint64_t *work, vlmp_error *err)
{
    *work = 0;
    if (c->what.plan.needs_calibration && c->opt.calib == NULL) return VLMP_OK;
    VLMP_TRY(load_calibration(c, err));
    vlmp_quantize_job job = job_of(c);
    *work = vlmp_quantize_work_bytes(&job);
    return VLMP_OK;
}

static bool rounds_to_bf16(const struct command *c)
{
    return strcmp(c->opt.precision, "bf16") == 0;
}

static vlmp_quantize_origin origin_of(const struct command *c, const char *recipe)
{
    return (vlmp_quantize_origin){.model = &c->identity,
                                  .calibration = &c->calibration,
                                  .calibration_digest = c->calib_digest,
                                  .selection =
                                      c->what.plan.needs_calibration ? &c->selection : NULL,
                                  .recipe = recipe,
                                  .sequential = c->opt.sequential,
                                  .bf16 = rounds_to_bf16(c),
                                  .kernels = vlmp_ctx_describe(c->engine.ctx)};
}

/* c->work, c->journal and c->boundary: beside the output, or in --work. */
static void place_work(struct command *c)
{
    const char *name = strrchr(c->opt.output, '/');
    name = name != NULL ? name + 1 : c->opt.output;
    if (c->opt.work != NULL)
        snprintf(c->work, sizeof c->work, "%s", c->opt.work);
    else
        vlmp_work_folder(c->work, c->opt.output);
    vlmp_path_join(c->journal, sizeof c->journal - sizeof ".journal", c->work, name);
    strcpy(c->boundary, c->journal);
    strcat(c->journal, ".journal");
    strcat(c->boundary, ".border");
}

static int open_sink(struct command *c, vlmp_error *err)
{
    char program[VLMP_SHA256_HEX];
    VLMP_TRY(vlmp_quantize_program(program, err));
    vlmp_buffer identity = {0};
    vlmp_json_writer recipe = {0};
    vlmp_recipe_write(&c->recipe, &recipe);
    vlmp_quantize_origin origin = origin_of(c, recipe.out.data);
    origin.program = program;
    vlmp_quantize_identity(&origin, &identity);
    vlmp_journal_mode mode = c->opt.resume  ? VLMP_JOURNAL_RESUME
                             : c->opt.force ? VLMP_JOURNAL_REPLACE
                                            : VLMP_JOURNAL_NEW;
    int status = identity.failed || recipe.out.failed
                     ? vlmp_fail_memory(err, "journal")
                     : vlmp_journal_sink_open(&c->sink, c->journal, identity.data, mode, err);
    vlmp_buffer_free(&identity);
    vlmp_buffer_free(&recipe.out);
    return status;
}

static void on_linear(void *arg, const vlmp_linear_result *result)
{
    struct command *c = arg;
    vlmp_buffer line = {0};
    vlmp_quantize_row(&line, result);
    if (!line.failed) vlmp_progress_row(&c->progress, line.data);
    vlmp_buffer_free(&line);
}

static void on_notice(void *arg, const char *text)
{
    struct command *c = arg;
    vlmp_progress_say(&c->progress, "%s", text);
}

static void on_progress(void *arg, const char *stage, int done, int total)
{
    struct command *c = arg;
    char detail[64];
    int before = strcmp(stage, "text") == 0 ? c->engine.model.vision.layers : 0;
    snprintf(detail, sizeof detail, "%s%s %d of %d", stage, is_run(c) ? " block" : "", done, total);
    vlmp_progress_update(&c->progress, before + done, detail);
}

/* How often a stack is run for each row: once where it is kept, else with the original and the
 * quantized weights, and about as long again goes into second moments and into the method. */
static double passes(const struct command *c, const vlmp_stack *stack)
{
    size_t length = strlen(stack->prefix);
    for (int i = 0; i < c->what.linear_count; i++)
        if (strncmp(c->what.linears[i].name, stack->prefix, length) == 0 &&
            vlmp_method_needs_calibration(c->what.plan.entries[i].method))
            return 4;
    return 1;
}

/* Without a calibration nothing is run, and rounding costs the same for each weight. */
static void weigh_blocks(struct command *c)
{
    const vlmp_model *model = &c->engine.model;
    vlmp_block_rows rows = {1, 1, passes(c, &model->vision), passes(c, &model->text)};
    for (size_t i = 0; c->what.plan.needs_calibration && i < c->calibration.count; i++)
        vlmp_block_rows_add(&rows, &c->calibration.samples[i].sequence, &model->config);
    vlmp_block_costs(&c->progress, model, &rows);
}

static int quantize(struct command *c, vlmp_error *err)
{
    const vlmp_model *model = &c->engine.model;
    vlmp_preprocess preprocess = {0};
    if (c->what.plan.needs_calibration)
        VLMP_TRY(vlmp_preprocess_from_source(&preprocess, NULL, c->engine.source, err));
    vlmp_progress_begin(&c->progress, c->args, "quantizing",
                        is_run(c) ? model->vision.layers + model->text.layers
                                  : c->what.linear_count);
    if (is_run(c)) weigh_blocks(c);
    vlmp_buffer selected = {0}, head = {0};
    if (c->what.plan.needs_calibration) vlmp_selection_show(&c->selection, &selected);
    vlmp_quantize_head(&head);
    if (selected.data != NULL && !selected.failed)
        vlmp_progress_say(&c->progress, "%s", selected.data);
    if (!head.failed) vlmp_progress_row(&c->progress, head.data);
    vlmp_buffer_free(&selected);
    vlmp_buffer_free(&head);
    vlmp_quantize_job job = job_of(c);
    job.sweep = (vlmp_sweep){.ctx = c->engine.ctx,
                             .model = model,
                             .preprocess = &preprocess,
                             .work_folder = c->work,
                             .memory_limit = VLMP_STORE_MEMORY,
                             .progress = on_progress,
                             .progress_arg = c,
                             .interrupted = vlmp_interrupt_flag()};
    job.gptq = vlmp_gptq_defaults();
    job.sink = c->sink;
    job.boundary = c->boundary;
    job.on_linear = on_linear;
    job.on_notice = on_notice;
    job.arg = c;
    int status = vlmp_quantize(&job, err);
    vlmp_progress_end(&c->progress);
    return status;
}

static int finish(struct command *c, vlmp_error *err)
{
    vlmp_quantize_summary summary = {.auto_channels = c->what.plan.auto_channels,
                                     .selection =
                                         c->what.plan.needs_calibration ? &c->selection : NULL};
    vlmp_json_writer decisions = {0}, recipe = {0}, provenance = {0};
    int status = vlmp_quantize_collect(&summary, c->sink, &c->what.packed, &decisions, err);
    if (status == VLMP_OK && summary.fallbacks > c->opt.allow_fallbacks)
        status = vlmp_fail(err, VLMP_ERR_GATE,
                           "%d linears fell back (first: %s); --allow-fallbacks %d accepts them, "
                           "--resume then finishes without computing again",
                           summary.fallbacks, summary.first_fallback, summary.fallbacks);
    vlmp_recipe_write(&c->recipe, &recipe);
    vlmp_quantize_origin origin = origin_of(c, recipe.out.data);
    vlmp_quantize_provenance(&origin, &provenance);
    if (status == VLMP_OK && (decisions.out.failed || recipe.out.failed || provenance.out.failed))
        status = vlmp_fail_memory(err, "metadata");
    char digest[VLMP_SHA256_HEX];
    if (status == VLMP_OK) {
        vlmp_packed_entry entries[] = {
            {"vlmp.recipe", recipe.out.data, VLMP_RESERVE_RECIPE},
            {"vlmp.provenance", provenance.out.data, VLMP_RESERVE_PROVENANCE},
            {"vlmp.decisions", decisions.out.data,
             (size_t)c->what.plan.quantized * VLMP_RESERVE_LINEAR},
            {"vlmp.fates", c->tensors.out.data, 0}};
        status = vlmp_packed_write(&c->what.packed, entries, is_run(c) ? 3 : 4, c->opt.output,
                                   c->opt.force, vlmp_journal_sink_read, c->sink, digest, err);
    }
    vlmp_buffer_free(&decisions.out);
    vlmp_buffer_free(&recipe.out);
    vlmp_buffer_free(&provenance.out);
    if (status != VLMP_OK) return status;
    c->finished = true;
    return vlmp_quantize_done(c->cli, c->args, c->opt.output, digest, &summary, false,
                              vlmp_seconds() - c->started, err);
}

/* --resume, and the output is there: says so, and removes what a kill at the very end has left. */
static int finish_again(struct command *c, vlmp_error *err)
{
    vlmp_quantize_summary summary = {.auto_channels = c->what.plan.auto_channels,
                                     .selection =
                                         c->what.plan.needs_calibration ? &c->selection : NULL};
    char digest[VLMP_SHA256_HEX];
    vlmp_json_writer recipe = {0}, provenance = {0};
    vlmp_recipe_write(&c->recipe, &recipe);
    vlmp_quantize_origin origin = origin_of(c, recipe.out.data);
    vlmp_quantize_provenance(&origin, &provenance);
    int status = recipe.out.failed || provenance.out.failed
                     ? vlmp_fail_memory(err, "metadata")
                     : vlmp_quantize_check_finished(c->opt.output, &c->identity, recipe.out.data,
                                                    provenance.out.data, &summary, digest, err);
    vlmp_buffer_free(&recipe.out);
    vlmp_buffer_free(&provenance.out);
    VLMP_TRY(status);
    vlmp_path_kind there;
    VLMP_TRY(vlmp_path_look(&there, c->journal, err));
    if (there != VLMP_PATH_ABSENT) VLMP_TRY(open_sink(c, err));
    c->finished = true;
    return vlmp_quantize_done(c->cli, c->args, c->opt.output, digest, &summary, true,
                              vlmp_seconds() - c->started, err);
}

static int start_engine(struct command *c, vlmp_error *err)
{
    if (!rounds_to_bf16(c)) return vlmp_engine_start(&c->engine, c->args, err);
    if (c->args->device == VLMP_DEVICE_CUDA)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--precision bf16 and --device cuda contradict each other: a processor "
                         "computes it; give --device cpu, or leave the precision out");
    vlmp_error fault = {0};
    int status = vlmp_engine_start_level(&c->engine, "avx512bf16", c->args, &fault);
    if (status == VLMP_ERR_USAGE)
        return vlmp_fail(err, status,
                         "--precision bf16: this processor lacks AVX512-BF16 or AVX512-VNNI; leave "
                         "the option out to compute in F32");
    if (status != VLMP_OK)
        *err = fault;
    else if (c->args->device == VLMP_DEVICE_AUTO && !c->args->quiet)
        vlmp_show_line(stderr, "device: cpu, since --precision bf16 is computed by a processor");
    return status;
}

static int run(struct command *c, vlmp_error *err)
{
    bool by_budget;
    c->started = vlmp_seconds();
    VLMP_TRY(vlmp_budget_asked(&by_budget, c->cli, c->args, &c->opt, err));
    if (!by_budget)
        VLMP_TRY(vlmp_quantize_choose_recipe(&c->recipe, c->cli, c->args, &c->opt, err));
    VLMP_TRY(start_engine(c, err));
    VLMP_TRY((c->opt.data_free ? vlmp_engine_open_weights
                               : vlmp_engine_open)(&c->engine, c->args->positionals[0], err));
    if (strcmp(c->engine.source->kind, "folder") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: already packed; quantize the original model folder",
                         c->args->positionals[0]);
    if (by_budget) VLMP_TRY(choose_by_budget(c, err));
    VLMP_TRY(make_plan(c, err));
    VLMP_TRY(check_engine(c, err));
    VLMP_TRY(list_tensors(c, err));
    uint64_t work = 0;
    if (c->opt.dry_run) VLMP_TRY(plan_work(c, &work, err));
    VLMP_TRY(vlmp_quantize_print_plan(c->args, &c->what, c->tensors.out.data, c->opt.dry_run, work,
                                      err));
    if (c->opt.dry_run)
        return vlmp_quantize_check_groups(c->cli, c->args, c->what.linears, &c->what.plan,
                                          INT64_MAX, err);
    if (c->what.plan.needs_calibration && c->opt.calib == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "gptq and awq need statistics: give --calib CALIB, made by vlm-calibrate");
    if (c->opt.output == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE, "say where to write: -o OUT.vlmp");
    VLMP_TRY(vlmp_quantize_check_groups(c->cli, c->args, c->what.linears, &c->what.plan,
                                        c->opt.allow_fallbacks, err));
    vlmp_path_kind there;
    VLMP_TRY(vlmp_path_look(&there, c->opt.output, err));
    bool again = c->opt.resume && !c->opt.force && there == VLMP_PATH_FILE;
    if (!again) VLMP_TRY(vlmp_output_check(c->opt.output, c->opt.force, err));
    const char *inputs[] = {c->args->positionals[0], c->opt.calib, c->opt.recipe};
    VLMP_TRY(vlmp_outputs_apart(&c->opt.output, 1, inputs, 3, err));
    bool made = c->opt.work == NULL || mkdir(c->opt.work, 0777) == 0 || errno == EEXIST;
    if (!made || (c->opt.work != NULL && access(c->opt.work, W_OK) != 0))
        return vlmp_fail_errno(err, "%s: cannot make the work folder", c->opt.work);
    VLMP_TRY(vlmp_engine_check_weights(&c->engine, err));
    VLMP_TRY(vlmp_identity_of(&c->identity, c->engine.source, err));
    VLMP_TRY(load_calibration(c, err));
    place_work(c);
    if (again) return finish_again(c, err);
    VLMP_TRY(open_sink(c, err));
    int status = quantize(c, err);
    if (status == VLMP_ERR_INTERRUPTED)
        snprintf(err->message, sizeof err->message,
                 "interrupted; what is done is saved, the same command with --resume continues");
    VLMP_TRY(status);
    c->spoiled = vlmp_engine_check_files(&c->engine, err) != VLMP_OK;
    return c->spoiled ? err->code : finish(c, err);
}

static void clean(struct command *c, bool done)
{
    if (done && c->sink != NULL) {
        /* The journal last: while it is there, a run that is resumed removes what is left. */
        vlmp_boundary_remove(c->boundary);
        unlink(c->journal);
    }
    vlmp_journal_sink_close(c->sink);
    vlmp_calibration_free(&c->calibration);
    vlmp_selection_free(&c->selection);
    vlmp_buffer_free(&c->tensors.out);
    vlmp_quantize_plan_free(&c->what);
    vlmp_recipe_free(&c->recipe);
    vlmp_engine_free(&c->engine);
}

int main(int argc, char **argv)
{
    struct command c = {0};
    vlmp_cli_option options[VLMP_QUANTIZE_OPTIONS];
    vlmp_quantize_options_init(&c.opt, options);
    const vlmp_cli_command command = {
        .name = "vlm-quantize",
        .summary = "Quantizes a vision-language model, layer by layer, into one packed file.",
        .usage = "MODEL --method M [--calib CALIB] -o OUT.vlmp [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options,
        .examples = "vlm-quantize demo/model --method gptq --calib demo.calib -o gptq.vlmp\n"
                    "vlm-quantize demo/model --method int8 -o int8.vlmp\n"
                    "vlm-quantize demo/model --recipe demo/mixed.json --calib demo.calib "
                    "--dry-run"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    c.cli = &command;
    c.args = &args;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    int status = run(&c, &err);
    /* Neither a finished run nor one whose input is bad can go on. What an earlier run has done is
     * not thrown away for that. */
    clean(&c, c.finished || c.spoiled || (status == VLMP_ERR_INPUT && !c.opt.resume));
    return vlmp_cli_finish(&command, &args, status, &err);
}
