#include "src/quant/scheme/plan.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/packed_parts.h"

#define LAYERS "text.layers."

static const int group_sizes[] = {128, 64, 32};

int vlmp_plan_group(int k, int asked, bool *fallback)
{
    *fallback = false;
    if (asked == VLMP_GROUP_CHANNEL) return 0;
    for (size_t i = 0; i < sizeof group_sizes / sizeof *group_sizes; i++) {
        int group = group_sizes[i];
        if (asked != VLMP_GROUP_AUTO && group > asked) continue;
        if (k % group == 0) {
            *fallback = asked != VLMP_GROUP_AUTO && group != asked;
            return group == k ? 0 : group;
        }
    }
    *fallback = asked != VLMP_GROUP_AUTO;
    return 0;
}

/* Whether any group divides k inputs. */
static bool divides(int k)
{
    for (size_t i = 0; i < sizeof group_sizes / sizeof *group_sizes; i++)
        if (k % group_sizes[i] == 0) return true;
    return false;
}

/* N of "text.layers.N.…"; −1 for other names. */
static int text_layer(const char *name)
{
    if (strncmp(name, LAYERS, strlen(LAYERS)) != 0) return -1;
    char *end;
    long layer = strtol(name + strlen(LAYERS), &end, 10);
    return *end == '.' && layer >= 0 && layer < 1000000 ? (int)layer : -1;
}

static bool in_layers(const vlmp_recipe_rule *rule, const char *name, int layers)
{
    int layer = text_layer(name);
    int first = rule->first_percent ? (int)((long)rule->first * layers / 100) : rule->first;
    int last = rule->to_end         ? layers - 1
               : rule->last_percent ? (int)((long)rule->last * layers / 100) - 1
                                    : rule->last;
    return layer >= first && layer <= last;
}

static bool matches_name(const vlmp_recipe_rule *rule, const char *name, int layers)
{
    switch (rule->kind) {
    case VLMP_RULE_GLOB:
        return fnmatch(rule->glob, name, 0) == 0;
    case VLMP_RULE_LAYERS:
        return in_layers(rule, name, layers);
    default:
        return true;
    }
}

/* The deciding rule, −1 when there is none. Marks every rule that matches in used. */
static int decide(const vlmp_recipe *recipe, const vlmp_plan_linear *linear, int layers, bool *used)
{
    int winner = -1, fallback = -1;
    const char *name = linear->tied ? "text.head" : linear->name;
    for (int i = 0; i < recipe->count; i++) {
        const vlmp_recipe_rule *rule = &recipe->rules[i];
        if (rule->kind == VLMP_RULE_DEFAULT) {
            used[i] = true; /* it is there for what may be left */
            if (fallback < 0 && (!linear->embedding || linear->tied)) fallback = i;
            continue;
        }
        if (linear->tied && matches_name(rule, "text.embed", layers)) used[i] = true;
        if (!matches_name(rule, name, layers)) continue;
        used[i] = true;
        if (winner < 0) winner = i;
    }
    return winner >= 0 ? winner : fallback;
}

/* The group of k inputs that the codes and the recipe settle; false: the codes cannot have them. */
static bool settle_group(const vlmp_recipe_scheme *scheme, int k, int *group,
                         vlmp_plan_entry *entry)
{
    const vlmp_code_info *info = &vlmp_code_types[scheme->codes];
    bool divides_k = k % VLMP_BLOCK_OUTPUTS == 0;
    if (!vlmp_codes_are_floats(scheme->codes)) {
        *group = vlmp_plan_group(k, scheme->group, &entry->group_fallback);
        entry->auto_channel =
            scheme->group == VLMP_GROUP_AUTO && *group == VLMP_GROUP_CHANNEL && !divides(k);
    } else if (info->group != 0) {
        *group = info->group;
        return k % info->group == 0;
    } else {
        bool block = scheme->group == VLMP_GROUP_BLOCK;
        *group = block && divides_k ? VLMP_BLOCK_OUTPUTS : VLMP_GROUP_CHANNEL;
        entry->group_fallback = block && !divides_k;
    }
    return true;
}

static int resolve(vlmp_plan *plan, const vlmp_recipe_scheme *scheme,
                   const vlmp_plan_linear *linear, vlmp_plan_entry *entry, vlmp_error *err)
{
    entry->method = scheme->method;
    entry->bytes = linear->bytes;
    if (scheme->method == VLMP_METHOD_KEEP) return VLMP_OK;
    entry->target = scheme->target;
    int group;
    if (!settle_group(scheme, linear->k, &group, entry))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its %d inputs are no multiple of %d, which %s codes need; keep it or "
                         "give it other codes",
                         linear->name, linear->k, group, vlmp_code_types[scheme->codes].name);
    entry->scheme = vlmp_scheme_make(scheme->codes, group, scheme->zeros, scheme->int8_activations);
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, linear->n, linear->k, &entry->scheme))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a linear of %d × %d is too large", linear->name,
                         linear->n, linear->k);
    int inputs = vlmp_scheme_group(&entry->scheme, linear->k);
    int most = vlmp_int8_most_inputs(vlmp_code_types[scheme->codes].bits);
    if (scheme->int8_activations && inputs > most)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %d inputs under one scale are more than the %d whose products with "
                         "int8 activations fit 32 bits; give it groups, or float activations",
                         linear->name, inputs, most);
    entry->bytes = shape.bytes;
    plan->quantized++;
    plan->group_fallbacks += entry->group_fallback;
    plan->auto_channels += entry->auto_channel;
    plan->needs_calibration |= vlmp_method_needs_calibration(scheme->method);
    return VLMP_OK;
}

static int plan_one(vlmp_plan *plan, const vlmp_recipe *recipe, const vlmp_plan_linear *linear,
                    int layers, bool *used, const char *where, vlmp_error *err)
{
    static const vlmp_recipe_scheme keep = {.method = VLMP_METHOD_KEEP};
    vlmp_plan_entry *entry = &plan->entries[plan->count++];
    entry->rule = linear->unused ? -1 : decide(recipe, linear, layers, used);
    bool exempt = linear->unused || (linear->embedding && !linear->tied);
    if (entry->rule < 0 && !exempt)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no rule decides '%s'; add a rule for it, or \"default\": null", where,
                         linear->name);
    const vlmp_recipe_scheme *scheme = entry->rule < 0 ? &keep : &recipe->rules[entry->rule].scheme;
    VLMP_TRY(resolve(plan, scheme, linear, entry, err));
    if (!vlmp_add_size(plan->bytes, entry->bytes, &plan->bytes))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the model's linears are too large", where);
    return VLMP_OK;
}

static int fill(vlmp_plan *plan, const vlmp_recipe *recipe, const vlmp_plan_linear *linears,
                int count, bool *used, const char *where, vlmp_error *err)
{
    int layers = 0;
    for (int i = 0; i < count; i++)
        if (text_layer(linears[i].name) >= layers) layers = text_layer(linears[i].name) + 1;
    for (int i = 0; i < count; i++)
        VLMP_TRY(plan_one(plan, recipe, &linears[i], layers, used, where, err));
    for (int i = 0; i < recipe->count; i++)
        if (!used[i])
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: rule %d, '%s', matches no linear of this model (%d text layers); "
                             "correct or remove it",
                             where, i + 1, recipe->rules[i].match, layers);
    return VLMP_OK;
}

int vlmp_plan_make(vlmp_plan *plan, const vlmp_recipe *recipe, const vlmp_plan_linear *linears,
                   int count, const char *where, vlmp_error *err)
{
    *plan = (vlmp_plan){0};
    bool *used = vlmp_calloc((size_t)recipe->count, sizeof *used);
    plan->entries = vlmp_calloc((size_t)count, sizeof *plan->entries);
    int status = used == NULL || plan->entries == NULL
                     ? vlmp_fail_memory(err, "the plan")
                     : fill(plan, recipe, linears, count, used, where, err);
    free(used);
    if (status != VLMP_OK) vlmp_plan_free(plan);
    return status;
}

void vlmp_plan_free(vlmp_plan *plan)
{
    free(plan->entries);
    *plan = (vlmp_plan){0};
}
