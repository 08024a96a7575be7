/* Which samples calibrate, and which of those a budget of tokens covers: stratified, seeded
 * choices.
 */
#pragma once

#include <stdbool.h>
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

/* A sample that may be drawn. */
typedef struct {
    uint64_t key;       /* the sample's own, so that what is drawn does not depend on their order */
    int64_t tokens;     /* rows in the text model */
    int64_t pictures;   /* of them, rows of pictures */
    int64_t tower_rows; /* rows of its pictures in the tower */
} vlmp_draw_item;

/* What a draw must reach; 0: nothing asks for it, INT64_MAX: all there is. */
typedef struct {
    int64_t tokens;
    int64_t tower_rows;
    int64_t samples;
} vlmp_draw_budget;

/* Strata are text alone and thirds of the pictures' share × thirds of length. Whole samples are
 * drawn, from all strata in proportion to their sizes, until the budget is reached or nothing is
 * left that helps: at least one sample with pictures and one without where there are such. A larger
 * budget draws the same samples and more. drawn[count]. */
int vlmp_draw_samples(const vlmp_draw_item *items, size_t count, const vlmp_draw_budget *budget,
                      uint64_t seed, bool *drawn, vlmp_error *err);
