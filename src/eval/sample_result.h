/* What one sample gave: what paired comparisons with later runs and reports draw on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/eval/bleu.h"

typedef struct vlmp_sample_result {
    int line; /* in the data file, or the entry's number; 0: not known */
    /* Of the answer that is scored; a mean over nothing when tokens is 0. */
    size_t tokens;
    double nll, reference_nll; /* sums over tokens, nats */
    size_t same;               /* tokens with the reference's most likely token */
    const double *kl;          /* [tokens]; NULL: no reference */
    const char *classes;       /* [tokens] of VLMP_TOKEN_CLASSES; NULL: not known */
    /* Of the answer that was generated. */
    const char *answer; /* NULL: none was */
    bool captioned;     /* the two below are known */
    vlmp_bleu_counts bleu;
    double cider;
} vlmp_sample_result;
