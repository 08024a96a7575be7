#include "src/quant/scheme/recipe.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define RECIPE_BYTES_MAX ((size_t)1 << 20)
#define RULES_MAX        4096
#define LAYERS_PREFIX    "llm_layers_"

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
    {"rtn_4bit", VLMP_METHOD_RTN, VLMP_CODES_U4, false, false},
    {"rtn_8bit", VLMP_METHOD_RTN, VLMP_CODES_U8, false, false},
    {"rtn_fp8", VLMP_METHOD_RTN, VLMP_CODES_FP8, false, false},
    {"rtn_fp8_block", VLMP_METHOD_RTN, VLMP_CODES_FP8, false, true},
    {"rtn_mxfp4", VLMP_METHOD_RTN, VLMP_CODES_MXFP4, false, false},
    {"rtn_nvfp4", VLMP_METHOD_RTN, VLMP_CODES_NVFP4, false, false},
    {"gptq_4bit", VLMP_METHOD_GPTQ, VLMP_CODES_U4, false, false},
    {"gptq_8bit", VLMP_METHOD_GPTQ, VLMP_CODES_U8, false, false},
    {"gptq_fp8", VLMP_METHOD_GPTQ, VLMP_CODES_FP8, false, false},
    {"gptq_fp8_block", VLMP_METHOD_GPTQ, VLMP_CODES_FP8, false, true},
    {"gptq_mxfp4", VLMP_METHOD_GPTQ, VLMP_CODES_MXFP4, false, false},
    {"gptq_nvfp4", VLMP_METHOD_GPTQ, VLMP_CODES_NVFP4, false, false},
    {"awq_4bit", VLMP_METHOD_AWQ, VLMP_CODES_U4, false, false},
    {"awq_8bit", VLMP_METHOD_AWQ, VLMP_CODES_U8, false, false},
    {"awq_gptq_4bit", VLMP_METHOD_AWQ_GPTQ, VLMP_CODES_U4, false, false},
    {"awq_gptq_8bit", VLMP_METHOD_AWQ_GPTQ, VLMP_CODES_U8, false, false},
};
#define SHORTHAND_LIST                                                                          \
    "int8, int8_dynamic, or rtn, gptq, awq, awq_gptq followed by _4bit or _8bit, or rtn, gptq " \
    "followed by _fp8, _fp8_block, _mxfp4 or _nvfp4"

/* The field's names of components. */
static const struct {
    const char *key, *glob;
} components[] = {
    {"vision_encoder", "vision.*"}, {"projection", "projector.*"}, {"llm_layers", "text.layers.*"},
    {"embeddings", "text.embed"},   {"lm_head", "text.head"},
};
#define COMPONENT_LIST \
    "vision_encoder, projection, embeddings, llm_layers, llm_layers_A_B, lm_head, default"

static const struct {
    const char *name, *text;
} builtins[] = {
    {"@w4", "{\"vision_encoder\": \"int8\", \"projection\": null, \"llm_layers\": \"gptq_4bit\", "
            "\"lm_head\": null}"},
    {"@seed", "{\"vision_encoder\": \"int8_dynamic\", \"projection\": null, \"embeddings\": "
              "\"int8\", \"llm_layers\": \"int8\", \"lm_head\": null}"},
};

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
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d bits are not supported; use 4 or 8", where, bits);
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
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: method %s is for codes of 4 or 8 bits on an even grid; %s codes take "
                         "rtn or gptq",
                         where, vlmp_method_name(s->method), info->name);
    if (s->zeros != VLMP_ZEROS_NONE)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s codes are symmetric; they have no zero point",
                         where, info->name);
    if (s->int8_activations)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s codes are computed with float activations; int8 ones need codes "
                         "of 4 or 8 bits",
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

static int parse_scheme_object(const cJSON *object, vlmp_recipe_scheme *scheme, const char *where,
                               vlmp_error *err)
{
    const char *method, *activations, *target;
    VLMP_TRY(check_keys(object, where, err));
    VLMP_TRY(vlmp_json_string(object, "method", NULL, &method, where, err));
    vlmp_method known = method != NULL ? vlmp_method_from_name(method) : VLMP_METHOD_COUNT;
    if (known == VLMP_METHOD_COUNT)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a scheme needs a 'method': rtn, int8, gptq, awq or awq+gptq%s%s",
                         where, method != NULL ? "; unknown: " : "", method != NULL ? method : "");
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

static bool find_shorthand(const char *name, vlmp_recipe_scheme *scheme)
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

static int parse_scheme(const cJSON *value, vlmp_recipe_scheme *scheme, const char *where,
                        vlmp_error *err)
{
    *scheme = (vlmp_recipe_scheme){.method = VLMP_METHOD_KEEP};
    if (cJSON_IsNull(value)) return VLMP_OK;
    if (cJSON_IsObject(value)) return parse_scheme_object(value, scheme, where, err);
    if (!cJSON_IsString(value))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a scheme is null (keep), a name (%s) or an object", where,
                         SHORTHAND_LIST);
    if (find_shorthand(value->valuestring, scheme)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown scheme \"%s\"; known are %s", where,
                     value->valuestring, SHORTHAND_LIST);
}

/* A decimal number of at most six digits, with or without '%'. */
static const char *parse_bound(const char *text, int *value, bool *percent)
{
    int digits = 0;
    *value = 0;
    while (isdigit((unsigned char)*text) && digits < 6) {
        *value = *value * 10 + (*text++ - '0');
        digits++;
    }
    if (digits == 0) return NULL;
    *percent = *text == '%';
    return *percent ? text + 1 : text;
}

/* "llm_layers_A_B", "…_A_end", "…_a%_b%". false: malformed. */
static bool parse_layers(const char *text, vlmp_recipe_rule *rule)
{
    const char *at = parse_bound(text + strlen(LAYERS_PREFIX), &rule->first, &rule->first_percent);
    if (at == NULL || *at != '_') return false;
    rule->kind = VLMP_RULE_LAYERS;
    rule->to_end = strcmp(at + 1, "end") == 0;
    if (rule->to_end) return !rule->first_percent || rule->first <= 100;
    at = parse_bound(at + 1, &rule->last, &rule->last_percent);
    if (at == NULL || *at != '\0' || rule->first_percent != rule->last_percent) return false;
    if (rule->last_percent && rule->last > 100) return false;
    return rule->first <= rule->last;
}

/* A field name (without a dot) or, where allowed, a glob. */
static int parse_match(const char *text, bool globs, vlmp_recipe_rule *rule, const char *where,
                       vlmp_error *err)
{
    rule->match = text;
    rule->kind = VLMP_RULE_GLOB;
    rule->glob = text;
    if (strcmp(text, "default") == 0) {
        rule->kind = VLMP_RULE_DEFAULT;
        return VLMP_OK;
    }
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        if (strcmp(text, components[i].key) == 0) {
            rule->glob = components[i].glob;
            return VLMP_OK;
        }
    if (strncmp(text, LAYERS_PREFIX, strlen(LAYERS_PREFIX)) == 0) {
        if (parse_layers(text, rule)) return VLMP_OK;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '%s' is not a layer range; write llm_layers_0_15, llm_layers_16_end "
                         "or llm_layers_0%%_50%%, the first bound not above the second",
                         where, text);
    }
    if (globs && *text != '\0') return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown component '%s'; known are %s", where, text,
                     COMPONENT_LIST);
}

static int reserve(vlmp_recipe *recipe, int count, const char *where, vlmp_error *err)
{
    if (count == 0 || count > RULES_MAX)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d rules; a recipe has 1 to %d", where, count,
                         RULES_MAX);
    recipe->rules = vlmp_arena_alloc(&recipe->arena, (size_t)count, sizeof *recipe->rules);
    if (recipe->rules == NULL) return vlmp_fail_memory(err, "a recipe");
    return VLMP_OK;
}

static int add_rule(vlmp_recipe *recipe, const char *match, bool globs, const cJSON *scheme,
                    const char *where, vlmp_error *err)
{
    const char *copy = vlmp_arena_copy(&recipe->arena, match, strlen(match));
    if (copy == NULL) return vlmp_fail_memory(err, "a recipe");
    vlmp_recipe_rule *rule = &recipe->rules[recipe->count];
    VLMP_TRY(parse_match(copy, globs, rule, where, err));
    VLMP_TRY(parse_scheme(scheme, &rule->scheme, where, err));
    recipe->count++;
    return VLMP_OK;
}

static int parse_rules(vlmp_recipe *recipe, const cJSON *document, const char *where,
                       vlmp_error *err)
{
    int64_t version;
    for (const cJSON *member = document->child; member != NULL; member = member->next)
        if (strcmp(member->string, "version") != 0 && strcmp(member->string, "rules") != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: unknown key '%s'; a recipe has 'version' and 'rules'", where,
                             member->string);
    VLMP_TRY(vlmp_json_int(document, "version", 0, INT_MIN, INT_MAX, &version, where, err));
    const cJSON *rules = vlmp_json_get(document, "rules");
    if (version != 1 || !cJSON_IsArray(rules))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a recipe needs \"version\": 1 and a list of 'rules'", where);
    VLMP_TRY(reserve(recipe, cJSON_GetArraySize(rules), where, err));
    int number = 0;
    for (const cJSON *item = rules->child; item != NULL; item = item->next) {
        char place[512];
        snprintf(place, sizeof place, "%s: rule %d", where, ++number);
        const cJSON *match = vlmp_json_get(item, "match");
        const cJSON *scheme = cJSON_GetObjectItemCaseSensitive(item, "scheme");
        if (!cJSON_IsObject(item) || cJSON_GetArraySize(item) != 2 || !cJSON_IsString(match) ||
            scheme == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: a rule is {\"match\": GLOB, \"scheme\": S}, both given and "
                             "nothing else",
                             place);
        VLMP_TRY(add_rule(recipe, match->valuestring, true, scheme, place, err));
    }
    return VLMP_OK;
}

static int parse_flat(vlmp_recipe *recipe, const cJSON *document, const char *where,
                      vlmp_error *err)
{
    VLMP_TRY(reserve(recipe, cJSON_GetArraySize(document), where, err));
    for (const cJSON *member = document->child; member != NULL; member = member->next) {
        char place[512];
        snprintf(place, sizeof place, "%s: '%.200s'", where, member->string);
        VLMP_TRY(add_rule(recipe, member->string, false, member, place, err));
    }
    return VLMP_OK;
}

int vlmp_recipe_parse(vlmp_recipe *recipe, const cJSON *document, const char *where,
                      vlmp_error *err)
{
    *recipe = (vlmp_recipe){0};
    int status;
    if (!cJSON_IsObject(document))
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: a recipe is a JSON object", where);
    else if (cJSON_GetObjectItemCaseSensitive(document, "rules") != NULL ||
             cJSON_GetObjectItemCaseSensitive(document, "version") != NULL)
        status = parse_rules(recipe, document, where, err);
    else
        status = parse_flat(recipe, document, where, err);
    if (status != VLMP_OK) vlmp_recipe_free(recipe);
    return status;
}

int vlmp_recipe_load(vlmp_recipe *recipe, const char *argument, vlmp_error *err)
{
    *recipe = (vlmp_recipe){0};
    cJSON *document = NULL;
    vlmp_recipe_scheme scheme;
    if (find_shorthand(argument, &scheme)) return vlmp_recipe_from_scheme(recipe, &scheme, err);
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (strcmp(argument, builtins[i].name) == 0)
            VLMP_TRY(vlmp_json_parse(&document, builtins[i].text, strlen(builtins[i].text),
                                     argument, err));
    if (document == NULL && argument[0] == '@')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown recipe; built in are @w4 and @seed",
                         argument);
    if (document == NULL) VLMP_TRY(vlmp_json_load(&document, argument, RECIPE_BYTES_MAX, err));
    int status = vlmp_recipe_parse(recipe, document, argument, err);
    cJSON_Delete(document);
    return status;
}

int vlmp_recipe_from_scheme(vlmp_recipe *recipe, const vlmp_recipe_scheme *scheme, vlmp_error *err)
{
    *recipe = (vlmp_recipe){0};
    VLMP_TRY(vlmp_recipe_scheme_check(scheme, "the options", err));
    VLMP_TRY(reserve(recipe, 3, "the options", err));
    const vlmp_recipe_scheme keep = {.method = VLMP_METHOD_KEEP};
    if (scheme->method == VLMP_METHOD_INT8)
        recipe->rules[recipe->count++] =
            (vlmp_recipe_rule){VLMP_RULE_GLOB, "vision_encoder", "vision.*", .scheme = *scheme};
    recipe->rules[recipe->count++] =
        (vlmp_recipe_rule){VLMP_RULE_GLOB, "llm_layers", "text.layers.*", .scheme = *scheme};
    recipe->rules[recipe->count++] =
        (vlmp_recipe_rule){VLMP_RULE_DEFAULT, "default", "default", .scheme = keep};
    return VLMP_OK;
}

static void write_scheme(const vlmp_recipe_scheme *s, vlmp_json_writer *w)
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

void vlmp_recipe_write(const vlmp_recipe *recipe, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "version");
    vlmp_json_put_int(w, 1);
    vlmp_json_key(w, "rules");
    vlmp_json_open(w, '[');
    for (int i = 0; i < recipe->count; i++) {
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "match");
        vlmp_json_put_string(w, recipe->rules[i].match);
        vlmp_json_key(w, "scheme");
        write_scheme(&recipe->rules[i].scheme, w);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

void vlmp_recipe_free(vlmp_recipe *recipe)
{
    vlmp_arena_free(&recipe->arena);
    *recipe = (vlmp_recipe){0};
}
