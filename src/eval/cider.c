#include "src/eval/cider.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static size_t slot_of(const vlmp_cider *cider, const vlmp_ngram *gram)
{
    uint64_t hash = 0;
    for (int i = 0; i < VLMP_NGRAM; i++)
        hash = (hash ^ gram->words[i]) * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash ^ hash >> 29) & (cider->capacity - 1);
    while (cider->slots[slot].count > 0 && vlmp_ngram_compare(&cider->slots[slot], gram) != 0)
        slot = (slot + 1) & (cider->capacity - 1);
    return slot;
}

static bool grow(vlmp_cider *cider)
{
    vlmp_cider larger = *cider;
    larger.capacity = cider->capacity == 0 ? 4096 : 2 * cider->capacity;
    larger.slots = vlmp_calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL) return false;
    for (size_t i = 0; i < cider->capacity; i++)
        if (cider->slots[i].count > 0)
            larger.slots[slot_of(&larger, &cider->slots[i])] = cider->slots[i];
    free(cider->slots);
    *cider = larger;
    return true;
}

/* Whether an earlier reference of the same sample has the n-gram, too. */
static bool seen_before(const vlmp_caption *caption, size_t reference, const vlmp_ngram *gram)
{
    for (size_t r = 0; r < reference; r++)
        if (vlmp_sentence_find(&caption->references[r], gram) != NULL) return true;
    return false;
}

int vlmp_cider_add(vlmp_cider *cider, const vlmp_caption *caption, vlmp_error *err)
{
    cider->samples++;
    for (size_t r = 0; r < caption->reference_count; r++)
        for (size_t g = 0; g < caption->references[r].gram_count; g++) {
            const vlmp_ngram *gram = &caption->references[r].grams[g];
            if (seen_before(caption, r, gram)) continue;
            if (2 * (cider->used + 1) > cider->capacity && !grow(cider))
                return vlmp_fail_memory(err, "CIDEr");
            vlmp_ngram *slot = &cider->slots[slot_of(cider, gram)];
            cider->used += slot->count == 0;
            uint32_t count = slot->count + 1;
            *slot = *gram;
            slot->count = count;
        }
    return VLMP_OK;
}

void vlmp_cider_free(vlmp_cider *cider)
{
    free(cider->slots);
    *cider = (vlmp_cider){0};
}

/* tf·idf of a sentence's n-gram. */
static double weight(const vlmp_cider *cider, const vlmp_ngram *gram)
{
    uint32_t found = cider->capacity > 0 ? cider->slots[slot_of(cider, gram)].count : 0;
    double documents = found > 0 ? found : 1;
    return gram->count * (log((double)cider->samples) - log(documents));
}

static void norms(double out[VLMP_NGRAM], const vlmp_sentence *sentence, const vlmp_cider *df)
{
    for (int n = 0; n < VLMP_NGRAM; n++)
        out[n] = 0;
    for (size_t i = 0; i < sentence->gram_count; i++) {
        double w = weight(df, &sentence->grams[i]);
        out[vlmp_ngram_order(&sentence->grams[i]) - 1] += w * w;
    }
    for (int n = 0; n < VLMP_NGRAM; n++)
        out[n] = sqrt(out[n]);
}

static double bigrams(const vlmp_sentence *sentence)
{
    return sentence->length > 1 ? (double)(sentence->length - 1) : 0;
}

static double similarity(const vlmp_sentence *hypothesis, const vlmp_sentence *reference,
                         const vlmp_cider *df)
{
    const double sigma = 6;
    double norm_h[VLMP_NGRAM], norm_r[VLMP_NGRAM], value[VLMP_NGRAM] = {0};
    norms(norm_h, hypothesis, df);
    norms(norm_r, reference, df);
    for (size_t i = 0; i < hypothesis->gram_count; i++) {
        const vlmp_ngram *gram = &hypothesis->grams[i];
        const vlmp_ngram *other = vlmp_sentence_find(reference, gram);
        if (other == NULL) continue;
        double h = weight(df, gram), r = weight(df, other);
        value[vlmp_ngram_order(gram) - 1] += (h < r ? h : r) * r;
    }
    double sum = 0;
    for (int n = 0; n < VLMP_NGRAM; n++)
        sum += norm_h[n] != 0 && norm_r[n] != 0 ? value[n] / (norm_h[n] * norm_r[n]) : value[n];
    double delta = bigrams(hypothesis) - bigrams(reference);
    return sum / VLMP_NGRAM * exp(-delta * delta / (2 * sigma * sigma));
}

double vlmp_cider_score(const vlmp_cider *cider, const vlmp_caption *caption)
{
    double sum = 0;
    for (size_t r = 0; r < caption->reference_count; r++)
        sum += similarity(&caption->hypothesis, &caption->references[r], cider);
    return 10 * sum / (double)caption->reference_count;
}
