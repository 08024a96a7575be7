#include "src/quant/scheme/recipe.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/nearest.h"

#define RECIPE_BYTES_MAX ((size_t)1 << 20)
#define RULES_MAX        4096
#define LAYERS_PREFIX    "llm_layers_"

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
    char hint[VLMP_HINT_MAX];
    vlmp_nearest_hint(hint, text, &components[0].key, sizeof *components,
                      sizeof components / sizeof *components);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown component '%s'%s; known are %s", where, text,
                     hint, COMPONENT_LIST);
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
    VLMP_TRY(vlmp_recipe_scheme_parse(scheme, &rule->scheme, where, err));
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
    if (vlmp_recipe_scheme_named(&scheme, argument))
        return vlmp_recipe_from_scheme(recipe, &scheme, err);
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (strcmp(argument, builtins[i].name) == 0)
            VLMP_TRY(vlmp_json_parse(&document, builtins[i].text, strlen(builtins[i].text),
                                     argument, err));
    if (document == NULL && argument[0] == '@')
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: unknown recipe; built in are @w4 and @seed",
                         argument);
    if (document == NULL) {
        char hint[VLMP_HINT_MAX];
        vlmp_path_kind kind;
        VLMP_TRY(vlmp_path_look(&kind, argument, err));
        vlmp_recipe_scheme_hint(hint, argument);
        if (kind == VLMP_PATH_ABSENT && hint[0] != '\0')
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no such file, and no scheme's name%s",
                             argument, hint);
        VLMP_TRY(vlmp_json_load(&document, argument, RECIPE_BYTES_MAX, err));
    }
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
        vlmp_recipe_scheme_write(&recipe->rules[i].scheme, w);
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
