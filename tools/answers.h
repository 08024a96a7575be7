/* Greedy answers as text. */
#pragma once

#include "src/flow/reader.h"
#include "src/runtime/session.h"

/* Generates from the prompt, at most to the end of the context, decodes, trims white space at both
 * ends. Free *answer. */
int vlmp_answer(vlmp_session *session, const vlmp_reader *reader, const vlmp_sequence *prompt,
                int max_new_tokens, char **answer, vlmp_generation_stats *stats, vlmp_error *err);
