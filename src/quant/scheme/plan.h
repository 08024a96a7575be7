/* A recipe applied to a model's linears: method, resolved format and exact bytes of each. */
#pragma once

#include "src/quant/scheme/recipe.h"
#include "src/store/source.h"

/* A linear (or table) of the model, from headers only. */
typedef struct {
    const char *name; /* canonical, without ".weight" */
    int n, k;
    size_t bytes;   /* of the weight in the source */
    bool unused;    /* the model never reads it: kept, no rule needs to match it */
    bool embedding; /* a table; kept unless a rule other than default names it */
    bool tied;      /* the one table that serves as embedding and head: decided as text.head;
                       rules for text.embed match it too, but do not decide */
} vlmp_plan_linear;

typedef struct {
    vlmp_method method; /* VLMP_METHOD_KEEP: the rest but bytes is 0 */
    vlmp_recipe_target target;
    vlmp_scheme scheme;  /* group resolved; 0 per channel, also where the group is all of k */
    int rule;            /* index in the recipe; −1 where no rule decided (unused, embedding) */
    bool group_fallback; /* the group asked for does not divide k */
    bool auto_channel;   /* no group divides k, so that "auto" is per channel: no fallback */
    size_t bytes;        /* of the tensors of the weight, kept or quantized */
} vlmp_plan_entry;

typedef struct {
    vlmp_plan_entry *entries; /* one a linear, same order */
    int count;
    int quantized;       /* linears */
    int group_fallbacks; /* entries with group_fallback */
    int auto_channels;   /* entries with auto_channel */
    bool needs_calibration;
    size_t bytes; /* of all entries, unused ones included */
} vlmp_plan;

/* A rule that matches nothing, a linear that no rule decides, sizes beyond memory: VLMP_ERR_INPUT.
 * where names the recipe in messages. */
int vlmp_plan_make(vlmp_plan *plan, const vlmp_recipe *recipe, const vlmp_plan_linear *linears,
                   int count, const char *where, vlmp_error *err);
void vlmp_plan_free(vlmp_plan *plan); /* leaves it empty */

/* The group that k inputs get when `asked` (as in vlmp_recipe_scheme) is wanted; 0 per channel.
 * *fallback: asked does not divide k. */
int vlmp_plan_group(int k, int asked, bool *fallback);
