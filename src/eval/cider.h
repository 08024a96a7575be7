/* CIDEr-D (Vedantam, Zitnick, Parikh 2015) as the COCO caption scorer computes it: document
 * frequencies from the references of the evaluated set, clipped tf-idf cosine, Gaussian length
 * penalty with σ = 6 (lengths counted in bigrams), times 10. */
#pragma once

#include "src/eval/captions.h"

/* How many samples' references have each n-gram. Initialise with {0}. */
typedef struct {
    vlmp_ngram *slots; /* [capacity] open addressing; count 0: free */
    size_t capacity;   /* a power of two */
    size_t used;
    size_t samples;
} vlmp_cider;

/* First all captions are added, then each is scored; the corpus score is the mean. Each caption has
 * at least one reference. */
int vlmp_cider_add(vlmp_cider *cider, const vlmp_caption *caption, vlmp_error *err);
double vlmp_cider_score(const vlmp_cider *cider, const vlmp_caption *caption);
void vlmp_cider_free(vlmp_cider *cider);
