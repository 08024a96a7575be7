#include "src/quant/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/block.h"
#include "src/quant/record.h"

/* Activations on their way through the model; empty when the plan needs no statistics. */
struct flow {
    vlmp_activations x;
    vlmp_batches batches;
    vlmp_activations features;
};

static void free_flow(struct flow *flow)
{
    vlmp_activations_free(&flow->x);
    vlmp_activations_free(&flow->features);
    vlmp_batches_free(&flow->batches);
    *flow = (struct flow){.x.fd = -1, .features.fd = -1};
}

/* The samples that methods see come first, those held out behind them. */
static int order_samples(const vlmp_calibration *calibration, vlmp_sequence **out, int *seen,
                         vlmp_error *err)
{
    size_t count = calibration->count, at = 0;
    *out = vlmp_alloc(count, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, "calibration samples");
    for (int held = 0; held < 2; held++) {
        for (size_t i = 0; i < count; i++)
            if ((i % VLMP_HOLD_OUT == VLMP_HOLD_OUT - 1) == (held == 1))
                (*out)[at++] = calibration->samples[i].sequence;
        if (held == 0) *seen = (int)at;
    }
    return VLMP_OK;
}

/* A linear outside the stacks, from its weights alone or with moments. */
static int quantize_single(const vlmp_quantize_job *job, int index, const vlmp_moments *moments,
                           vlmp_error *err)
{
    const vlmp_linear_info *info = &job->linears[index];
    const vlmp_plan_entry *entry = &job->plan->entries[index];
    if (entry->method == VLMP_METHOD_KEEP || job->sink->record(job->sink, info->name) != NULL)
        return VLMP_OK;
    vlmp_loaded loaded = {0};
    vlmp_linear linear;
    vlmp_packed_arrays packed = {0};
    vlmp_linear_result result;
    float *w = vlmp_alloc((size_t)info->n * (size_t)info->k, sizeof *w);
    int status = w != NULL ? VLMP_OK : vlmp_fail_memory(err, info->name);
    if (status == VLMP_OK)
        status = vlmp_load_linear(&loaded, job->sweep.model->source, info->name, info->n, info->k,
                                  false, &linear, err);
    if (status == VLMP_OK) {
        vlmp_to_f32(w, linear.weight, linear.dtype, (size_t)info->n * (size_t)info->k);
        vlmp_target target = {.info = info, .entry = entry, .w = w};
        status = vlmp_quantize_linear(job, &target, moments, &packed, &result, err);
    }
    if (status == VLMP_OK)
        status =
            vlmp_put_packed(job->sink, info->name, info->n, info->k, &entry->scheme, &packed, err);
    if (status == VLMP_OK) status = vlmp_commit_results(job, info->name, &result, 1, NULL, err);
    free(w);
    vlmp_packed_arrays_free(&packed);
    vlmp_unload(&loaded);
    return status;
}

static int first_of(const vlmp_quantize_job *job, vlmp_component component)
{
    for (int i = 0; i < job->linear_count; i++)
        if (job->linears[i].component == component) return i;
    return -1;
}

static int run_vision(const vlmp_quantize_job *job, struct flow *flow, vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    const vlmp_stack *stack = &sweep->model->vision;
    bool flowing = flow->batches.count > 0;
    if (flowing) {
        VLMP_TRY(vlmp_sweep_create_features(sweep, &flow->batches, &flow->features, err));
        VLMP_TRY(
            vlmp_sweep_take_features(sweep, &flow->x, &flow->batches, 0, &flow->features, err));
    }
    for (int layer = 0; layer < stack->layers; layer++) {
        VLMP_TRY(
            vlmp_quantize_block(job, stack, layer, flowing ? &flow->x : NULL, &flow->batches, err));
        if (flowing)
            VLMP_TRY(vlmp_sweep_take_features(sweep, &flow->x, &flow->batches, layer + 1,
                                              &flow->features, err));
    }
    return VLMP_OK;
}

static int run_text(const vlmp_quantize_job *job, struct flow *flow, vlmp_error *err)
{
    const vlmp_stack *stack = &job->sweep.model->text;
    bool flowing = flow->batches.count > 0;
    for (int layer = 0; layer < stack->layers; layer++)
        VLMP_TRY(
            vlmp_quantize_block(job, stack, layer, flowing ? &flow->x : NULL, &flow->batches, err));
    return VLMP_OK;
}

static int run_stages(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                      vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    struct flow vision = {.x.fd = -1, .features.fd = -1}, text = {.x.fd = -1, .features.fd = -1};
    int status = VLMP_OK;
    if (count > 0)
        status = vlmp_sweep_vision_input(sweep, sequences, count, &vision.x, &vision.batches, err);
    if (status == VLMP_OK) status = run_vision(job, &vision, err);
    vlmp_activations_free(&vision.x);
    for (int i = 0; i < job->linear_count && status == VLMP_OK; i++)
        if (job->linears[i].component == VLMP_COMPONENT_PROJECTOR ||
            job->linears[i].component == VLMP_COMPONENT_EMBED)
            status = quantize_single(job, i, NULL, err);
    if (status == VLMP_OK && count > 0)
        status = vlmp_sweep_text_input(sweep, sequences, count, &vision.features, &text.x,
                                       &text.batches, err);
    free_flow(&vision);
    if (status == VLMP_OK) status = run_text(job, &text, err);
    free_flow(&text);
    int head = first_of(job, VLMP_COMPONENT_HEAD);
    if (status == VLMP_OK && head >= 0) status = quantize_single(job, head, NULL, err);
    return status;
}

int vlmp_quantize(const vlmp_quantize_job *job, vlmp_error *err)
{
    vlmp_quantize_job ordered = *job;
    vlmp_sequence *sequences = NULL;
    int count = 0;
    if (job->plan->needs_calibration) {
        VLMP_TRY(order_samples(job->calibration, &sequences, &ordered.sweep.break_at, err));
        count = (int)job->calibration->count;
    }
    int status = run_stages(&ordered, sequences, count, err);
    free(sequences);
    return status;
}
