#include "tools/stand_in.h"

#include <stdlib.h>
#include <string.h>

#include "tools/answers.h"

int vlmp_stand_in_answer(vlmp_engine *engine, const vlmp_reader *reader, const vlmp_sample *sample,
                         char **answer, vlmp_error *err)
{
    vlmp_session *session;
    vlmp_sequence prompt = {0};
    vlmp_generation_stats stats;
    *answer = NULL;
    VLMP_TRY(vlmp_session_create(&session, engine->ctx, &engine->model, &reader->preprocess, err));
    int status = vlmp_sample_sequence(reader, sample, NULL, &prompt, err);
    if (status == VLMP_OK)
        status = vlmp_answer(session, reader, &prompt, VLMP_STAND_IN_TOKENS, answer, &stats, err);
    vlmp_sequence_free(&prompt);
    vlmp_session_free(session);
    return status;
}
