/* budget: the knapsack against every choice there is, sites and recipes, the table's file, and the
 * measurement from kept activations against whole runs on a tiny model. */
#include <math.h>

#include "src/budget/choose.h"
#include "src/budget/knapsack.h"
#include "src/budget/measure.h"
#include "tests/unit/tiny_run.h"

enum { ITEMS = 6, WIDTH = 4, CANDIDATES = 3 };

/* Of all choices within capacity the least damage. */
static double best_of_all(const vlmp_option *options, uint64_t capacity)
{
    double best = INFINITY;
    for (int code = 0; code < 4096; code++) { /* 4⁶ */
        uint64_t bytes = 0;
        double damage = 0;
        bool has = true;
        for (int i = 0; i < ITEMS; i++) {
            const vlmp_option *o = &options[i * WIDTH + (code >> 2 * i & 3)];
            has &= o->bytes != VLMP_NO_OPTION;
            if (has) bytes += o->bytes, damage += o->damage;
        }
        if (has && bytes <= capacity && damage < best) best = damage;
    }
    return best;
}

static double total(const vlmp_option *options, const int *chosen, uint64_t *bytes)
{
    double damage = 0;
    *bytes = 0;
    for (int i = 0; i < ITEMS; i++) {
        damage += options[i * WIDTH + chosen[i]].damage;
        *bytes += options[i * WIDTH + chosen[i]].bytes;
    }
    return damage;
}

static void make_options(vlmp_option *options, vlmp_rng *rng, uint64_t step)
{
    for (int i = 0; i < ITEMS * WIDTH; i++) {
        options[i] = (vlmp_option){step * (1 + vlmp_rng_below(rng, 12)), vlmp_rng_uniform(rng)};
        if (i % WIDTH > 0 && vlmp_rng_below(rng, 6) == 0) options[i].bytes = VLMP_NO_OPTION;
    }
}

static void knapsack_is_the_best_of_all_choices(void **state)
{
    (void)state;
    vlmp_rng rng = {5};
    vlmp_error err = {0};
    for (int round = 0; round < 20; round++) {
        vlmp_option options[ITEMS * WIDTH];
        int chosen[ITEMS];
        make_options(options, &rng, 96);
        uint64_t least = vlmp_knapsack_least(options, ITEMS, WIDTH), bytes;
        vlmp_knapsack all;
        good(vlmp_knapsack_solve(&all, options, ITEMS, WIDTH, &err), &err);
        for (uint64_t more = 0; more < 96 * 70; more += 240) {
            vlmp_knapsack_choose(&all, least + more, chosen);
            double damage = total(options, chosen, &bytes);
            assert_true(bytes <= least + more);
            assert_true(fabs(damage - best_of_all(options, least + more)) < 1e-12);
        }
        vlmp_knapsack_free(&all);
    }
}

/* Sizes without a common unit that the table has room for: what rounding them up costs is bounded
 * by a budget smaller by an item's unit each, and more bytes never do more damage. */
static void knapsack_of_odd_sizes_is_near_and_never_rises(void **state)
{
    (void)state;
    vlmp_rng rng = {6};
    vlmp_error err = {0};
    vlmp_option options[ITEMS * WIDTH];
    int chosen[ITEMS];
    make_options(options, &rng, 1000003);
    for (int i = 0; i < ITEMS * WIDTH; i++)
        if (options[i].bytes != VLMP_NO_OPTION) options[i].bytes += vlmp_rng_below(&rng, 1000);
    uint64_t least = vlmp_knapsack_least(options, ITEMS, WIDTH), bytes;
    const uint64_t slack = ITEMS * ((ITEMS * 12 * (uint64_t)1001003 >> 17) + 1);
    double before = INFINITY;
    vlmp_knapsack all;
    good(vlmp_knapsack_solve(&all, options, ITEMS, WIDTH, &err), &err);
    for (uint64_t more = 0; more < (uint64_t)70000000; more += 700001) {
        vlmp_knapsack_choose(&all, least + more, chosen);
        double damage = total(options, chosen, &bytes);
        assert_true(bytes <= least + more);
        assert_true(damage <= before);
        if (more >= slack)
            assert_true(damage <= best_of_all(options, least + more - slack) + 1e-12);
        before = damage;
    }
    vlmp_knapsack_free(&all);
}

/* In units of that size the best of all would not fit into its own bytes. */
static void the_best_of_every_item_is_had_where_it_fits(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_option options[ITEMS * WIDTH];
    int chosen[ITEMS];
    uint64_t all = 0, bytes;
    for (int i = 0; i < ITEMS * WIDTH; i++)
        options[i] = (vlmp_option){1 + (uint64_t)(i % WIDTH) * (70000003 + (uint64_t)i * 101),
                                   WIDTH - 1 - i % WIDTH};
    for (int i = 0; i < ITEMS; i++)
        all += options[i * WIDTH + WIDTH - 1].bytes;
    vlmp_knapsack knapsack;
    good(vlmp_knapsack_solve(&knapsack, options, ITEMS, WIDTH, &err), &err);
    vlmp_knapsack_choose(&knapsack, all, chosen);
    assert_true(total(options, chosen, &bytes) <= 0);
    assert_int_equal(vlmp_knapsack_below(&knapsack, all), all - 1);
    vlmp_knapsack_choose(&knapsack, all - 1, chosen);
    assert_true(total(options, chosen, &bytes) > 0 && bytes < all);
    vlmp_knapsack_free(&knapsack);
}

/* A file's size: bytes and a header that no order of choices explains. */
struct file {
    const vlmp_option *options;
    uint64_t limit;
};

static uint64_t file_of(const vlmp_option *options, const int *chosen)
{
    uint64_t bytes;
    unsigned code = 0;
    total(options, chosen, &bytes);
    for (int i = 0; i < ITEMS; i++)
        code = code * 31 + (unsigned)chosen[i];
    return bytes + code * 2654435761u % 1500;
}

static int file_fits(void *arg, const int *chosen, bool *fits, vlmp_error *err)
{
    const struct file *f = arg;
    (void)err;
    *fits = file_of(f->options, chosen) <= f->limit;
    return VLMP_OK;
}

/* Damage by bytes on a convex curve, or anywhere. */
static void shape_options(vlmp_option *options, vlmp_rng *rng, bool convex)
{
    make_options(options, rng, 97);
    for (int i = 0; i < ITEMS * WIDTH && convex; i++)
        options[i].damage =
            options[i].bytes == VLMP_NO_OPTION ? 0 : exp(-(double)options[i].bytes / 200);
}

/* Of two limits the larger never has the worse choice, and none misses a choice of the knapsack's
 * that fits. */
static void files_of_larger_limits_never_do_more_damage(void **state)
{
    (void)state;
    vlmp_rng rng = {11};
    vlmp_error err = {0};
    for (int round = 0; round < 12; round++) {
        vlmp_option options[ITEMS * WIDTH];
        vlmp_budget_choices choices = {.options = options};
        int chosen[ITEMS], any[ITEMS];
        shape_options(options, &rng, round % 2 == 0);
        good(vlmp_knapsack_solve(&choices.knapsack, options, ITEMS, WIDTH, &err), &err);
        double before = INFINITY;
        int fitting = 0;
        for (uint64_t limit = choices.knapsack.least; limit < choices.knapsack.best + 2000;
             limit += 13) {
            struct file file = {options, limit};
            bool found, could = false;
            uint64_t bytes;
            good(vlmp_budget_fit(&choices, limit, file_fits, &file, chosen, &found, &err), &err);
            double least = INFINITY;
            for (uint64_t at = limit; at != VLMP_NO_OPTION;
                 at = vlmp_knapsack_below(&choices.knapsack, at)) {
                vlmp_knapsack_choose(&choices.knapsack, at, any);
                if (file_of(options, any) > limit) continue;
                could = true;
                least = fmin(least, total(options, any, &bytes));
            }
            assert_int_equal(found, could);
            if (!found) continue;
            double damage = total(options, chosen, &bytes);
            assert_true(file_of(options, chosen) <= limit);
            assert_true(damage <= before && damage <= least);
            before = damage;
            fitting++;
        }
        assert_true(fitting > 100);
        vlmp_knapsack_free(&choices.knapsack);
    }
}

static vlmp_sensitivity table_of(const struct run *r)
{
    vlmp_error err = {0};
    vlmp_sensitivity t = {0};
    good(vlmp_budget_sites(r->linears, r->linear_count, r->model.config.text.tied, &t.sites,
                           &t.site_count, &err),
         &err);
    vlmp_sensitivity_candidates(&t);
    t.cells = vlmp_calloc((size_t)t.site_count * (size_t)t.candidate_count, sizeof *t.cells);
    assert_non_null(t.cells);
    for (int s = 0; s < t.site_count; s++)
        for (int c = 0; c < t.candidate_count; c++)
            *vlmp_sensitivity_cell(&t, s, c) = (vlmp_site_candidate){
                .bytes = (uint64_t)(1000 - 50 * c), .error = 0.01 * c, .kl = c == 0 ? 0 : NAN};
    for (int s = 0; s < t.site_count; s++)
        vlmp_sensitivity_cell(&t, s, vlmp_sensitivity_probe(&t, s))->kl = 1 + s;
    return t;
}

static const char keep_all[] = "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":null}]}";

/* Every linear gets the scheme that was chosen for its site, q, k and v the same. */
static void recipe_gives_every_site_what_was_chosen(void **state)
{
    (void)state;
    vlmp_error err = {0};
    for (int tied = 0; tied < 2; tied++) {
        struct run r;
        start(&r, tied ? "tied" : "model", keep_all);
        vlmp_sensitivity t = table_of(&r);
        vlmp_rng rng = {9};
        for (int round = 0; round < 20; round++) {
            int chosen[LINEARS];
            vlmp_recipe recipe;
            vlmp_plan plan;
            vlmp_plan_linear list[LINEARS] = {0};
            for (int s = 0; s < t.site_count; s++)
                chosen[s] = (int)vlmp_rng_below(&rng, CANDIDATES);
            good(vlmp_budget_recipe(&t, chosen, VLMP_METHOD_AWQ, &recipe, &err), &err);
            for (int i = 0; i < r.linear_count; i++) {
                bool embedding = r.linears[i].component == VLMP_COMPONENT_EMBED;
                list[i] = (vlmp_plan_linear){.name = r.linears[i].name,
                                             .n = r.linears[i].n,
                                             .k = r.linears[i].k,
                                             .embedding = embedding,
                                             .tied = embedding && tied};
            }
            good(vlmp_plan_make(&plan, &recipe, list, r.linear_count, "budget", &err), &err);
            for (int s = 0; s < t.site_count; s++)
                for (int i = 0; i < t.sites[s].count; i++) {
                    const vlmp_plan_entry *e = &plan.entries[t.sites[s].linears[i]];
                    assert_int_equal(e->method,
                                     chosen[s] == 0 ? VLMP_METHOD_KEEP : VLMP_METHOD_AWQ);
                    if (chosen[s] > 0)
                        assert_int_equal(e->scheme.codes, t.candidates[chosen[s]].codes);
                }
            vlmp_plan_free(&plan);
            vlmp_recipe_free(&recipe);
        }
        vlmp_sensitivity_free(&t);
        end(&r);
    }
}

static cJSON *document_of(const vlmp_sensitivity *t)
{
    vlmp_json_writer w = {0};
    vlmp_error err = {0};
    cJSON *document;
    vlmp_sensitivity_write(t, &w);
    good(vlmp_json_parse(&document, w.out.data, w.out.length, "table", &err), &err);
    vlmp_buffer_free(&w.out);
    return document;
}

static void table_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct run r;
    vlmp_error err = {0};
    const char *why;
    bool same;
    start(&r, "model", keep_all);
    vlmp_sensitivity t = table_of(&r), again = table_of(&r);
    t.samples = t.tokens = 3;
    for (int s = 0; s < t.site_count; s++)
        vlmp_sensitivity_cell(&t, s, 2)->error = 0.125 / (s + 1);
    memset(t.calibration, 'a', sizeof t.calibration - 1);
    memset(t.model.tensors, 'b', sizeof t.model.tensors - 1);
    again.model = t.model;
    cJSON *document = document_of(&t);
    good(vlmp_sensitivity_read(&again, document, "table", &same, &why, &err), &err);
    assert_false(same);
    assert_string_equal(why, "calibration");
    memcpy(again.calibration, t.calibration, sizeof t.calibration);
    good(vlmp_sensitivity_read(&again, document, "table", &same, &why, &err), &err);
    assert_true(same);
    assert_int_equal(again.tokens, 3);
    for (int s = 0; s < t.site_count; s++)
        for (int c = 0; c < t.candidate_count; c++)
            assert_true(vlmp_sensitivity_damage(&again, s, c) == vlmp_sensitivity_damage(&t, s, c));
    cJSON *number = cJSON_GetArrayItem(
        cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "sites"), 1), "error"),
        2);
    cJSON_SetNumberHelper(number, -1);
    assert_int_equal(vlmp_sensitivity_read(&again, document, "table", &same, &why, &err),
                     VLMP_ERR_INPUT);
    /* finite numbers whose damage is not */
    err = (vlmp_error){0};
    cJSON_SetNumberHelper(number, 1e308);
    assert_int_equal(vlmp_sensitivity_read(&again, document, "table", &same, &why, &err),
                     VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "beyond what can be"));
    cJSON_Delete(document);
    vlmp_sensitivity_free(&t);
    vlmp_sensitivity_free(&again);
    end(&r);
}

/* Each site's probe, run from the border in front of it, is the run of the whole model with that
 * site alone rounded. */
static void measuring_from_borders_is_measuring_whole_runs(void **state)
{
    (void)state;
    static const char recipe[] =
        "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"rtn\",\"bits\":4,"
        "\"group\":32}}]}";
    struct samples s;
    vlmp_span answers[SAMPLES];
    vlmp_sequence sequences[SAMPLES];
    vlmp_error err = {0};
    make_samples(&s, "pptptp");
    for (int i = 0; i < SAMPLES; i++) {
        answers[i] = (vlmp_span){7 + i % 3, LENGTH};
        sequences[i] = s.samples[i].sequence;
        sequences[i].answer_count = 1;
        sequences[i].answers = &answers[i];
    }
    for (int tied = 0; tied < 2; tied++) {
        struct run r;
        start(&r, tied ? "tied" : "model", recipe);
        assert_int_equal(run_to_file(&r, &s, false, false, "rounded.vlmp"), VLMP_OK);
        vlmp_sensitivity t = table_of(&r);
        vlmp_source *packed = open_packed("rounded.vlmp");
        const vlmp_source *rounded[VLMP_CANDIDATES_MAX];
        for (int c = 0; c < VLMP_CANDIDATES_MAX; c++)
            rounded[c] = c == 0 ? r.source : packed;
        vlmp_measure_job job = {.sweep = {.ctx = ctx,
                                          .model = &r.model,
                                          .preprocess = &preprocess,
                                          .work_folder = temp_folder,
                                          .memory_limit = memory_limit},
                                .linears = r.linears,
                                .sequences = sequences,
                                .count = SAMPLES,
                                .rounded = rounded};
        for (int site = 1; site < t.site_count; site++)
            vlmp_sensitivity_cell(&t, site, vlmp_sensitivity_probe(&t, site))->kl = NAN;
        good(vlmp_measure_sites(&job, &t, &err), &err);
        double passes = t.passes,
               *first = &vlmp_sensitivity_cell(&t, 0, vlmp_sensitivity_probe(&t, 0))->kl;
        assert_true(*first == 1); /* what is measured already stays */
        *first = NAN;
        good(vlmp_measure_sites(&job, &t, &err), &err);
        assert_true(t.passes == passes);
        int chosen[LINEARS] = {0};
        for (int site = 0; site < t.site_count; site++) {
            double kl;
            int probe = vlmp_sensitivity_probe(&t, site);
            chosen[site] = probe;
            good(vlmp_measure_choice(&job, &t, chosen, &kl, &err), &err);
            assert_true(kl > 0);
            assert_true(vlmp_sensitivity_cell(&t, site, probe)->kl == kl);
            chosen[site] = 0;
        }
        assert_int_equal(t.samples, SAMPLES);
        packed->close(packed);
        vlmp_sensitivity_free(&t);
        end(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knapsack_is_the_best_of_all_choices),
        cmocka_unit_test(knapsack_of_odd_sizes_is_near_and_never_rises),
        cmocka_unit_test(files_of_larger_limits_never_do_more_damage),
        cmocka_unit_test(the_best_of_every_item_is_had_where_it_fits),
        cmocka_unit_test(recipe_gives_every_site_what_was_chosen),
        cmocka_unit_test(table_is_read_as_it_was_written),
        cmocka_unit_test(measuring_from_borders_is_measuring_whole_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
