/* vlm-calibrate: chooses samples, runs the model on them, stores samples and activation statistics
 * with an audit of both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dataset.h"
#include "formats/tensor_file.h"
#include "src/base/outfile.h"
#include "src/calib/calibration.h"
#include "src/calib/noise.h"
#include "src/calib/sampling.h"
#include "tools/calibrate_audit.h"
#include "tools/cli.h"
#include "tools/engine.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/samples.h"
#include "tools/stand_in.h"

struct options {
    const char *data, *output, *image_root;
    int64_t samples, max_tokens, skip_broken;
    bool force;
    vlmp_picture_reading pictures;
};

struct command {
    const vlmp_cli_args *args;
    struct options opt;
    vlmp_outfile output; /* open from the start: a second run to the same name is refused */
    vlmp_engine engine;
    vlmp_reader reader;
    vlmp_session *session; /* only while answers are missing */
    vlmp_dataset data;
    vlmp_candidate *candidates; /* [data.count] */
    vlmp_calibration calibration;
    vlmp_audit audit;
    vlmp_progress progress;
};

/* Looks at a sample without the model: readable, not noise, which shape. */
static int inspect_sample(const vlmp_sample *sample, vlmp_picture_reading *reading,
                          vlmp_candidate *candidate, vlmp_error *err)
{
    vlmp_pictures pictures;
    VLMP_TRY(vlmp_pictures_load(&pictures, sample->images, sample->image_count, reading, err));
    int status = VLMP_OK;
    for (int i = 0; i < pictures.count && status == VLMP_OK; i++) {
        double correlation = vlmp_neighbour_correlation(&pictures.images[i]);
        if (correlation < VLMP_NOISE_CORRELATION)
            status = vlmp_fail(err, VLMP_ERR_INPUT,
                               "%s: looks like random noise (neighbouring pixels correlate by "
                               "%.2f; pictures have more than 0.5): noise makes useless statistics",
                               sample->images[i], correlation);
    }
    if (pictures.count > 0)
        candidate->aspect = (double)pictures.images[0].width / pictures.images[0].height;
    vlmp_pictures_free(&pictures);
    if (status == VLMP_OK) status = vlmp_sample_identity(sample, candidate->id, err);
    return status;
}

/* A broken sample is let through --skip-broken times and listed; then it ends the run. */
static int inspect_all(struct command *c, vlmp_error *err)
{
    int64_t broken = 0;
    vlmp_progress_begin(&c->progress, c->args, "looking at samples", (double)c->data.count);
    for (size_t i = 0; i < c->data.count; i++) {
        vlmp_error fault = {0};
        vlmp_candidate *candidate = &c->candidates[i];
        int status = inspect_sample(&c->data.samples[i], &c->opt.pictures, candidate, &fault);
        if (vlmp_interrupted()) return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        vlmp_progress_update(&c->progress, (double)(i + 1), NULL);
        if (status == VLMP_OK) continue;
        if (status != VLMP_ERR_INPUT || ++broken > c->opt.skip_broken)
            return vlmp_fail(
                err, status, "%s%s%s", fault.message,
                status == VLMP_ERR_INPUT ? "; --skip-broken N lets N such samples through" : "",
                "");
        candidate->state = VLMP_CANDIDATE_BROKEN;
        candidate->reason = strdup(fault.message);
        if (candidate->reason == NULL) return vlmp_fail_memory(err, "audit");
    }
    vlmp_progress_end(&c->progress);
    return VLMP_OK;
}

static int tokenize(struct command *c, size_t index, vlmp_sequence *sequence, vlmp_error *err)
{
    const vlmp_sample *sample = &c->data.samples[index];
    vlmp_candidate *candidate = &c->candidates[index];
    if (sample->answer_count > 0)
        return vlmp_sample_sequence(&c->reader, sample, sample->answers[0], &c->opt.pictures,
                                    sequence, err);
    if (candidate->stand_in == NULL) {
        if (c->session == NULL)
            VLMP_TRY(vlmp_session_create(&c->session, c->engine.ctx, &c->engine.model,
                                         &c->reader.preprocess, err));
        VLMP_TRY(vlmp_stand_in_answer(c->session, &c->reader, sample, &c->opt.pictures,
                                      &candidate->stand_in, err));
    }
    return vlmp_sample_sequence(&c->reader, sample, candidate->stand_in, &c->opt.pictures, sequence,
                                err);
}

/* Duplicates count once; what is longer than --max-tokens is left out whole, so that no picture is
 * cut. */
static int tokenize_all(struct command *c, vlmp_error *err)
{
    vlmp_mark_duplicates(c->candidates, c->data.count);
    vlmp_progress_begin(&c->progress, c->args, "tokenizing", (double)c->data.count);
    for (size_t i = 0; i < c->data.count; i++) {
        vlmp_candidate *candidate = &c->candidates[i];
        if (vlmp_interrupted()) return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (candidate->state != VLMP_CANDIDATE_OK) continue;
        vlmp_sequence sequence; /* its pixels are made again when it is chosen: all would not fit */
        VLMP_TRY(tokenize(c, i, &sequence, err));
        candidate->tokens = sequence.length;
        vlmp_sequence_free(&sequence);
        if (candidate->tokens > c->opt.max_tokens) candidate->state = VLMP_CANDIDATE_LONG;
        vlmp_progress_update(&c->progress, (double)(i + 1), NULL);
    }
    vlmp_progress_end(&c->progress);
    return VLMP_OK;
}

/* The way of showing transparency is part of the samples only where there is some. */
static void remember_alpha(struct command *c, const vlmp_sample *sample)
{
    for (int i = 0; i < sample->image_count; i++)
        if (vlmp_picture_is_transparent(&c->opt.pictures, sample->images[i]))
            snprintf(c->calibration.alpha, sizeof c->calibration.alpha, "%s",
                     c->opt.pictures.alpha);
}

static int choose(struct command *c, vlmp_error *err)
{
    size_t count = 0, want = (size_t)c->opt.samples;
    vlmp_stratum_key *keys = vlmp_calloc(c->data.count, sizeof *keys);
    size_t *of = vlmp_alloc(c->data.count, sizeof *of),
           *chosen = vlmp_alloc(c->data.count, sizeof *chosen);
    if (keys == NULL || of == NULL || chosen == NULL)
        return vlmp_fail_memory(err, "choice of samples");
    for (size_t i = 0; i < c->data.count; i++) {
        if (c->candidates[i].state != VLMP_CANDIDATE_OK) continue;
        const vlmp_sample *sample = &c->data.samples[i];
        keys[count] = (vlmp_stratum_key){
            .aspect = c->candidates[i].aspect,
            .prompt = sample->prompt,
            .answer_length = sample->answer_count > 0 ? strlen(sample->answers[0]) : 0};
        of[count++] = i;
    }
    int status = VLMP_OK;
    if (count == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: no usable sample; %zu were read, see the audit's reasons",
                           c->opt.data, c->data.count);
    if (status == VLMP_OK)
        status = vlmp_choose_samples(keys, count, want, (uint64_t)c->args->seed, chosen,
                                     &c->audit.strata, err);
    if (want > count) want = count;
    c->calibration.samples = vlmp_calloc(want, sizeof *c->calibration.samples);
    if (c->calibration.samples != NULL)
        c->calibration.count = want;
    else if (status == VLMP_OK)
        status = vlmp_fail_memory(err, "samples");
    for (size_t i = 0; i < c->calibration.count && status == VLMP_OK; i++) {
        size_t index = of[chosen[i]];
        vlmp_calib_sample *sample = &c->calibration.samples[i];
        sample->line = c->data.samples[index].line;
        status = tokenize(c, index, &sample->sequence, err);
        memcpy(sample->id, c->candidates[index].id, sizeof sample->id);
        c->candidates[index].state = VLMP_CANDIDATE_CHOSEN;
        remember_alpha(c, &c->data.samples[index]);
    }
    free(keys);
    free(of);
    free(chosen);
    return status;
}

static void on_progress(void *arg, const char *stage, int done, int total)
{
    struct command *c = arg;
    char detail[64];
    int before = strcmp(stage, "text") == 0 ? c->engine.model.vision.layers : 0;
    snprintf(detail, sizeof detail, "%s block %d of %d", stage, done, total);
    vlmp_progress_update(&c->progress, before + done, detail);
}

static int measure(struct command *c, vlmp_error *err)
{
    const vlmp_model *model = &c->engine.model;
    size_t count = c->calibration.count;
    vlmp_sequence *sequences = vlmp_alloc(count, sizeof *sequences);
    if (sequences == NULL) return vlmp_fail_memory(err, "samples");
    for (size_t i = 0; i < count; i++)
        sequences[i] = c->calibration.samples[i].sequence;
    char folder[VLMP_PATH_MAX];
    vlmp_work_folder(folder, c->opt.output);
    vlmp_sweep sweep = {.ctx = c->engine.ctx,
                        .model = model,
                        .preprocess = &c->reader.preprocess,
                        .data = c->opt.data,
                        .work_folder = folder,
                        .memory_limit = (size_t)256 << 20,
                        .progress = on_progress,
                        .progress_arg = c,
                        .interrupted = vlmp_interrupt_flag()};
    vlmp_collector collector = {0};
    vlmp_activations x = {.fd = -1};
    vlmp_batches batches = {0};
    vlmp_progress_begin(&c->progress, c->args, "measuring activations",
                        model->vision.layers + model->text.layers);
    int status = vlmp_statistics_create(&c->calibration.statistics, model, err);
    if (status == VLMP_OK)
        status =
            vlmp_collector_create(&collector, model, sequences, &c->calibration.statistics, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_all(&sweep, sequences, (int)count, vlmp_collect, &collector, &x,
                                &batches, err);
    if (collector.sums != NULL) vlmp_collector_finish(&collector);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    free(sequences);
    vlmp_progress_end(&c->progress);
    return status;
}

static int write_file(struct command *c, vlmp_error *err)
{
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    size_t count;
    const char *metadata;
    int status = vlmp_calibration_export(&c->calibration, &arena, &tensors, &count, &metadata, err);
    if (status == VLMP_OK)
        status =
            vlmp_tensor_file_write(&c->output, VLMP_CALIBRATION_KEY, metadata, tensors, count, err);
    vlmp_arena_free(&arena);
    return status;
}

static int run(struct command *c, vlmp_error *err)
{
    VLMP_TRY(vlmp_outfile_open(&c->output, c->opt.output, c->opt.force, err));
    VLMP_TRY(vlmp_engine_start(&c->engine, c->args, err));
    VLMP_TRY(vlmp_engine_open(&c->engine, c->args->positionals[0], err));
    VLMP_TRY(vlmp_reader_open(&c->reader, &c->engine.model, err));
    int context = c->engine.model.config.text.max_positions;
    if (c->opt.max_tokens == 0 || c->opt.max_tokens > context) c->opt.max_tokens = context;
    VLMP_TRY(vlmp_dataset_read(&c->data, c->opt.data, c->opt.image_root, err));
    c->candidates = vlmp_calloc(c->data.count, sizeof *c->candidates);
    if (c->candidates == NULL) return vlmp_fail_memory(err, "samples");
    VLMP_TRY(inspect_all(c, err));
    VLMP_TRY(vlmp_engine_check_weights(&c->engine, err));
    VLMP_TRY(tokenize_all(c, err));
    VLMP_TRY(choose(c, err));
    vlmp_session_free(
        c->session); /* its weights must not stay resident while activations are measured */
    c->session = NULL;
    vlmp_calibration_sizes(c->calibration.sizes, &c->engine.model);
    VLMP_TRY(vlmp_identity_of(&c->calibration.model, c->engine.source, err));
    VLMP_TRY(measure(c, err));
    VLMP_TRY(vlmp_engine_check_files(&c->engine, err));
    VLMP_TRY(vlmp_audit_make(&c->audit, c->candidates, &c->data, &c->opt.pictures, &c->calibration,
                             &c->engine.model, err));
    VLMP_TRY(write_file(c, err));
    return vlmp_audit_print(&c->audit, c->args, c->opt.output, &c->opt.pictures, &c->calibration,
                            err);
}

int main(int argc, char **argv)
{
    struct command c = {.opt = {.samples = 128, .pictures = VLMP_PICTURE_READING_DEFAULT},
                        .output = {.fd = -1}};
    struct options *o = &c.opt;
    const vlmp_cli_option options[] = {
        {.name = "data",
         .value = "D",
         .help = "JSONL, LLaVA JSON, COCO captions, or a folder of pictures",
         .string = &o->data,
         .required = true},
        {.name = "output",
         .letter = 'o',
         .value = "CALIB",
         .help = "calibration file to write",
         .string = &o->output,
         .required = true},
        {.name = "image-root",
         .value = "DIR",
         .help = "folder that picture paths are relative to (default: the data file's)",
         .string = &o->image_root},
        {.name = "samples",
         .value = "N",
         .help = "samples to choose (default 128)",
         .integer = &o->samples,
         .low = 1,
         .high = 1 << 20},
        {.name = "max-tokens",
         .value = "N",
         .help = "leave longer samples out (default: the model's context)",
         .integer = &o->max_tokens,
         .low = 1,
         .high = 1 << 24},
        {.name = "skip-broken",
         .value = "N",
         .help = "broken samples to let through, each listed in the audit (default 0)",
         .integer = &o->skip_broken,
         .low = 0,
         .high = 1 << 20},
        VLMP_PICTURE_OPTIONS(&o->pictures),
        {.name = "force", .help = "replace an existing output", .flag = &o->force},
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-calibrate",
        .summary = "Chooses calibration samples and measures the model's activations on them.",
        .usage = "MODEL --data D -o CALIB [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    c.args = &args;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    int status = run(&c, &err);
    for (size_t i = 0; c.candidates != NULL && i < c.data.count; i++) {
        free(c.candidates[i].reason);
        free(c.candidates[i].stand_in);
    }
    free(c.candidates);
    vlmp_outfile_abort(&c.output);
    vlmp_session_free(c.session);
    vlmp_calibration_free(&c.calibration);
    vlmp_picture_reading_free(&o->pictures);
    vlmp_dataset_free(&c.data);
    vlmp_reader_close(&c.reader);
    vlmp_engine_free(&c.engine);
    return vlmp_cli_finish(&command, &args, status, &err);
}
