/* What one sample gave: what paired comparisons with later runs and reports draw on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/eval/bleu.h"

/* Tokens of a generated answer, without the one that ended it. */
typedef struct {
    const int32_t *ids; /* [count] */
    const size_t *ends; /* [count] bytes of the answer's text up to the end of each */
    size_t count;
} vlmp_answer_tokens;

typedef struct vlmp_sample_result {
    int line; /* in the data file, or the entry's number; 0: not known */
    /* Of the answer that is scored; a mean over nothing when tokens is 0. */
    size_t tokens;
    double nll, reference_nll; /* sums over tokens, nats */
    size_t same;               /* tokens with the reference's most likely token */
    const double *kl;          /* [tokens]; NULL: no reference */
    const char *classes;       /* [tokens] of VLMP_TOKEN_CLASSES; NULL: not known */
    /* Of the answer that was generated. */
    const char *answer;               /* NULL: none was */
    vlmp_answer_tokens answer_tokens; /* ids NULL: not known. For reports alone */
    bool captioned;                   /* the two below are known */
    vlmp_bleu_counts bleu;
    double cider;
} vlmp_sample_result;
