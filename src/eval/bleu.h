/* BLEU-1 … BLEU-4 by the COCO caption convention: corpus level, clipped counts, the closest
 * reference length (the shorter one on a tie), no smoothing. */
#pragma once

#include "src/eval/captions.h"

/* What a sample contributes; sums of these give the corpus score. */
typedef struct {
    double correct[VLMP_NGRAM];
    double guess[VLMP_NGRAM];
    double length;
    double reference_length;
} vlmp_bleu_counts;

/* caption has at least one reference. */
void vlmp_bleu_count(vlmp_bleu_counts *out, const vlmp_caption *caption);

/* total += times · counts */
void vlmp_bleu_add(vlmp_bleu_counts *total, const vlmp_bleu_counts *counts, double times);

void vlmp_bleu_score(double bleu[VLMP_NGRAM], const vlmp_bleu_counts *total);
