/* vlm-calibrate: chooses samples, measures activations on a part of them, stores samples and
 * statistics with an audit of both. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dataset.h"
#include "formats/tensor_file.h"
#include "src/base/outfile.h"
#include "src/calib/calibration.h"
#include "src/calib/noise.h"
#include "src/calib/sampling.h"
#include "src/flow/sequence_store.h"
#include "tools/calibrate_audit.h"
#include "tools/calibrate_measure.h"
#include "tools/cli.h"
#include "tools/date.h"
#include "tools/engine.h"
#include "tools/interrupt.h"
#include "tools/outputs.h"
#include "tools/progress.h"
#include "tools/samples.h"
#include "tools/stand_in.h"

struct options {
    const char *data, *output, *image_root, *date;
    int64_t samples, max_tokens, skip_broken, audit_tokens;
    bool keep_noise, force;
    vlmp_picture_reading pictures;
};

struct command {
    const vlmp_cli_args *args;
    struct options opt;
    vlmp_outfile output; /* open from the start: a second run to the same name is refused */
    vlmp_engine engine;
    vlmp_reader reader;
    struct tm date;
    vlmp_runtime *runtime; /* only while answers are missing */
    vlmp_dataset *data;
    size_t count;               /* records */
    vlmp_candidate *candidates; /* [count] */
    vlmp_sequence_store chosen; /* the pixels of the calibration's samples */
    vlmp_calibration calibration;
    vlmp_audit audit;
    vlmp_progress progress;
};

static int refuse_noise(const struct command *c, const vlmp_sample *sample,
                        const vlmp_pictures *pictures, vlmp_error *err)
{
    for (int i = 0; i < pictures->count && !c->opt.keep_noise; i++) {
        double correlation = vlmp_neighbour_correlation(&pictures->images[i]);
        if (correlation < VLMP_NOISE_CORRELATION)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: %s: looks like random noise (neighbouring pixels correlate by "
                             "%.2f; pictures have more than 0.5): noise makes useless statistics; "
                             "--keep-noise keeps it where it is none (scanned pages, screens)",
                             sample->where, sample->images[i], correlation);
    }
    return VLMP_OK;
}

static size_t answer_bytes(const vlmp_sample *sample)
{
    size_t bytes = sample->answer_count > 0 ? strlen(sample->answers[0]) : 0;
    for (int i = 0; i < sample->turn_count; i++)
        if (strcmp(sample->turns[i].role, "assistant") == 0)
            bytes += strlen(sample->turns[i].parts[0]);
    return bytes;
}

static uint64_t first_word(const vlmp_sample *sample)
{
    for (int i = 0; i < sample->turn_count; i++)
        for (size_t p = 0; p < sample->turns[i].part_count; p++)
            if (strcmp(sample->turns[i].role, "user") == 0 &&
                sample->turns[i].parts[p] != VLMP_CHAT_PICTURE)
                return vlmp_first_word(sample->turns[i].parts[p]);
    return 0;
}

static void shorten(uint64_t out[2], const char id[VLMP_SHA256_HEX])
{
    sscanf(id, "%16" SCNx64 "%16" SCNx64, &out[0], &out[1]);
}

/* Readable, not noise, which shape, how long. Where the answer is missing, the longest that can
 * stand in counts. */
static int inspect_sample(struct command *c, size_t index, vlmp_candidate *candidate,
                          vlmp_error *err)
{
    vlmp_sample sample;
    vlmp_pictures pictures = {0};
    vlmp_sequence sequence = {0};
    vlmp_sample_ids ids;
    int status = vlmp_dataset_sample(c->data, index, &sample, err);
    candidate->line = sample.line;
    VLMP_TRY(status);
    status =
        vlmp_pictures_load(&pictures, sample.images, sample.image_count, &c->opt.pictures, err);
    if (status == VLMP_ERR_INPUT) vlmp_error_at(err, sample.where);
    if (status == VLMP_OK) status = refuse_noise(c, &sample, &pictures, err);
    bool answered = sample.answer_count > 0;
    if (status == VLMP_OK)
        status = vlmp_sample_read(&c->reader, &sample, &pictures,
                                  answered ? sample.answers[0] : NULL, &sequence, err);
    if (status == VLMP_OK) status = vlmp_sample_identity(&sample, &ids, err);
    if (status == VLMP_OK) {
        candidate->tokens = sequence.length + (answered ? 0 : VLMP_STAND_IN_TOKENS + 1);
        candidate->answer_length = (uint32_t)answer_bytes(&sample);
        candidate->first_word = first_word(&sample);
        shorten(candidate->exact, ids.exact);
        shorten(candidate->loose, ids.loose);
        if (pictures.count > 0)
            candidate->aspect = (float)pictures.images[0].width / (float)pictures.images[0].height;
        /* Samples longer than that are left out whole, so that no picture is cut. */
        if (candidate->tokens > c->opt.max_tokens) candidate->state = VLMP_CANDIDATE_LONG;
    }
    vlmp_sequence_free(&sequence);
    vlmp_pictures_free(&pictures);
    vlmp_sample_free(&sample);
    return status;
}

/* A broken sample is let through --skip-broken times and listed; then it ends the run. */
static int inspect_all(struct command *c, vlmp_error *err)
{
    vlmp_broken broken = {.allowed = c->opt.skip_broken};
    vlmp_progress_begin(&c->progress, c->args, "looking at samples", (double)c->count);
    for (size_t i = 0; i < c->count; i++) {
        vlmp_error fault = {0};
        vlmp_candidate *candidate = &c->candidates[i];
        int status = inspect_sample(c, i, candidate, &fault);
        if (vlmp_interrupted()) return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        vlmp_progress_update(&c->progress, (double)(i + 1), NULL);
        if (status == VLMP_OK) continue;
        VLMP_TRY(vlmp_let_through(&broken, &fault, err));
        vlmp_progress_say(&c->progress, "left out: %s", fault.message);
        candidate->state = VLMP_CANDIDATE_BROKEN;
        candidate->reason = strdup(fault.message);
        if (candidate->reason == NULL) return vlmp_fail_memory(err, "the audit");
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

/* Sample `index` of the data, tokenized with its answer, or with the model's own where it has none.
 */
static int take(struct command *c, size_t index, vlmp_calib_sample *out, vlmp_error *err)
{
    vlmp_candidate *candidate = &c->candidates[index];
    vlmp_sample sample;
    vlmp_sample_ids ids;
    vlmp_sequence sequence = {0};
    char *stand_in = NULL;
    VLMP_TRY(vlmp_dataset_sample(c->data, index, &sample, err));
    int status = vlmp_sample_identity(&sample, &ids, err);
    candidate->stood_in = sample.answer_count == 0;
    if (status == VLMP_OK && candidate->stood_in && c->runtime == NULL)
        status = vlmp_runtime_create(&c->runtime, c->engine.ctx, &c->engine.model,
                                     &c->reader.preprocess, c->opt.data, 1, err);
    if (status == VLMP_OK && candidate->stood_in)
        status =
            vlmp_stand_in_answer(c->runtime, &c->reader, &sample, &c->opt.pictures, &stand_in, err);
    if (status == VLMP_OK)
        status = vlmp_sample_sequence(&c->reader, &sample,
                                      candidate->stood_in ? stand_in : sample.answers[0],
                                      &c->opt.pictures, &sequence, err);
    if (status == VLMP_OK) {
        candidate->tokens = sequence.length;
        candidate->end_differs = sequence.end_differs;
        candidate->state = VLMP_CANDIDATE_CHOSEN;
        out->line = sample.line;
        memcpy(out->id, ids.exact, sizeof out->id);
        memcpy(out->loose_id, ids.loose, sizeof out->loose_id);
        remember_alpha(c, &sample);
        status = vlmp_sequence_store_add(&c->chosen, &sequence, err);
    }
    if (status == VLMP_OK)
        status = vlmp_sequence_fetch(&c->chosen, c->chosen.count - 1, false, &out->sequence, err);
    free(stand_in);
    vlmp_sequence_free(&sequence);
    vlmp_sample_free(&sample);
    return status;
}

/* No sample is left: why. */
static int none_usable(const struct command *c, vlmp_error *err)
{
    size_t states[5] = {0}, first_broken = c->count, first_long = c->count;
    for (size_t i = c->count; i-- > 0;) {
        states[c->candidates[i].state]++;
        if (c->candidates[i].state == VLMP_CANDIDATE_BROKEN) first_broken = i;
        if (c->candidates[i].state == VLMP_CANDIDATE_LONG) first_long = i;
    }
    if (first_long < c->count)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no usable sample: of %zu, %zu are broken and %zu longer than "
                         "--max-tokens %lld (sample %zu has %d tokens)",
                         c->opt.data, c->count, states[VLMP_CANDIDATE_BROKEN],
                         states[VLMP_CANDIDATE_LONG], (long long)c->opt.max_tokens, first_long + 1,
                         c->candidates[first_long].tokens);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no usable sample: all %zu are broken; the first: %s",
                     c->opt.data, c->count, c->candidates[first_broken].reason);
}

static int choose_from(struct command *c, vlmp_stratum_key *keys, size_t *of, size_t *chosen,
                       vlmp_error *err)
{
    size_t count = 0, want = (size_t)c->opt.samples;
    for (size_t i = 0; i < c->count; i++) {
        const vlmp_candidate *candidate = &c->candidates[i];
        if (candidate->state != VLMP_CANDIDATE_OK) continue;
        keys[count] = (vlmp_stratum_key){.aspect = (double)candidate->aspect,
                                         .first_word = candidate->first_word,
                                         .answer_length = candidate->answer_length};
        of[count++] = i;
    }
    if (count == 0) return none_usable(c, err);
    VLMP_TRY(vlmp_choose_samples(keys, count, want, (uint64_t)c->args->seed, chosen,
                                 &c->audit.strata, err));
    if (want > count) want = count;
    c->calibration.samples = vlmp_calloc(want, sizeof *c->calibration.samples);
    if (c->calibration.samples == NULL) return vlmp_fail_memory(err, "samples");
    char folder[VLMP_PATH_MAX];
    vlmp_work_folder(folder, c->opt.output);
    VLMP_TRY(
        vlmp_sequence_store_create(&c->chosen, (int)want, &c->engine.model.config, folder, err));
    vlmp_progress_begin(&c->progress, c->args, "tokenizing", (double)want);
    for (size_t i = 0; i < want; i++) {
        if (vlmp_interrupted()) return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        c->calibration.count = i + 1;
        VLMP_TRY(take(c, of[chosen[i]], &c->calibration.samples[i], err));
        vlmp_progress_update(&c->progress, (double)(i + 1), NULL);
    }
    vlmp_progress_end(&c->progress);
    return VLMP_OK;
}

/* Duplicates count once. */
static int choose(struct command *c, vlmp_error *err)
{
    VLMP_TRY(vlmp_mark_duplicates(c->candidates, c->count, err));
    vlmp_stratum_key *keys = vlmp_alloc(c->count, sizeof *keys);
    size_t *of = vlmp_alloc(c->count, sizeof *of), *chosen = vlmp_alloc(c->count, sizeof *chosen);
    int status = keys != NULL && of != NULL && chosen != NULL
                     ? choose_from(c, keys, of, chosen, err)
                     : vlmp_fail_memory(err, "choice of samples");
    free(keys);
    free(of);
    free(chosen);
    return status;
}

static int measure(struct command *c, vlmp_error *err)
{
    vlmp_measurement measurement = {.engine = &c->engine,
                                    .args = c->args,
                                    .preprocess = &c->reader.preprocess,
                                    .chosen = &c->chosen,
                                    .data = c->opt.data,
                                    .output = c->opt.output,
                                    .progress = &c->progress};
    return vlmp_calibrate_measure(&measurement, c->opt.audit_tokens, &c->calibration,
                                  &c->audit.measured, err);
}

static int read_pixels(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                       vlmp_error *err)
{
    (void)index; /* only the pixels come without data */
    return vlmp_sequence_store_pixels(arg, offset, out, length, err);
}

static int write_file(struct command *c, vlmp_error *err)
{
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    size_t count;
    const char *metadata;
    int status = vlmp_calibration_export(&c->calibration, &c->engine.model.config, &arena, &tensors,
                                         &count, &metadata, err);
    if (status == VLMP_OK)
        status = vlmp_tensor_file_write(&c->output, VLMP_CALIBRATION_KEY, metadata, tensors, count,
                                        read_pixels, &c->chosen, err);
    vlmp_arena_free(&arena);
    return status;
}

static int run(struct command *c, vlmp_error *err)
{
    const char *inputs[] = {c->args->positionals[0], c->opt.data};
    VLMP_TRY(vlmp_outputs_apart(&c->opt.output, 1, inputs, 2, err));
    VLMP_TRY(vlmp_outfile_open(&c->output, c->opt.output, c->opt.force, err));
    VLMP_TRY(vlmp_engine_start(&c->engine, c->args, err));
    VLMP_TRY(vlmp_engine_open(&c->engine, c->args->positionals[0], err));
    VLMP_TRY(vlmp_reader_open(&c->reader, &c->engine.model, err));
    VLMP_TRY(vlmp_date_parse(c->opt.date, &c->date, &c->reader.date, err));
    c->audit.date = c->opt.date;
    int context = c->engine.model.config.text.max_positions;
    if (c->opt.max_tokens == 0 || c->opt.max_tokens > context) c->opt.max_tokens = context;
    VLMP_TRY(vlmp_dataset_open(&c->data, c->opt.data, c->opt.image_root, err));
    c->count = vlmp_dataset_count(c->data);
    c->candidates = vlmp_calloc(c->count, sizeof *c->candidates);
    if (c->candidates == NULL) return vlmp_fail_memory(err, "samples");
    VLMP_TRY(inspect_all(c, err));
    VLMP_TRY(vlmp_engine_check_weights(&c->engine, err));
    VLMP_TRY(choose(c, err));
    vlmp_runtime_free(
        c->runtime); /* its weights must not stay resident while activations are measured */
    c->runtime = NULL;
    vlmp_calibration_sizes(c->calibration.sizes, &c->engine.model);
    VLMP_TRY(vlmp_identity_of(&c->calibration.model, c->engine.source, err));
    VLMP_TRY(measure(c, err));
    VLMP_TRY(vlmp_engine_check_files(&c->engine, err));
    VLMP_TRY(vlmp_audit_make(&c->audit, c->candidates, c->count, &c->opt.pictures, &c->calibration,
                             &c->engine.model, err));
    VLMP_TRY(write_file(c, err));
    return vlmp_audit_print(&c->audit, c->args, c->opt.output, &c->opt.pictures, &c->calibration,
                            err);
}

int main(int argc, char **argv)
{
    struct command c = {.opt = {.samples = 128,
                                .audit_tokens = VLMP_AUDIT_TOKENS,
                                .pictures = VLMP_PICTURE_READING_DEFAULT},
                        .output = {.fd = -1},
                        .chosen = VLMP_NO_SEQUENCES};
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
        {.name = "date",
         .value = "DATE",
         .help =
             "what strftime_now of the chat template shows, as 2026-11-26 or 2026-11-26T09:30:00",
         .string = &o->date},
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
        {.name = "audit-tokens",
         .value = "N|all",
         .help = "tokens of the chosen samples that activations are measured on, for the audit "
                 "alone: whole samples, drawn by length and share of pictures (default 8000)",
         .integer = &o->audit_tokens,
         .word = "all",
         .low = 1,
         .high = 1ll << 40},
        {.name = "skip-broken",
         .value = "N",
         .help = "broken samples to leave out, each listed in the audit (default 0)",
         .integer = &o->skip_broken,
         .low = 0,
         .high = 1 << 24},
        {.name = "keep-noise",
         .help = "take pictures that look like random noise, too (scanned pages)",
         .flag = &o->keep_noise},
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
        .options = options,
        .examples = "vlm-calibrate demo/model --data demo/calib/data.jsonl -o demo.calib\n"
                    "vlm-calibrate demo/model --data demo/calib/images --samples 32 -o few.calib"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    c.args = &args;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    int status = run(&c, &err);
    for (size_t i = 0; c.candidates != NULL && i < c.count; i++)
        free(c.candidates[i].reason);
    free(c.candidates);
    vlmp_outfile_abort(&c.output);
    vlmp_runtime_free(c.runtime);
    vlmp_calibration_free(&c.calibration);
    vlmp_picture_reading_free(&o->pictures);
    vlmp_dataset_close(c.data);
    vlmp_sequence_store_free(&c.chosen);
    vlmp_reader_close(&c.reader);
    vlmp_engine_free(&c.engine);
    return vlmp_cli_finish(&command, &args, status, &err);
}
