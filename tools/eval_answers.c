#include "tools/eval_answers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/eval/metrics.h"
#include "tools/answers.h"
#include "tools/eval_tokens.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

void vlmp_eval_name_sample(const vlmp_eval_job *job, size_t i, vlmp_error *err)
{
    vlmp_sample sample;
    vlmp_error ignored = {0};
    if (err->code != VLMP_ERR_INPUT || vlmp_eval_sample(job->data, i, &sample, &ignored) != VLMP_OK)
        return;
    vlmp_error_at(err, sample.where);
    vlmp_sample_free(&sample);
}

int vlmp_eval_check_fits(const vlmp_eval_job *job, const vlmp_reader *reader, int tokens,
                         vlmp_error *err)
{
    int context = reader->model->config.text.max_positions;
    if (tokens <= context) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%d tokens, more than the context of %s, which is %d; take this sample out of "
                     "the data",
                     tokens, job->path, context);
}

int vlmp_given_answers_make(vlmp_given_answers *out, size_t count, vlmp_arena *arena,
                            vlmp_error *err)
{
    *out = (vlmp_given_answers){vlmp_arena_alloc(arena, count, sizeof *out->texts),
                                vlmp_arena_alloc(arena, count, sizeof *out->tokens), arena};
    return out->texts != NULL && out->tokens != NULL ? VLMP_OK : vlmp_fail_memory(err, "answers");
}

struct answering {
    const vlmp_eval_job *job;
    const vlmp_reader *reader;
    vlmp_sequence prompt; /* the last one asked for */
    size_t first;         /* sample of answer 0 */
    const size_t *places; /* samples of the answers instead; NULL: there is no list */
    vlmp_given_answers *answers;
    double *first_ms; /* of the timed ones; NULL: they are not */
    vlmp_generation_stats sums;
    size_t done, cut; /* answers; of them those that the context ended */
    vlmp_progress line;
};

static int give_prompt(void *arg, int index, const vlmp_sequence **out, vlmp_error *err)
{
    struct answering *a = arg;
    size_t at = a->places != NULL ? a->places[index] : a->first + (size_t)index;
    vlmp_sequence_free(&a->prompt);
    if (vlmp_interrupted()) return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
    int status = vlmp_eval_sequence(a->job->data, at, a->reader, false, &a->prompt, err);
    *out = &a->prompt;
    if (status == VLMP_OK)
        status = vlmp_eval_check_fits(a->job, a->reader, a->prompt.length + 1, err);
    vlmp_eval_name_sample(a->job, at, err);
    return status;
}

/* Where the tokens of the trimmed text end. */
static int keep_tokens(const struct answering *a, const vlmp_ids *ids, const char *text,
                       vlmp_answer_tokens *out, vlmp_error *err)
{
    int32_t *kept = vlmp_arena_alloc(a->answers->arena, ids->count, sizeof *kept);
    size_t *ends = vlmp_arena_alloc(a->answers->arena, ids->count, sizeof *ends);
    size_t length = strlen(text), cut;
    vlmp_buffer whole = {0};
    if (kept == NULL || ends == NULL) return vlmp_fail_memory(err, "an answer");
    int status = vlmp_token_texts(a->reader->tokenizer, ids->data, ids->count, &whole, ends, err);
    const char *found = whole.data != NULL ? strstr(whole.data, text) : NULL;
    cut = found != NULL ? (size_t)(found - whole.data) : 0;
    for (size_t t = 0; t < ids->count; t++) {
        size_t end = ends[t] > cut ? ends[t] - cut : 0;
        kept[t] = ids->data[t];
        ends[t] = end < length ? end : length;
    }
    vlmp_buffer_free(&whole);
    *out = (vlmp_answer_tokens){kept, ends, ids->count};
    return status;
}

static int take_answer(void *arg, int index, char *text, const vlmp_ids *ids,
                       const vlmp_generation_stats *stats, vlmp_error *err)
{
    struct answering *a = arg;
    size_t at = a->first + (size_t)index;
    char *copy = vlmp_arena_copy(a->answers->arena, text, strlen(text));
    free(text);
    if (copy == NULL) return vlmp_fail_memory(err, "an answer");
    a->answers->texts[at] = copy;
    VLMP_TRY(keep_tokens(a, ids, copy, &a->answers->tokens[at], err));
    if (a->first_ms != NULL) {
        a->first_ms[index] = 1e3 * stats->first_seconds;
        a->sums.prompt_tokens += stats->prompt_tokens;
        a->sums.first_seconds += stats->first_seconds;
        a->sums.steps += stats->steps;
        a->sums.decode_seconds += stats->decode_seconds;
    }
    a->cut +=
        stats->new_tokens < a->job->max_new_tokens &&
        stats->prompt_tokens + stats->new_tokens >= a->reader->model->config.text.max_positions;
    vlmp_progress_update(&a->line, (double)++a->done, NULL);
    return VLMP_OK;
}

/* Samples first … first + count − 1, `together` at a time. */
static int answer(struct answering *a, vlmp_runtime *runtime, size_t first, size_t count,
                  int together, vlmp_error *err)
{
    const vlmp_texts texts = {.arg = a, .prompt = give_prompt, .done = take_answer};
    if (count == 0) return VLMP_OK;
    a->first = first;
    return vlmp_answer_all(runtime, a->reader, (int)count, together, a->job->max_new_tokens, &texts,
                           err);
}

static void fill_speed(const struct answering *a, double *first_ms, size_t timed,
                       vlmp_eval_result *result)
{
    const vlmp_generation_stats *s = &a->sums;
    double quantiles[3];
    vlmp_percentiles(quantiles, first_ms, timed);
    result->speed.ttft_ms = (vlmp_quantiles){quantiles[0], quantiles[1], quantiles[2]};
    result->speed.prefill_tps = s->first_seconds > 0 ? s->prompt_tokens / s->first_seconds : NAN;
    result->speed.decode_tps = s->decode_seconds > 0 ? s->steps / s->decode_seconds : NAN;
}

/* The timed answers one by one, then the others. *kv_bytes: of one answer, where some are timed. */
static int answer_all(struct answering *a, vlmp_runtime *runtime, size_t timed, double *first_ms,
                      int64_t *kv_bytes, vlmp_error *err)
{
    size_t count = a->job->data->count;
    a->first_ms = first_ms;
    VLMP_TRY(answer(a, runtime, 0, timed, 1, err));
    int64_t alone = (int64_t)vlmp_runtime_memory_used(runtime).kv_bytes;
    a->first_ms = NULL;
    VLMP_TRY(answer(a, runtime, timed, count - timed, 0, err));
    *kv_bytes = timed > 0 ? alone : (int64_t)vlmp_runtime_memory_used(runtime).kv_bytes;
    return VLMP_OK;
}

int vlmp_eval_answers(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                      vlmp_given_answers *answers, vlmp_eval_result *result, vlmp_error *err)
{
    struct answering a = {.job = job, .reader = reader, .answers = answers};
    vlmp_runtime *runtime;
    size_t count = job->data->count, timed = 0;
    double first_ms[VLMP_TIMED_ANSWERS];
    if ((job->metrics & VLMP_METRIC_SPEED) != 0)
        timed = count < VLMP_TIMED_ANSWERS ? count : VLMP_TIMED_ANSWERS;
    int streams = count - timed < (size_t)job->batch ? (int)(count - timed) : job->batch;
    VLMP_TRY(vlmp_runtime_create(&runtime, engine->ctx, &engine->model, &reader->preprocess,
                                 vlmp_dataset_path(job->data->data), streams > 1 ? streams : 1,
                                 err));
    vlmp_progress_begin(&a.line, job->args, "answering", (double)count);
    int status = answer_all(&a, runtime, timed, first_ms, &result->memory.kv_bytes, err);
    vlmp_progress_end(&a.line);
    vlmp_runtime_free(runtime);
    vlmp_sequence_free(&a.prompt);
    if (status == VLMP_OK && timed > 0) fill_speed(&a, first_ms, timed, result);
    if (status == VLMP_OK && a.cut > 0)
        status = vlmp_result_note(result, err,
                                  "%zu answers were cut where the context of %d tokens ends", a.cut,
                                  reader->model->config.text.max_positions);
    return status;
}

int vlmp_eval_answer_some(const vlmp_eval_job *job, vlmp_engine *engine, const size_t *places,
                          size_t count, vlmp_given_answers *answers, vlmp_error *err)
{
    vlmp_reader reader = {0};
    vlmp_runtime *runtime = NULL;
    struct answering a = {.job = job, .reader = &reader, .places = places, .answers = answers};
    int streams = count < (size_t)job->batch ? (int)count : job->batch;
    VLMP_TRY(vlmp_engine_open(engine, job->path, err));
    int status = vlmp_reader_open(&reader, &engine->model, err);
    reader.date = job->data->date;
    if (status == VLMP_OK)
        status = vlmp_runtime_create(&runtime, engine->ctx, &engine->model, &reader.preprocess,
                                     vlmp_dataset_path(job->data->data), streams, err);
    vlmp_progress_begin(&a.line, job->args, "answers of the original", (double)count);
    if (status == VLMP_OK) status = answer(&a, runtime, 0, count, 0, err);
    vlmp_progress_end(&a.line);
    vlmp_runtime_free(runtime);
    vlmp_sequence_free(&a.prompt);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}
