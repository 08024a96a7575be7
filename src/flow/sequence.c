#include "src/flow/sequence.h"

#include <stdlib.h>

int vlmp_sequence_answer_tokens(const vlmp_sequence *sequence)
{
    int tokens = 0;
    for (int i = 0; i < sequence->answer_count; i++)
        tokens += sequence->answers[i].end - sequence->answers[i].from;
    return tokens;
}

void vlmp_sequence_free(vlmp_sequence *sequence)
{
    free(sequence->ids);
    free(sequence->answers);
    free(sequence->plans);
    free(sequence->pixels);
    *sequence = (vlmp_sequence){0};
}
