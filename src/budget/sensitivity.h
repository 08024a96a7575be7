/* What each site's candidates do to a model's output, measured: the table that budgets are chosen
 * from, and the file that it is kept in.
 *
 * A site is rounded, alone, to its probe, a candidate of about 4 bits, and the model run with it:
 * that gives its KL divergence from the original, D. The other candidates are rounded too, without
 * being run; their damage is taken as D·e/e₀, e the candidate's and e₀ the probe's error on samples
 * held out, Σ |W·x − Q(W)·x|² over Σ |W·x|² of each linear, summed over those of the site: small
 * changes of the output add up by their squares.
 */
#pragma once

#include "src/budget/sites.h"
#include "src/flow/identity.h"
#include "src/quant/scheme/recipe_scheme.h"

#define VLMP_CANDIDATES_MAX 16

typedef struct {
    uint64_t bytes; /* of its linears; VLMP_NO_OPTION: the site cannot have the candidate */
    double error;   /* e, of all linears of the site */
    double kl;      /* D; NAN where it was not run */
} vlmp_site_candidate;

typedef struct {
    vlmp_identity model;
    char calibration[VLMP_SHA256_HEX]; /* of the file */
    char program[VLMP_SHA256_HEX];     /* sources and compiler of what computed it */
    char kernels[256];                 /* that computed it, seed and tokens of what they saw */
    vlmp_budget_site *sites;
    int site_count;
    vlmp_recipe_scheme candidates[VLMP_CANDIDATES_MAX]; /* the first: keep */
    int candidate_count;
    vlmp_site_candidate *cells; /* [site][candidate] */
    int samples, tokens;        /* that were scored, all held out from the rounding */
    double passes;              /* of the whole model over these samples, in all */
} vlmp_sensitivity;

/* Candidates alone: those that budgets are chosen among. */
void vlmp_sensitivity_candidates(vlmp_sensitivity *table);

vlmp_site_candidate *vlmp_sensitivity_cell(const vlmp_sensitivity *table, int site, int candidate);

/* The candidate that a site is run with; 0: it has none. */
int vlmp_sensitivity_probe(const vlmp_sensitivity *table, int site);

/* Of a site's candidate, nats a token: measured or inferred. 0 of keep. */
double vlmp_sensitivity_damage(const vlmp_sensitivity *table, int site, int candidate);

void vlmp_sensitivity_write(const vlmp_sensitivity *table, vlmp_json_writer *w);

/* Fills the cells and what is said about the measurement from a document. table: model,
 * calibration, kernels, sites and candidates as they are now. *same: the document is of them, else
 * nothing is filled; why: what differs. VLMP_ERR_INPUT: it is no such document. */
int vlmp_sensitivity_read(vlmp_sensitivity *table, const cJSON *document, const char *where,
                          bool *same, const char **why, vlmp_error *err);

void vlmp_sensitivity_free(vlmp_sensitivity *table);
