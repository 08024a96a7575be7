/* Greedy answers as text. */
#pragma once

#include "src/flow/reader.h"
#include "src/runtime/generate.h"

/* Which prompts, and where their answers go. */
typedef struct {
    void *arg;
    /* As in vlmp_answers; an answer is cut where the context ends. */
    int (*prompt)(void *arg, int index, const vlmp_sequence **out, vlmp_error *err);
    /* text is the caller's to free: the ids decoded, white space trimmed at both ends. */
    int (*done)(void *arg, int index, char *text, const vlmp_ids *ids,
                const vlmp_generation_stats *stats, vlmp_error *err);
} vlmp_texts;

/* count answers, `together` at a time (0: as many as the runtime has streams). */
int vlmp_answer_all(vlmp_runtime *runtime, const vlmp_reader *reader, int count, int together,
                    int max_new_tokens, const vlmp_texts *texts, vlmp_error *err);

/* One. Free *answer. */
int vlmp_answer(vlmp_runtime *runtime, const vlmp_reader *reader, const vlmp_sequence *prompt,
                int max_new_tokens, char **answer, vlmp_generation_stats *stats, vlmp_error *err);
