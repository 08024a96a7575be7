/* Recipes: which linear is quantized how. Three spellings of one thing: a list of rules, the flat
 * dictionary of the field, a built-in name. The first rule that matches a linear decides it. */
#pragma once

#include <stdbool.h>

#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/quant/scheme/recipe_scheme.h"

typedef enum {
    VLMP_RULE_GLOB,    /* fnmatch over canonical linear names */
    VLMP_RULE_LAYERS,  /* text.layers.first … last */
    VLMP_RULE_DEFAULT, /* every linear that no other rule decides; never an embedding */
} vlmp_rule_kind;

typedef struct {
    vlmp_rule_kind kind;
    const char *match; /* as written */
    const char *glob;
    int first, last; /* inclusive; percentages: last is where the range ends, exclusive */
    bool first_percent, last_percent;
    bool to_end;
    vlmp_recipe_scheme scheme; /* method KEEP: keep */
} vlmp_recipe_rule;

typedef struct {
    vlmp_arena arena; /* owns what the rules point to */
    vlmp_recipe_rule *rules;
    int count;
} vlmp_recipe;

/* argument: a path, "@w4", "@seed", or a scheme's shorthand ("gptq_4bit"), which means what it
 * means to vlmp_recipe_from_scheme. Every fault is VLMP_ERR_INPUT and names rule and key. */
int vlmp_recipe_load(vlmp_recipe *recipe, const char *argument, vlmp_error *err);

/* From a parsed document; where is for messages. */
int vlmp_recipe_parse(vlmp_recipe *recipe, const cJSON *document, const char *where,
                      vlmp_error *err);

/* What --method, --codes, --bits, --group, --symmetric, --activations and --target mean without a
 * recipe: the text model's linears (int8: the tower's too), everything else is kept. */
int vlmp_recipe_from_scheme(vlmp_recipe *recipe, const vlmp_recipe_scheme *scheme, vlmp_error *err);

/* The rules form, readable by vlmp_recipe_parse: what the packed file records. */
void vlmp_recipe_write(const vlmp_recipe *recipe, vlmp_json_writer *w);

void vlmp_recipe_free(vlmp_recipe *recipe); /* leaves it empty */
