/* Which samples calibrate: a stratified, seeded choice. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

/* What the strata are made of. */
typedef struct {
    double aspect;        /* width/height of the first picture; 0: none */
    const char *prompt;   /* its first word counts */
    size_t answer_length; /* bytes of the first answer */
    int stratum;          /* out */
} vlmp_stratum_key;

/* Strata are thirds of aspect × the prompt's first word × thirds of answer length. Chooses `want`
 * of `count` samples, proportionally to the strata's sizes (largest remainders), drawn with `seed`
 * within each; want ≥ count takes all. chosen[min(want, count)]: indices in rising order. Fills
 * keys[].stratum; *strata gets the number of strata. */
int vlmp_choose_samples(vlmp_stratum_key *keys, size_t count, size_t want, uint64_t seed,
                        size_t *chosen, size_t *strata, vlmp_error *err);
