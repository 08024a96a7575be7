/* Answers: prompts in, tokens out. */
#pragma once

#include "src/base/rng.h"
#include "src/runtime/runtime.h"

/* The most likely token (the first of equals) at temperature 0, else a draw from
 * softmax(logits/temperature). */
int32_t vlmp_sample_token(const float *logits, int vocab, double temperature, vlmp_rng *rng);

typedef struct {
    double temperature;
    uint64_t seed;                /* of each answer's draws */
    const vlmp_stop_tokens *stop; /* that end the answer; NULL: none does */
    int together;                 /* answers at a time; 0: as many as the runtime has streams */
} vlmp_generation;

typedef struct {
    int prompt_tokens;
    int new_tokens;        /* end-of-sequence not counted */
    int steps;             /* passes behind the first token, that to end-of-sequence included */
    double first_seconds;  /* prompt and pictures to the first token */
    double decode_seconds; /* of the steps */
} vlmp_generation_stats;

/* Where prompts come from and answers go. Each returns a status. */
typedef struct {
    void *arg;
    /* The prompt of answer `index`, all its tokens, which stay until the next call; *max_new: of
     * the answer. */
    int (*prompt)(void *arg, int index, const vlmp_sequence **out, int *max_new, vlmp_error *err);
    /* The next token of an answer; *stop: it ends here. */
    int (*token)(void *arg, int index, int32_t token, bool *stop, vlmp_error *err);
    /* An answer has ended: by an end-of-sequence token (which is not passed on), its limit or stop.
     */
    int (*done)(void *arg, int index, const vlmp_generation_stats *stats, vlmp_error *err);
} vlmp_answers;

/* count answers. What an answer is does not depend on those beside it; in which order they end
 * does. */
int vlmp_generate(vlmp_runtime *runtime, int count, const vlmp_generation *options,
                  const vlmp_answers *answers, vlmp_error *err);
