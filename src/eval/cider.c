#include "src/eval/cider.h"

#include <math.h>
#include <stdlib.h>

/* Document frequencies: ascending n-grams of all references, count = samples that have it. */
typedef struct {
    vlmp_ngram *grams;
    size_t count;
    double log_samples;
} frequencies;

static size_t merge_equal(vlmp_ngram *grams, size_t count)
{
    if (count == 0) return 0;
    qsort(grams, count, sizeof *grams, vlmp_ngram_compare);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique > 0 && vlmp_ngram_compare(&grams[unique - 1], &grams[i]) == 0)
            grams[unique - 1].count += grams[i].count;
        else
            grams[unique++] = grams[i];
    }
    return unique;
}

static int count_documents(frequencies *out, const vlmp_captions *captions, vlmp_error *err)
{
    size_t capacity = 0;
    for (size_t i = 0; i < captions->count; i++)
        for (size_t r = 0; r < captions->samples[i].reference_count; r++)
            capacity += captions->samples[i].references[r].gram_count;
    out->log_samples = log((double)captions->count);
    out->grams = vlmp_alloc(capacity, sizeof *out->grams);
    if (out->grams == NULL) return vlmp_fail_memory(err, "CIDEr");
    size_t end = 0;
    for (size_t i = 0; i < captions->count; i++) {
        const vlmp_caption *caption = &captions->samples[i];
        size_t start = end;
        for (size_t r = 0; r < caption->reference_count; r++)
            for (size_t g = 0; g < caption->references[r].gram_count; g++)
                out->grams[end++] = caption->references[r].grams[g];
        end = start + merge_equal(out->grams + start, end - start);
        for (size_t g = start; g < end; g++)
            out->grams[g].count = 1;
    }
    out->count = merge_equal(out->grams, end);
    return VLMP_OK;
}

/* tf·idf of a sentence's n-gram. */
static double weight(const frequencies *df, const vlmp_ngram *gram)
{
    const vlmp_ngram *found =
        df->count == 0 ? NULL
                       : bsearch(gram, df->grams, df->count, sizeof *gram, vlmp_ngram_compare);
    double documents = found != NULL ? found->count : 1;
    return gram->count * (df->log_samples - log(documents));
}

static void norms(double out[VLMP_NGRAM], const vlmp_sentence *sentence, const frequencies *df)
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
                         const frequencies *df)
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

int vlmp_cider_scores(double *scores, const vlmp_captions *captions, vlmp_error *err)
{
    frequencies df = {0};
    VLMP_TRY(count_documents(&df, captions, err));
    for (size_t i = 0; i < captions->count; i++) {
        const vlmp_caption *caption = &captions->samples[i];
        double sum = 0;
        for (size_t r = 0; r < caption->reference_count; r++)
            sum += similarity(&caption->hypothesis, &caption->references[r], &df);
        scores[i] = 10 * sum / (double)caption->reference_count;
    }
    free(df.grams);
    return VLMP_OK;
}
