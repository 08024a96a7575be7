#include "src/quant/scheme/recipe_scheme.h"

#include <string.h>

static const char *const method_names[VLMP_METHOD_COUNT] = {
    [VLMP_METHOD_KEEP] = "keep", [VLMP_METHOD_INT8] = "int8", [VLMP_METHOD_RTN] = "rtn",
    [VLMP_METHOD_GPTQ] = "gptq", [VLMP_METHOD_AWQ] = "awq",   [VLMP_METHOD_AWQ_GPTQ] = "awq+gptq",
};

static const char *const target_names[VLMP_TARGET_COUNT] = {
    [VLMP_TARGET_WEIGHTS] = "weights",
    [VLMP_TARGET_OUTPUTS] = "outputs",
};

/* One-word schemes. */
static const struct shorthand {
    const char *name;
    vlmp_method method;
    vlmp_code_type codes;
    bool int8_activations, blocks;
} shorthands[] = {
    {"int8", VLMP_METHOD_INT8, VLMP_CODES_U8, false, false},
    {"int8_dynamic", VLMP_METHOD_INT8, VLMP_CODES_U8, true, false},
    {"rtn_3bit", VLMP_METHOD_RTN, VLMP_CODES_U3, false, false},
    {"rtn_4bit", VLMP_METHOD_RTN, VLMP_CODES_U4, false, false},
    {"rtn_8bit", VLMP_METHOD_RTN, VLMP_CODES_U8, false, false},
    {"rtn_fp8", VLMP_METHOD_RTN, VLMP_CODES_FP8, false, false},
    {"rtn_fp8_block", VLMP_METHOD_RTN, VLMP_CODES_FP8, false, true},
    {"rtn_mxfp4", VLMP_METHOD_RTN, VLMP_CODES_MXFP4, false, false},
    {"rtn_nvfp4", VLMP_METHOD_RTN, VLMP_CODES_NVFP4, false, false},
    {"gptq_3bit", VLMP_METHOD_GPTQ, VLMP_CODES_U3, false, false},
    {"gptq_4bit", VLMP_METHOD_GPTQ, VLMP_CODES_U4, false, false},
    {"gptq_8bit", VLMP_METHOD_GPTQ, VLMP_CODES_U8, false, false},
    {"gptq_fp8", VLMP_METHOD_GPTQ, VLMP_CODES_FP8, false, false},
    {"gptq_fp8_block", VLMP_METHOD_GPTQ, VLMP_CODES_FP8, false, true},
    {"gptq_mxfp4", VLMP_METHOD_GPTQ, VLMP_CODES_MXFP4, false, false},
    {"gptq_nvfp4", VLMP_METHOD_GPTQ, VLMP_CODES_NVFP4, false, false},
    {"awq_3bit", VLMP_METHOD_AWQ, VLMP_CODES_U3, false, false},
    {"awq_4bit", VLMP_METHOD_AWQ, VLMP_CODES_U4, false, false},
    {"awq_8bit", VLMP_METHOD_AWQ, VLMP_CODES_U8, false, false},
    {"awq_gptq_3bit", VLMP_METHOD_AWQ_GPTQ, VLMP_CODES_U3, false, false},
    {"awq_gptq_4bit", VLMP_METHOD_AWQ_GPTQ, VLMP_CODES_U4, false, false},
    {"awq_gptq_8bit", VLMP_METHOD_AWQ_GPTQ, VLMP_CODES_U8, false, false},
};
#define SHORTHAND_LIST                                                                            \
    "int8, int8_dynamic, or rtn, gptq, awq, awq_gptq followed by _3bit, _4bit or _8bit, or rtn, " \
    "gptq followed by _fp8, _fp8_block, _mxfp4 or _nvfp4"

const char *vlmp_method_name(vlmp_method method)
{
    return method_names[method];
}

vlmp_method vlmp_method_from_name(const char *name)
{
    for (int i = VLMP_METHOD_KEEP + 1; i < VLMP_METHOD_COUNT; i++)
        if (strcmp(name, method_names[i]) == 0) return (vlmp_method)i;
    return VLMP_METHOD_COUNT;
}

bool vlmp_method_needs_calibration(vlmp_method method)
{
    return method == VLMP_METHOD_GPTQ || method == VLMP_METHOD_AWQ ||
           method == VLMP_METHOD_AWQ_GPTQ;
}

/* Passes errors on between inputs, and so can make up for errors of the inputs themselves. */
static bool can_aim_at_outputs(vlmp_method method)
{
    return method == VLMP_METHOD_GPTQ || method == VLMP_METHOD_AWQ_GPTQ;
}

vlmp_recipe_target vlmp_recipe_target_from_name(const char *name)
{
    vlmp_recipe_target target = VLMP_TARGET_WEIGHTS;
    while (target < VLMP_TARGET_COUNT && strcmp(name, target_names[target]) != 0)
        target++;
    return target;
}

vlmp_recipe_scheme vlmp_recipe_scheme_default(vlmp_method method)
{
    bool int8 = method == VLMP_METHOD_INT8;
    return (vlmp_recipe_scheme){.method = method,
                                .target = can_aim_at_outputs(method) ? VLMP_TARGET_OUTPUTS
                                                                     : VLMP_TARGET_WEIGHTS,
                                .codes = int8 ? VLMP_CODES_U8 : VLMP_CODES_U4,
                                .group = int8 ? VLMP_GROUP_CHANNEL : VLMP_GROUP_AUTO};
}

int vlmp_recipe_scheme_set_bits(vlmp_recipe_scheme *scheme, int bits, const char *where,
                                vlmp_error *err)
{
    scheme->codes = vlmp_code_type_of_bits(bits);
    if (scheme->codes != VLMP_CODES_NONE) return VLMP_OK;
    if (bits == 2)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 2 bits are not supported: with four levels a weight answers break "
                         "down, which no compensation of errors makes good; use 3, 4 or 8",
                         where);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d bits are not supported; use 3, 4 or 8", where,
                     bits);
}

int vlmp_recipe_scheme_set_codes(vlmp_recipe_scheme *scheme, const char *name, const char *where,
                                 vlmp_error *err)
{
    for (int type = VLMP_CODES_NONE + 1; type < VLMP_CODE_TYPES; type++) {
        if (vlmp_code_types[type].name == NULL || strcmp(vlmp_code_types[type].name, name) != 0)
            continue;
        scheme->codes = (vlmp_code_type)type;
        scheme->group = VLMP_GROUP_AUTO;
        return VLMP_OK;
    }
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown codes \"%s\"; use fp8, mxfp4 or nvfp4",
                     where, name);
}

/* What codes that stand for floats cannot have. */
static int check_floats(const vlmp_recipe_scheme *s, const char *where, vlmp_error *err)
{
    const vlmp_code_info *info = &vlmp_code_types[s->codes];
    if (s->method != VLMP_METHOD_RTN && s->method != VLMP_METHOD_GPTQ)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: method %s is for codes of 3, 4 or 8 bits on an even grid; %s codes take "
            "rtn or gptq",
            where, vlmp_method_name(s->method), info->name);
    if (s->zeros != VLMP_ZEROS_NONE)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s codes are symmetric; they have no zero point",
                         where, info->name);
    if (s->int8_activations)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s codes are computed with float activations; int8 ones need codes "
                         "of 3, 4 or 8 bits",
                         where, info->name);
    bool fits = s->group == VLMP_GROUP_AUTO;
    if (info->group != 0)
        fits |= s->group == info->group;
    else
        fits |= s->group == VLMP_GROUP_CHANNEL || s->group == VLMP_GROUP_BLOCK;
    if (fits) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the group of %s codes is %s; leave 'group' out or say so", where,
                     info->name,
                     info->group == 0    ? "\"channel\" or \"block\""
                     : info->group == 16 ? "16"
                                         : "32");
}

int vlmp_recipe_scheme_check(const vlmp_recipe_scheme *s, const char *where, vlmp_error *err)
{
    if (vlmp_codes_are_floats(s->codes))
        VLMP_TRY(check_floats(s, where, err));
    else if (s->group != VLMP_GROUP_AUTO && s->group != VLMP_GROUP_CHANNEL && s->group != 32 &&
             s->group != 64 && s->group != 128)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: groups of %d are not supported; use 32, 64, 128, \"auto\" or "
                         "\"channel\"",
                         where, s->group);
    if (s->method == VLMP_METHOD_INT8 &&
        (s->codes != VLMP_CODES_U8 || s->group != VLMP_GROUP_CHANNEL ||
         s->zeros != VLMP_ZEROS_NONE))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: method int8 means 8 bits, symmetric, one scale per channel; for "
                         "anything else use method rtn",
                         where);
    if (s->target == VLMP_TARGET_OUTPUTS && !can_aim_at_outputs(s->method))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: method %s cannot aim at the original outputs; leave 'target' out, or "
                         "use gptq or awq+gptq",
                         where, vlmp_method_name(s->method));
    return VLMP_OK;
}

static int parse_group(const cJSON *value, int *group, const char *where, vlmp_error *err)
{
    if (cJSON_IsString(value) && strcmp(value->valuestring, "auto") == 0)
        *group = VLMP_GROUP_AUTO;
    else if (cJSON_IsString(value) && strcmp(value->valuestring, "channel") == 0)
        *group = VLMP_GROUP_CHANNEL;
    else if (cJSON_IsString(value) && strcmp(value->valuestring, "block") == 0)
        *group = VLMP_GROUP_BLOCK;
    else if (cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble <= 65536 &&
             value->valuedouble == (double)(int)value->valuedouble)
        *group = (int)value->valuedouble;
    else
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'group' must be 32, 64, 128, \"auto\" or \"channel\" (of fp8 codes "
                         "also \"block\")",
                         where);
    return VLMP_OK;
}

static int check_keys(const cJSON *object, const char *where, vlmp_error *err)
{
    static const char *const keys[] = {"method",    "codes",       "bits",  "group",
                                       "symmetric", "activations", "target"};
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && strcmp(member->string, keys[i]) != 0)
            i++;
        if (i == sizeof keys / sizeof *keys)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: unknown key '%s' in a scheme; known are method, codes, bits, "
                             "group, symmetric, activations, target",
                             where, member->string);
    }
    return VLMP_OK;
}

/* 'codes' names floats, 'bits' integers; both only where they agree. */
static int parse_codes(const cJSON *object, vlmp_recipe_scheme *scheme, const char *where,
                       vlmp_error *err)
{
    const char *codes;
    int64_t bits;
    VLMP_TRY(vlmp_json_string(object, "codes", NULL, &codes, where, err));
    if (codes != NULL) VLMP_TRY(vlmp_recipe_scheme_set_codes(scheme, codes, where, err));
    int own = vlmp_code_types[scheme->codes].bits;
    VLMP_TRY(vlmp_json_int(object, "bits", own, 1, 16, &bits, where, err));
    if (codes == NULL) return vlmp_recipe_scheme_set_bits(scheme, (int)bits, where, err);
    if (bits == own) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s codes have %d bits, not %d; leave 'bits' out",
                     where, codes, own, (int)bits);
}

static int unknown_method(const char *method, const char *where, vlmp_error *err)
{
    char hint[VLMP_HINT_MAX] = "";
    if (method != NULL)
        vlmp_nearest_hint(hint, method, method_names + VLMP_METHOD_KEEP + 1, sizeof *method_names,
                          VLMP_METHOD_COUNT - VLMP_METHOD_KEEP - 1);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: a scheme needs a 'method': rtn, int8, gptq, awq or awq+gptq%s%s%s", where,
                     method != NULL ? "; unknown: " : "", method != NULL ? method : "", hint);
}

static int parse_scheme_object(const cJSON *object, vlmp_recipe_scheme *scheme, const char *where,
                               vlmp_error *err)
{
    const char *method, *activations, *target;
    VLMP_TRY(check_keys(object, where, err));
    VLMP_TRY(vlmp_json_string(object, "method", NULL, &method, where, err));
    vlmp_method known = method != NULL ? vlmp_method_from_name(method) : VLMP_METHOD_COUNT;
    if (known == VLMP_METHOD_COUNT) return unknown_method(method, where, err);
    *scheme = vlmp_recipe_scheme_default(known);
    bool symmetric;
    VLMP_TRY(parse_codes(object, scheme, where, err));
    const cJSON *group = vlmp_json_get(object, "group");
    if (group != NULL) VLMP_TRY(parse_group(group, &scheme->group, where, err));
    VLMP_TRY(vlmp_json_bool(object, "symmetric", true, &symmetric, where, err));
    scheme->zeros = symmetric ? VLMP_ZEROS_NONE : VLMP_ZEROS_PACKED;
    VLMP_TRY(vlmp_json_string(object, "activations", "float", &activations, where, err));
    scheme->int8_activations = strcmp(activations, "int8") == 0;
    if (!scheme->int8_activations && strcmp(activations, "float") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'activations' is \"%s\"; it must be \"float\" or \"int8\"", where,
                         activations);
    VLMP_TRY(vlmp_json_string(object, "target", target_names[scheme->target], &target, where, err));
    scheme->target = vlmp_recipe_target_from_name(target);
    if (scheme->target == VLMP_TARGET_COUNT)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'target' is \"%s\"; it must be \"outputs\" or \"weights\"", where,
                         target);
    return vlmp_recipe_scheme_check(scheme, where, err);
}

bool vlmp_recipe_scheme_named(vlmp_recipe_scheme *scheme, const char *name)
{
    size_t i = 0, count = sizeof shorthands / sizeof *shorthands;
    while (i < count && strcmp(name, shorthands[i].name) != 0)
        i++;
    if (i == count) return false;
    *scheme = vlmp_recipe_scheme_default(shorthands[i].method);
    scheme->codes = shorthands[i].codes;
    scheme->int8_activations = shorthands[i].int8_activations;
    if (shorthands[i].blocks) scheme->group = VLMP_GROUP_BLOCK;
    return true;
}

void vlmp_recipe_scheme_hint(char hint[VLMP_HINT_MAX], const char *name)
{
    vlmp_nearest_hint(hint, name, &shorthands[0].name, sizeof *shorthands,
                      sizeof shorthands / sizeof *shorthands);
}

int vlmp_recipe_scheme_parse(const cJSON *value, vlmp_recipe_scheme *scheme, const char *where,
                             vlmp_error *err)
{
    *scheme = (vlmp_recipe_scheme){.method = VLMP_METHOD_KEEP};
    if (cJSON_IsNull(value)) return VLMP_OK;
    if (cJSON_IsObject(value)) return parse_scheme_object(value, scheme, where, err);
    if (!cJSON_IsString(value))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a scheme is null (keep), a name (%s) or an object", where,
                         SHORTHAND_LIST);
    if (vlmp_recipe_scheme_named(scheme, value->valuestring)) return VLMP_OK;
    char hint[VLMP_HINT_MAX];
    vlmp_recipe_scheme_hint(hint, value->valuestring);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown scheme \"%s\"%s; known are %s", where,
                     value->valuestring, hint, SHORTHAND_LIST);
}

void vlmp_recipe_scheme_write(const vlmp_recipe_scheme *s, vlmp_json_writer *w)
{
    if (s->method == VLMP_METHOD_KEEP) {
        vlmp_json_put_null(w);
        return;
    }
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "method");
    vlmp_json_put_string(w, vlmp_method_name(s->method));
    if (vlmp_code_types[s->codes].name != NULL)
        vlmp_json_pair_string(w, "codes", vlmp_code_types[s->codes].name);
    vlmp_json_key(w, "bits");
    vlmp_json_put_int(w, vlmp_code_types[s->codes].bits);
    vlmp_json_key(w, "group");
    if (s->group <= 0)
        vlmp_json_put_string(w, s->group == VLMP_GROUP_AUTO      ? "auto"
                                : s->group == VLMP_GROUP_CHANNEL ? "channel"
                                                                 : "block");
    else
        vlmp_json_put_int(w, s->group);
    vlmp_json_key(w, "symmetric");
    vlmp_json_put_bool(w, s->zeros == VLMP_ZEROS_NONE);
    vlmp_json_key(w, "activations");
    vlmp_json_put_string(w, s->int8_activations ? "int8" : "float");
    if (s->target != vlmp_recipe_scheme_default(s->method).target)
        vlmp_json_pair_string(w, "target", target_names[s->target]);
    vlmp_json_close(w, '}');
}
