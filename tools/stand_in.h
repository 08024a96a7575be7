/* Where a data set has no answer, the model's own greedy answer stands in. */
#pragma once

#include "tools/answers.h"
#include "tools/samples.h"

#define VLMP_STAND_IN_TOKENS 48

/* Free *answer. */
int vlmp_stand_in_answer(vlmp_runtime *runtime, const vlmp_reader *reader,
                         const vlmp_sample *sample, vlmp_picture_reading *reading, char **answer,
                         vlmp_error *err);
