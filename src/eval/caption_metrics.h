/* BLEU and CIDEr of a result (private to the metrics). */
#pragma once

#include "src/eval/metrics.h"

/* Null with a note when there is nothing generated, or a sample has no answer. */
int vlmp_caption_metrics(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err);
