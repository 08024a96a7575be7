/* From the table and a number of bytes to a recipe. */
#pragma once

#include "src/budget/sensitivity.h"
#include "src/quant/scheme/recipe.h"

/* chosen[site_count]: candidates of least damage, summed, whose bytes together are at most `bytes`,
 * which is no less than those of vlmp_budget_smallest. allowed [site][candidate], or NULL: all that
 * sites can have; keep always is. */
int vlmp_budget_choose(const vlmp_sensitivity *table, const bool *allowed, uint64_t bytes,
                       int *chosen, vlmp_error *err);

/* The fewest bytes that each site can have. */
void vlmp_budget_smallest(const vlmp_sensitivity *table, const bool *allowed, int *chosen);

/* Of all sites: damage, bytes. */
double vlmp_budget_damage(const vlmp_sensitivity *table, const int *chosen);
uint64_t vlmp_budget_bytes(const vlmp_sensitivity *table, const int *chosen);

/* A recipe of these choices with the method instead of gptq, in rules to be read: of each kind of
 * site first those that differ, then one for all layers with what most of them have. */
int vlmp_budget_recipe(const vlmp_sensitivity *table, const int *chosen, vlmp_method method,
                       vlmp_recipe *out, vlmp_error *err);
