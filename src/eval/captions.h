/* Captions as word n-grams: what BLEU and CIDEr count. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/model/sample.h"

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
} vlmp_caption;

typedef struct {
    vlmp_caption *samples;
    size_t count;
    vlmp_arena arena; /* owns everything above */
} vlmp_captions;

/* PTB-tokenizes hypotheses[count] and the answers of samples[count] and counts their n-grams. Free
 * with vlmp_captions_free, also after a failure. */
int vlmp_captions_build(vlmp_captions *out, const char *const *hypotheses,
                        const vlmp_sample *samples, size_t count, vlmp_error *err);
void vlmp_captions_free(vlmp_captions *captions);

/* NULL when absent. */
const vlmp_ngram *vlmp_sentence_find(const vlmp_sentence *sentence, const vlmp_ngram *gram);
int vlmp_ngram_compare(const void *a, const void *b); /* by words */
int vlmp_ngram_order(const vlmp_ngram *gram);         /* n */
