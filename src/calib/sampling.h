/* Which samples calibrate: a stratified, seeded choice. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

/* What the strata are made of. */
typedef struct {
    double aspect;        /* width/height of the first picture; 0: none */
    uint64_t first_word;  /* vlmp_first_word of the prompt */
    size_t answer_length; /* bytes of all answers */
    int stratum;          /* out */
} vlmp_stratum_key;

/* The first word of a prompt as a number whose order is that of the words, as far as eight bytes
 * tell; longer words that agree in them count as one. */
uint64_t vlmp_first_word(const char *prompt);

/* Strata are thirds of aspect × the prompt's first word × thirds of answer length. Chooses `want`
 * of `count` samples, proportionally to the strata's sizes (largest remainders), drawn with `seed`
 * within each; want ≥ count takes all. chosen[min(want, count)]: indices in rising order. Fills
 * keys[].stratum; *strata gets the number of strata. */
int vlmp_choose_samples(vlmp_stratum_key *keys, size_t count, size_t want, uint64_t seed,
                        size_t *chosen, size_t *strata, vlmp_error *err);
