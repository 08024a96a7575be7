/* BLEU and CIDEr of a result (private to evaluation). */
#pragma once

#include "src/eval/metrics.h"

/* Null with a note when there is nothing generated, or a sample has no answer. */
int vlmp_caption_metrics(vlmp_eval_result *result, const vlmp_eval_input *input, vlmp_error *err);

/* BLEU-1 … BLEU-4 and CIDEr when sample i counts counts[i] times; all are captioned. */
void vlmp_caption_statistics(const vlmp_sample_result *samples, size_t n, const uint32_t *counts,
                             double out[VLMP_NGRAM + 1]);
