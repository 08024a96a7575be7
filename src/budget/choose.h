/* From the table and a number of bytes to a recipe. */
#pragma once

#include "src/budget/knapsack.h"
#include "src/budget/sensitivity.h"
#include "src/quant/scheme/recipe.h"

/* Every choice among what sites may have, solved. */
typedef struct {
    vlmp_option *options;
    vlmp_knapsack knapsack;
} vlmp_budget_choices;

/* allowed [site][candidate], or NULL: all that sites can have; keep always is. Free *out, after a
 * failure too. */
int vlmp_budget_solve(vlmp_budget_choices *out, const vlmp_sensitivity *table, const bool *allowed,
                      vlmp_error *err);
void vlmp_budget_choices_free(vlmp_budget_choices *choices);

/* chosen[site_count]: candidates of least damage, summed, whose bytes together are at most `bytes`,
 * which is no less than those of vlmp_budget_smallest. */
void vlmp_budget_choose(const vlmp_budget_choices *choices, uint64_t bytes, int *chosen);

/* Whether a choice is within what its bytes alone do not tell: the size of a file. */
typedef int vlmp_budget_fits_fn(void *arg, const int *chosen, bool *fits, vlmp_error *err);

/* The choice of the most bytes, at most `bytes`, that fits. What fits a limit fits every larger
 * one, so a larger limit (with `bytes` no less) never does more damage. *found: one does. */
int vlmp_budget_fit(const vlmp_budget_choices *choices, uint64_t bytes, vlmp_budget_fits_fn *fits,
                    void *arg, int *chosen, bool *found, vlmp_error *err);

/* The fewest bytes that each site can have. */
void vlmp_budget_smallest(const vlmp_sensitivity *table, const bool *allowed, int *chosen);

/* Of all sites: damage, bytes. */
double vlmp_budget_damage(const vlmp_sensitivity *table, const int *chosen);
uint64_t vlmp_budget_bytes(const vlmp_sensitivity *table, const int *chosen);

/* A recipe of these choices with the method instead of gptq, in rules to be read: of each kind of
 * site first those that differ, then one for all layers with what most of them have. */
int vlmp_budget_recipe(const vlmp_sensitivity *table, const int *chosen, vlmp_method method,
                       vlmp_recipe *out, vlmp_error *err);
