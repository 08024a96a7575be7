/* The scheme that a recipe gives a linear: method, codes, groups, and its spellings in JSON. */
#pragma once

#include <stdbool.h>

#include "src/base/json.h"
#include "src/base/nearest.h"
#include "src/base/scheme.h"

typedef enum {
    VLMP_METHOD_KEEP, /* the source's bytes and type */
    VLMP_METHOD_INT8, /* round to nearest, 8 bits, symmetric, per channel */
    VLMP_METHOD_RTN,
    VLMP_METHOD_GPTQ,
    VLMP_METHOD_AWQ,
    VLMP_METHOD_AWQ_GPTQ,
    VLMP_METHOD_COUNT,
} vlmp_method;

/* "keep", "int8", "rtn", "gptq", "awq", "awq+gptq". */
const char *vlmp_method_name(vlmp_method method);
/* VLMP_METHOD_COUNT when unknown; "keep" is not a method to ask for. */
vlmp_method vlmp_method_from_name(const char *name);
bool vlmp_method_needs_calibration(vlmp_method method);

/* What a linear's outputs are to come near to. */
typedef enum {
    VLMP_TARGET_WEIGHTS, /* W·x, of the inputs x that the quantized linears before it give */
    VLMP_TARGET_OUTPUTS, /* W·x₀, of the original model's inputs x₀: only gptq and awq+gptq */
    VLMP_TARGET_COUNT,
} vlmp_recipe_target;

typedef struct {
    vlmp_method method;
    vlmp_recipe_target target;
    vlmp_code_type codes;
    int group; /* VLMP_GROUP_AUTO (the largest of 128, 64, 32 that divides, else per channel; of
                  floats: what their codes have), VLMP_GROUP_CHANNEL, VLMP_GROUP_BLOCK, or inputs */
    vlmp_zeros zeros;
    bool int8_activations;
} vlmp_recipe_scheme;

/* "weights" and "outputs"; VLMP_TARGET_COUNT when unknown. */
vlmp_recipe_target vlmp_recipe_target_from_name(const char *name);

/* The scheme that a method stands for when nothing else is said: 4 bits (int8: 8), group auto
 * (int8: per channel), symmetric, float activations; gptq and awq+gptq aim at the original
 * outputs. */
vlmp_recipe_scheme vlmp_recipe_scheme_default(vlmp_method method);

/* The codes of that many bits; bits without any are VLMP_ERR_INPUT. where is for the message. */
int vlmp_recipe_scheme_set_bits(vlmp_recipe_scheme *scheme, int bits, const char *where,
                                vlmp_error *err);

/* The codes of that name, under the groups that they have; unknown ones are VLMP_ERR_INPUT. */
int vlmp_recipe_scheme_set_codes(vlmp_recipe_scheme *scheme, const char *name, const char *where,
                                 vlmp_error *err);

/* Contradictions that a scheme can hold ("int8" with 4 bits, …), VLMP_ERR_INPUT; where is for the
 * message. */
int vlmp_recipe_scheme_check(const vlmp_recipe_scheme *scheme, const char *where, vlmp_error *err);

/* A one-word name ("gptq_4bit"); false: unknown. */
bool vlmp_recipe_scheme_named(vlmp_recipe_scheme *scheme, const char *name);
/* Whether a mistyped name may mean one of them. */
void vlmp_recipe_scheme_hint(char hint[VLMP_HINT_MAX], const char *name);

/* null (keep), a one-word name or an object; anything else is VLMP_ERR_INPUT. */
int vlmp_recipe_scheme_parse(const cJSON *value, vlmp_recipe_scheme *scheme, const char *where,
                             vlmp_error *err);

/* null or an object, readable by vlmp_recipe_scheme_parse. */
void vlmp_recipe_scheme_write(const vlmp_recipe_scheme *scheme, vlmp_json_writer *w);
