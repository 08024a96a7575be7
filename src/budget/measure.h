/* Runs of a model with some of its linears rounded, against the original: from the first block that
 * differs on, with the activations before it kept. */
#pragma once

#include "src/budget/sensitivity.h"
#include "src/flow/sweep.h"

typedef struct {
    vlmp_sweep sweep;                /* of the original model */
    const vlmp_linear_info *linears; /* of it */
    const vlmp_sequence *sequences;  /* that are scored: each has an answer */
    int count;
    /* [candidate] the model with every linear that can have it so; the first: the original. */
    const vlmp_source *const *rounded;
    void (*progress)(void *arg, int done, int total, const char *site); /* NULL: none */
    int (*measured)(void *arg, int site, double kl, vlmp_error *err);   /* NULL: none */
    void *arg;
} vlmp_measure_job;

/* The KL divergence of each site's probe, of those that have none yet, and samples, tokens and
 * passes, those of all. The table's bytes are there. */
int vlmp_measure_sites(const vlmp_measure_job *job, vlmp_sensitivity *table, vlmp_error *err);

/* Of the model with chosen[site] everywhere at once: what the sum of damages stands for. */
int vlmp_measure_choice(const vlmp_measure_job *job, const vlmp_sensitivity *table,
                        const int *chosen, double *kl, vlmp_error *err);
