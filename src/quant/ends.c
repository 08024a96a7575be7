#include "src/quant/ends.h"

#include <stdlib.h>

#include "src/base/memory.h"
#include "src/quant/record.h"
#include "src/quant/site.h"

#define ROWS 512 /* of activations at a time */

static int find_component(const vlmp_quantize_job *job, vlmp_component component, int nth)
{
    for (int i = 0; i < job->linear_count; i++)
        if (job->linears[i].component == component && nth-- == 0) return i;
    return -1;
}

/* Nothing to do: kept, or finished by an earlier run. */
static int is_settled(const vlmp_quantize_job *job, int index, bool *settled, vlmp_error *err)
{
    *settled = job->plan->entries[index].method == VLMP_METHOD_KEEP;
    return *settled ? VLMP_OK : vlmp_step_is_done(job, job->linears[index].name, settled, err);
}

static int quantize_one(const vlmp_quantize_job *job, int index, const vlmp_moments *moments,
                        vlmp_error *err)
{
    const vlmp_linear_info *info = &job->linears[index];
    const vlmp_plan_entry *entry = &job->plan->entries[index];
    bool settled;
    VLMP_TRY(is_settled(job, index, &settled, err));
    if (settled) return VLMP_OK;
    vlmp_loaded loaded = {0};
    vlmp_linear linear;
    vlmp_packed_arrays packed = {0};
    vlmp_linear_result result;
    bool reverted;
    size_t values = (size_t)info->n * (size_t)info->k;
    float *w = vlmp_alloc(values, sizeof *w);
    int status = w != NULL ? VLMP_OK : vlmp_fail_memory(err, info->name);
    if (status == VLMP_OK)
        status = vlmp_load_linear(&loaded, job->sweep.model->source, info->name, info->n, info->k,
                                  false, &linear, err);
    if (status == VLMP_OK) {
        vlmp_to_f32(w, linear.weight, linear.dtype, values);
        vlmp_target target = {.info = info, .entry = entry, .w = w};
        vlmp_target_group group = {.targets = &target, .count = 1, .moments = moments};
        status = vlmp_quantize_group(job, &group, &packed, &result, &reverted, err);
    }
    vlmp_unload(&loaded);
    free(w);
    if (status == VLMP_OK)
        status =
            vlmp_put_packed(job->sink, info->name, info->n, info->k, &entry->scheme, &packed, err);
    if (status == VLMP_OK) status = vlmp_commit_results(job, info->name, &result, 1, NULL, err);
    vlmp_packed_arrays_free(&packed);
    return status;
}

static int needs_moments(const vlmp_quantize_job *job, int index, bool *needed, vlmp_error *err)
{
    bool settled;
    VLMP_TRY(is_settled(job, index, &settled, err));
    *needed = !settled && vlmp_method_needs_calibration(job->plan->entries[index].method);
    return VLMP_OK;
}

/* Moments of the projector's inputs, or, with first, of what lies behind its first linear. */
static int projector_moments(const vlmp_quantize_job *job, const vlmp_activations *features,
                             size_t seen_rows, const vlmp_linear *first, vlmp_moments *moments,
                             vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    float *scratch = vlmp_alloc(ROWS * (size_t)features->dim, sizeof *scratch);
    float *hidden = first != NULL ? vlmp_alloc(ROWS * (size_t)first->n, sizeof *hidden) : NULL;
    int status = scratch != NULL && (first == NULL || hidden != NULL)
                     ? VLMP_OK
                     : vlmp_fail_memory(err, "projector inputs");
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, ROWS, features->dim, err);
    for (size_t at = 0, rows; at < features->rows && status == VLMP_OK; at += rows) {
        size_t end = at < seen_rows ? seen_rows : features->rows;
        float *input;
        rows = end - at < ROWS ? end - at : ROWS;
        status = vlmp_activations_get(features, at, rows, scratch, &input, err);
        if (status != VLMP_OK) break;
        if (first != NULL) {
            ctx->ops->linear(ctx, hidden, input, (int)rows, first);
            ctx->ops->activate(ctx, hidden, rows * (size_t)first->n,
                               job->sweep.model->config.projector.act);
        }
        ctx->ops->gram(ctx, at < seen_rows ? moments->gram : moments->held,
                       first != NULL ? hidden : input, (int)rows, moments->k);
    }
    free(scratch);
    free(hidden);
    return status;
}

int vlmp_quantize_projector(const vlmp_quantize_job *job, const vlmp_activations *features,
                            size_t seen_rows, vlmp_error *err)
{
    const vlmp_model *model = job->sweep.model;
    for (int part = 0; part < 2; part++) {
        int index = find_component(job, VLMP_COMPONENT_PROJECTOR, part);
        vlmp_moments moments = {0};
        vlmp_loaded loaded = {0};
        vlmp_projector projector;
        bool needed;
        VLMP_TRY(needs_moments(job, index, &needed, err));
        needed = needed && features != NULL;
        int status = VLMP_OK;
        if (needed) {
            status = vlmp_moments_create(&moments, job->linears[index].k,
                                         seen_rows < features->rows, false, err);
            if (status == VLMP_OK) status = vlmp_load_projector(&loaded, model, &projector, err);
            if (status == VLMP_OK)
                status = projector_moments(job, features, seen_rows,
                                           part == 0 ? NULL : &projector.first, &moments, err);
            vlmp_unload(&loaded);
        }
        if (status == VLMP_OK) status = quantize_one(job, index, needed ? &moments : NULL, err);
        vlmp_moments_free(&moments);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

int vlmp_quantize_embedding(const vlmp_quantize_job *job, vlmp_error *err)
{
    int index = find_component(job, VLMP_COMPONENT_EMBED, 0);
    if (job->sweep.model->config.text.tied) return VLMP_OK;
    bool needed;
    VLMP_TRY(needs_moments(job, index, &needed, err));
    if (!needed) return quantize_one(job, index, NULL, err);
    vlmp_moments moments;
    VLMP_TRY(vlmp_moments_create(&moments, job->linears[index].k, false, false, err));
    for (int i = 0; i < moments.k; i++)
        moments.gram[(size_t)i * (size_t)moments.k + (size_t)i] = 1;
    int status = quantize_one(job, index, &moments, err);
    vlmp_moments_free(&moments);
    return status;
}

static int head_moments(const vlmp_quantize_job *job, const vlmp_activations *x,
                        const vlmp_batches *batches, vlmp_moments *moments, vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    const vlmp_model *model = job->sweep.model;
    size_t values = (size_t)batches->max_rows * (size_t)x->dim;
    vlmp_loaded loaded = {0};
    const float *norm;
    float *scratch = vlmp_alloc(values, sizeof *scratch), *h = vlmp_alloc(values, sizeof *h);
    int status =
        scratch != NULL && h != NULL ? VLMP_OK : vlmp_fail_memory(err, "inputs of the head");
    if (status == VLMP_OK) status = vlmp_load_text_norm(&loaded, model, &norm, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        float *rows;
        status =
            vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, scratch, &rows, err);
        if (status != VLMP_OK) break;
        ctx->ops->rms_norm(ctx, h, rows, batch->rows, x->dim, norm, model->config.text.norm_eps);
        status = vlmp_sweep_check(&job->sweep, "text.norm", false, batch, h, x->dim, err);
        if (status != VLMP_OK) break;
        ctx->ops->gram(ctx, i < batches->break_batch ? moments->gram : moments->held, h,
                       batch->rows, x->dim);
    }
    vlmp_unload(&loaded);
    free(scratch);
    free(h);
    return status;
}

int vlmp_quantize_head_linear(const vlmp_quantize_job *job, const vlmp_activations *x,
                              const vlmp_batches *batches, vlmp_error *err)
{
    bool tied = job->sweep.model->config.text.tied;
    int index = find_component(job, tied ? VLMP_COMPONENT_EMBED : VLMP_COMPONENT_HEAD, 0);
    bool needed;
    VLMP_TRY(needs_moments(job, index, &needed, err));
    if (x == NULL || !needed) return quantize_one(job, index, NULL, err);
    vlmp_moments moments;
    VLMP_TRY(vlmp_moments_create(&moments, job->linears[index].k,
                                 batches->break_batch < batches->count, false, err));
    int status = head_moments(job, x, batches, &moments, err);
    if (status == VLMP_OK) status = quantize_one(job, index, &moments, err);
    vlmp_moments_free(&moments);
    return status;
}
