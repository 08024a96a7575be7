/* Answers to the prompts of an evaluation, with their times. */
#pragma once

#include "src/flow/reader.h"
#include "tools/eval_model.h"

typedef struct {
    const char **texts;         /* [count] */
    vlmp_answer_tokens *tokens; /* [count] */
    vlmp_arena *arena;          /* of all of it */
} vlmp_given_answers;

int vlmp_given_answers_make(vlmp_given_answers *out, size_t count, vlmp_arena *arena,
                            vlmp_error *err);

/* Greedy answers to all prompts, and the result's speed and memory. Where speed
 * is asked for, the first VLMP_TIMED_ANSWERS are given alone, and timed; the others share steps,
 * which changes no answer. */
enum { VLMP_TIMED_ANSWERS = 8 };
int vlmp_eval_answers(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_reader *reader,
                      vlmp_given_answers *answers, vlmp_eval_result *result, vlmp_error *err);

/* Opens the job's model and answers the prompts of these samples. */
int vlmp_eval_answer_some(const vlmp_eval_job *job, vlmp_engine *engine, const size_t *places,
                          size_t count, vlmp_given_answers *answers, vlmp_error *err);

/* Puts the place of sample i in front of a message that is about it. */
void vlmp_eval_name_sample(const vlmp_eval_job *job, size_t i, vlmp_error *err);

/* What is longer than all models of the run can read was left out before; this one counts in
 * another way, and leaving out more would make unequal pairs. */
int vlmp_eval_check_fits(const vlmp_eval_job *job, const vlmp_reader *reader, int tokens,
                         vlmp_error *err);
