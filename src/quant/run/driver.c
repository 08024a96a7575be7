#include "src/quant/run/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/run/block.h"
#include "src/quant/run/boundary.h"
#include "src/quant/run/ends.h"
#include "src/quant/run/record.h"
#include "src/quant/run/selection.h"

/* Activations on their way through a stack, in the model as it is quantized and, where a method
 * aims at its outputs, in the original one. Empty when the plan needs no statistics. */
struct flow {
    vlmp_batches batches, original_batches; /* the latter of text, which differ in added rows */
    vlmp_activations x, original;
};

#define NO_ACTIVATIONS \
    {                  \
        .fd = -1       \
    }

static void free_flow(struct flow *flow)
{
    vlmp_activations_free(&flow->x);
    vlmp_activations_free(&flow->original);
    vlmp_batches_free(&flow->batches);
    vlmp_batches_free(&flow->original_batches);
}

static bool is_aimed(const vlmp_plan_entry *entry)
{
    return entry->target == VLMP_TARGET_OUTPUTS;
}

static bool is_quantized(const vlmp_plan_entry *entry)
{
    return entry->method != VLMP_METHOD_KEEP;
}

static bool has(const vlmp_quantize_job *job, bool vision, bool (*what)(const vlmp_plan_entry *))
{
    for (int i = 0; i < job->linear_count; i++)
        if (job->linears[i].component == (vision ? VLMP_COMPONENT_VISION : VLMP_COMPONENT_TEXT) &&
            what(&job->plan->entries[i]))
            return true;
    return false;
}

/* Whether the original model's activations run through a stack beside the others. Those of a tower
 * that is kept are the same. */
static bool wants_original(const vlmp_quantize_job *job, bool vision)
{
    if (!job->sequential) return false;
    if (!vision) return has(job, false, is_aimed);
    return has(job, true, is_quantized) && (has(job, true, is_aimed) || has(job, false, is_aimed));
}

/* The samples of the selection: those that methods see come first. */
static int order_samples(const vlmp_calibration *calibration, const vlmp_selection *selection,
                         vlmp_sequence **out, vlmp_error *err)
{
    int count = selection->seen + selection->held;
    *out = vlmp_alloc((size_t)count, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, "calibration samples");
    for (int i = 0; i < count; i++)
        (*out)[i] = calibration->samples[selection->order[i]].sequence;
    return VLMP_OK;
}

/* One run over the whole model. */
struct run {
    const vlmp_quantize_job *job;
    const vlmp_sequence *sequences; /* none when no method needs statistics */
    int count;
    vlmp_boundary boundary;
    vlmp_activations features, original_features; /* what the projector sees, of the tower */
};

/* Whether the run goes on from activations inside this stack, or behind its last block. */
static bool is_continued(const struct run *r, bool vision)
{
    return r->boundary.found && r->boundary.border.vision == vision;
}

#define STORES 6

/* What a border of a stack consists of. */
static int list_stores(struct run *r, bool vision, struct flow *flow,
                       vlmp_activations *stores[STORES])
{
    bool two = wants_original(r->job, vision);
    int count = 0;
    stores[count++] = &flow->x;
    if (two) stores[count++] = &flow->original;
    if (vision) stores[count++] = &r->features;
    if (vision && two) stores[count++] = &r->original_features;
    if (flow->batches.added.taps > 0) stores[count++] = &flow->batches.added.rows;
    if (flow->original_batches.added.taps > 0) stores[count++] = &flow->original_batches.added.rows;
    return count;
}

/* A stack that is quantized. */
struct stack_run {
    struct run *r;
    bool vision;
    struct flow *flow;
    vlmp_block_flow block;
    vlmp_activations *stores[STORES];
    int store_count;
};

static int quantize_next(void *arg, int layer, vlmp_error *err)
{
    const struct stack_run *s = arg;
    const vlmp_model *model = s->r->job->sweep.model;
    return vlmp_quantize_block(s->r->job, s->vision ? &model->vision : &model->text, layer,
                               &s->block, err);
}

static int take_features(struct run *r, struct flow *flow, int done, vlmp_error *err)
{
    const vlmp_sweep *sweep = &r->job->sweep;
    VLMP_TRY(vlmp_sweep_take_features(sweep, &flow->x, &flow->batches, done, &r->features, err));
    if (!wants_original(r->job, true)) return VLMP_OK;
    return vlmp_sweep_take_features(sweep, &flow->original, &flow->batches, done,
                                    &r->original_features, err);
}

static int add_taps(struct run *r, struct flow *flow, int done, vlmp_error *err)
{
    const vlmp_sweep *sweep = &r->job->sweep;
    VLMP_TRY(vlmp_sweep_add_taps(sweep, &flow->x, &flow->batches, done, err));
    if (!wants_original(r->job, false)) return VLMP_OK;
    return vlmp_sweep_add_taps(sweep, &flow->original, &flow->original_batches, done, err);
}

/* The tower's features, and what a resumed run goes on from. */
static int keep_border(void *arg, int done, vlmp_error *err)
{
    struct stack_run *s = arg;
    const vlmp_border border = {.vision = s->vision, .done = done};
    if (s->vision)
        VLMP_TRY(take_features(s->r, s->flow, done, err));
    else
        VLMP_TRY(add_taps(s->r, s->flow, done, err));
    if (done == 0) return VLMP_OK;
    return vlmp_boundary_save(&s->r->boundary, border, s->stores, s->store_count, err);
}

/* The blocks of a stack, all of them or those behind the border that the run goes on from. */
static int run_stack(struct run *r, bool vision, struct flow *flow, vlmp_error *err)
{
    const vlmp_model *model = r->job->sweep.model;
    bool flowing = flow->batches.count > 0;
    struct stack_run s = {.r = r, .vision = vision, .flow = flow, .block.batches = &flow->batches};
    if (flowing) s.block.x = &flow->x;
    if (flowing && wants_original(r->job, vision)) s.block.original = &flow->original;
    s.store_count = list_stores(r, vision, flow, s.stores);
    return vlmp_sweep_stack(vision ? &model->vision : &model->text,
                            is_continued(r, vision) ? r->boundary.border.done : 0,
                            &(vlmp_stack_walk){&s, quantize_next, flowing ? keep_border : NULL},
                            err);
}

static int create(const struct run *r, vlmp_activations *out, size_t rows, int dim, vlmp_error *err)
{
    const vlmp_sweep *sweep = &r->job->sweep;
    return vlmp_activations_create(out, rows, dim, sweep->memory_limit, sweep->work_folder, err);
}

/* The stack's flow as it was at the border that the run goes on from; batches are there. */
static int load_flow(struct run *r, bool vision, struct flow *flow, vlmp_error *err)
{
    const vlmp_model *model = r->job->sweep.model;
    int dim = (vision ? &model->vision : &model->text)->shape.dim;
    size_t rows = flow->batches.total_rows;
    vlmp_activations *stores[STORES];
    VLMP_TRY(create(r, &flow->x, rows, dim, err));
    if (wants_original(r->job, vision)) VLMP_TRY(create(r, &flow->original, rows, dim, err));
    return vlmp_boundary_load(&r->boundary, stores, list_stores(r, vision, flow, stores), err);
}

/* The tower's flow at its start or where it goes on. No pictures: no batches. */
static int start_vision(struct run *r, struct flow *flow, vlmp_error *err)
{
    const vlmp_sweep *sweep = &r->job->sweep;
    bool continued = is_continued(r, true), two = wants_original(r->job, true);
    if (continued)
        VLMP_TRY(vlmp_sweep_vision_batches(sweep, r->sequences, r->count, &flow->batches, err));
    else
        VLMP_TRY(
            vlmp_sweep_vision_input(sweep, r->sequences, r->count, &flow->x, &flow->batches, err));
    if (flow->batches.count == 0) return VLMP_OK;
    VLMP_TRY(vlmp_sweep_create_features(sweep, &flow->batches, &r->features, err));
    if (two)
        VLMP_TRY(vlmp_sweep_create_features(sweep, &flow->batches, &r->original_features, err));
    if (continued) return load_flow(r, true, flow, err);
    return two ? vlmp_activations_copy(&flow->original, &flow->x, sweep->memory_limit,
                                       sweep->work_folder, err)
               : VLMP_OK;
}

static int run_vision(struct run *r, vlmp_error *err)
{
    struct flow flow = {.x = NO_ACTIVATIONS, .original = NO_ACTIVATIONS};
    if (is_continued(r, false)) return VLMP_OK; /* the text model has taken what it gave */
    int status = r->count > 0 ? start_vision(r, &flow, err) : VLMP_OK;
    if (status == VLMP_OK) status = run_stack(r, true, &flow, err);
    free_flow(&flow);
    return status;
}

static int start_text(struct run *r, struct flow *flow, vlmp_error *err)
{
    const vlmp_sweep *sweep = &r->job->sweep;
    if (is_continued(r, false)) {
        VLMP_TRY(vlmp_sweep_text_batches(sweep, r->sequences, r->count, &flow->batches, err));
        VLMP_TRY(vlmp_sweep_create_added(sweep, &flow->batches, err));
        if (wants_original(r->job, false)) {
            VLMP_TRY(vlmp_sweep_text_batches(sweep, r->sequences, r->count, &flow->original_batches,
                                             err));
            VLMP_TRY(vlmp_sweep_create_added(sweep, &flow->original_batches, err));
        }
        return load_flow(r, false, flow, err);
    }
    vlmp_ends ends;
    vlmp_sweep quantized = *sweep;
    quantized.resident = &ends.weights;
    int status = vlmp_ends_load(&ends, r->job, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_text_input(&quantized, r->sequences, r->count, &r->features, &flow->x,
                                       &flow->batches, err);
    vlmp_ends_free(&ends);
    VLMP_TRY(status);
    if (!wants_original(r->job, false)) return VLMP_OK;
    vlmp_activations *features =
        wants_original(r->job, true) ? &r->original_features : &r->features;
    return vlmp_sweep_text_input(sweep, r->sequences, r->count, features, &flow->original,
                                 &flow->original_batches, err);
}

static int run_text(struct run *r, vlmp_error *err)
{
    struct flow flow = {.x = NO_ACTIVATIONS, .original = NO_ACTIVATIONS};
    int status = r->count > 0 ? start_text(r, &flow, err) : VLMP_OK;
    if (status == VLMP_OK) status = run_stack(r, false, &flow, err);
    if (status == VLMP_OK) status = vlmp_quantize_head_linear(r->job, &flow.x, &flow.batches, err);
    free_flow(&flow);
    return status;
}

static int run_stages(struct run *r, vlmp_error *err)
{
    const vlmp_quantize_job *job = r->job;
    if (!vlmp_family_runs(job->sweep.model->config.family)) return vlmp_quantize_by_name(job, err);
    size_t seen_rows = 0;
    for (int i = 0; i < job->sweep.break_at; i++)
        seen_rows += vlmp_sequence_picture_rows(&r->sequences[i], &job->sweep.model->config);
    VLMP_TRY(run_vision(r, err));
    VLMP_TRY(vlmp_quantize_projector(job, &r->features, seen_rows, err));
    VLMP_TRY(vlmp_quantize_embedding(job, r->sequences, r->count, &r->features, err));
    return run_text(r, err);
}

/* Blocks are steps, and so are the linears outside of them that are quantized. */
static int count_steps(const vlmp_quantize_job *job, int *done, int *steps, vlmp_error *err)
{
    *done = *steps = 0;
    int block_of = -1; /* the last block counted, tower and text model apart */
    for (int i = 0; i < job->linear_count; i++) {
        const vlmp_linear_info *info = &job->linears[i];
        char name[VLMP_NAME_MAX];
        bool vision = info->component == VLMP_COMPONENT_VISION, finished;
        if (info->layer >= 0) {
            int block = 2 * info->layer + vision;
            if (block == block_of) continue;
            block_of = block;
            vlmp_step_name(name, vision ? "vision" : "text", info->layer);
        } else {
            if (job->plan->entries[i].method == VLMP_METHOD_KEEP) continue;
            snprintf(name, sizeof name, "%s", info->name);
        }
        VLMP_TRY(vlmp_step_is_done(job, name, &finished, err));
        *done += finished;
        ++*steps;
    }
    return VLMP_OK;
}

static void tell(const struct run *r, int done, int steps)
{
    const vlmp_border *border = &r->boundary.border;
    char text[160];
    int length = snprintf(text, sizeof text, "resuming: %d of %d steps are done", done, steps);
    size_t room = sizeof text - (size_t)length;
    if (done == steps || !r->job->plan->needs_calibration)
        text[length] = '\0';
    else if (r->boundary.found)
        snprintf(text + length, room, "; going on behind %s block %d",
                 border->vision ? "vision" : "text", border->done);
    else
        snprintf(text + length, room,
                 "; no sound activations are there, the finished blocks run forward again");
    r->job->on_notice(r->job->arg, text);
}

static int run_all(struct run *r, vlmp_error *err)
{
    int done, steps;
    VLMP_TRY(count_steps(r->job, &done, &steps, err));
    VLMP_TRY(vlmp_boundary_open(&r->boundary, r->job, err));
    if (done > 0) tell(r, done, steps);
    return done < steps ? run_stages(r, err) : VLMP_OK;
}

int vlmp_quantize_check(const vlmp_linear_info *linears, const vlmp_plan *plan,
                        const vlmp_calibration *calibration, const char *where, vlmp_error *err)
{
    for (size_t i = 0; i < calibration->count; i++)
        if (calibration->samples[i].sequence.tiles > 0) return VLMP_OK;
    for (int i = 0; i < plan->count; i++) {
        vlmp_component component = linears[i].component;
        vlmp_method method = plan->entries[i].method;
        if (component != VLMP_COMPONENT_VISION && component != VLMP_COMPONENT_PROJECTOR) continue;
        if (!vlmp_method_needs_calibration(method)) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: none of its %zu samples has a picture, and '%s' is to be quantized "
                         "by %s on what pictures give; calibrate on data with pictures, or keep "
                         "tower and projector or give them rtn or int8",
                         where, calibration->count, linears[i].name, vlmp_method_name(method));
    }
    return VLMP_OK;
}

uint64_t vlmp_quantize_work_bytes(const vlmp_quantize_job *job)
{
    const vlmp_model *model = job->sweep.model;
    const vlmp_config *config = &model->config;
    uint64_t quantized = 0, vision = 0, tokens = 0;
    for (int i = 0; i < job->linear_count; i++)
        if (job->plan->entries[i].method != VLMP_METHOD_KEEP)
            quantized += job->plan->entries[i].bytes;
    if (!job->plan->needs_calibration) return quantized;
    for (int i = 0; i < job->selection->seen + job->selection->held; i++) {
        const vlmp_calib_sample *sample = &job->calibration->samples[job->selection->order[i]];
        vision +=
            vlmp_sequence_tower_rows(&sample->sequence, config) * (size_t)config->vision.hidden;
        size_t pictures = vlmp_sequence_picture_rows(&sample->sequence, config);
        vision +=
            pictures * (size_t)(1 + config->vision.tap_count) * (size_t)vlmp_feature_width(config);
        tokens += pictures * (size_t)config->vision.tap_count;
        tokens += (uint64_t)sample->sequence.length;
    }
    uint64_t text = tokens * (uint64_t)config->text.hidden;
    if (wants_original(job, true)) vision *= 2;
    if (wants_original(job, false)) text *= 2;
    return quantized + 2 * (vision > text ? vision : text) * sizeof(float);
}

int vlmp_quantize(const vlmp_quantize_job *job, vlmp_error *err)
{
    vlmp_quantize_job ordered = *job;
    vlmp_sequence *sequences = NULL;
    vlmp_selection all = {0};
    struct run run = {.job = &ordered,
                      .boundary = {.fd = -1},
                      .features = NO_ACTIVATIONS,
                      .original_features = NO_ACTIVATIONS};
    int status = VLMP_OK;
    if (job->plan->needs_calibration) {
        if (job->selection == NULL) {
            status = vlmp_select(&all, job, 0, 0, err);
            ordered.selection = &all;
        }
        if (status == VLMP_OK)
            status = order_samples(job->calibration, ordered.selection, &sequences, err);
        run.sequences = sequences;
        run.count = ordered.selection->seen + ordered.selection->held;
        ordered.sweep.break_at = ordered.selection->seen;
        ordered.sweep.sequences = sequences;
    }
    if (status == VLMP_OK) status = run_all(&run, err);
    vlmp_boundary_close(&run.boundary);
    vlmp_activations_free(&run.features);
    vlmp_activations_free(&run.original_features);
    free(sequences);
    vlmp_selection_free(&all);
    return status;
}
