/* vlm-run: answers a prompt about pictures, from a model folder or a packed file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/dataset.h"
#include "src/base/json.h"
#include "src/runtime/generate.h"
#include "tools/cli.h"
#include "tools/date.h"
#include "tools/engine.h"
#include "tools/eval_provenance.h"
#include "tools/interrupt.h"
#include "tools/opening.h"
#include "tools/progress.h"
#include "tools/samples.h"
#include "tools/terminal.h"

struct options {
    vlmp_cli_list images;
    const char *prompt, *date;
    int64_t max_new_tokens;
    double temperature;
    bool print_prompt, fast_activations;
    vlmp_picture_reading pictures;
    vlmp_opener opener;
};

struct stream {
    vlmp_text_stream *text;
    vlmp_buffer out;
    bool print;
    const vlmp_sequence *prompt;
    int max_new;
    vlmp_generation_stats stats;
    vlmp_progress waiting; /* for the first token, while `waits` */
    bool waits;
};

/* What the answer has from byte `from` on: as it is for a program, fit to be shown on a terminal.
 */
static void print_answer(const struct stream *s, size_t from)
{
    if (s->out.length == from) return;
    if (isatty(STDOUT_FILENO))
        vlmp_show(stdout, VLMP_ESCAPE_TEXT, s->out.data + from, s->out.length - from);
    else
        fwrite(s->out.data + from, 1, s->out.length - from, stdout);
}

static int give_prompt(void *arg, int index, const vlmp_sequence **out, int *max_new,
                       vlmp_error *err)
{
    const struct stream *s = arg;
    (void)index, (void)err;
    *out = s->prompt;
    *max_new = s->max_new;
    return VLMP_OK;
}

static void end_waiting(struct stream *s)
{
    if (s->waits) vlmp_progress_drop(&s->waiting);
    s->waits = false;
}

static int on_token(void *arg, int index, int32_t token, bool *stop, vlmp_error *err)
{
    struct stream *s = arg;
    size_t before = s->out.length;
    (void)index;
    end_waiting(s);
    VLMP_TRY(vlmp_text_stream_push(s->text, token, &s->out, err));
    *stop = vlmp_interrupted() != 0;
    s->stats.new_tokens++;
    if (before == 0) { /* an answer begins with the white space that joined it to the prompt */
        size_t blank = strspn(s->out.data != NULL ? s->out.data : "", " \n\t");
        if (blank > 0) memmove(s->out.data, s->out.data + blank, s->out.length + 1 - blank);
        s->out.length -= blank;
    }
    if (s->print && s->out.length > before) {
        print_answer(s, before);
        fflush(stdout);
    }
    return VLMP_OK;
}

static int on_done(void *arg, int index, const vlmp_generation_stats *stats, vlmp_error *err)
{
    struct stream *s = arg;
    (void)index, (void)err;
    s->stats = *stats;
    return VLMP_OK;
}

static int print_json(const struct stream *s, const vlmp_generation_stats *stats, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "schema");
    vlmp_json_put_int(&w, 1);
    vlmp_json_key(&w, "answer");
    vlmp_json_put_bytes(&w, s->out.data != NULL ? s->out.data : "", s->out.length);
    vlmp_json_key(&w, "interrupted");
    vlmp_json_put_bool(&w, vlmp_interrupted() != 0);
    vlmp_json_key(&w, "prompt_tokens");
    vlmp_json_put_int(&w, stats->prompt_tokens);
    vlmp_json_key(&w, "new_tokens");
    vlmp_json_put_int(&w, stats->new_tokens);
    vlmp_json_key(&w, "decode_steps");
    vlmp_json_put_int(&w, stats->steps);
    vlmp_json_key(&w, "ttft_ms");
    vlmp_json_put_double(&w, 1e3 * stats->first_seconds);
    vlmp_json_key(&w, "decode_tps");
    vlmp_json_put_double(&w, stats->steps > 0 ? stats->steps / stats->decode_seconds : NAN);
    vlmp_json_key(&w, "peak_rss_bytes");
    vlmp_json_put_int(&w, (int64_t)vlmp_peak_memory());
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "result") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

static void print_speed(const vlmp_generation_stats *stats)
{
    char memory[32];
    vlmp_format_bytes(memory, sizeof memory, (double)vlmp_peak_memory());
    fprintf(stderr, "first token %.0f ms (%d prompt tokens), ", 1e3 * stats->first_seconds,
            stats->prompt_tokens);
    if (stats->steps > 0) fprintf(stderr, "%.1f tokens/s, ", stats->steps / stats->decode_seconds);
    fprintf(stderr, "peak memory %s\n", memory);
}

static int answer(const vlmp_cli_args *args, const struct options *o, vlmp_engine *engine,
                  const vlmp_reader *reader, const vlmp_sequence *sequence, vlmp_error *err)
{
    vlmp_runtime *runtime = NULL;
    struct stream stream = {
        .print = !args->json, .prompt = sequence, .max_new = (int)o->max_new_tokens};
    const vlmp_answers answers = {
        .arg = &stream, .prompt = give_prompt, .token = on_token, .done = on_done};
    vlmp_generation generation = {
        .temperature = o->temperature, .seed = (uint64_t)args->seed, .stop = &reader->stop};
    vlmp_progress_begin(&stream.waiting, args, "reading the prompt", sequence->length);
    stream.waits = true;
    int status = vlmp_runtime_create(&runtime, engine->ctx, &engine->model, &reader->preprocess,
                                     NULL, 1, err);
    if (status == VLMP_OK)
        status = vlmp_text_stream_create(&stream.text, reader->tokenizer, true, err);
    if (status == VLMP_OK) status = vlmp_generate(runtime, 1, &generation, &answers, err);
    end_waiting(&stream);
    if (vlmp_interrupted() == 0) status = vlmp_engine_verified(engine, status, err);
    size_t before = stream.out.length;
    if (status == VLMP_OK) status = vlmp_text_stream_finish(stream.text, &stream.out, err);
    if (status == VLMP_OK && args->json) {
        status = print_json(&stream, &stream.stats, err);
    } else if (status == VLMP_OK) {
        print_answer(&stream, before);
        putchar('\n');
        fflush(stdout);
        if (!args->quiet) print_speed(&stream.stats);
    }
    /* What there is of the answer has been printed. */
    if (status == VLMP_OK && vlmp_interrupted())
        status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted after %d tokens of the answer",
                           stream.stats.new_tokens);
    vlmp_text_stream_free(stream.text);
    vlmp_buffer_free(&stream.out);
    vlmp_runtime_free(runtime);
    return status;
}

/* An answer is given today; data and scores are to come out the same on every day, so that the
 * other programs want to be told. */
static const struct tm *today(struct tm *storage)
{
    time_t now = time(NULL);
    return localtime_r(&now, storage);
}

/* What is worth saying about the pictures of the question. */
static int print_warnings(const vlmp_cli_command *command, const vlmp_cli_args *args,
                          const vlmp_picture_reading *pictures, const vlmp_source *source,
                          vlmp_error *err)
{
    char alpha[8];
    VLMP_TRY(vlmp_calibration_alpha(source, alpha, err));
    for (size_t i = 0; i < pictures->count; i++)
        if (pictures->remarks[i].warning != NULL)
            vlmp_cli_warn(command, args, "%s: %s", pictures->remarks[i].path,
                          pictures->remarks[i].warning);
    if (pictures->transparent > 0 && alpha[0] != '\0' && strcmp(alpha, pictures->alpha) != 0)
        vlmp_cli_warn(command, args, "%s was calibrated on transparent pictures with --alpha %s",
                      source->path, alpha);
    return VLMP_OK;
}

static int run(const vlmp_cli_args *args, struct options *o, vlmp_engine *engine,
               vlmp_reader *reader, vlmp_error *err)
{
    VLMP_TRY(vlmp_opener_check(&o->opener, args->positionals, 1, err));
    VLMP_TRY(vlmp_engine_start(engine, args, err));
    engine->opener = o->opener;
    VLMP_TRY(vlmp_engine_open_unverified(engine, args->positionals[0], err));
    engine->model.fast_activations = o->fast_activations;
    VLMP_TRY(vlmp_reader_open(reader, &engine->model, err));
    struct tm date;
    VLMP_TRY(vlmp_date_parse(o->date, &date, &reader->date, err));
    if (reader->date == NULL) reader->date = today(&date);
    vlmp_pictures pictures = {0};
    char **paths = vlmp_calloc(o->images.count, sizeof *paths);
    const char **parts = vlmp_calloc(o->images.count + 1, sizeof *parts);
    int status = paths != NULL && parts != NULL ? VLMP_OK : vlmp_fail_memory(err, "pictures");
    for (size_t i = 0; i < o->images.count && status == VLMP_OK; i++)
        if ((paths[i] = strdup(o->images.items[i])) == NULL)
            status = vlmp_fail_memory(err, o->images.items[i]);
    for (size_t i = 0; i < o->images.count && status == VLMP_OK; i++)
        status = vlmp_check_picture_name(o->images.items[i], "--image", err);
    if (status == VLMP_OK)
        status = vlmp_pictures_load(&pictures, paths, (int)o->images.count, &o->pictures, err);
    if (parts != NULL) parts[o->images.count] = o->prompt;
    vlmp_chat_message turn = {"user", parts, o->images.count + 1};
    vlmp_question question = {.turns = &turn,
                              .turn_count = 1,
                              .image_count = (int)o->images.count,
                              .images = pictures.images,
                              .image_names = paths};
    vlmp_sequence sequence = {0};
    vlmp_prompt text = {0};
    if (status == VLMP_OK) status = vlmp_reader_sequence(reader, &question, &sequence, &text, err);
    if (status == VLMP_OK && o->print_prompt) {
        vlmp_show(stderr, VLMP_ESCAPE_TEXT, text.text, strlen(text.text));
        fputc('\n', stderr);
    }
    if (status == VLMP_OK) status = answer(args, o, engine, reader, &sequence, err);
    if (status == VLMP_OK) status = vlmp_engine_check_files(engine, err);
    vlmp_prompt_free(&text);
    vlmp_sequence_free(&sequence);
    vlmp_pictures_free(&pictures);
    for (size_t i = 0; paths != NULL && i < o->images.count; i++)
        free(paths[i]);
    free(paths);
    free(parts);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.max_new_tokens = 128,
                        .pictures = VLMP_PICTURE_READING_DEFAULT,
                        .opener = VLMP_OPENER_DEFAULT};
    const vlmp_cli_option options[] = {
        {.name = "image", .value = "P", .help = "a picture (PNG, JPEG or WebP)", .list = &o.images},
        {.name = "prompt",
         .value = "T",
         .help = "the question",
         .string = &o.prompt,
         .required = true},
        {.name = "date",
         .value = "DATE",
         .help = "what strftime_now of the chat template shows, as 2026-11-26 or "
                 "2026-11-26T09:30:00 (default: now)",
         .string = &o.date},
        {.name = "max-new-tokens",
         .value = "N",
         .help = "stop after N tokens (default 128)",
         .integer = &o.max_new_tokens,
         .low = 1,
         .high = 1 << 20},
        {.name = "temperature",
         .value = "X",
         .help = "0 takes the most likely token (default), more draws with --seed",
         .number = &o.temperature,
         .low = 0,
         .high = 100},
        {.name = "fast-activations",
         .help = "int8 activations in all quantized linears: faster, less exact",
         .flag = &o.fast_activations},
        {.name = "print-prompt",
         .help = "show the prompt as the chat template renders it",
         .flag = &o.print_prompt},
        VLMP_PICTURE_OPTIONS(&o.pictures),
        VLMP_OPENER_OPTIONS(&o.opener),
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-run",
        .summary = "Answers a prompt about pictures, from a model folder or a packed file.",
        .usage = "MODEL-or-PACKED --prompt T [--image P]… [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options,
        .examples = "vlm-run gptq.vlmp --image demo/eval/images/0000.png "
                    "--prompt \"Describe the picture.\""};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    vlmp_engine engine = {0};
    vlmp_reader reader = {0};
    int status = run(&args, &o, &engine, &reader, &err);
    status = vlmp_engine_verified(&engine, status, &err);
    if (status == VLMP_OK)
        status = print_warnings(&command, &args, &o.pictures, engine.source, &err);
    vlmp_picture_reading_free(&o.pictures);
    vlmp_reader_close(&reader);
    vlmp_engine_free(&engine);
    return vlmp_cli_finish(&command, &args, status, &err);
}
