#include "tools/inspect_explain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "src/base/json.h"
#include "src/model/family.h"
#include "tools/cli.h"
#include "tools/inspect.h"
#include "tools/quantize_plan.h"
#include "tools/terminal.h"

/* Of what is stored. */
struct ranges {
    float scale_low, scale_mean, scale_high; /* the global scale included */
    int zero_low, zero_high;
    double at_ends; /* share of the codes that are the lowest or the highest */
};

struct facts {
    char name[VLMP_NAME_MAX];  /* of the linear */
    const vlmp_tensor *tensor; /* its weight, or its codes */
    vlmp_scheme scheme;        /* codes VLMP_CODES_NONE: kept */
    int n, k;
    struct ranges ranges;
    cJSON *decisions;
    const cJSON *decision; /* of the linear; NULL */
    vlmp_recipe recipe;
    int rule; /* −1: none decided, or the recipe is not known */
};

/* The linear that a name means: as the model calls it or as the source does, ".weight" and parts
 * left out. */
static bool means(const vlmp_tensor *tensor, const char *name, char stem[VLMP_NAME_MAX])
{
    size_t length = vlmp_name_stem(tensor->name);
    if (length + 1 > VLMP_NAME_MAX || tensor->name[length] == '\0') return false;
    const char *leaf = tensor->name + length + 1;
    bool codes = vlmp_packed_part_of(leaf - 1) == VLMP_PACKED_CODES;
    if (strcmp(leaf, "weight") != 0 && !codes) return false;
    if (strcmp(leaf, "weight") == 0 && tensor->rank != 2) return false;
    snprintf(stem, VLMP_NAME_MAX, "%.*s", (int)length, tensor->name);
    if (strcmp(name, stem) == 0 || strcmp(name, tensor->name) == 0) return true;
    const char *source = tensor->source_name;
    if (source == NULL) return false;
    size_t bare = strlen(source);
    if (bare > 7 && strcmp(source + bare - 7, ".weight") == 0) bare -= 7;
    return strcmp(name, source) == 0 || (strlen(name) == bare && strncmp(name, source, bare) == 0);
}

static int unknown(const vlmp_source *source, const char *name, vlmp_error *err)
{
    size_t count = 0, total = source->count(source);
    char(*stems)[VLMP_NAME_MAX] = vlmp_calloc(total, sizeof *stems);
    const char **names = vlmp_calloc(total, sizeof *names);
    if (stems == NULL || names == NULL) {
        free(stems);
        free(names);
        return vlmp_fail_memory(err, "names of linears");
    }
    for (size_t i = 0; i < total; i++) {
        means(source->at(source, i), "", stems[count]);
        names[count] = stems[count];
        count += stems[count][0] != '\0';
    }
    const char *near = vlmp_nearest_name(name, names, count);
    int status =
        near != NULL
            ? vlmp_fail(err, VLMP_ERR_USAGE, "--explain: no linear '%s'; did you mean %s?", name,
                        near)
            : vlmp_fail(err, VLMP_ERR_USAGE,
                        "--explain: no linear '%s'; vlm-inspect without it lists them", name);
    free(stems);
    free(names);
    return status;
}

static int find(struct facts *f, const vlmp_source *source, const char *name, vlmp_error *err)
{
    for (size_t i = 0; i < source->count(source) && f->tensor == NULL; i++)
        if (means(source->at(source, i), name, f->name)) f->tensor = source->at(source, i);
    if (f->tensor == NULL) return unknown(source, name, err);
    const vlmp_scheme *scheme = source->scheme(source, f->name);
    f->n = (int)f->tensor->shape[0];
    f->k = (int)f->tensor->shape[1];
    if (scheme == NULL) return VLMP_OK;
    const vlmp_packed_linear *linear = vlmp_packed_linear_find(source, f->name, strlen(f->name));
    f->scheme = *scheme;
    f->n = (int)linear->n;
    f->k = (int)linear->k;
    return VLMP_OK;
}

static const vlmp_tensor *part(const vlmp_source *source, const struct facts *f, const char *leaf)
{
    char name[VLMP_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s.%s", f->name, leaf);
    return source->find(source, name);
}

/* Scales and zeros of all groups. */
static void look_at_scales(struct facts *f, const vlmp_source *source,
                           const vlmp_packed_shape *shape)
{
    struct ranges *r = &f->ranges;
    const vlmp_tensor *scales = part(source, f, "scales"), *zeros = part(source, f, "zeros"),
                      *global = part(source, f, "global");
    float factor = global != NULL ? vlmp_scale_at(global->data, 0, VLMP_F32) : 1.0f;
    int bits = vlmp_code_zero_bits(f->scheme.codes),
        middle = vlmp_code_types[f->scheme.codes].middle;
    int64_t rows = shape->parts[VLMP_PACKED_SCALES].rows;
    size_t count = (size_t)rows * (size_t)shape->groups;
    double sum = 0;
    r->scale_low = INFINITY;
    for (size_t i = 0; i < count; i++) {
        float scale = vlmp_scale_at(scales->data, i, scales->dtype) * factor;
        r->scale_low = fminf(r->scale_low, scale);
        r->scale_high = fmaxf(r->scale_high, scale);
        sum += (double)scale;
    }
    r->scale_mean = (float)(sum / (double)count);
    r->zero_low = zeros != NULL ? INT32_MAX : middle;
    r->zero_high = zeros != NULL ? 0 : middle;
    size_t row_bytes = vlmp_codes_row_bytes((int)shape->groups, bits);
    for (int64_t row = 0; zeros != NULL && row < f->n; row++)
        for (int g = 0; g < shape->groups; g++) {
            int zero = vlmp_code_at(zeros->data + (size_t)row * row_bytes, g, bits);
            if (zero < r->zero_low) r->zero_low = zero;
            if (zero > r->zero_high) r->zero_high = zero;
        }
}

static void look_at_codes(struct facts *f, const vlmp_source *source)
{
    vlmp_code_grid grid = vlmp_code_grid_of(&f->scheme);
    vlmp_code_type type = f->scheme.codes;
    const vlmp_tensor *high =
        part(source, f, vlmp_packed_part_name(VLMP_PACKED_HIGH, f->scheme.codes));
    size_t row_bytes = vlmp_codes_row_bytes(f->k, vlmp_code_low_bits(type)), counts[256] = {0},
           ends = 0;
    for (int row = 0; row < f->n; row++) {
        const uint8_t *low_row = f->tensor->data + (size_t)row * row_bytes, *high_row = NULL;
        if (high != NULL) high_row = high->data + (size_t)row * vlmp_codes_row_bytes(f->k, 1);
        for (int c = 0; c < f->k; c++)
            counts[vlmp_planes_at(low_row, high_row, c, type)]++;
    }
    for (int code = grid.low; code <= grid.high; code++)
        if (grid.floats.mantissa == 0
                ? code == grid.low || code == grid.high
                : fabsf(vlmp_code_level(&grid, code, 0)) == grid.floats.largest)
            ends += counts[code];
    f->ranges.at_ends = (double)ends / ((double)f->n * f->k);
}

static int read_decision(struct facts *f, const vlmp_source *source, vlmp_error *err)
{
    size_t length;
    const char *text = vlmp_packed_note(source, "vlmp.decisions", &length);
    if (text == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_json_parse(&f->decisions, text, length, source->path, err));
    const cJSON *each;
    cJSON_ArrayForEach(each, f->decisions)
    {
        const char *name;
        VLMP_TRY(vlmp_json_string(each, "name", "", &name, source->path, err));
        if (strcmp(name, f->name) == 0) f->decision = each;
    }
    return VLMP_OK;
}

/* The recipe's rule for the linear, found as it was when the file was made. */
static int find_rule(struct facts *f, vlmp_source *source, vlmp_error *err)
{
    size_t length;
    const char *text = vlmp_packed_note(source, "vlmp.recipe", &length);
    cJSON *document = NULL;
    vlmp_model model = {0};
    vlmp_linear_info *linears = NULL;
    vlmp_plan plan = {0};
    int count = 0;
    if (text == NULL) return VLMP_OK;
    int status = vlmp_json_parse(&document, text, length, source->path, err);
    if (status == VLMP_OK) status = vlmp_recipe_parse(&f->recipe, document, source->path, err);
    cJSON_Delete(document);
    if (status == VLMP_OK) status = vlmp_model_open_weights(&model, source, err);
    if (status == VLMP_OK && vlmp_family_runs(model.config.family)) {
        status = vlmp_model_linears(&model, &linears, &count, err);
        if (status == VLMP_OK)
            status =
                vlmp_plan_of_model(&plan, linears, count, &model, &f->recipe, source->path, err);
        for (int i = 0; i < count && status == VLMP_OK; i++)
            if (strcmp(linears[i].name, f->name) == 0) f->rule = plan.entries[i].rule;
    }
    vlmp_plan_free(&plan);
    free(linears);
    vlmp_model_close(&model);
    return status;
}

static void scheme_text(const struct facts *f, char *out, size_t capacity)
{
    char codes[16];
    if (f->scheme.codes == VLMP_CODES_NONE) {
        snprintf(out, capacity, "kept as %s", vlmp_dtype_name(f->tensor->dtype));
        return;
    }
    vlmp_codes_text(codes, sizeof codes, &f->scheme);
    int used = snprintf(out, capacity, "%s, %s activations, %s, a scale ", codes,
                        f->scheme.int8_activations ? "int8" : "float",
                        f->scheme.zeros == VLMP_ZEROS_NONE ? "symmetric" : "with zeros");
    if (f->scheme.blocks)
        snprintf(out + used, capacity - (size_t)used, "for %d × %d weights", VLMP_BLOCK_OUTPUTS,
                 vlmp_scheme_group(&f->scheme, f->k));
    else if (f->scheme.group == VLMP_GROUP_CHANNEL)
        snprintf(out + used, capacity - (size_t)used, "an output");
    else
        snprintf(out + used, capacity - (size_t)used, "for %d inputs", f->scheme.group);
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool is_set(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(vlmp_json_get(object, key));
}

static void print_errors(const cJSON *d)
{
    double seen = number(d, "error"), held = number(d, "held_error"),
           nearest = number(d, "held_rtn_error"), damping = number(d, "damping"),
           correction = number(d, "correction");
    if (!isnan(seen)) printf("error      %.4f %% of the output on samples seen\n", 100 * seen);
    if (!isnan(held))
        printf("           %.4f %% on samples held out; plain rounding: %.4f %%\n", 100 * held,
               100 * nearest);
    if (is_set(d, "kept_rtn"))
        puts("guard      plain rounding was better on the samples held out, and is what is stored");
    else if (is_set(d, "unguarded"))
        puts("guard      none: no samples were held out");
    else if (!isnan(held) && !isnan(nearest) && nearest > 0)
        printf("guard      the method was kept, at %.2f of the error of plain rounding\n",
               held / nearest);
    if (!isnan(damping)) printf("damping    %g of the mean of the second moments\n", damping);
    if (!isnan(correction))
        printf("target     %.2f of the way to the original model's outputs\n", correction);
    if (is_set(d, "folded")) puts("scales     AWQ's are folded into what precedes it");
    if (is_set(d, "fallback"))
        puts("fallback   the method failed or the group did not divide the inputs");
}

static void print_rule(const struct facts *f)
{
    if (f->recipe.count == 0) return;
    if (f->rule < 0)
        puts("rule       none decides it, so it is kept");
    else
        vlmp_show_line(stdout, "rule       %d of %d: \"%s\"", f->rule + 1, f->recipe.count,
                       f->recipe.rules[f->rule].match);
}

static void print_text(const struct facts *f)
{
    char text[160];
    vlmp_show_line(stdout, "%s", f->name);
    if (f->tensor->source_name != NULL)
        vlmp_show_line(stdout, "source     %s", f->tensor->source_name);
    scheme_text(f, text, sizeof text);
    printf("shape      %d outputs × %d inputs\n", f->n, f->k);
    printf("stored     %s\n", text);
    const char *method = NULL;
    if (f->decision != NULL) method = cJSON_GetStringValue(vlmp_json_get(f->decision, "method"));
    if (method != NULL) vlmp_show_line(stdout, "method     %s", method);
    print_rule(f);
    if (f->scheme.codes == VLMP_CODES_NONE) return;
    const struct ranges *r = &f->ranges;
    printf("scales     %g to %g, mean %g\n", (double)r->scale_low, (double)r->scale_high,
           (double)r->scale_mean);
    if (f->scheme.zeros != VLMP_ZEROS_NONE)
        printf("zeros      %d to %d\n", r->zero_low, r->zero_high);
    printf("codes      %.2f %% at either end of the grid\n", 100 * r->at_ends);
    if (f->decision != NULL) print_errors(f->decision);
}

static int print_json(const struct facts *f, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "name", f->name);
    vlmp_json_pair_int(&w, "n", f->n);
    vlmp_json_pair_int(&w, "k", f->k);
    vlmp_json_pair_bool(&w, "quantized", f->scheme.codes != VLMP_CODES_NONE);
    vlmp_json_key(&w, "rule");
    if (f->rule >= 0)
        vlmp_json_put_int(&w, f->rule + 1);
    else
        vlmp_json_put_null(&w);
    vlmp_json_pair_string(&w, "match", f->rule >= 0 ? f->recipe.rules[f->rule].match : NULL);
    if (f->scheme.codes != VLMP_CODES_NONE) {
        const struct ranges *r = &f->ranges;
        vlmp_json_pair_double(&w, "scale_low", r->scale_low);
        vlmp_json_pair_double(&w, "scale_mean", r->scale_mean);
        vlmp_json_pair_double(&w, "scale_high", r->scale_high);
        vlmp_json_pair_int(&w, "zero_low", r->zero_low);
        vlmp_json_pair_int(&w, "zero_high", r->zero_high);
        vlmp_json_pair_double(&w, "at_ends", r->at_ends);
    }
    vlmp_json_key(&w, "decision");
    if (f->decision != NULL)
        vlmp_json_put_tree(&w, f->decision);
    else
        vlmp_json_put_null(&w);
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "explanation") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

static int explain(struct facts *f, vlmp_source *source, const char *name, vlmp_error *err)
{
    VLMP_TRY(find(f, source, name, err));
    if (strcmp(source->kind, "packed") != 0) return VLMP_OK;
    VLMP_TRY(read_decision(f, source, err));
    VLMP_TRY(find_rule(f, source, err));
    vlmp_packed_shape shape;
    if (f->scheme.codes == VLMP_CODES_NONE) return VLMP_OK;
    if (!vlmp_packed_shape_of(&shape, f->n, f->k, &f->scheme))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s has no shape that can be packed; check the "
                         "file with --verify",
                         source->path, f->name);
    look_at_scales(f, source, &shape);
    look_at_codes(f, source);
    return VLMP_OK;
}

int vlmp_inspect_explain(vlmp_source *source, const char *name, bool json, vlmp_error *err)
{
    struct facts f = {.rule = -1};
    int status = explain(&f, source, name, err);
    if (status == VLMP_OK && json)
        status = print_json(&f, err);
    else if (status == VLMP_OK)
        print_text(&f);
    cJSON_Delete(f.decisions);
    vlmp_recipe_free(&f.recipe);
    return status;
}
