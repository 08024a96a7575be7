#include "tools/stand_in.h"

int vlmp_stand_in_answer(vlmp_runtime *runtime, const vlmp_reader *reader,
                         const vlmp_sample *sample, vlmp_picture_reading *reading, char **answer,
                         vlmp_error *err)
{
    vlmp_sequence prompt;
    vlmp_generation_stats stats;
    *answer = NULL;
    VLMP_TRY(vlmp_sample_sequence(reader, sample, NULL, reading, &prompt, err));
    int status = vlmp_answer(runtime, reader, &prompt, VLMP_STAND_IN_TOKENS, answer, &stats, err);
    vlmp_sequence_free(&prompt);
    if (status == VLMP_ERR_INPUT) vlmp_error_at(err, sample->where);
    return status;
}
