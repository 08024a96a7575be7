#include "src/model/sequence.h"

#include <stdlib.h>

void vlmp_sequence_free(vlmp_sequence *sequence)
{
    free(sequence->ids);
    free(sequence->plans);
    free(sequence->pixels);
    *sequence = (vlmp_sequence){0};
}
