#include "src/quant/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/quant/block.h"
#include "src/quant/ends.h"

/* Activations on their way through a stack, in the model as it is quantized and, where a method
 * aims at its outputs, in the original one. Empty when the plan needs no statistics. */
struct flow {
    vlmp_batches batches;
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
}

static bool wants_original(const vlmp_quantize_job *job)
{
    for (int i = 0; i < job->linear_count; i++)
        if (job->plan->entries[i].method == VLMP_METHOD_AWQ_GPTQ) return job->sequential;
    return false;
}

static int copy_activations(const vlmp_quantize_job *job, vlmp_activations *out,
                            const vlmp_activations *from, const vlmp_batches *batches,
                            vlmp_error *err)
{
    VLMP_TRY(vlmp_activations_create(out, from->rows, from->dim, job->sweep.memory_limit,
                                     job->sweep.work_folder, err));
    float *scratch = vlmp_alloc((size_t)batches->max_rows * (size_t)from->dim, sizeof *scratch);
    int status = scratch != NULL ? VLMP_OK : vlmp_fail_memory(err, "a batch of activations");
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        float *rows;
        status =
            vlmp_activations_get(from, batch->first_row, (size_t)batch->rows, scratch, &rows, err);
        if (status == VLMP_OK)
            status = vlmp_activations_put(out, batch->first_row, (size_t)batch->rows, rows, err);
    }
    free(scratch);
    return status;
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

/* All blocks of a stack. features, original_features: what the projector sees, of the tower; NULL
 * for the text model. */
static int run_stack(const vlmp_quantize_job *job, const vlmp_stack *stack, struct flow *flow,
                     vlmp_activations *features, vlmp_activations *original_features,
                     vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    bool flowing = flow->batches.count > 0, two = flowing && wants_original(job);
    vlmp_block_flow block = {.x = flowing ? &flow->x : NULL,
                             .original = two ? &flow->original : NULL,
                             .batches = &flow->batches};
    for (int done = 0; done <= stack->layers; done++) {
        if (done > 0) VLMP_TRY(vlmp_quantize_block(job, stack, done - 1, &block, err));
        if (features == NULL || !flowing) continue;
        VLMP_TRY(vlmp_sweep_take_features(sweep, &flow->x, &flow->batches, done, features, err));
        if (two)
            VLMP_TRY(vlmp_sweep_take_features(sweep, &flow->original, &flow->batches, done,
                                              original_features, err));
    }
    return VLMP_OK;
}

static int run_vision(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                      vlmp_activations *features, vlmp_activations *original_features,
                      vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    struct flow flow = {.x = NO_ACTIVATIONS, .original = NO_ACTIVATIONS};
    int status = VLMP_OK;
    if (count > 0)
        status = vlmp_sweep_vision_input(sweep, sequences, count, &flow.x, &flow.batches, err);
    if (status == VLMP_OK && flow.batches.count > 0) {
        status = vlmp_sweep_create_features(sweep, &flow.batches, features, err);
        if (status == VLMP_OK && wants_original(job)) {
            status = vlmp_sweep_create_features(sweep, &flow.batches, original_features, err);
            if (status == VLMP_OK)
                status = copy_activations(job, &flow.original, &flow.x, &flow.batches, err);
        }
    }
    if (status == VLMP_OK)
        status = run_stack(job, &sweep->model->vision, &flow, features, original_features, err);
    free_flow(&flow);
    return status;
}

static int run_text(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                    const vlmp_activations *features, const vlmp_activations *original_features,
                    vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    struct flow flow = {.x = NO_ACTIVATIONS, .original = NO_ACTIVATIONS};
    int status = VLMP_OK;
    if (count > 0)
        status =
            vlmp_sweep_text_input(sweep, sequences, count, features, &flow.x, &flow.batches, err);
    if (status == VLMP_OK && count > 0 && wants_original(job)) {
        vlmp_batches same;
        status = vlmp_sweep_text_input(sweep, sequences, count, original_features, &flow.original,
                                       &same, err);
        vlmp_batches_free(&same);
    }
    if (status == VLMP_OK) status = run_stack(job, &sweep->model->text, &flow, NULL, NULL, err);
    if (status == VLMP_OK)
        status = vlmp_quantize_head_linear(job, count > 0 ? &flow.x : NULL, &flow.batches, err);
    free_flow(&flow);
    return status;
}

static int run_stages(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                      vlmp_error *err)
{
    vlmp_activations features = NO_ACTIVATIONS, original_features = NO_ACTIVATIONS;
    size_t seen_rows = 0;
    for (int i = 0; i < job->sweep.break_at; i++)
        seen_rows += (size_t)sequences[i].tiles * (size_t)job->sweep.model->tile_tokens;
    int status = run_vision(job, sequences, count, &features, &original_features, err);
    if (status == VLMP_OK)
        status = vlmp_quantize_projector(job, features.rows > 0 ? &features : NULL, seen_rows, err);
    if (status == VLMP_OK) status = vlmp_quantize_embedding(job, err);
    if (status == VLMP_OK)
        status = run_text(job, sequences, count, &features, &original_features, err);
    vlmp_activations_free(&features);
    vlmp_activations_free(&original_features);
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
        ordered.sweep.sequences = sequences;
    }
    int status = run_stages(&ordered, sequences, count, err);
    free(sequences);
    return status;
}
