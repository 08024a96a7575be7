#include "tools/answers.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int collect(void *arg, int32_t token, bool *stop, vlmp_error *err)
{
    (void)stop;
    return vlmp_ids_push(arg, token) ? VLMP_OK : vlmp_fail_memory(err, "answer");
}

int vlmp_answer(vlmp_session *session, const vlmp_reader *reader, const vlmp_sequence *prompt,
                int max_new_tokens, char **answer, vlmp_generation_stats *stats, vlmp_error *err)
{
    vlmp_ids ids = {0};
    vlmp_buffer text = {0};
    int room = reader->model->config.text.max_positions - prompt->length;
    vlmp_generation generation = {.max_new_tokens = room < max_new_tokens ? room : max_new_tokens,
                                  .stop = &reader->stop};
    *answer = NULL;
    int status = vlmp_generate(session, reader->model, prompt, prompt->length, &generation, collect,
                               &ids, stats, err);
    if (status == VLMP_OK)
        status = vlmp_tokenizer_decode(reader->tokenizer, ids.data, ids.count, true, &text, err);
    if (status == VLMP_OK) {
        const char *from = text.data != NULL ? text.data : "";
        size_t length = text.length;
        while (length > 0 && isspace((unsigned char)*from))
            from++, length--;
        while (length > 0 && isspace((unsigned char)from[length - 1]))
            length--;
        *answer = strndup(from, length);
        if (*answer == NULL) status = vlmp_fail_memory(err, "answer");
    }
    vlmp_buffer_free(&text);
    vlmp_ids_free(&ids);
    return status;
}
