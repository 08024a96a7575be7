#include "src/budget/choose.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

double vlmp_budget_damage(const vlmp_sensitivity *table, const int *chosen)
{
    double sum = 0;
    for (int s = 0; s < table->site_count; s++)
        sum += vlmp_sensitivity_damage(table, s, chosen[s]);
    return sum;
}

uint64_t vlmp_budget_bytes(const vlmp_sensitivity *table, const int *chosen)
{
    uint64_t sum = 0;
    for (int s = 0; s < table->site_count; s++)
        sum += vlmp_sensitivity_cell(table, s, chosen[s])->bytes;
    return sum;
}

static bool may_have(const vlmp_sensitivity *table, const bool *allowed, int site, int candidate)
{
    size_t at = (size_t)site * (size_t)table->candidate_count + (size_t)candidate;
    return table->cells[at].bytes != VLMP_NO_OPTION &&
           (candidate == 0 || allowed == NULL || allowed[at]);
}

void vlmp_budget_smallest(const vlmp_sensitivity *table, const bool *allowed, int *chosen)
{
    for (int s = 0; s < table->site_count; s++) {
        chosen[s] = 0;
        for (int c = 1; c < table->candidate_count; c++)
            if (may_have(table, allowed, s, c) &&
                vlmp_sensitivity_cell(table, s, c)->bytes <
                    vlmp_sensitivity_cell(table, s, chosen[s])->bytes)
                chosen[s] = c;
    }
}

int vlmp_budget_solve(vlmp_budget_choices *out, const vlmp_sensitivity *table, const bool *allowed,
                      vlmp_error *err)
{
    int width = table->candidate_count;
    *out = (vlmp_budget_choices){
        .options = vlmp_alloc((size_t)table->site_count * (size_t)width, sizeof *out->options)};
    if (out->options == NULL) return vlmp_fail_memory(err, "the choice under a budget");
    for (int s = 0; s < table->site_count; s++)
        for (int c = 0; c < width; c++) {
            vlmp_option *option = &out->options[s * width + c];
            *option = (vlmp_option){VLMP_NO_OPTION, 0};
            if (!may_have(table, allowed, s, c)) continue;
            option->bytes = vlmp_sensitivity_cell(table, s, c)->bytes;
            option->damage = vlmp_sensitivity_damage(table, s, c);
        }
    return vlmp_knapsack_solve(&out->knapsack, out->options, table->site_count, width, err);
}

void vlmp_budget_choices_free(vlmp_budget_choices *choices)
{
    vlmp_knapsack_free(&choices->knapsack);
    free(choices->options);
    *choices = (vlmp_budget_choices){0};
}

void vlmp_budget_choose(const vlmp_budget_choices *choices, uint64_t bytes, int *chosen)
{
    vlmp_knapsack_choose(&choices->knapsack, bytes, chosen);
}

int vlmp_budget_fit(const vlmp_budget_choices *choices, uint64_t bytes, vlmp_budget_fits_fn *fits,
                    void *arg, int *chosen, bool *found, vlmp_error *err)
{
    const vlmp_knapsack *k = &choices->knapsack;
    size_t size = (size_t)k->items * sizeof *chosen;
    int status = VLMP_OK, *tried = vlmp_alloc((size_t)k->items, sizeof *tried);
    if (tried == NULL) return vlmp_fail_memory(err, "the choice under a budget");
    *found = false;
    for (uint64_t at = bytes; at != VLMP_NO_OPTION && at >= k->least && !*found;
         at = vlmp_knapsack_below(k, at)) {
        vlmp_knapsack_choose(k, at, chosen);
        bool same = at != bytes && memcmp(chosen, tried, size) == 0;
        memcpy(tried, chosen, size);
        if (!same) status = fits(arg, chosen, found, err);
        if (status != VLMP_OK) break;
    }
    free(tried);
    return status;
}

/* What most sites of a site's kind have; of equally many the one that comes first. */
static int usual_of(const vlmp_sensitivity *table, const int *chosen, int site)
{
    int counts[VLMP_CANDIDATES_MAX] = {0}, usual = chosen[site];
    for (int s = 0; s < table->site_count; s++)
        if (strcmp(table->sites[s].kind, table->sites[site].kind) == 0) counts[chosen[s]]++;
    for (int c = 0; c < table->candidate_count; c++)
        if (counts[c] > counts[usual]) usual = c;
    return usual;
}

static bool is_first_of_kind(const vlmp_sensitivity *table, int site)
{
    for (int s = 0; s < site; s++)
        if (strcmp(table->sites[s].kind, table->sites[site].kind) == 0) return false;
    return true;
}

static int add_rule(const vlmp_sensitivity *table, vlmp_recipe *recipe, const char *match,
                    int candidate, vlmp_method method, vlmp_error *err)
{
    const char *name = vlmp_arena_copy(&recipe->arena, match, strlen(match));
    if (name == NULL) return vlmp_fail_memory(err, "a recipe");
    vlmp_recipe_rule *rule = &recipe->rules[recipe->count++];
    *rule = (vlmp_recipe_rule){VLMP_RULE_GLOB, name, name, .scheme = table->candidates[candidate]};
    if (candidate == 0) return VLMP_OK;
    rule->scheme.method = method;
    rule->scheme.target = vlmp_recipe_scheme_default(method).target;
    return VLMP_OK;
}

int vlmp_budget_recipe(const vlmp_sensitivity *table, const int *chosen, vlmp_method method,
                       vlmp_recipe *out, vlmp_error *err)
{
    *out = (vlmp_recipe){0};
    out->rules = vlmp_arena_alloc(&out->arena, 2 * (size_t)table->site_count, sizeof *out->rules);
    if (out->rules == NULL) return vlmp_fail_memory(err, "a recipe");
    for (int s = 0; s < table->site_count; s++) {
        if (!is_first_of_kind(table, s)) continue;
        int usual = usual_of(table, chosen, s);
        for (int of = s; of < table->site_count; of++)
            if (strcmp(table->sites[of].kind, table->sites[s].kind) == 0 && chosen[of] != usual)
                VLMP_TRY(add_rule(table, out, table->sites[of].name, chosen[of], method, err));
        VLMP_TRY(add_rule(table, out, table->sites[s].kind, usual, method, err));
    }
    return VLMP_OK;
}
