/* Questions about pictures into sequences: everything of a model folder that lies before the
 * forward pass. */
#pragma once

#include "src/flow/sequence.h"
#include "src/model/model.h"
#include "src/picture/preprocess.h"
#include "src/store/image.h"
#include "src/text/prompt.h"

typedef struct {
    const vlmp_model *model; /* not owned */
    vlmp_tokenizer *tokenizer;
    vlmp_chat_template *chat;
    vlmp_preprocess preprocess;
    const struct tm *date; /* set after opening: what strftime_now shows; NULL: nothing does */
    vlmp_stop_tokens stop; /* the model's, or where it names none, the tokenizer's eos_token */
} vlmp_reader;

/* Reads tokenizer, chat template and picture processor from the model's source. */
int vlmp_reader_open(vlmp_reader *reader, const vlmp_model *model, vlmp_error *err);
void vlmp_reader_close(vlmp_reader *reader);

typedef struct {
    const vlmp_chat_message *turns; /* [turn_count] the last is a user's */
    int turn_count;
    const char *answer; /* NULL: a prompt to be continued */
    int image_count;
    const vlmp_image *images; /* [image_count] */
    char *const *image_names; /* for messages */
    const char *where;        /* whose it is, for messages; NULL: the model's */
} vlmp_question;

/* text: the rendered prompt, or NULL when not wanted; its ids and answers have moved into out. Free
 * with vlmp_prompt_free. */
int vlmp_reader_sequence(const vlmp_reader *reader, const vlmp_question *question,
                         vlmp_sequence *out, vlmp_prompt *text, vlmp_error *err);
