#include "tools/answers.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct collector {
    const vlmp_reader *reader;
    const vlmp_texts *texts;
    int max_new_tokens;
    vlmp_ids *ids; /* [count] */
};

static int give_prompt(void *arg, int index, const vlmp_sequence **out, int *max_new,
                       vlmp_error *err)
{
    struct collector *c = arg;
    VLMP_TRY(c->texts->prompt(c->texts->arg, index, out, err));
    int room = c->reader->model->config.text.max_positions - (*out)->length;
    *max_new = room < c->max_new_tokens ? room : c->max_new_tokens;
    return VLMP_OK;
}

static int collect(void *arg, int index, int32_t token, bool *stop, vlmp_error *err)
{
    struct collector *c = arg;
    *stop = false;
    return vlmp_ids_push(&c->ids[index], token) ? VLMP_OK : vlmp_fail_memory(err, "an answer");
}

static char *trimmed(const vlmp_buffer *text)
{
    const char *from = text->data != NULL ? text->data : "";
    size_t length = text->length;
    while (length > 0 && isspace((unsigned char)*from))
        from++, length--;
    while (length > 0 && isspace((unsigned char)from[length - 1]))
        length--;
    return strndup(from, length);
}

static int finish(void *arg, int index, const vlmp_generation_stats *stats, vlmp_error *err)
{
    struct collector *c = arg;
    vlmp_ids *ids = &c->ids[index];
    vlmp_buffer text = {0};
    char *answer = NULL;
    int status =
        vlmp_tokenizer_decode(c->reader->tokenizer, ids->data, ids->count, true, &text, err);
    if (status == VLMP_OK && (answer = trimmed(&text)) == NULL)
        status = vlmp_fail_memory(err, "an answer");
    if (status == VLMP_OK) status = c->texts->done(c->texts->arg, index, answer, ids, stats, err);
    vlmp_buffer_free(&text);
    vlmp_ids_free(ids);
    return status;
}

int vlmp_answer_all(vlmp_runtime *runtime, const vlmp_reader *reader, int count, int together,
                    int max_new_tokens, const vlmp_texts *texts, vlmp_error *err)
{
    struct collector c = {.reader = reader,
                          .texts = texts,
                          .max_new_tokens = max_new_tokens,
                          .ids = vlmp_calloc((size_t)count, sizeof *c.ids)};
    if (c.ids == NULL) return vlmp_fail_memory(err, "answers");
    const vlmp_generation greedy = {.stop = &reader->stop, .together = together};
    const vlmp_answers answers = {
        .arg = &c, .prompt = give_prompt, .token = collect, .done = finish};
    int status = vlmp_generate(runtime, count, &greedy, &answers, err);
    for (int i = 0; i < count; i++)
        vlmp_ids_free(&c.ids[i]);
    free(c.ids);
    return status;
}

struct one {
    const vlmp_sequence *prompt;
    char **answer;
    vlmp_generation_stats *stats;
};

static int one_prompt(void *arg, int index, const vlmp_sequence **out, vlmp_error *err)
{
    const struct one *one = arg;
    (void)index, (void)err;
    *out = one->prompt;
    return VLMP_OK;
}

static int one_done(void *arg, int index, char *text, const vlmp_ids *ids,
                    const vlmp_generation_stats *stats, vlmp_error *err)
{
    const struct one *one = arg;
    (void)index, (void)ids, (void)err;
    *one->answer = text;
    *one->stats = *stats;
    return VLMP_OK;
}

int vlmp_answer(vlmp_runtime *runtime, const vlmp_reader *reader, const vlmp_sequence *prompt,
                int max_new_tokens, char **answer, vlmp_generation_stats *stats, vlmp_error *err)
{
    struct one one = {prompt, answer, stats};
    *answer = NULL;
    const vlmp_texts texts = {.arg = &one, .prompt = one_prompt, .done = one_done};
    return vlmp_answer_all(runtime, reader, 1, 1, max_new_tokens, &texts, err);
}
