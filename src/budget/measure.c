#include "src/budget/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/knapsack.h"
#include "src/budget/mixed_source.h"
#include "src/eval/scoring.h"

#define NO_ACTIVATIONS \
    (vlmp_activations) \
    {                  \
        .fd = -1       \
    }

/* The original's run, and a model beside it whose linears are routed to the sources. */
struct measure {
    const vlmp_measure_job *job;
    const vlmp_sensitivity *table;
    vlmp_mixed_source source;
    vlmp_model model;  /* the original's, over that source */
    vlmp_sweep sweep;  /* of that model */
    const int *chosen; /* [site] candidates; NULL: one site's probe alone */
    int site;          /* that */
    vlmp_hidden reference;
    vlmp_loaded loaded;
    vlmp_linear head; /* of the original */
    double blocks;    /* that were run */
    int done;         /* sites */
};

/* Activations at a border of the original, and what lies beside them. */
struct border {
    vlmp_activations x, features;
    vlmp_batches batches;
};

static void free_border(struct border *b)
{
    vlmp_activations_free(&b->x);
    vlmp_activations_free(&b->features);
    vlmp_batches_free(&b->batches);
}

static bool site_has(const struct measure *m, int site, const char *name)
{
    const vlmp_budget_site *of = &m->table->sites[site];
    for (int i = 0; i < of->count; i++)
        if (strcmp(m->job->linears[of->linears[i]].name, name) == 0) return true;
    return false;
}

static const vlmp_source *route(void *arg, const char *name)
{
    const struct measure *m = arg;
    const vlmp_source *const *rounded = m->job->rounded;
    if (m->chosen == NULL)
        return m->site >= 0 && site_has(m, m->site, name)
                   ? rounded[vlmp_sensitivity_probe(m->table, m->site)]
                   : rounded[0];
    for (int s = 0; s < m->table->site_count; s++)
        if (site_has(m, s, name)) return rounded[m->chosen[s]];
    return rounded[0];
}

static double mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return count > 0 ? sum / (double)count : 0;
}

/* Of the mixed model's head over these states. */
static int score(struct measure *m, vlmp_hidden *hidden, double *kl, vlmp_error *err)
{
    vlmp_loaded loaded = {0};
    vlmp_linear head;
    vlmp_token_scores scores = {0};
    int status = vlmp_load_text_head(&loaded, &m->model, &head, err);
    if (status == VLMP_OK) {
        vlmp_scored model = {hidden, &head}, reference = {&m->reference, &m->head};
        status = vlmp_score_tokens(m->sweep.ctx, &model, &reference, head.n, &scores, err);
    }
    if (status == VLMP_OK) *kl = mean(scores.kl, scores.tokens);
    vlmp_scores_free(&scores);
    vlmp_unload(&loaded);
    return status;
}

/* The mixed model from text block `first` on; x is used up. */
static int finish_text(struct measure *m, int first, vlmp_activations *x,
                       const vlmp_batches *batches, double *kl, vlmp_error *err)
{
    vlmp_hidden hidden = {.states.fd = -1};
    int status = vlmp_sweep_text_part(&m->sweep, first, m->model.text.layers, x, batches, err);
    if (status == VLMP_OK)
        status =
            vlmp_hidden_take(&m->sweep, m->job->sequences, m->job->count, x, batches, &hidden, err);
    if (status == VLMP_OK) status = score(m, &hidden, kl, err);
    vlmp_hidden_free(&hidden);
    return status;
}

/* From what the tower gives on. */
static int run_text(struct measure *m, vlmp_activations *features, double *kl, vlmp_error *err)
{
    struct border text = {NO_ACTIVATIONS, NO_ACTIVATIONS, {0}};
    int status = vlmp_sweep_text_input(&m->sweep, m->job->sequences, m->job->count, features,
                                       &text.x, &text.batches, err);
    if (status == VLMP_OK) status = finish_text(m, 0, &text.x, &text.batches, kl, err);
    free_border(&text);
    return status;
}

static int copy(const struct measure *m, vlmp_activations *out, const vlmp_activations *from,
                vlmp_error *err)
{
    return vlmp_activations_copy(out, from, m->sweep.memory_limit, m->sweep.work_folder, err);
}

/* From tower block `first` on. */
static int run_vision(struct measure *m, int first, const struct border *at, double *kl,
                      vlmp_error *err)
{
    vlmp_activations x = NO_ACTIVATIONS, features = NO_ACTIVATIONS;
    int layers = m->model.vision.layers;
    int status = copy(m, &x, &at->x, err);
    if (status == VLMP_OK) status = copy(m, &features, &at->features, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_vision_part(&m->sweep, first, layers, &x, &at->batches, &features, err);
    vlmp_activations_free(&x);
    if (status == VLMP_OK) status = run_text(m, &features, kl, err);
    vlmp_activations_free(&features);
    return status;
}

static int run_blocks(struct measure *m, int first, const struct border *at, double *kl,
                      vlmp_error *err)
{
    vlmp_activations x = NO_ACTIVATIONS;
    int status = copy(m, &x, &at->x, err);
    if (status == VLMP_OK) status = finish_text(m, first, &x, &at->batches, kl, err);
    vlmp_activations_free(&x);
    return status;
}

/* Blocks that a site's run takes. */
static int blocks_behind(const struct measure *m, const vlmp_budget_site *site)
{
    int text = m->model.text.layers;
    if (site->component == VLMP_COMPONENT_HEAD) return 0;
    if (site->component == VLMP_COMPONENT_TEXT) return text - site->layer;
    if (site->component != VLMP_COMPONENT_VISION) return text;
    return m->model.vision.layers - site->layer + text;
}

/* The model with the site's probe, from the border in front of what it changes. */
static int measure_site(struct measure *m, vlmp_sensitivity *table, int site, struct border *at,
                        vlmp_error *err)
{
    const vlmp_budget_site *of = &table->sites[site];
    int probe = vlmp_sensitivity_probe(table, site), status = VLMP_OK;
    double kl = 0;
    m->site = site;
    if (probe > 0) m->blocks += blocks_behind(m, of);
    if (probe > 0 && isnan(vlmp_sensitivity_cell(table, site, probe)->kl)) {
        if (of->component == VLMP_COMPONENT_VISION)
            status = run_vision(m, of->layer, at, &kl, err);
        else if (of->component == VLMP_COMPONENT_TEXT)
            status = run_blocks(m, of->layer, at, &kl, err);
        else if (of->component == VLMP_COMPONENT_HEAD)
            status = score(m, &m->reference, &kl, err);
        else
            status = run_text(m, &at->features, &kl, err);
        if (status == VLMP_OK && !isfinite(kl))
            status = vlmp_fail(err, VLMP_ERR_INPUT,
                               "%s: rounded to about 4 bits its KL divergence is not finite; keep "
                               "it, by a recipe of your own",
                               of->name);
        /* what rounding errors of the two passes leave of zero may lie below it */
        kl = kl > 0 ? kl : 0;
        vlmp_sensitivity_cell(table, site, probe)->kl = kl;
        if (status == VLMP_OK && m->job->measured != NULL)
            status = m->job->measured(m->job->arg, site, kl, err);
    }
    m->site = -1;
    m->done++;
    if (status == VLMP_OK && m->job->progress != NULL)
        m->job->progress(m->job->arg, m->done, table->site_count, of->name);
    return status;
}

/* The sites of a component's layer (−1: outside stacks). */
static int measure_layer(struct measure *m, vlmp_sensitivity *table, vlmp_component component,
                         int layer, struct border *at, vlmp_error *err)
{
    for (int s = 0; s < table->site_count; s++)
        if (table->sites[s].component == component && table->sites[s].layer == layer)
            VLMP_TRY(measure_site(m, table, s, at, err));
    return VLMP_OK;
}

/* The tower's sites; at gets the original's features. */
static int walk_vision(struct measure *m, vlmp_sensitivity *table, struct border *at,
                       vlmp_error *err)
{
    const vlmp_measure_job *job = m->job;
    VLMP_TRY(
        vlmp_sweep_vision_input(&m->sweep, job->sequences, job->count, &at->x, &at->batches, err));
    if (at->batches.count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "none of the samples held out to measure on has a picture, so nothing can "
                         "be said of tower and projector; calibrate on two or more with pictures");
    VLMP_TRY(vlmp_sweep_create_features(&m->sweep, &at->batches, &at->features, err));
    for (int layer = 0; layer < m->model.vision.layers; layer++) {
        VLMP_TRY(measure_layer(m, table, VLMP_COMPONENT_VISION, layer, at, err));
        m->blocks++;
        VLMP_TRY(vlmp_sweep_vision_part(&m->sweep, layer, layer + 1, &at->x, &at->batches,
                                        &at->features, err));
    }
    return VLMP_OK;
}

static int walk_text(struct measure *m, vlmp_sensitivity *table, vlmp_activations *features,
                     vlmp_error *err)
{
    struct border at = {NO_ACTIVATIONS, NO_ACTIVATIONS, {0}};
    int status = vlmp_sweep_text_input(&m->sweep, m->job->sequences, m->job->count, features, &at.x,
                                       &at.batches, err);
    for (int layer = 0; layer < m->model.text.layers && status == VLMP_OK; layer++) {
        status = measure_layer(m, table, VLMP_COMPONENT_TEXT, layer, &at, err);
        m->blocks++;
        if (status == VLMP_OK)
            status = vlmp_sweep_text_part(&m->sweep, layer, layer + 1, &at.x, &at.batches, err);
    }
    free_border(&at);
    return status;
}

static int start(struct measure *m, const vlmp_measure_job *job, const vlmp_sensitivity *table,
                 vlmp_error *err)
{
    *m = (struct measure){.job = job,
                          .table = table,
                          .model = *job->sweep.model,
                          .sweep = job->sweep,
                          .site = -1,
                          .reference.states.fd = -1};
    vlmp_mixed_source_init(&m->source, job->rounded[0], route, m);
    m->model.source = &m->source.base;
    m->sweep.model = &m->model;
    m->sweep.sequences = job->sequences;
    m->sweep.progress = NULL;
    m->blocks = m->model.vision.layers + m->model.text.layers;
    VLMP_TRY(vlmp_load_text_head(&m->loaded, job->sweep.model, &m->head, err));
    return vlmp_hidden_collect(&m->sweep, job->sequences, job->count, &m->reference, err);
}

static void end(struct measure *m)
{
    vlmp_hidden_free(&m->reference);
    vlmp_unload(&m->loaded);
}

int vlmp_measure_sites(const vlmp_measure_job *job, vlmp_sensitivity *table, vlmp_error *err)
{
    struct measure m;
    struct border tower = {NO_ACTIVATIONS, NO_ACTIVATIONS, {0}};
    static const vlmp_component outside[] = {VLMP_COMPONENT_PROJECTOR, VLMP_COMPONENT_EMBED,
                                             VLMP_COMPONENT_HEAD};
    int status = start(&m, job, table, err);
    if (status == VLMP_OK) status = walk_vision(&m, table, &tower, err);
    if (status == VLMP_OK) status = walk_text(&m, table, &tower.features, err);
    for (size_t i = 0; i < sizeof outside / sizeof *outside && status == VLMP_OK; i++)
        status = measure_layer(&m, table, outside[i], -1, &tower, err);
    table->samples = m.reference.samples;
    table->tokens = m.reference.tokens;
    table->passes = m.blocks / (double)(m.model.vision.layers + m.model.text.layers);
    free_border(&tower);
    end(&m);
    return status;
}

int vlmp_measure_choice(const vlmp_measure_job *job, const vlmp_sensitivity *table,
                        const int *chosen, double *kl, vlmp_error *err)
{
    struct measure m;
    vlmp_hidden hidden = {.states.fd = -1};
    int status = start(&m, job, table, err);
    m.chosen = chosen;
    if (status == VLMP_OK)
        status = vlmp_hidden_collect(&m.sweep, job->sequences, job->count, &hidden, err);
    if (status == VLMP_OK) status = score(&m, &hidden, kl, err);
    vlmp_hidden_free(&hidden);
    end(&m);
    return status;
}
