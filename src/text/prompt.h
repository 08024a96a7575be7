/* From a question about pictures to token ids: chat template, tokenizer, placeholders, and where
 * the scored answer begins. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/store/source.h"
#include "src/text/span.h"
#include "src/text/template/chat_template.h"
#include "src/text/tokenizer.h"

/* What turns questions into ids. Borrowed by the calls below. */
typedef struct {
    const vlmp_chat_template *chat;
    const vlmp_tokenizer *tokenizer;
    int32_t image_token;   /* the placeholder's id, from config.json */
    const char *where;     /* the model, for messages */
    const struct tm *date; /* what strftime_now shows; NULL: a template that asks is refused */
} vlmp_prompter;

typedef struct {
    const vlmp_chat_message *turns; /* [turn_count] the conversation; the last is a user's */
    size_t turn_count;
    const char *answer; /* the assistant's to the last turn; NULL: a prompt to be continued */
    int pictures;       /* in all turns */
    const int32_t *picture_tokens; /* [pictures] placeholders that each becomes */
    /* [pictures] texts that hold so many, in place of each; NULL: they follow one another. */
    const char *const *picture_texts;
} vlmp_prompt_request;

typedef struct {
    char *text;           /* as rendered, placeholders not expanded; NUL-terminated */
    size_t text_length;   /* bytes */
    size_t prompt_length; /* bytes of the text that are the prompt of the last answer; where the
                           * template does not continue its own prompt, still the prompt's length */
    int32_t *ids;         /* [count] placeholders expanded */
    size_t count;
    size_t answer_count;    /* 0 when there is no answer */
    vlmp_span *answers;     /* [answer_count] ids of each, rising */
    size_t *picture_starts; /* [pictures] index of each picture's first id */
    bool border_moved;      /* prompt and answer merge across their border: the answer begins
                             * before the prompt's own tokens end */
    bool answer_appended;   /* the template does not continue its prompt: the last answer was put
                             * behind the prompt as it is */
    bool end_differs;       /* text other than white space stands between the last answer and its
                             * end-of-sequence token, or behind the answer where there is none: it
                             * is scored, although the model would end where the token is */
} vlmp_prompt;

/* The rule for scored tokens: the whole text is the template with all turns and the answer; the
 * prompt of an answer is the template with the turns before it and the generation prompt. The text
 * ends behind the last end-of-sequence token after the last prompt, or, if there is none, white
 * space at its end goes and one is added. Special tokens are added unless the text begins with the
 * begin-of-sequence token. The last answer is every token behind those of its prompt. An earlier
 * one ends behind the last end-of-sequence token that the template gives it, or, if there is none,
 * with its text, white space at its end not counted.
 * VLMP_ERR_INPUT: a template that refuses, or renders a turn otherwise once others follow; a number
 * of placeholders that is not that of the pictures (a turn spells one, or the template makes none);
 * a tokenizer without an eos_token when there is an answer. Free with vlmp_prompt_free. */
int vlmp_prompt_make(const vlmp_prompter *prompter, const vlmp_prompt_request *request,
                     vlmp_prompt *out, vlmp_error *err);
void vlmp_prompt_free(vlmp_prompt *prompt);

/* The text of a model folder's chat template, appended to out, and the file that it is in:
 * chat_template.jinja, chat_template.json, else the chat_template of processor_config.json or
 * tokenizer_config.json (a string, or a list of which "default" is taken). None is VLMP_ERR_INPUT.
 */
int vlmp_chat_template_find(vlmp_buffer *out, const char **name, const vlmp_source *source,
                            vlmp_error *err);

/* The same, ready to render. */
int vlmp_chat_template_load(vlmp_chat_template **out, const vlmp_source *source, vlmp_error *err);

/* A model folder's tokenizer.json and tokenizer_config.json. */
int vlmp_tokenizer_load(vlmp_tokenizer **out, const vlmp_source *source, vlmp_error *err);
