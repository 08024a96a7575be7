#include "tools/eval_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/stand_in.h"

static int leave_out(vlmp_eval_data *data, vlmp_progress *progress, int line, const char *reason,
                     vlmp_error *err)
{
    vlmp_progress_say(progress, "left out: %s", reason);
    size_t count = data->left_out_count + 1;
    vlmp_left_out *grown = realloc(data->left_out, count * sizeof *grown);
    char *copy = strdup(reason);
    if (grown != NULL) data->left_out = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        return vlmp_fail_memory(err, "samples that are left out");
    }
    data->left_out[data->left_out_count++] = (vlmp_left_out){line, copy};
    return VLMP_OK;
}

struct looked_at {
    vlmp_sample_ids ids;
    int line, tokens;
    bool answered, conversation, end_differs;
    char where[256];
};

static int look_at(const vlmp_eval_data *data, const vlmp_reader *reader, size_t record,
                   struct looked_at *out, vlmp_error *err)
{
    vlmp_sample sample;
    *out = (struct looked_at){0};
    int status = vlmp_dataset_sample(data->data, record, &sample, err);
    out->line = sample.line;
    VLMP_TRY(status);
    snprintf(out->where, sizeof out->where, "%s", sample.where);
    out->answered = sample.answer_count > 0;
    out->conversation = sample.turn_count > 1;
    vlmp_sequence sequence = {0};
    status = vlmp_sample_sequence(reader, &sample, out->answered ? sample.answers[0] : NULL,
                                  data->pictures, &sequence, err);
    out->tokens = sequence.length + (out->answered ? 0 : VLMP_STAND_IN_TOKENS + 1);
    out->end_differs = sequence.end_differs;
    vlmp_sequence_free(&sequence);
    if (status == VLMP_OK) status = vlmp_sample_identity(&sample, &out->ids, err);
    vlmp_sample_free(&sample);
    return status;
}

static void take(vlmp_eval_data *data, size_t record, const struct looked_at *seen)
{
    data->ids[data->count] = seen->ids;
    data->lines[data->count] = seen->line;
    data->records[data->count++] = (uint32_t)record;
    data->lacks_answers = data->lacks_answers || !seen->answered;
    data->conversations += seen->conversation;
    data->end_differs += seen->end_differs;
}

static int too_long(vlmp_eval_data *data, vlmp_progress *progress, const struct looked_at *seen,
                    vlmp_error *err)
{
    char reason[512];
    snprintf(reason, sizeof reason, "%s: %d tokens, more than the context of %d", seen->where,
             seen->tokens, data->context);
    VLMP_TRY(leave_out(data, progress, seen->line, reason, err));
    if (data->too_long++ == 0)
        data->first_too_long = data->left_out[data->left_out_count - 1].reason;
    return VLMP_OK;
}

int vlmp_eval_data_survey(vlmp_eval_data *data, const vlmp_reader *reader,
                          const vlmp_cli_args *args, vlmp_error *err)
{
    size_t count = vlmp_dataset_count(data->data);
    vlmp_broken broken = {.allowed = data->allowed};
    vlmp_progress line;
    if (data->most > 0 && data->most < count) count = data->most;
    data->records = vlmp_alloc(count, sizeof *data->records);
    data->ids = vlmp_alloc(count, sizeof *data->ids);
    data->lines = vlmp_alloc(count, sizeof *data->lines);
    bool allocated = data->records != NULL && data->ids != NULL && data->lines != NULL;
    int status = allocated ? VLMP_OK : vlmp_fail_memory(err, "samples");
    vlmp_progress_begin(&line, args, "looking at samples", (double)count);
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        vlmp_error fault = {0};
        struct looked_at seen;
        int found = look_at(data, reader, i, &seen, &fault);
        if (vlmp_interrupted()) status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK && found != VLMP_OK) {
            status = vlmp_let_through(&broken, &fault, err);
            if (status == VLMP_OK) status = leave_out(data, &line, seen.line, fault.message, err);
        } else if (status == VLMP_OK && seen.tokens > data->context) {
            status = too_long(data, &line, &seen, err);
        } else if (status == VLMP_OK) {
            take(data, i, &seen);
        }
        vlmp_progress_update(&line, (double)(i + 1), NULL);
    }
    vlmp_progress_end(&line);
    if (status == VLMP_OK && data->count == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s, and none of the %zu samples can be used; take other ones",
                           data->left_out[0].reason, count);
    return status;
}

void vlmp_eval_data_free(vlmp_eval_data *data)
{
    for (size_t i = 0; data->stand_ins != NULL && i < data->count; i++)
        free(data->stand_ins[i]);
    for (size_t i = 0; i < data->left_out_count; i++)
        free(data->left_out[i].reason);
    free(data->stand_ins);
    free(data->left_out);
    free(data->records);
    free(data->ids);
    free(data->lines);
    vlmp_dataset_close(data->data);
    *data = (vlmp_eval_data){0};
}

int vlmp_eval_sample(const vlmp_eval_data *data, size_t i, vlmp_sample *out, vlmp_error *err)
{
    return vlmp_dataset_sample(data->data, data->records[i], out, err);
}

int vlmp_eval_sequence(const vlmp_eval_data *data, size_t i, const vlmp_reader *reader,
                       bool answered, vlmp_sequence *out, vlmp_error *err)
{
    vlmp_sample sample;
    *out = (vlmp_sequence){0};
    VLMP_TRY(vlmp_eval_sample(data, i, &sample, err));
    const char *answer = NULL;
    if (answered) answer = sample.answer_count > 0 ? sample.answers[0] : data->stand_ins[i];
    int status = vlmp_sample_sequence(reader, &sample, answer, data->pictures, out, err);
    vlmp_sample_free(&sample);
    return status;
}

void vlmp_eval_data_digest(const vlmp_eval_data *data, char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < data->count; i++)
        vlmp_sha256_update(&hash, data->ids[i].exact, sizeof data->ids[i].exact);
    vlmp_sha256_finish(&hash, hex);
}

int vlmp_eval_answers_digest(const vlmp_eval_data *data, char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < data->count; i++) {
        vlmp_sample sample;
        VLMP_TRY(vlmp_eval_sample(data, i, &sample, err));
        vlmp_sha256_update(&hash, data->ids[i].exact, sizeof data->ids[i].exact);
        for (int a = 0; a < sample.answer_count; a++)
            vlmp_sha256_update(&hash, sample.answers[a], strlen(sample.answers[a]) + 1);
        vlmp_sample_free(&sample);
    }
    vlmp_sha256_finish(&hash, hex);
    return VLMP_OK;
}
