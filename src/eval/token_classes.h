/* What kind of word each token of an answer belongs to, and what quantizing did to each kind. */
#pragma once

#include "src/eval/results.h"

/* A letter a token. A token belongs to the word that its first letter or digit is in:
 *   N  a number: a word with a digit in it, or an English cardinal ("three")
 *   F  an English function word (articles, pronouns, auxiliaries, …; the list is in the source)
 *   C  a content word: any other word
 *   M  no word: punctuation, white space, the end of the answer
 * Lower case (n, c): the question holds the same word. Words are runs of letters and digits, with
 * apostrophes between letters; upper and lower case are the same for ASCII. */
#define VLMP_TOKEN_CLASSES "NnFCcM"

/* ends[count]: the bytes of text (UTF-8) up to the end of each token, not falling; one that adds
 * none is of the kind of the next that does. out[count] gets letters. */
int vlmp_token_classes(char *out, const char *text, const size_t *ends, size_t count,
                       const char *question, vlmp_error *err);

/* Fills result->kl_classes from per_sample, whose kl and classes are there. */
int vlmp_class_kl_fill(vlmp_eval_result *result, uint64_t seed, vlmp_error *err);

/* "content words" and the key of JSON, "content_words". */
const char *vlmp_class_name(vlmp_kl_class which);
const char *vlmp_class_key(vlmp_kl_class which);
