#include "src/quant/run/ends.h"

#include <stdlib.h>

#include "src/base/memory.h"
#include "src/quant/run/record.h"
#include "src/quant/run/selection.h"
#include "src/quant/run/site.h"

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

static int quantize_one(const vlmp_quantize_job *job, int index, vlmp_moments *moments,
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
        vlmp_target target = {
            .info = info, .entry = entry, .w = w, .plain = w, .global_scale = 1.0f};
        if (vlmp_scheme_has_global(&entry->scheme))
            target.global_scale = vlmp_global_scale_of(vlmp_largest(w, values));
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

/* Where a run is sequential, a linear computes with its packed bytes as soon as it has them. */
static int use_finished(const vlmp_quantize_job *job, int index, vlmp_linear *linear,
                        vlmp_packed_arrays *packed, vlmp_error *err)
{
    const vlmp_plan_entry *entry = &job->plan->entries[index];
    bool finished = false;
    if (!job->sequential || entry->method == VLMP_METHOD_KEEP) return VLMP_OK;
    VLMP_TRY(vlmp_step_is_done(job, job->linears[index].name, &finished, err));
    if (!finished) return VLMP_OK;
    VLMP_TRY(vlmp_get_packed(job->sink, job->linears[index].name, &entry->scheme, packed, err));
    vlmp_linear_use_packed(linear, &entry->scheme, packed);
    return VLMP_OK;
}

int vlmp_ends_load(vlmp_ends *ends, const vlmp_quantize_job *job, vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    *ends = (vlmp_ends){.ctx = ctx};
    vlmp_resident *weights = &ends->weights;
    const vlmp_model *model = job->sweep.model;
    VLMP_TRY(vlmp_load_projector(&weights->loaded, model, &weights->projector, err));
    VLMP_TRY(vlmp_load_text_embed(&weights->loaded, model, &weights->embed, err));
    vlmp_linear *all[VLMP_ENDS] = {&weights->embed, &weights->projector.first,
                                   &weights->projector.second};
    for (int t = 0; t < model->config.vision.tap_count; t++) {
        VLMP_TRY(vlmp_load_tap(&weights->loaded, model, t, &weights->taps[t], err));
        all[3 + 2 * t] = &weights->taps[t].first;
        all[4 + 2 * t] = &weights->taps[t].second;
    }
    for (int i = 0; i < VLMP_ENDS; i++) {
        if (all[i] == NULL || all[i]->n == 0) continue; /* no such tap; a projector of one linear */
        int index = i == 0 ? find_component(job, VLMP_COMPONENT_EMBED, 0)
                           : find_component(job, VLMP_COMPONENT_PROJECTOR, i - 1);
        VLMP_TRY(use_finished(job, index, all[i], &ends->packed[i], err));
        VLMP_TRY(ctx->ops->prepare(ctx, all[i], err));
        ends->prepared[i] = all[i]->own;
    }
    return VLMP_OK;
}

void vlmp_ends_free(vlmp_ends *ends)
{
    for (int i = 0; i < VLMP_ENDS; i++) {
        if (ends->prepared[i] != NULL) ends->ctx->ops->release(ends->ctx, ends->prepared[i]);
        ends->prepared[i] = NULL;
        vlmp_packed_arrays_free(&ends->packed[i]);
    }
    vlmp_resident_free(&ends->weights);
}

static int needs_moments(const vlmp_quantize_job *job, int index, bool *needed, vlmp_error *err)
{
    bool settled;
    VLMP_TRY(is_settled(job, index, &settled, err));
    *needed = !settled && vlmp_method_needs_calibration(job->plan->entries[index].method);
    return VLMP_OK;
}

/* Moments of a projector's inputs, or, with first, of what lies behind its first linear. tap:
 * whose, from 1; 0: the projector of the tower's last rows. */
static int projector_moments(const vlmp_quantize_job *job, vlmp_activations *features, int tap,
                             size_t seen_rows, const vlmp_linear *first, vlmp_moments *moments,
                             vlmp_error *err)
{
    size_t every = features->rows / (size_t)(1 + job->sweep.model->config.vision.tap_count);
    static const char what[] = "projector inputs";
    vlmp_ctx *ctx = job->sweep.ctx;
    size_t act = ctx->ops->act_bytes;
    vlmp_act input = {NULL}, hidden = {NULL};
    int widest = moments->k > features->dim ? moments->k : features->dim;
    int status = vlmp_ctx_alloc(ctx, &input, ROWS, (size_t)features->dim * act, what, err);
    if (status == VLMP_OK && first != NULL)
        status = vlmp_ctx_alloc(ctx, &hidden, ROWS, (size_t)first->n * act, what, err);
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, ROWS, widest, err);
    for (size_t at = 0, rows; at < every && status == VLMP_OK; at += rows) {
        size_t end = at < seen_rows ? seen_rows : every;
        rows = end - at < ROWS ? end - at : ROWS;
        status =
            vlmp_activations_upload_act(features, (size_t)tap * every + at, rows, ctx, input, err);
        if (status != VLMP_OK) break;
        if (first != NULL) {
            ctx->ops->linear(ctx, hidden, input, (vlmp_rows){(int)rows, false}, first);
            ctx->ops->activate(ctx, hidden, rows * (size_t)first->n,
                               job->sweep.model->config.projector.act);
        }
        const vlmp_batch part = {.first_row = at, .rows = (int)rows};
        status =
            vlmp_selection_add(job, moments, true, &part, at < seen_rows ? VLMP_GRAM : VLMP_HELD,
                               first != NULL ? hidden : input, (vlmp_act){NULL}, err);
    }
    vlmp_ctx_free_memory(ctx, input.at);
    vlmp_ctx_free_memory(ctx, hidden.at);
    return status == VLMP_OK ? vlmp_moments_finish(moments, err) : status;
}

int vlmp_quantize_projector(const vlmp_quantize_job *job, vlmp_activations *features,
                            size_t seen_rows, vlmp_error *err)
{
    const vlmp_config *config = &job->sweep.model->config;
    int linears = config->projector.linears;
    for (int part = 0; part < linears * (1 + config->vision.tap_count); part++) {
        int tap = part / linears;
        int index = find_component(job, VLMP_COMPONENT_PROJECTOR, part);
        vlmp_moments moments = {0};
        vlmp_ends ends = {0};
        bool needed;
        VLMP_TRY(needs_moments(job, index, &needed, err));
        int status = VLMP_OK;
        if (needed) {
            status = vlmp_moments_create(&moments, job->sweep.ctx, job->linears[index].k,
                                         seen_rows < features->rows /
                                                         (size_t)(1 + config->vision.tap_count),
                                         false, NULL, err);
            if (status == VLMP_OK) status = vlmp_ends_load(&ends, job, err);
            if (status == VLMP_OK)
                status = projector_moments(job, features, tap, seen_rows,
                                           part % linears == 0 ? NULL
                                           : tap == 0          ? &ends.weights.projector.first
                                                               : &ends.weights.taps[tap - 1].first,
                                           &moments, err);
            vlmp_ends_free(&ends);
        }
        if (status == VLMP_OK) status = quantize_one(job, index, needed ? &moments : NULL, err);
        vlmp_moments_free(&moments);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static int head_moments(const vlmp_quantize_job *job, vlmp_activations *x,
                        const vlmp_batches *batches, vlmp_moments *moments, vlmp_error *err)
{
    static const char what[] = "inputs of the head";
    vlmp_ctx *ctx = job->sweep.ctx;
    const vlmp_model *model = job->sweep.model;
    size_t rows = (size_t)batches->max_rows, dim = (size_t)x->dim;
    vlmp_loaded loaded = {.ctx = ctx};
    vlmp_vector norm;
    vlmp_f32 in = {NULL};
    vlmp_act h = {NULL};
    vlmp_i32 found = {NULL};
    int status = vlmp_ctx_alloc(ctx, &in, rows, dim * sizeof(float), what, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &h, rows, dim * ctx->ops->act_bytes, what, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &found, 1, sizeof(int32_t), what, err);
    if (status == VLMP_OK) status = vlmp_load_text_norm(&loaded, model, &norm, err);
    for (int i = 0; i < batches->count && status == VLMP_OK; i++) {
        const vlmp_batch *batch = &batches->batches[i];
        status = vlmp_activations_upload(x, batch->first_row, (size_t)batch->rows, ctx, in, err);
        if (status != VLMP_OK) break;
        ctx->ops->rms_norm(ctx, h, in, batch->rows, x->dim, norm.own, model->config.text.norm_eps);
        status =
            vlmp_sweep_check_act(&job->sweep, "text.norm", false, batch, found, h, x->dim, err);
        if (status != VLMP_OK) break;
        status = vlmp_selection_add(job, moments, false, batch,
                                    i < batches->break_batch ? VLMP_GRAM : VLMP_HELD, h,
                                    (vlmp_act){NULL}, err);
    }
    vlmp_unload(&loaded);
    vlmp_ctx_free_memory(ctx, in.at);
    vlmp_ctx_free_memory(ctx, h.at);
    vlmp_ctx_free_memory(ctx, found.at);
    return status == VLMP_OK ? vlmp_moments_finish(moments, err) : status;
}

/* By what the head reads behind the last block. */
static int quantize_on_outputs(const vlmp_quantize_job *job, int index, vlmp_activations *x,
                               const vlmp_batches *batches, vlmp_error *err)
{
    vlmp_moments moments;
    int status = vlmp_moments_create(&moments, job->sweep.ctx, job->linears[index].k,
                                     batches->break_batch < batches->count, false, NULL, err);
    if (status == VLMP_OK) status = head_moments(job, x, batches, &moments, err);
    if (status == VLMP_OK) status = quantize_one(job, index, &moments, err);
    vlmp_moments_free(&moments);
    return status;
}

/* A table alone has no inputs to weigh errors with: every column counts the same, in what the
 * method sees and in what it is judged on. */
static int quantize_table(const vlmp_quantize_job *job, int index, vlmp_error *err)
{
    static const float one = 1;
    vlmp_moments moments;
    int status = vlmp_moments_create(&moments, job->sweep.ctx, job->linears[index].k, true, false,
                                     NULL, err);
    if (status == VLMP_OK) status = vlmp_moments_finish(&moments, err);
    for (size_t i = 0; i < (size_t)moments.k && status == VLMP_OK; i++) {
        size_t at = i * (size_t)moments.k + i;
        vlmp_ctx_write(moments.ctx, moments.gram + at, &one, sizeof one);
        vlmp_ctx_write(moments.ctx, moments.held + at, &one, sizeof one);
    }
    if (status == VLMP_OK) status = quantize_one(job, index, &moments, err);
    vlmp_moments_free(&moments);
    return status;
}

/* A table that is the head too is needed before the text blocks run, and weighed by what comes out
 * of them: the original blocks stand in. */
static int quantize_tied(const vlmp_quantize_job *job, int index, const vlmp_sequence *sequences,
                         int count, vlmp_activations *features, vlmp_error *err)
{
    vlmp_ends ends;
    vlmp_activations x = {.fd = -1};
    vlmp_batches batches = {0};
    vlmp_sweep sweep = job->sweep, input = job->sweep;
    sweep.progress = NULL; /* the blocks are told about when they are quantized */
    input.resident = &ends.weights;
    int status = vlmp_ends_load(&ends, job, err);
    if (status == VLMP_OK)
        status = vlmp_sweep_text_input(&input, sequences, count, features, &x, &batches, err);
    if (status == VLMP_OK) status = vlmp_sweep_text(&sweep, &x, &batches, NULL, NULL, err);
    if (status == VLMP_OK) status = quantize_on_outputs(job, index, &x, &batches, err);
    vlmp_ends_free(&ends);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    return status;
}

int vlmp_quantize_embedding(const vlmp_quantize_job *job, const vlmp_sequence *sequences, int count,
                            vlmp_activations *features, vlmp_error *err)
{
    int index = find_component(job, VLMP_COMPONENT_EMBED, 0);
    bool tied = job->sweep.model->config.text.tied, needed;
    VLMP_TRY(needs_moments(job, index, &needed, err));
    if (!needed) return quantize_one(job, index, NULL, err);
    if (!tied) return quantize_table(job, index, err);
    if (!job->sequential) return VLMP_OK; /* as the head, on the same inputs */
    return quantize_tied(job, index, sequences, count, features, err);
}

int vlmp_quantize_head_linear(const vlmp_quantize_job *job, vlmp_activations *x,
                              const vlmp_batches *batches, vlmp_error *err)
{
    bool tied = job->sweep.model->config.text.tied, needed;
    int index = find_component(job, tied ? VLMP_COMPONENT_EMBED : VLMP_COMPONENT_HEAD, 0);
    VLMP_TRY(needs_moments(job, index, &needed, err));
    return needed ? quantize_on_outputs(job, index, x, batches, err)
                  : quantize_one(job, index, NULL, err);
}

int vlmp_quantize_by_name(const vlmp_quantize_job *job, vlmp_error *err)
{
    const vlmp_sweep *sweep = &job->sweep;
    for (int i = 0; i < job->linear_count; i++) {
        if (sweep->interrupted != NULL && *sweep->interrupted)
            return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        VLMP_TRY(quantize_one(job, i, NULL, err));
        if (sweep->progress != NULL)
            sweep->progress(sweep->progress_arg, "linear", i + 1, job->linear_count);
    }
    return VLMP_OK;
}
