#include "tools/eval_record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/packed.h"

bool vlmp_record_scheme(char name[VLMP_SCHEME_NAME], const cJSON *item)
{
    const cJSON *method = vlmp_json_get(item, "method"), *bits = vlmp_json_get(item, "bits");
    const cJSON *codes = vlmp_json_get(item, "codes"), *group = vlmp_json_get(item, "group"),
                *activations = vlmp_json_get(item, "activations");
    const cJSON *named = vlmp_json_get(item, "type");
    if (cJSON_IsString(method) && cJSON_IsString(named)) {
        snprintf(name, VLMP_SCHEME_NAME, "%.20s %.20s", method->valuestring, named->valuestring);
        return true;
    }
    if (!cJSON_IsString(method) || !cJSON_IsNumber(bits) || !cJSON_IsNumber(group)) return false;
    char size[16] = "", width[16];
    const char *type = cJSON_IsString(codes) ? codes->valuestring : NULL;
    vlmp_scheme scheme = vlmp_scheme_make(vlmp_code_type_of(type, bits->valueint), group->valueint,
                                          VLMP_ZEROS_NONE, false);
    vlmp_codes_text(width, sizeof width, &scheme);
    if (scheme.blocks)
        snprintf(size, sizeof size, " block");
    else if (scheme.group > 0)
        snprintf(size, sizeof size, "g%d", scheme.group);
    bool eight = cJSON_IsString(activations) && strcmp(activations->valuestring, "int8") == 0;
    snprintf(name, VLMP_SCHEME_NAME, "%.20s %s%s%s%s", method->valuestring, width, size,
             cJSON_IsFalse(vlmp_json_get(item, "symmetric")) ? "a" : "", eight ? "A8" : "");
    return true;
}

static char *copy(vlmp_eval_result *result, const char *text)
{
    return vlmp_arena_copy(&result->arena, text, strlen(text));
}

static int read_linears(const cJSON *decisions, vlmp_eval_result *result, const char *where,
                        vlmp_error *err)
{
    size_t count = (size_t)cJSON_GetArraySize(decisions);
    result->linears = vlmp_arena_alloc(&result->arena, count, sizeof *result->linears);
    if (result->linears == NULL) return vlmp_fail_memory(err, "record");
    const cJSON *item;
    cJSON_ArrayForEach(item, decisions)
    {
        const char *name;
        char scheme[VLMP_SCHEME_NAME] = "";
        double seen;
        vlmp_linear_record *l = &result->linears[result->linear_count];
        VLMP_TRY(vlmp_json_string(item, "name", "", &name, where, err));
        VLMP_TRY(vlmp_json_double(item, "error", NAN, &seen, where, err));
        VLMP_TRY(vlmp_json_double(item, "held_error", seen, &l->error, where, err));
        VLMP_TRY(vlmp_json_double(item, "held_rtn_error", NAN, &l->rtn_error, where, err));
        vlmp_record_scheme(scheme, item);
        l->name = copy(result, name);
        l->scheme = copy(result, scheme);
        if (l->name == NULL || l->scheme == NULL) return vlmp_fail_memory(err, "record");
        result->linear_count++;
    }
    return VLMP_OK;
}

static int read_ranges(const cJSON *list, vlmp_eval_result *result, const char *where,
                       vlmp_error *err)
{
    vlmp_calibration_record *record = result->calibration;
    size_t count = (size_t)cJSON_GetArraySize(list);
    record->ranges = vlmp_arena_alloc(&result->arena, count, sizeof *record->ranges);
    if (record->ranges == NULL) return vlmp_fail_memory(err, "record");
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        vlmp_activation_range *range = &record->ranges[record->range_count++];
        const char *component, *site;
        int64_t text, picture;
        VLMP_TRY(vlmp_json_string(item, "component", "", &component, where, err));
        VLMP_TRY(vlmp_json_string(item, "site", "", &site, where, err));
        VLMP_TRY(vlmp_json_double(item, "max_abs", NAN, &range->max_abs, where, err));
        VLMP_TRY(vlmp_json_int(item, "text_tokens", 0, 0, INT32_MAX, &text, where, err));
        VLMP_TRY(vlmp_json_int(item, "picture_tokens", 0, 0, INT32_MAX, &picture, where, err));
        range->tokens = text + picture;
        range->component = copy(result, component);
        range->site = copy(result, site);
        if (range->component == NULL || range->site == NULL) return vlmp_fail_memory(err, "record");
    }
    return VLMP_OK;
}

/* Files of earlier versions record samples alone. */
static int read_calibration(const cJSON *provenance, vlmp_eval_result *result, const char *where,
                            vlmp_error *err)
{
    const cJSON *audit = vlmp_json_get(provenance, "calibration_audit");
    vlmp_calibration_record *r = result->calibration =
        vlmp_arena_alloc(&result->arena, 1, sizeof *r);
    if (r == NULL) return vlmp_fail_memory(err, "record");
    r->calibrated = cJSON_IsString(vlmp_json_get(provenance, "calibration"));
    r->samples = cJSON_GetArraySize(vlmp_json_get(provenance, "calibration_samples"));
    const struct {
        const char *key;
        int64_t *out;
    } counts[] = {{"seen", &r->tokens_seen},
                  {"held_out", &r->tokens_held},
                  {"samples_seen", &r->samples_seen},
                  {"samples_held_out", &r->samples_held}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        VLMP_TRY(vlmp_json_int(audit, counts[i].key, -1, 0, INT64_MAX, counts[i].out, where, err));
    return read_ranges(vlmp_json_get(audit, "ranges"), result, where, err);
}

enum { FACTS = 8 };

static int add(vlmp_eval_result *result, const char *key, const char *value, vlmp_error *err)
{
    if (value == NULL) return VLMP_OK;
    char *text = copy(result, value);
    if (text == NULL) return vlmp_fail_memory(err, "record");
    result->facts[result->fact_count++] = (vlmp_fact){key, text};
    return VLMP_OK;
}

static const char *text_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(vlmp_json_get(object, key));
}

/* The options beside the recipe that change what comes out. */
static void command(vlmp_buffer *out, const cJSON *provenance)
{
    const cJSON *tokens = vlmp_json_get(provenance, "tokens");
    bool calibrated = text_of(provenance, "calibration") != NULL;
    vlmp_buffer_text(out, "vlm-quantize MODEL --recipe RECIPE.json");
    if (calibrated) vlmp_buffer_text(out, " --calib CALIB");
    if (tokens != NULL)
        vlmp_buffer_printf(out, " --tokens %.0f --seed %.0f",
                           cJSON_GetNumberValue(vlmp_json_get(tokens, "budget")),
                           cJSON_GetNumberValue(vlmp_json_get(tokens, "seed")));
    else if (calibrated)
        vlmp_buffer_text(out, " --tokens all");
    if (cJSON_IsFalse(vlmp_json_get(provenance, "sequential")))
        vlmp_buffer_text(out, " --no-sequential");
    const char *precision = text_of(provenance, "precision");
    if (precision != NULL) vlmp_buffer_printf(out, " --precision %s", precision);
    vlmp_buffer_text(out, " -o OUT.vlmp");
}

static int list_facts(const vlmp_source *source, const cJSON *provenance, vlmp_eval_result *result,
                      vlmp_error *err)
{
    char text[160];
    result->facts = vlmp_arena_alloc(&result->arena, FACTS, sizeof *result->facts);
    if (result->facts == NULL) return vlmp_fail_memory(err, "record");
    VLMP_TRY(add(result, "digest", source->digest, err));
    VLMP_TRY(add(result, "made by", text_of(provenance, "tool"), err));
    snprintf(text, sizeof text, "%.64s (SHA-256 of its weights)",
             text_of(provenance, "source") != NULL ? text_of(provenance, "source")
                                                   : "not recorded");
    VLMP_TRY(add(result, "original", text, err));
    const char *calibration = text_of(provenance, "calibration");
    const cJSON *samples = vlmp_json_get(provenance, "calibration_samples");
    snprintf(text, sizeof text, "%.64s (SHA-256 of the file), %d samples",
             calibration != NULL ? calibration : "", cJSON_GetArraySize(samples));
    VLMP_TRY(add(result, "calibration", calibration != NULL ? text : "none", err));
    VLMP_TRY(add(result, "kernels", text_of(provenance, "kernels"), err));
    vlmp_buffer line = {0};
    command(&line, provenance);
    int status =
        line.failed ? vlmp_fail_memory(err, "record") : add(result, "command", line.data, err);
    vlmp_buffer_free(&line);
    return status;
}

int vlmp_eval_record(const vlmp_source *source, const cJSON *provenance, const cJSON *decisions,
                     vlmp_eval_result *result, vlmp_error *err)
{
    size_t length;
    const char *recipe = vlmp_packed_note(source, "vlmp.recipe", &length);
    if (decisions != NULL) VLMP_TRY(read_linears(decisions, result, source->path, err));
    if (provenance != NULL) VLMP_TRY(list_facts(source, provenance, result, err));
    if (provenance != NULL) VLMP_TRY(read_calibration(provenance, result, source->path, err));
    if (recipe == NULL) return VLMP_OK;
    result->recipe = vlmp_arena_copy(&result->arena, recipe, length);
    return result->recipe != NULL ? VLMP_OK : vlmp_fail_memory(err, "record");
}
