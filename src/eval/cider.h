/* CIDEr-D (Vedantam, Zitnick, Parikh 2015) as the COCO caption scorer computes it: document
 * frequencies from the references of the evaluated set, clipped tf-idf cosine, Gaussian length
 * penalty with σ = 6 (lengths counted in bigrams), times 10. */
#pragma once

#include "src/eval/captions.h"

/* scores[captions->count]; the corpus score is their mean. Each caption has at least one
 * reference. */
int vlmp_cider_scores(double *scores, const vlmp_captions *captions, vlmp_error *err);
