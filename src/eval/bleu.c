#include "src/eval/bleu.h"

#include <math.h>

void vlmp_bleu_count(vlmp_bleu_counts *out, const vlmp_caption *caption)
{
    const vlmp_sentence *hypothesis = &caption->hypothesis;
    *out = (vlmp_bleu_counts){.length = (double)hypothesis->length};
    for (size_t n = 0; n < VLMP_NGRAM; n++)
        out->guess[n] = hypothesis->length > n ? (double)(hypothesis->length - n) : 0;
    double nearest = INFINITY;
    for (size_t r = 0; r < caption->reference_count; r++) {
        double length = (double)caption->references[r].length;
        double distance = fabs(length - out->length);
        if (distance < nearest || (distance == nearest && length < out->reference_length)) {
            nearest = distance;
            out->reference_length = length;
        }
    }
    for (size_t i = 0; i < hypothesis->gram_count; i++) {
        const vlmp_ngram *gram = &hypothesis->grams[i];
        uint32_t most = 0;
        for (size_t r = 0; r < caption->reference_count; r++) {
            const vlmp_ngram *found = vlmp_sentence_find(&caption->references[r], gram);
            if (found != NULL && found->count > most) most = found->count;
        }
        out->correct[vlmp_ngram_order(gram) - 1] += gram->count < most ? gram->count : most;
    }
}

void vlmp_bleu_add(vlmp_bleu_counts *total, const vlmp_bleu_counts *counts, double times)
{
    for (int n = 0; n < VLMP_NGRAM; n++) {
        total->correct[n] += times * counts->correct[n];
        total->guess[n] += times * counts->guess[n];
    }
    total->length += times * counts->length;
    total->reference_length += times * counts->reference_length;
}

void vlmp_bleu_score(double bleu[VLMP_NGRAM], const vlmp_bleu_counts *total)
{
    /* The COCO scorer's guards against division by zero; they are part of the convention because
     * they decide what an n-gram order without any match scores. */
    const double small = 1e-9, tiny = 1e-15;
    double ratio = (total->length + tiny) / (total->reference_length + small);
    double brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1;
    double product = 1;
    for (int n = 0; n < VLMP_NGRAM; n++) {
        product *= (total->correct[n] + tiny) / (total->guess[n] + small);
        bleu[n] = pow(product, 1.0 / (n + 1)) * brevity;
    }
}
