/* From token scores and captions to the metrics of a result: perplexity, KL divergence, agreement,
 * BLEU, CIDEr, each with its interval. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/eval/bootstrap.h"
#include "src/eval/captions.h"
#include "src/eval/results.h"

/* What the forward passes measured at each answer token, grouped by sample. Initialise with {0}. */
typedef struct {
    size_t samples, tokens;
    bool has_reference; /* set before the first token */
    size_t *first;      /* [samples + 1]; sample i has tokens first[i] … first[i + 1] − 1 */
    double *nll;        /* [tokens] −ln p(token), nats */
    double *reference_nll;
    double *kl;    /* [tokens] KL(reference ‖ model) over the vocabulary, nats */
    bool *top1;    /* [tokens] both have the same most likely token */
    char *classes; /* [tokens] of VLMP_TOKEN_CLASSES; NULL: not known. From malloc */
    size_t sample_capacity, token_capacity;
} vlmp_token_scores;

/* Starts the next sample; its tokens follow. */
int vlmp_scores_sample(vlmp_token_scores *scores, vlmp_error *err);

/* Without a reference the last three are ignored. */
int vlmp_scores_token(vlmp_token_scores *scores, double nll, double reference_nll, double kl,
                      bool top1, vlmp_error *err);
void vlmp_scores_free(vlmp_token_scores *scores);

/* What one file's evaluation produced. The sample at index i is the same in all arrays. */
typedef struct {
    size_t count;
    vlmp_references_fn *references; /* of sample i; asked twice for each */
    void *references_arg;
    unsigned metrics;                        /* VLMP_METRIC_…: what was asked for */
    const vlmp_token_scores *scores;         /* NULL: neither ppl nor kl was asked for */
    const char *const *hypotheses;           /* [count] generated answers; NULL: not generated */
    const vlmp_answer_tokens *answer_tokens; /* [count] that outlive the result; NULL: not known */
    const int *lines;                        /* [count] in the data file; NULL: not known */
    bool answers_are_stand_ins; /* the source model's own: perplexity, BLEU, CIDEr are null */
    uint64_t seed;
} vlmp_eval_input;

/* Fills samples, tokens and the metrics in result (initialised by vlmp_result_init, with what the
 * caller knows already set); adds a note for each that could not be computed. */
int vlmp_eval_fill(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err);

/* p50, p95, p99 of n times; NAN when n is 0. Sorts values. */
void vlmp_percentiles(double out[3], double *values, size_t n);
