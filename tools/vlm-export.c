/* vlm-export: a packed model as a folder that other engines load. */
#include <stdio.h>
#include <string.h>

#include "formats/export.h"
#include "formats/hub.h"
#include "formats/packed.h"
#include "src/model/model.h"
#include "tools/cli.h"
#include "tools/emit.h"
#include "tools/export_imatrix.h"
#include "tools/export_report.h"
#include "tools/inspect.h"
#include "tools/interrupt.h"
#include "tools/opening.h"
#include "tools/outputs.h"
#include "tools/progress.h"

struct options {
    const char *format, *output, *engine, *report, *base_model, *calib, *imatrix;
    vlmp_emit emit;
    vlmp_opener opener;
    uint64_t shard_bytes;
    bool dry_run, force, requantize;
};

struct command {
    const vlmp_cli_command *cli;
    const vlmp_cli_args *args;
    struct options opt;
    vlmp_source *source;
    vlmp_model model;
    vlmp_export export;
    vlmp_export_facts facts;
    vlmp_outfolder folder;
};

/* The formats and engines that the options name. */
static int choose(const struct options *o, const vlmp_export_layout **layout, vlmp_serve *engine,
                  vlmp_error *err)
{
    *layout = vlmp_export_layout_find(o->format);
    *engine = vlmp_layout_serve((*layout)->layout);
    if (o->engine != NULL) *engine = vlmp_serve_from_name(o->engine);
    if (vlmp_serve_reads(*engine, (*layout)->layout)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE, "%s does not read %s; give it --format %s",
                     vlmp_serve_name(*engine), o->format,
                     vlmp_layout_name(vlmp_serve_layout(*engine)));
}

static int open_packed(struct command *c, vlmp_error *err)
{
    const char *path = c->args->positionals[0];
    VLMP_TRY(vlmp_opener_check(&c->opt.opener, c->args->positionals, 1, err));
    VLMP_TRY(vlmp_opener_open(&c->opt.opener, &c->source, path, err));
    if (strcmp(c->source->kind, "packed") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: is a model folder; quantize it first, with vlm-quantize", path);
    return vlmp_model_open_weights(&c->model, c->source, err);
}

/* Every hash, before bytes are passed on. */
static int verify(const struct command *c, vlmp_error *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < c->source->count(c->source); i++)
        bytes += c->source->at(c->source, i)->bytes;
    vlmp_progress progress;
    vlmp_progress_begin_bytes(&progress, c->args, "checking", (double)bytes);
    int status = vlmp_packed_verify(c->source, vlmp_verify_progress, &progress, err);
    vlmp_progress_end(&progress);
    return status;
}

static int write_folder(struct command *c, vlmp_error *err)
{
    vlmp_progress progress;
    vlmp_progress_begin_bytes(&progress, c->args, "writing", (double)vlmp_export_bytes(&c->export));
    int status =
        c->export.layout->write(&c->export, &c->folder, vlmp_verify_progress, &progress, err);
    vlmp_progress_end(&progress);
    VLMP_TRY(status);
    VLMP_TRY(vlmp_export_write_files(&c->export, &c->folder, err));
    VLMP_TRY(vlmp_export_write_documents(&c->facts, &c->folder, err));
    VLMP_TRY(vlmp_emit_write(&c->opt.emit, &c->facts, &c->folder, err));
    return vlmp_outfolder_commit(&c->folder, err);
}

static int exclusive(const struct command *c, const char *option, const char *const *others,
                     size_t count, vlmp_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *const names[] = {option, others[i], NULL};
        VLMP_TRY(vlmp_cli_exclusive(c->cli, c->args, names, err));
    }
    return VLMP_OK;
}

/* What is written: a folder, or with --imatrix a file. */
static int check_usage(const struct command *c, vlmp_error *err)
{
    static const char *const of_folders[] = {"format",           "output",     "for",
                                             "report",           "base-model", "shard-size",
                                             "allow-requantize", "emit",       "dry-run"};
    static const char *const of_emit[] = {"storage-uri", "prometheus", "previous",
                                          "share",       "replicas",   "queue"};
    const struct options *o = &c->opt;
    if ((o->imatrix != NULL) != (o->calib != NULL))
        return vlmp_fail(err, VLMP_ERR_USAGE, "--imatrix FILE and --calib CALIB go together");
    for (size_t i = 0; i < sizeof of_emit / sizeof *of_emit && o->emit.kind == NULL; i++)
        if (vlmp_cli_given(c->cli, c->args, of_emit[i]))
            return vlmp_fail(err, VLMP_ERR_USAGE, "--%s is for --emit kserve or compose",
                             of_emit[i]);
    if (o->imatrix != NULL)
        return exclusive(c, "imatrix", of_folders, sizeof of_folders / sizeof *of_folders, err);
    if (o->emit.kind != NULL)
        VLMP_TRY(exclusive(c, "emit", (const char *const[]){"dry-run"}, 1, err));
    if (o->format == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "say what to write: --format F, or --imatrix FILE --calib CALIB");
    if (o->base_model != NULL && !vlmp_is_hub_id(o->base_model))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--base-model %s: is no name on the hub; give ORG/NAME", o->base_model);
    if (o->output == NULL && !o->dry_run)
        return vlmp_fail(err, VLMP_ERR_USAGE, "say where to write: -o DIR, or --dry-run");
    return VLMP_OK;
}

static int run(struct command *c, vlmp_error *err)
{
    const struct options *o = &c->opt;
    VLMP_TRY(check_usage(c, err));
    if (o->imatrix != NULL)
        return vlmp_export_imatrix(c->args->positionals[0], o->calib, o->imatrix, o->force, c->args,
                                   err);
    const vlmp_export_layout *layout;
    vlmp_serve engine;
    VLMP_TRY(choose(o, &layout, &engine, err));
    VLMP_TRY(vlmp_emit_check(&o->emit, engine, err));
    VLMP_TRY(open_packed(c, err));
    VLMP_TRY(vlmp_export_open(&c->export, c->source, &c->model.config, layout, engine,
                              o->requantize, err));
    if (o->shard_bytes > 0) c->export.shard_bytes = o->shard_bytes;
    c->facts =
        (vlmp_export_facts){.export = &c->export, .output = o->output, .base_model = o->base_model};
    if (o->report != NULL) VLMP_TRY(vlmp_export_read_report(&c->facts, o->report, err));
    if (o->output != NULL) {
        const char *inputs[] = {c->args->positionals[0], o->report};
        VLMP_TRY(vlmp_outfolder_check(o->output, o->force, err));
        VLMP_TRY(vlmp_outputs_apart(&o->output, 1, inputs, 2, err));
    }
    if (!o->dry_run) {
        VLMP_TRY(verify(c, err));
        VLMP_TRY(vlmp_outfolder_open(&c->folder, o->output, o->force, err));
        VLMP_TRY(write_folder(c, err));
    }
    return vlmp_export_print(&c->facts, c->args, o->dry_run, err);
}

int main(int argc, char **argv)
{
    struct command c = {.opt.opener = VLMP_OPENER_DEFAULT};
    struct options *o = &c.opt;
    o->emit = (vlmp_emit){.share = 10, .replicas = 2, .queue = 32};
    const vlmp_cli_option options[] = {
        {.name = "format",
         .value = "F",
         .help = "compressed-tensors, gptq, awq or gguf",
         .string = &o->format,
         .choices = "compressed-tensors|gptq|awq|gguf"},
        {.name = "output",
         .letter = 'o',
         .value = "DIR",
         .help = "folder to write",
         .string = &o->output},
        {.name = "for",
         .value = "ENGINE",
         .help = "whose limits to keep: vllm (default), sglang, transformers; llamacpp for gguf",
         .string = &o->engine,
         .choices = "vllm|sglang|transformers|llamacpp"},
        {.name = "report",
         .value = "R.json",
         .help = "what vlm-eval --json printed about the packed file: for model card and checklist",
         .string = &o->report},
        {.name = "base-model",
         .value = "ORG/NAME",
         .help = "the source model on the hub: for the model card",
         .string = &o->base_model},
        {.name = "shard-size",
         .value = "BYTES",
         .help = "a file of weights has at most so many, or one tensor (default: 5 · 10⁹)",
         .bytes = &o->shard_bytes},
        {.name = "allow-requantize",
         .help =
             "round what the format cannot hold exactly to what it can (gptq, awq: scales; gguf); "
             "--dry-run lists it",
         .flag = &o->requantize},
        {.name = "dry-run",
         .help = "say of each tensor what becomes of it, write nothing",
         .flag = &o->dry_run},
        {.name = "emit",
         .value = "KIND",
         .help = "into the folder, too, what serves it: kserve or compose, with vLLM",
         .string = &o->emit.kind,
         .choices = "kserve|compose"},
        {.name = "storage-uri",
         .value = "URI",
         .help = "where a cluster finds the folder: pvc://, s3://, oci://, hf:// … (kserve)",
         .string = &o->emit.storage_uri},
        {.name = "prometheus",
         .value = "URL",
         .help = "whom the autoscaler asks for the queue's length (kserve)",
         .string = &o->emit.prometheus},
        {.name = "previous",
         .value = "NAME",
         .help = "the version before, which keeps most of the traffic: an InferenceService "
                 "(kserve), a folder as seen from DIR (compose)",
         .string = &o->emit.previous},
        {.name = "share",
         .value = "PERCENT",
         .help = "of the traffic for this version beside it (default: 10)",
         .integer = &o->emit.share,
         .low = 1,
         .high = 99},
        {.name = "replicas",
         .value = "N",
         .help = "servers of a version, a GPU each; kserve: at most (default: 2)",
         .integer = &o->emit.replicas,
         .low = 1,
         .high = 64},
        {.name = "queue",
         .value = "N",
         .help = "requests running and waiting that a server is meant to have at hand; more start "
                 "another (kserve; default: 32)",
         .integer = &o->emit.queue,
         .low = 1,
         .high = 100000},
        {.name = "imatrix",
         .value = "FILE",
         .help = "instead of a folder: the importance matrix that llama.cpp's own quantizer takes",
         .string = &o->imatrix},
        {.name = "calib",
         .value = "CALIB",
         .help = "what vlm-calibrate measured on the model, for --imatrix",
         .string = &o->calib},
        VLMP_OPENER_OPTIONS(&o->opener),
        {.name = "force", .help = "replace an earlier export", .flag = &o->force},
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-export",
        .summary = "Writes a packed model as a folder that other engines load.",
        .usage = "OUT.vlmp --format F -o DIR [options]\n"
                 "       vlm-export MODEL --calib CALIB --imatrix FILE",
        .positional = "OUT.vlmp",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options,
        .computes_nothing = true,
        .notes = "What the format or the engine cannot express is refused before any work, with "
                 "the rule and what would fit.",
        .examples = "vlm-export gptq.vlmp --format compressed-tensors -o gptq-w4a16\n"
                    "vlm-export gptq.vlmp --format gguf --allow-requantize --dry-run\n"
                    "vlm-export demo/model --calib demo.calib --imatrix demo.imatrix"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    c.cli = &command;
    c.args = &args;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    int status = run(&c, &err);
    vlmp_outfolder_abort(&c.folder);
    vlmp_export_facts_free(&c.facts);
    vlmp_export_free(&c.export);
    vlmp_model_close(&c.model);
    if (c.source != NULL) vlmp_opener_close(&o->opener, c.source);
    vlmp_opener_free(&o->opener);
    return vlmp_cli_finish(&command, &args, status, &err);
}
