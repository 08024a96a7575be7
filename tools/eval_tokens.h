/* The words that an evaluation's tokens belong to. */
#pragma once

#include "tools/eval_data.h"

/* Appends a letter of VLMP_TOKEN_CLASSES for each answer token of sample i, whose sequence this is.
 * The question is what the user says in all turns. */
int vlmp_eval_classes(const vlmp_eval_data *data, size_t i, const vlmp_reader *reader,
                      const vlmp_sequence *sequence, vlmp_buffer *out, vlmp_error *err);

/* The text of ids, white space as it is, and the bytes of it up to the end of each: ends[count].
 * Special tokens have no text. Free text. */
int vlmp_token_texts(const vlmp_tokenizer *tokenizer, const int32_t *ids, size_t count,
                     vlmp_buffer *text, size_t *ends, vlmp_error *err);
