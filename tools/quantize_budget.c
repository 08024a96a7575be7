#include "tools/quantize_budget.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/export_rules.h"
#include "formats/weight_sizes.h"
#include "src/base/file.h"
#include "src/base/outfile.h"
#include "src/base/table.h"
#include "src/budget/choose.h"
#include "tools/outputs.h"
#include "tools/progress.h"
#include "tools/quantize_plan.h"
#include "tools/sensitivity.h"
#include "tools/terminal.h"

/* What a budget is chosen from. */
struct budget {
    const vlmp_quantize_options *opt;
    vlmp_engine *engine;
    vlmp_method method;
    vlmp_sensitivity table;
    bool *allowed; /* [site][candidate]; NULL: whatever a site can have */
    int *chosen;   /* [site] */
    uint64_t weights;
    uint64_t fixed; /* bytes of used tensors outside of sites */
    uint64_t least; /* of the sites */
};

int vlmp_budget_asked(bool *asked, const vlmp_cli_command *cli, const vlmp_cli_args *args,
                      const vlmp_quantize_options *o, vlmp_error *err)
{
    static const char *const either[] = {"budget", "max-size", NULL};
    static const char *const schemes[] = {"recipe",    "codes",      "bits",        "group",
                                          "symmetric", "asymmetric", "activations", "data-free"};
    *asked = o->budget > 0 || o->max_size > 0;
    VLMP_TRY(vlmp_cli_exclusive(cli, args, either, err));
    if (!*asked && o->save_recipe != NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--save-recipe keeps what --budget or --max-size chooses; give one");
    if (!*asked) return VLMP_OK;
    const char *name = o->budget > 0 ? "budget" : "max-size";
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (vlmp_cli_given(cli, args, schemes[i]))
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "--%s and --%s contradict each other; the budget chooses the scheme "
                             "of every linear",
                             name, schemes[i]);
    if (o->method != NULL && strcmp(o->method, "int8") == 0)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--%s and --method int8 contradict each other; take gptq, awq, awq+gptq "
                         "or rtn",
                         name);
    if (o->calib == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--%s measures what each linear's rounding costs: give --calib CALIB, "
                         "made by vlm-calibrate",
                         name);
    return VLMP_OK;
}

/* Whether the engine's best layout can express a site's linears in the candidate. */
static int engine_takes(const struct budget *b, vlmp_serve engine, const vlmp_linear_info *linears,
                        int site, int candidate, bool *takes, vlmp_error *err)
{
    const vlmp_budget_site *of = &b->table.sites[site];
    const vlmp_recipe_scheme *scheme = &b->table.candidates[candidate];
    vlmp_packed_linear packed[VLMP_SITE_LINEARS];
    vlmp_error refusal = {0};
    bool fallback;
    for (int i = 0; i < of->count; i++) {
        const vlmp_linear_info *l = &linears[of->linears[i]];
        packed[i] =
            (vlmp_packed_linear){.name = l->name,
                                 .scheme = vlmp_scheme_make(
                                     scheme->codes, vlmp_plan_group(l->k, scheme->group, &fallback),
                                     scheme->zeros, false),
                                 .n = l->n,
                                 .k = l->k};
    }
    *takes = vlmp_export_check(vlmp_serve_layout(engine), engine, packed, (size_t)of->count, false,
                               "candidates", &refusal) == VLMP_OK;
    return vlmp_fail_tried(err, &refusal);
}

/* --for: what the engine cannot load is not chosen. */
static int ask_engine(struct budget *b, vlmp_error *err)
{
    if (b->opt->engine == NULL) return VLMP_OK;
    const vlmp_sensitivity *t = &b->table;
    vlmp_serve engine = vlmp_serve_from_name(b->opt->engine);
    vlmp_linear_info *linears;
    int count, width = t->candidate_count;
    b->allowed = vlmp_calloc((size_t)t->site_count * (size_t)width, sizeof *b->allowed);
    if (b->allowed == NULL) return vlmp_fail_memory(err, "the table of candidates");
    VLMP_TRY(vlmp_model_linears(&b->engine->model, &linears, &count, err));
    int status = VLMP_OK;
    for (int i = 0; i < t->site_count * width && status == VLMP_OK; i++)
        if (i % width > 0 && t->cells[i].bytes != VLMP_NO_OPTION)
            status = engine_takes(b, engine, linears, i / width, i % width, &b->allowed[i], err);
    free(linears);
    return status;
}

/* A recipe of the chosen as a plan of the file. */
static int plan_chosen(const struct budget *b, vlmp_recipe *recipe, vlmp_quantize_plan *plan,
                       vlmp_error *err)
{
    *plan = (vlmp_quantize_plan){0};
    VLMP_TRY(vlmp_budget_recipe(&b->table, b->chosen, b->method, recipe, err));
    return vlmp_quantize_plan_make(plan, &b->engine->model, recipe, "budget", err);
}

/* Bytes of a file of the chosen which are no tensor's of a site; sizes of its tensors. */
static int size_rest(const struct budget *b, uint64_t *rest, vlmp_weight_sizes *sizes,
                     vlmp_error *err)
{
    vlmp_recipe recipe = {0};
    vlmp_quantize_plan plan;
    int status = plan_chosen(b, &recipe, &plan, err);
    if (status == VLMP_OK) status = vlmp_quantize_plan_bytes(&plan, NULL, rest, err);
    if (status == VLMP_OK) {
        vlmp_weight_sizes_of_plan(&plan.packed, sizes);
        *rest -= vlmp_budget_bytes(&b->table, b->chosen);
    }
    vlmp_quantize_plan_free(&plan);
    vlmp_recipe_free(&recipe);
    return status;
}

/* weights, fixed and least: of a file in which every site is quantized as small as it can be, since
 * awq stores norms as F32. *rest: of that file; *kept: of one that keeps every site. */
static int size_rests(struct budget *b, uint64_t *rest, uint64_t *kept, vlmp_error *err)
{
    vlmp_weight_sizes sizes;
    VLMP_TRY(size_rest(b, kept, &sizes, err)); /* nothing is chosen yet */
    vlmp_budget_smallest(&b->table, b->allowed, b->chosen);
    VLMP_TRY(size_rest(b, rest, &sizes, err));
    b->least = vlmp_budget_bytes(&b->table, b->chosen);
    b->weights = sizes.total.weights;
    b->fixed = sizes.total.bytes - b->least;
    return VLMP_OK;
}

static int below_least(const struct budget *b, uint64_t rest, vlmp_error *err)
{
    char least[32], sites[32], others[32];
    vlmp_format_bytes(sites, sizeof sites, (double)b->least);
    vlmp_format_bytes(others, sizeof others, (double)rest);
    if (b->opt->max_size > 0)
        snprintf(least, sizeof least, "%llu bytes", (unsigned long long)(b->least + rest));
    else /* rounded up, so that what is said can be given */
        snprintf(least, sizeof least, "%.3f bits",
                 ceil(8e3 * (double)(b->least + rest) / (double)b->weights) / 1e3);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the least that this budget can be is %s%s%s: %s of linears, each in its "
                     "smallest scheme, and %s that stays as it is (norms, biases, patches%s)",
                     b->engine->source->path, least, b->opt->engine != NULL ? " for " : "",
                     b->opt->engine != NULL ? b->opt->engine : "", sites, others,
                     b->opt->max_size > 0 ? ", tokenizer, header" : "");
}

/* Whether the file of a choice is within --max-size. */
static int file_fits(void *arg, const int *chosen, bool *fits, vlmp_error *err)
{
    const struct budget *b = arg;
    uint64_t rest;
    vlmp_weight_sizes sizes;
    assert(chosen == b->chosen);
    VLMP_TRY(size_rest(b, &rest, &sizes, err));
    *fits = rest + vlmp_budget_bytes(&b->table, chosen) <= b->opt->max_size;
    return VLMP_OK;
}

/* --max-size is of the file, whose header grows with what is quantized: between that of `kept` and
 * that of `rest`. */
static int fit_file(struct budget *b, const vlmp_budget_choices *choices, uint64_t rest,
                    uint64_t kept, vlmp_error *err)
{
    uint64_t header = kept < rest ? kept : rest;
    bool found;
    VLMP_TRY(
        vlmp_budget_fit(choices, b->opt->max_size - header, file_fits, b, b->chosen, &found, err));
    /* of choices of the least bytes that of least damage may have the longer header */
    if (!found) vlmp_budget_smallest(&b->table, b->allowed, b->chosen);
    return VLMP_OK;
}

static int choose(struct budget *b, vlmp_recipe *recipe, vlmp_error *err)
{
    vlmp_budget_choices choices = {0};
    uint64_t rest, kept;
    VLMP_TRY(size_rests(b, &rest, &kept, err));
    double bytes = floor(b->opt->budget * (double)b->weights / 8);
    if (b->opt->max_size > 0 ? b->opt->max_size < rest + b->least
                             : bytes < (double)(b->fixed + b->least))
        return below_least(b, b->opt->max_size > 0 ? rest : b->fixed, err);
    int status = vlmp_budget_solve(&choices, &b->table, b->allowed, err);
    if (status == VLMP_OK && b->opt->max_size > 0)
        status = fit_file(b, &choices, rest, kept, err);
    else if (status == VLMP_OK)
        vlmp_budget_choose(&choices, (uint64_t)bytes - b->fixed, b->chosen);
    vlmp_budget_choices_free(&choices);
    VLMP_TRY(status);
    return vlmp_budget_recipe(&b->table, b->chosen, b->method, recipe, err);
}

/* Damage and size by component. */
static void say(const struct budget *b, const vlmp_sensitivity_job *job)
{
    const vlmp_sensitivity *t = &b->table;
    double damage = vlmp_budget_damage(t, b->chosen);
    uint64_t bytes = b->fixed + vlmp_budget_bytes(t, b->chosen);
    if (job->args->quiet) return;
    vlmp_show_line(stderr,
                   "chosen: %.3f bits per weight, damage %.3g nats a token (KL, summed over sites; "
                   "%d samples held out, %d tokens%s)",
                   8 * (double)bytes / (double)b->weights, damage, t->samples, t->tokens,
                   job->seconds > 0 ? "" : "; measured before");
    for (int c = 0; c < VLMP_COMPONENTS; c++) {
        double part = 0, size = 0;
        int sites = 0;
        for (int s = 0; s < t->site_count; s++) {
            if (t->sites[s].component != (vlmp_component)c) continue;
            part += vlmp_sensitivity_damage(t, s, b->chosen[s]);
            size += (double)vlmp_sensitivity_cell(t, s, b->chosen[s])->bytes;
            sites++;
        }
        char text[32];
        vlmp_format_bytes(text, sizeof text, size);
        if (sites > 0)
            vlmp_show_line(stderr, "  %-9s  %10s  damage %.3g",
                           vlmp_component_name((vlmp_component)c), text, part);
    }
}

/* --save-recipe, before any work. A run that is resumed has written it before. */
static int check_saved(const vlmp_quantize_options *o, const char *model, vlmp_error *err)
{
    const char *inputs[] = {model, o->calib, o->output};
    if (o->save_recipe == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_output_check(o->save_recipe, o->force || o->resume, err));
    return vlmp_outputs_apart(&o->save_recipe, 1, inputs, 3, err);
}

static int save(const vlmp_recipe *recipe, const vlmp_quantize_options *o, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    if (o->save_recipe == NULL) return VLMP_OK;
    vlmp_recipe_write(recipe, &w);
    vlmp_buffer_text(&w.out, "\n");
    int status = w.out.failed ? vlmp_fail_memory(err, o->save_recipe)
                              : vlmp_file_write(o->save_recipe, w.out.data, w.out.length,
                                                o->force || o->resume, err);
    vlmp_buffer_free(&w.out);
    return status;
}

int vlmp_budget_make_recipe(vlmp_recipe *recipe, const vlmp_cli_command *cli,
                            const vlmp_cli_args *args, const vlmp_quantize_options *o,
                            vlmp_engine *engine, const char *work, vlmp_error *err)
{
    struct budget b = {.opt = o,
                       .engine = engine,
                       .method =
                           o->method != NULL ? vlmp_method_from_name(o->method) : VLMP_METHOD_GPTQ};
    vlmp_sensitivity_job job = {.cli = cli,
                                .args = args,
                                .engine = engine,
                                .calib = o->calib,
                                .tokens = o->tokens,
                                .work = work};
    int status = check_saved(o, args->positionals[0], err);
    if (status == VLMP_OK) status = vlmp_sensitivity_get(&job, &b.table, err);
    if (status == VLMP_OK) {
        b.chosen = vlmp_calloc((size_t)b.table.site_count, sizeof *b.chosen);
        status = b.chosen != NULL ? ask_engine(&b, err) : vlmp_fail_memory(err, "a budget");
    }
    if (status == VLMP_OK) status = choose(&b, recipe, err);
    if (status == VLMP_OK) say(&b, &job);
    if (status == VLMP_OK) status = save(recipe, o, err);
    free(b.allowed);
    free(b.chosen);
    vlmp_sensitivity_free(&b.table);
    return status;
}
