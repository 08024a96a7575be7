#include "tools/eval_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "formats/weight_sizes.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/eval/metrics.h"
#include "src/flow/sequence_store.h"
#include "tools/block_costs.h"
#include "tools/eval_answers.h"
#include "tools/eval_provenance.h"
#include "tools/eval_tokens.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

/* The sequences of all samples, tokenized by the engine's model, and the hash of their tokens. What
 * is scored is what the reference, if there is one, has scored; classes gets the kind of each of
 * its tokens then. */
static int make_sequences(const vlmp_eval_job *job, const vlmp_reader *reader,
                          vlmp_sequence_store *out, char tokens[VLMP_SHA256_HEX],
                          vlmp_buffer *classes, vlmp_error *err)
{
    int status = vlmp_sequence_store_create(out, (int)job->data->count, &reader->model->config,
                                            job->work_folder, err);
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < job->data->count && status == VLMP_OK; i++) {
        vlmp_sequence sequence = {0};
        if (vlmp_interrupted()) status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK)
            status = vlmp_eval_sequence(job->data, i, reader, true, &sequence, err);
        if (status == VLMP_OK) status = vlmp_eval_check_fits(job, reader, sequence.length, err);
        if (status == VLMP_OK && job->reference != NULL)
            status = vlmp_reference_check_sample(job->reference, (int)i, &sequence, job->path, err);
        if (status == VLMP_OK && job->reference != NULL)
            status = vlmp_eval_classes(job->data, i, reader, &sequence, classes, err);
        vlmp_eval_name_sample(job, i, err);
        if (status == VLMP_OK) vlmp_tokens_digest_add(&hash, &sequence);
        if (status == VLMP_OK) status = vlmp_sequence_store_add(out, &sequence, err);
        vlmp_sequence_free(&sequence);
    }
    vlmp_sha256_finish(&hash, tokens);
    return status;
}

struct progress {
    vlmp_progress line;
    int vision_layers;
};

static void on_layer(void *arg, const char *stage, int done, int total)
{
    struct progress *p = arg;
    char detail[64];
    snprintf(detail, sizeof detail, "%s block %d of %d", stage, done, total);
    vlmp_progress_update(&p->line, done + (strcmp(stage, "text") == 0 ? p->vision_layers : 0),
                         detail);
}

static int collect_states(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                          vlmp_sequence_store *sequences, vlmp_hidden *out, vlmp_error *err)
{
    struct progress progress = {.vision_layers = engine->model.vision.layers};
    vlmp_sweep sweep = {.ctx = engine->ctx,
                        .model = &engine->model,
                        .preprocess = &reader->preprocess,
                        .fetch = vlmp_sequence_fetch,
                        .fetch_arg = sequences,
                        .data = vlmp_dataset_path(job->data->data),
                        .work_folder = job->work_folder,
                        .memory_limit = VLMP_ACTIVATIONS_IN_MEMORY,
                        .progress = on_layer,
                        .progress_arg = &progress,
                        .interrupted = vlmp_interrupt_flag()};
    vlmp_progress_begin(&progress.line, job->args, "scoring",
                        engine->model.vision.layers + engine->model.text.layers);
    vlmp_block_rows rows = {0};
    for (int i = 0; i < sequences->count; i++)
        vlmp_block_rows_add(&rows, &sequences->heads[i], &engine->model.config);
    vlmp_block_costs(&progress.line, &engine->model, &rows);
    int status = vlmp_hidden_collect(&sweep, sequences->heads, sequences->count, out, err);
    vlmp_progress_end(&progress.line);
    return status;
}

int vlmp_eval_score(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                    int vocab, vlmp_token_scores *scores, vlmp_error *err)
{
    vlmp_sequence_store sequences = VLMP_NO_SEQUENCES;
    char tokens[VLMP_SHA256_HEX] = "";
    vlmp_hidden hidden = {.states.fd = -1};
    vlmp_loaded loaded = {0};
    vlmp_linear head;
    vlmp_reference *r = job->reference;
    vlmp_buffer classes = {0};
    int status = make_sequences(job, reader, &sequences, tokens, &classes, err);
    scores->classes = classes.data; /* NULL without a reference; free() fits */
    if (status == VLMP_OK && r != NULL)
        status = vlmp_reference_check_all(r, sequences.count, tokens, job->path, err);
    if (status == VLMP_OK) status = collect_states(job, engine, reader, &sequences, &hidden, err);
    vlmp_sequence_store_free(&sequences);
    if (status == VLMP_OK) status = vlmp_load_text_head(&loaded, &engine->model, &head, err);
    if (status == VLMP_OK) {
        vlmp_scored model = {&hidden, &head}, reference;
        if (r != NULL) reference = (vlmp_scored){&r->hidden, &r->head};
        status = vlmp_score_tokens(engine->ctx, &model, r != NULL ? &reference : NULL, vocab,
                                   scores, err);
    }
    vlmp_unload(&loaded);
    vlmp_hidden_free(&hidden);
    return status;
}

static void fill_sizes(const vlmp_engine *engine, vlmp_eval_result *result)
{
    vlmp_weight_sizes sizes;
    vlmp_weight_sizes_of(engine->source, &sizes);
    result->memory.weights_bytes = (int64_t)sizes.total.bytes;
    result->bits_per_weight = vlmp_bits_per_weight(sizes.total.bytes, sizes.total.weights);
    if (sizes.total.quantized_weights > 0)
        result->bits_per_weight_quantized =
            vlmp_bits_per_weight(sizes.total.quantized_bytes, sizes.total.quantized_weights);
}

struct references {
    const vlmp_eval_data *data;
    vlmp_sample sample; /* the last one asked for */
};

static int read_references(void *arg, size_t index, char *const **answers, size_t *count,
                           vlmp_error *err)
{
    struct references *r = arg;
    vlmp_sample_free(&r->sample);
    VLMP_TRY(vlmp_eval_sample(r->data, index, &r->sample, err));
    *answers = r->sample.answers;
    *count = (size_t)r->sample.answer_count;
    return VLMP_OK;
}

/* Compares the model with the reference before anything is computed. *vocab: the rows of the head
 * that are scored. */
static int check_reference(const vlmp_eval_job *job, const vlmp_engine *engine,
                           const vlmp_reader *reader, int *vocab, vlmp_eval_result *result,
                           vlmp_error *err)
{
    vlmp_side side;
    vlmp_side_of(&side, reader);
    *vocab = side.vocabulary;
    const vlmp_reference *r = job->reference;
    if (r == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_side_check(&side, job->path, &r->side, r->where, vocab, err));
    if (side.vocabulary != r->side.vocabulary)
        return vlmp_result_note(result, err,
                                "its vocabulary has %d rows and the reference's %d; the rows from "
                                "%d on are padding that no token uses: ppl, kl, ratios and top1 "
                                "are over the common %d",
                                side.vocabulary, r->side.vocabulary, *vocab, *vocab);
    return vlmp_eval_check_origin(job, engine->source, result, err);
}

static int evaluate(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                    vlmp_eval_result *result, vlmp_error *err)
{
    int vocab;
    VLMP_TRY(check_reference(job, engine, reader, &vocab, result, err));
    vlmp_token_scores scores = {0};
    bool scored = (job->metrics & (VLMP_METRIC_PPL | VLMP_METRIC_KL)) != 0;
    bool answered =
        (job->metrics & (VLMP_METRIC_BLEU | VLMP_METRIC_CIDER | VLMP_METRIC_SPEED)) != 0;
    vlmp_given_answers answers;
    int status = vlmp_given_answers_make(&answers, job->data->count, &result->arena, err);
    if (status == VLMP_OK && scored)
        status = vlmp_eval_score(job, engine, reader, vocab, &scores, err);
    if (status == VLMP_OK && answered)
        status = vlmp_eval_answers(job, engine, reader, &answers, result, err);
    if (status == VLMP_OK) {
        struct references references = {.data = job->data};
        vlmp_eval_input input = {.count = job->data->count,
                                 .references = read_references,
                                 .references_arg = &references,
                                 .metrics = job->metrics,
                                 .scores = scored ? &scores : NULL,
                                 .lines = job->data->lines,
                                 .hypotheses = answered ? answers.texts : NULL,
                                 .answer_tokens = answered ? answers.tokens : NULL,
                                 .answers_are_stand_ins = job->data->lacks_answers,
                                 .seed = (uint64_t)job->args->seed};
        status = vlmp_eval_fill(result, &input, err);
        vlmp_sample_free(&references.sample);
    }
    vlmp_scores_free(&scores);
    return status;
}

static int note_data(const vlmp_eval_job *job, vlmp_eval_result *result, vlmp_error *err)
{
    const vlmp_eval_data *data = job->data;
    size_t broken = data->left_out_count - data->too_long;
    unsigned answered = VLMP_METRIC_BLEU | VLMP_METRIC_CIDER | VLMP_METRIC_SPEED;
    result->left_out = (int64_t)data->left_out_count;
    if (broken > 0)
        VLMP_TRY(vlmp_result_note(result, err,
                                  "%zu of %zu samples are broken and left out (--skip-broken)",
                                  broken, data->count + data->left_out_count));
    if (data->too_long > 0)
        VLMP_TRY(vlmp_result_note(result, err,
                                  "%zu of %zu samples are longer than the context of %d tokens and "
                                  "left out (the first: %s)",
                                  data->too_long, data->count + data->left_out_count, data->context,
                                  data->first_too_long));
    if (data->end_differs > 0)
        VLMP_TRY(
            vlmp_result_note(result, err,
                             "the chat template puts text between the answer and the end token "
                             "of %zu samples, which is scored with the answer; an old template "
                             "may spell the token wrongly",
                             data->end_differs));
    if (job->date_text != NULL)
        VLMP_TRY(vlmp_result_note(result, err, "the chat template saw --date %s", job->date_text));
    if (data->conversations > 0 && (job->metrics & answered) != 0)
        VLMP_TRY(vlmp_result_note(result, err,
                                  "%zu samples have several answers: ppl and kl score all, bleu, "
                                  "cider and speed the last, given the data's answers before it",
                                  data->conversations));
    return VLMP_OK;
}

int vlmp_eval_model(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_eval_result *result,
                    vlmp_error *err)
{
    vlmp_reader reader = {0};
    vlmp_peak_memory_reset();
    vlmp_ctx_peak_reset(engine->ctx);
    VLMP_TRY(vlmp_engine_open(engine, job->path, err));
    engine->model.fast_activations = job->fast_activations;
    result->model = job->path;
    result->reference = job->reference != NULL ? job->reference->name : NULL;
    result->metrics = job->metrics;
    result->speed.device = engine->ctx->ops->name;
    int status = vlmp_reader_open(&reader, &engine->model, err);
    reader.date = job->data->date;
    if (status == VLMP_OK) status = vlmp_eval_provenance(job, engine->source, result, err);
    if (status == VLMP_OK) {
        fill_sizes(engine, result);
        status = evaluate(job, engine, &reader, result, err);
    }
    if (status == VLMP_OK) status = note_data(job, result, err);
    if (status == VLMP_OK && job->fast_activations)
        status = vlmp_result_note(
            result, err,
            "computed with int8 activations in all quantized linears (--fast-activations)");
    char odd[512];
    vlmp_picture_summary(job->pictures, odd, sizeof odd);
    if (status == VLMP_OK && odd[0] != '\0')
        status = vlmp_result_note(result, err, "pictures: %s", odd);
    result->memory.peak_rss_bytes = (int64_t)vlmp_peak_memory();
    if (vlmp_ctx_peak(engine->ctx) > 0)
        result->memory.peak_device_bytes = (int64_t)vlmp_ctx_peak(engine->ctx);
    if (status == VLMP_OK) status = vlmp_engine_check_files(engine, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}

/* Rows of a packed table as F32, a page's worth at a time. */
static int unpack_head(vlmp_ctx *ctx, const vlmp_linear *head, float *out, vlmp_error *err)
{
    enum { ROWS = 64 };
    vlmp_f32 rows = {NULL};
    vlmp_step *step = NULL;
    int32_t ids[ROWS];
    size_t k = (size_t)head->k;
    int status = vlmp_ctx_alloc(ctx, &rows, ROWS, k * sizeof *out, "head of the reference", err);
    if (status == VLMP_OK)
        status = ctx->ops->step_create(ctx, &step, &(vlmp_step_size){ROWS, 1, 0}, err);
    for (int first = 0; first < head->n && status == VLMP_OK; first += ROWS) {
        int count = head->n - first < ROWS ? head->n - first : ROWS;
        const vlmp_segment segment = {.rows = count};
        for (int i = 0; i < count; i++)
            ids[i] = first + i;
        ctx->ops->step_set(ctx, step, &(vlmp_step_rows){count, 1, &segment, ids, {NULL}});
        ctx->ops->embed(ctx, rows, step, head);
        status = vlmp_ctx_read(ctx, out + (size_t)first * k, rows.at,
                               (size_t)count * k * sizeof *out, err);
    }
    ctx->ops->step_free(ctx, step);
    vlmp_ctx_free_memory(ctx, rows.at);
    return status;
}

/* The head outlives the model: a copy, dequantized where it is packed. */
static int copy_head(vlmp_engine *engine, vlmp_reference *out, vlmp_error *err)
{
    vlmp_loaded loaded = {.ctx = engine->ctx};
    vlmp_linear head;
    int status = vlmp_load_text_head(&loaded, &engine->model, &head, err);
    size_t count = status == VLMP_OK ? (size_t)head.n * (size_t)head.k : 0;
    bool packed = vlmp_linear_quantized(&head);
    out->head = (vlmp_linear){.n = head.n, .k = head.k, .dtype = packed ? VLMP_F32 : head.dtype};
    if (status == VLMP_OK) {
        out->head_memory = vlmp_alloc(count, vlmp_dtype_size(out->head.dtype));
        if (out->head_memory == NULL) status = vlmp_fail_memory(err, "head of the reference");
    }
    if (status == VLMP_OK && !packed)
        memcpy(out->head_memory, head.weight, count * vlmp_dtype_size(head.dtype));
    else if (status == VLMP_OK)
        status = unpack_head(engine->ctx, &head, out->head_memory, err);
    out->head.weight = out->head_memory;
    vlmp_unload(&loaded);
    return status;
}

static int copy_stand_ins(const vlmp_eval_job *job, vlmp_reference *out, vlmp_error *err)
{
    out->stand_ins = vlmp_calloc(job->data->count, sizeof *out->stand_ins);
    if (out->stand_ins == NULL) return vlmp_fail_memory(err, "stand-in answers");
    for (size_t i = 0; i < job->data->count; i++) {
        const char *text = job->data->stand_ins[i];
        if (text != NULL && (out->stand_ins[i] = strdup(text)) == NULL)
            return vlmp_fail_memory(err, "stand-in answers");
    }
    return VLMP_OK;
}

int vlmp_eval_reference(const vlmp_eval_job *job, vlmp_engine *engine, vlmp_reference *out,
                        vlmp_error *err)
{
    vlmp_reader reader = {0};
    vlmp_sequence_store sequences = VLMP_NO_SEQUENCES;
    *out = (vlmp_reference){.name = strdup(job->path), .where = job->path, .hidden.states.fd = -1};
    if (out->name == NULL) return vlmp_fail_memory(err, job->path);
    VLMP_TRY(vlmp_engine_open(engine, job->path, err));
    int status = vlmp_engine_check_weights(engine, err);
    if (status == VLMP_OK) status = vlmp_reader_open(&reader, &engine->model, err);
    reader.date = job->data->date;
    if (status == VLMP_OK) vlmp_side_of(&out->side, &reader);
    if (status == VLMP_OK)
        status = make_sequences(job, &reader, &sequences, out->tokens_digest, NULL, err);
    if (job->pictures->transparent > 0)
        snprintf(out->alpha, sizeof out->alpha, "%s", job->pictures->alpha);
    if (status == VLMP_OK)
        status = collect_states(job, engine, &reader, &sequences, &out->hidden, err);
    vlmp_sequence_store_free(&sequences);
    if (status == VLMP_OK && job->data->stand_ins != NULL) status = copy_stand_ins(job, out, err);
    if (status == VLMP_OK) status = copy_head(engine, out, err);
    if (status == VLMP_OK) status = vlmp_eval_origin(&out->model, out->itself, engine->source, err);
    vlmp_eval_data_digest(job->data, out->data_digest);
    if (status == VLMP_OK) status = vlmp_engine_check_files(engine, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}
