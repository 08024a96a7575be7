/* Captions as word n-grams: what BLEU and CIDEr count. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"

#define VLMP_NGRAM 4

/* An n-gram of word numbers (from 1); unused places are 0. */
typedef struct {
    uint32_t words[VLMP_NGRAM];
    uint32_t count;
} vlmp_ngram;

typedef struct {
    vlmp_ngram *grams; /* ascending by words, each once; n = 1 … 4 mixed */
    size_t gram_count;
    size_t length; /* words */
} vlmp_sentence;

typedef struct {
    vlmp_sentence hypothesis;
    vlmp_sentence *references;
    size_t reference_count;
    vlmp_arena arena; /* owns everything above */
} vlmp_caption;

/* Numbers of words, given as they come up. Initialise with {0}. */
typedef struct {
    const char **names; /* [capacity] in the arena; open addressing */
    uint32_t *numbers;
    size_t capacity; /* a power of two */
    uint32_t count;
    vlmp_arena arena;
} vlmp_caption_words;

void vlmp_caption_words_free(vlmp_caption_words *vocabulary);

/* The answers that a data set has for sample `index`; they live until the next call. */
typedef int vlmp_references_fn(void *arg, size_t index, char *const **answers, size_t *count,
                               vlmp_error *err);

/* PTB-tokenizes the hypothesis and its references and counts their n-grams. Free with
 * vlmp_caption_free, also after a failure. */
int vlmp_caption_build(vlmp_caption *out, vlmp_caption_words *vocabulary, const char *hypothesis,
                       char *const *references, size_t count, vlmp_error *err);
void vlmp_caption_free(vlmp_caption *caption);

/* NULL when absent. */
const vlmp_ngram *vlmp_sentence_find(const vlmp_sentence *sentence, const vlmp_ngram *gram);
int vlmp_ngram_compare(const void *a, const void *b); /* by words */
int vlmp_ngram_order(const vlmp_ngram *gram);         /* n */
