#include "tools/eval_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/eval/token_classes.h"

int vlmp_token_texts(const vlmp_tokenizer *tokenizer, const int32_t *ids, size_t count,
                     vlmp_buffer *text, size_t *ends, vlmp_error *err)
{
    vlmp_text_stream *stream;
    VLMP_TRY(vlmp_text_stream_create(&stream, tokenizer, true, err));
    int status = VLMP_OK;
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        status = vlmp_text_stream_push(stream, ids[i], text, err);
        if (status == VLMP_OK && i + 1 == count)
            status = vlmp_text_stream_finish(stream, text, err);
        ends[i] = text->length;
    }
    vlmp_text_stream_free(stream);
    if (status == VLMP_OK && text->failed) status = vlmp_fail_memory(err, "text of tokens");
    return status;
}

static int classify(const vlmp_reader *reader, const vlmp_sequence *sequence, vlmp_span answer,
                    const char *question, vlmp_buffer *out, vlmp_error *err)
{
    size_t count = (size_t)(answer.end - answer.from);
    size_t *ends = vlmp_alloc(count, sizeof *ends);
    char *letters = vlmp_alloc(count, 1);
    vlmp_buffer text = {0};
    int status =
        ends != NULL && letters != NULL ? VLMP_OK : vlmp_fail_memory(err, "kinds of tokens");
    if (status == VLMP_OK)
        status = vlmp_token_texts(reader->tokenizer, sequence->ids + answer.from, count, &text,
                                  ends, err);
    if (status == VLMP_OK)
        status = vlmp_token_classes(letters, text.data != NULL ? text.data : "", ends, count,
                                    question, err);
    if (status == VLMP_OK) vlmp_buffer_append(out, letters, count);
    vlmp_buffer_free(&text);
    free(letters);
    free(ends);
    return status;
}

int vlmp_eval_classes(const vlmp_eval_data *data, size_t i, const vlmp_reader *reader,
                      const vlmp_sequence *sequence, vlmp_buffer *out, vlmp_error *err)
{
    vlmp_sample sample;
    vlmp_buffer question = {0};
    VLMP_TRY(vlmp_eval_sample(data, i, &sample, err));
    for (int t = 0; t < sample.turn_count; t++) {
        const vlmp_chat_message *turn = &sample.turns[t];
        for (size_t p = 0; p < turn->part_count && strcmp(turn->role, "user") == 0; p++)
            if (turn->parts[p] != VLMP_CHAT_PICTURE) {
                vlmp_buffer_text(&question, turn->parts[p]);
                vlmp_buffer_text(&question, " ");
            }
    }
    vlmp_sample_free(&sample);
    int status = question.failed ? vlmp_fail_memory(err, "kinds of tokens") : VLMP_OK;
    for (int a = 0; a < sequence->answer_count && status == VLMP_OK; a++)
        status = classify(reader, sequence, sequence->answers[a],
                          question.data != NULL ? question.data : "", out, err);
    vlmp_buffer_free(&question);
    if (status == VLMP_OK && out->failed) status = vlmp_fail_memory(err, "kinds of tokens");
    return status;
}
