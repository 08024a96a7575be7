/* What answers of the files are worth against those of the original, where it is among them. */
#pragma once

#include "src/eval/results.h"

/* Fills bleu_difference and cider_difference of all results but the original, with paired
 * intervals; each as far as both measured it. */
int vlmp_against_original(vlmp_eval_result *results, size_t count, uint64_t seed, vlmp_error *err);
