#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/open.h"
#include "src/model/family.h"
#include "tools/plan.h"
#include "tools/quantize_tensors.h"

static const vlmp_packed_linear *linears_of(const vlmp_plan_document *d,
                                            const vlmp_plan_choice *choice, size_t *count)
{
    *count = choice->plan.packed.linear_count;
    return choice->is_source && d->packed ? vlmp_packed_linears(d->source, count)
                                          : choice->plan.packed.linears;
}

/* What is held beyond the file's bytes: on a GPU, codes of 3 bits are 4 bits wide. */
static double widening(const vlmp_plan_document *d, const vlmp_packed_linear *linear)
{
    const char *device = d->options->device;
    if (device == NULL || strcmp(device, "cpu") == 0 || linear->scheme.codes != VLMP_CODES_U3)
        return 0;
    int k = (int)linear->k;
    return (double)linear->n *
           ((double)vlmp_codes_row_bytes(k, 4) - (double)vlmp_codes_row_bytes(k, 2) -
            (double)vlmp_codes_row_bytes(k, 1));
}

/* A part of the model, whose linears' names begin so. */
static vlmp_plan_part part_of(const vlmp_plan_document *d, const vlmp_plan_choice *choice,
                              vlmp_component part, const char *prefix)
{
    const vlmp_weight_size *size = &choice->sizes.parts[part];
    vlmp_plan_part out = {.weights = (double)size->weights, .bytes = (double)size->bytes};
    size_t count;
    const vlmp_packed_linear *linears = linears_of(d, choice, &count);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(linears[i].name, prefix, strlen(prefix)) != 0) continue;
        out.bytes += widening(d, &linears[i]);
        if (linears[i].scheme.int8_activations) out.int8 += (double)(linears[i].n * linears[i].k);
    }
    return out;
}

static void set_weights(const vlmp_plan_document *d, vlmp_plan_choice *choice)
{
    bool tied = d->model.config.text.tied;
    choice->weights =
        (vlmp_plan_weights){.vision = part_of(d, choice, VLMP_COMPONENT_VISION, "vision."),
                            .projector = part_of(d, choice, VLMP_COMPONENT_PROJECTOR, "projector."),
                            .text = part_of(d, choice, VLMP_COMPONENT_TEXT, "text.layers."),
                            .head = tied ? part_of(d, choice, VLMP_COMPONENT_EMBED, "text.embed")
                                         : part_of(d, choice, VLMP_COMPONENT_HEAD, "text.head")};
    size_t count;
    const vlmp_packed_linear *linears = linears_of(d, choice, &count);
    choice->held_bytes = (double)choice->sizes.total.bytes;
    for (size_t i = 0; i < count; i++)
        choice->held_bytes += widening(d, &linears[i]);
}

/* Errors of linears add up by their squares, each in proportion to its weights. Neighbours are
 * mostly coded alike, and an error is an integral. */
static void set_error(vlmp_plan_choice *choice)
{
    const vlmp_packed_plan *packed = &choice->plan.packed;
    double squares = 0, weights = 0, error = 0, last_group = 0, last_reach = 0;
    for (size_t i = 0; i < packed->linear_count; i++) {
        const vlmp_packed_linear *linear = &packed->linears[i];
        const vlmp_code_info *codes = &vlmp_code_types[linear->scheme.codes];
        if (vlmp_codes_are_floats(linear->scheme.codes)) return;
        double group = vlmp_scheme_group(&linear->scheme, (int)linear->k);
        if (group != last_group || codes->reach != last_reach)
            error = vlmp_normal_error(group, codes->reach);
        last_group = group;
        last_reach = codes->reach;
        double count = (double)linear->n * (double)linear->k;
        squares += count * error * error;
        weights += count;
    }
    if (weights > 0) choice->error = sqrt(squares / weights);
}

static int add_source(vlmp_plan_document *d, vlmp_error *err)
{
    vlmp_plan_choice *choice = &d->choices[d->choice_count++];
    *choice = (vlmp_plan_choice){.name = "as it is", .is_source = true};
    vlmp_weight_sizes_of(d->source, &choice->sizes);
    set_weights(d, choice);
    choice->file_bytes = choice->sizes.unused_bytes;
    if (!__builtin_add_overflow(choice->file_bytes, choice->sizes.total.bytes, &choice->file_bytes))
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the model's tensors are too large", d->source->path);
}

/* The file's bytes, with what it keeps about each tensor of a model that is not run. */
static int count_bytes(const vlmp_plan_document *d, vlmp_plan_choice *choice, vlmp_error *err)
{
    const vlmp_quantize_plan *plan = &choice->plan;
    vlmp_tensor_line *lines;
    int count;
    vlmp_json_writer fates = {0};
    if (d->runs) return vlmp_quantize_plan_bytes(plan, NULL, &choice->file_bytes, err);
    VLMP_TRY(vlmp_tensor_lines(&lines, &count, d->source, plan->linears, &plan->plan, err));
    vlmp_tensor_lines_write(lines, count, &fates);
    free(lines);
    int status = fates.out.failed
                     ? vlmp_fail_memory(err, "list of tensors")
                     : vlmp_quantize_plan_bytes(plan, fates.out.data, &choice->file_bytes, err);
    vlmp_buffer_free(&fates.out);
    return status;
}

static int add_recipe(vlmp_plan_document *d, const char *name, vlmp_error *err)
{
    vlmp_recipe recipe;
    vlmp_plan_choice *choice = &d->choices[d->choice_count];
    *choice = (vlmp_plan_choice){.name = name};
    VLMP_TRY(vlmp_recipe_load(&recipe, name, err));
    int status = vlmp_quantize_plan_make(&choice->plan, &d->model, &recipe, name, err);
    if (status == VLMP_OK) status = count_bytes(d, choice, err);
    vlmp_recipe_free(&recipe);
    if (status != VLMP_OK) {
        vlmp_quantize_plan_free(&choice->plan);
        return status;
    }
    vlmp_weight_sizes_of_plan(&choice->plan.packed, &choice->sizes);
    set_weights(d, choice);
    set_error(choice);
    d->choice_count++;
    return VLMP_OK;
}

/* Those that fit this model. */
static int add_usual(vlmp_plan_document *d, vlmp_error *err)
{
    static const char *const run[] = {"int8", "gptq_4bit", "@w4"}, *const other[] = {"rtn_4bit"};
    const char *const *names = d->runs ? run : other;
    size_t count = d->runs ? sizeof run / sizeof *run : sizeof other / sizeof *other;
    for (size_t i = 0; i < count; i++) {
        vlmp_error refused = {0};
        int status = add_recipe(d, names[i], &refused);
        if (status == VLMP_OK || status == VLMP_ERR_INPUT) continue;
        *err = refused;
        return status;
    }
    return VLMP_OK;
}

enum { USUAL = 3 };

int vlmp_plan_open(vlmp_plan_document *d, const char *model, const vlmp_plan_options *options,
                   vlmp_error *err)
{
    const vlmp_cli_list *recipes = &options->recipes;
    *d = (vlmp_plan_document){.options = options};
    VLMP_TRY(vlmp_model_source_open_headers(&d->source, model, err));
    VLMP_TRY(vlmp_model_open_weights(&d->model, d->source, err));
    d->runs = vlmp_family_runs(d->model.config.family);
    d->packed = strcmp(d->source->kind, "packed") == 0;
    if (d->packed && recipes->count > 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: already packed; a recipe is for the model that it was made from",
                         model);
    d->choices = vlmp_calloc(1 + USUAL + recipes->count, sizeof *d->choices);
    if (d->choices == NULL) return vlmp_fail_memory(err, "plan");
    VLMP_TRY(add_source(d, err));
    if (recipes->count == 0 && !d->packed) VLMP_TRY(add_usual(d, err));
    for (size_t i = 0; i < recipes->count; i++)
        VLMP_TRY(add_recipe(d, recipes->items[i], err));
    return VLMP_OK;
}

void vlmp_plan_close(vlmp_plan_document *d)
{
    for (int i = 0; i < d->choice_count; i++)
        vlmp_quantize_plan_free(&d->choices[i].plan);
    free(d->choices);
    free(d->fits);
    free(d->quantizings);
    free(d->loads);
    vlmp_model_close(&d->model);
    if (d->source != NULL) d->source->close(d->source);
    *d = (vlmp_plan_document){0};
}
