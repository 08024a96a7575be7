#include "src/quant/run/site.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/base/memory.h"
#include "src/quant/method/awq.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/lend.h"
#include "src/quant/method/rtn.h"
#include "src/quant/run/fold.h"

/* What one linear of a group goes through. */
struct work {
    const vlmp_quantize_job *job;
    const vlmp_target *target;
    vlmp_moments *moments;
    const vlmp_hessian *hessian; /* of the group's moments; NULL when no method needs it */
    vlmp_linear_result *result;
    vlmp_quantized q;
};

/* out [n][k] = W·C, how much of the wanted output the site's inputs miss; all in the context's
 * memory. */
static int output_cross(float **out, vlmp_ctx *ctx, const float *w, int n, int k,
                        const float *cross, vlmp_error *err)
{
    VLMP_TRY(vlmp_ctx_alloc(ctx, out, (size_t)n, (size_t)k * sizeof **out, "outputs", err));
    ctx->ops->gemm(ctx, false, false, n, k, k, 1.0f, w, k, cross, k, 0.0f, *out, k);
    return VLMP_OK;
}

/* The same of the rows that validate a correction. */
static int sampled_cross(float **out, vlmp_ctx *ctx, const float *w, int n, int k,
                         const float *cross, vlmp_error *err)
{
    int taken = n < VLMP_HELD_ROWS ? n : VLMP_HELD_ROWS;
    float *rows;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &rows, (size_t)taken, (size_t)k * sizeof *rows, "outputs", err));
    ctx->ops->quant->sample_rows(ctx, rows, taken, w, n, k);
    int status = output_cross(out, ctx, rows, taken, k, cross, err);
    vlmp_ctx_free_memory(ctx, rows);
    return status;
}

/* Whether the wanted outputs are W·x₀ of the original model's inputs x₀; else W·x. */
static bool aims_at_outputs(const struct work *work)
{
    return work->target->entry->target == VLMP_TARGET_OUTPUTS && work->moments->original;
}

/* target [n][k] in the context's memory. */
static int run_gptq(struct work *work, const float *target, vlmp_error *err)
{
    vlmp_gptq_report report = {0};
    VLMP_TRY(vlmp_gptq(&work->q, work->job->sweep.ctx, work->hessian, work->moments->gram, target,
                       &work->job->gptq, work->target->info->name, &report, err));
    work->result->damping = report.damping;
    if (report.fallback) {
        work->result->fallback = true;
        work->result->method = VLMP_METHOD_RTN;
    }
    return VLMP_OK;
}

/* moved [n][k]: the original model's outputs as target as far as that helps on held-out samples,
 * instead of the original weights w: what the quantized layers before have lost is made up for
 * here. */
static int move_target(struct work *work, const float *w, float *moved, vlmp_error *err)
{
    const vlmp_linear_info *info = work->target->info;
    vlmp_moments *moments = work->moments;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    float *cross = NULL, *held_cross = NULL;
    int status = vlmp_moments_hold(moments, VLMP_CROSS, err);
    if (status == VLMP_OK)
        status = output_cross(&cross, ctx, w, info->n, info->k, moments->cross, err);
    if (status == VLMP_OK) status = vlmp_moments_hold(moments, VLMP_HELD_CROSS, err);
    if (status == VLMP_OK)
        status = sampled_cross(&held_cross, ctx, w, info->n, info->k, moments->held_cross, err);
    if (status == VLMP_OK) status = vlmp_moments_hold(moments, VLMP_HELD, err);
    if (status == VLMP_OK) {
        vlmp_held_back held = {.gram = moments->held, .cross = held_cross};
        status = vlmp_hessian_correct(work->hessian, ctx, cross, &held, 1.0, moved, info->n,
                                      &work->result->correction, err);
    }
    vlmp_ctx_free_memory(ctx, cross);
    vlmp_ctx_free_memory(ctx, held_cross);
    return status == VLMP_OK ? vlmp_moments_hold(moments, 0, err) : status;
}

static int run_gptq_to_outputs(struct work *work, const float *w, vlmp_error *err)
{
    const vlmp_linear_info *info = work->target->info;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    size_t bytes = (size_t)info->n * (size_t)info->k * sizeof(float);
    float *moved;
    VLMP_TRY(vlmp_ctx_alloc(ctx, &moved, bytes, 1, info->name, err));
    vlmp_ctx_write(ctx, moved, work->target->w, bytes);
    int status = move_target(work, w, moved, err);
    if (status == VLMP_OK) status = run_gptq(work, moved, err);
    vlmp_ctx_free_memory(ctx, moved);
    return status;
}

static int run_gptq_on(struct work *work, vlmp_error *err)
{
    const vlmp_linear_info *info = work->target->info;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    const float *w;
    size_t bytes = (size_t)info->n * (size_t)info->k * sizeof *w;
    VLMP_TRY(vlmp_lend(ctx, &w, work->target->w, bytes, info->name, err));
    bool outputs = aims_at_outputs(work) && work->moments->held_out;
    int status = outputs ? run_gptq_to_outputs(work, w, err) : run_gptq(work, w, err);
    vlmp_lend_end(ctx, w, work->target->w);
    return status;
}

static int run_method(struct work *work, vlmp_error *err)
{
    const vlmp_target *target = work->target;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    vlmp_scheme scheme = target->entry->scheme;
    scheme.global_scale = target->global_scale;
    VLMP_TRY(vlmp_quantized_alloc(&work->q, target->info->n, target->info->k, &scheme, err));
    vlmp_awq_options awq = vlmp_awq_defaults();
    switch (target->entry->method) {
    case VLMP_METHOD_AWQ:
        return vlmp_awq_quantize(&work->q, ctx, work->moments->gram, target->w, &awq,
                                 target->info->name, err);
    case VLMP_METHOD_GPTQ:
    case VLMP_METHOD_AWQ_GPTQ:
        return run_gptq_on(work, err);
    default:
        return vlmp_rtn(&work->q, target->w, ctx->pool, target->info->name, err);
    }
}

static double relative(double error, double energy)
{
    return error / (energy > 0 ? energy : 1);
}

/* On the samples seen. w [n][k] and moments: both with AWQ's scales, or both without. */
static int seen_error(struct work *work, const float *w, vlmp_error *err)
{
    vlmp_ctx *ctx = work->job->sweep.ctx;
    const vlmp_linear_info *info = work->target->info;
    vlmp_moments *moments = work->moments;
    double error, energy;
    vlmp_guard_linear judged = {.name = info->name, .w = w, .q = &work->q};
    vlmp_guard_tokens tokens = {.gram = moments->gram};
    if (aims_at_outputs(work)) {
        judged.missed = work->target->missed[0];
        VLMP_TRY(vlmp_moments_hold(moments, VLMP_CROSS, err));
        tokens.cross = moments->cross;
    }
    VLMP_TRY(vlmp_guard_error(&error, ctx, &judged, &tokens, NULL, err));
    VLMP_TRY(vlmp_guard_energy(&energy, ctx, w, info->n, info->k, moments->gram, err));
    work->result->error = relative(error, energy);
    return VLMP_OK;
}

/* Round to nearest of the weights without the site's scales, in the method's place. */
static int keep_nearest(struct work *work, vlmp_error *err)
{
    const vlmp_target *target = work->target;
    vlmp_linear_result *result = work->result;
    result->method = VLMP_METHOD_RTN;
    result->kept_rtn = true;
    result->folded = false;
    result->damping = result->correction = 0;
    VLMP_TRY(
        vlmp_rtn(&work->q, target->plain, work->job->sweep.ctx->pool, target->info->name, err));
    return seen_error(work, target->plain, err);
}

/* Never worse than round to nearest on samples that the method did not see. Leaves the moments
 * without scales. */
static int judge(const vlmp_quantize_job *job, const vlmp_target_group *group, struct work *works,
                 bool *reverted, vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    vlmp_moments *moments = group->moments;
    vlmp_guard_linear linears[VLMP_BLOCK_LINEARS];
    vlmp_guard_result verdict;
    double energy = 0;
    bool outputs = aims_at_outputs(&works[0]);
    if (group->scales != NULL) VLMP_TRY(vlmp_moments_unscale(moments, group->scales, err));
    for (int t = 0; t < group->count; t++) {
        const vlmp_target *target = &group->targets[t];
        linears[t] = (vlmp_guard_linear){.name = target->info->name,
                                         .w = target->plain,
                                         .q = &works[t].q,
                                         .missed = outputs ? target->missed[1] : 0};
    }
    VLMP_TRY(vlmp_moments_hold(moments, VLMP_HELD | VLMP_HELD_CROSS, err));
    vlmp_guard_tokens tokens = {.gram = moments->held,
                                .cross = outputs ? moments->held_cross : NULL};
    for (int t = 0; t < group->count; t++) {
        const vlmp_target *target = &group->targets[t];
        double one;
        VLMP_TRY(vlmp_guard_energy(&one, ctx, target->plain, target->info->n, moments->k,
                                   moments->held, err));
        energy += one;
    }
    VLMP_TRY(vlmp_guard(&verdict, ctx, linears, group->count, &tokens, group->scales, err));
    for (int t = 0; t < group->count; t++) {
        works[t].result->held_error =
            relative(verdict.keep_rtn ? verdict.rtn_error : verdict.method_error, energy);
        works[t].result->held_rtn_error = relative(verdict.rtn_error, energy);
        if (verdict.keep_rtn) VLMP_TRY(keep_nearest(&works[t], err));
    }
    *reverted = verdict.keep_rtn && group->scales != NULL;
    return VLMP_OK;
}

static void start_result(vlmp_linear_result *result, const vlmp_target *target, bool folded)
{
    *result = (vlmp_linear_result){.method = target->entry->method,
                                   .scheme = target->entry->scheme,
                                   .n = target->info->n,
                                   .k = target->info->k,
                                   .error = NAN,
                                   .held_error = NAN,
                                   .held_rtn_error = NAN,
                                   .folded = folded,
                                   .fallback = target->entry->group_fallback};
    memcpy(result->name, target->info->name, sizeof result->name);
}

static int quantize_all(const vlmp_quantize_job *job, const vlmp_target_group *group,
                        struct work *works, vlmp_error *err)
{
    const vlmp_target *first = &group->targets[0];
    const vlmp_scheme *scheme = &first->entry->scheme;
    vlmp_hessian hessian = {0};
    int k = first->info->k, status = VLMP_OK;
    if (first->entry->method == VLMP_METHOD_GPTQ || first->entry->method == VLMP_METHOD_AWQ_GPTQ)
        status = vlmp_hessian_create(&hessian, job->sweep.ctx, group->moments->gram, k,
                                     vlmp_scheme_group(scheme, k), vlmp_gptq_damping(), err);
    for (int t = 0; t < group->count && status == VLMP_OK; t++) {
        double start = vlmp_seconds();
        works[t].hessian = &hessian;
        status = run_method(&works[t], err);
        if (status == VLMP_OK && group->moments != NULL)
            status = seen_error(&works[t], group->targets[t].w, err);
        works[t].result->seconds = vlmp_seconds() - start;
    }
    vlmp_hessian_free(&hessian);
    return status;
}

int vlmp_quantize_group(const vlmp_quantize_job *job, const vlmp_target_group *group,
                        vlmp_packed_arrays *packed, vlmp_linear_result *results, bool *reverted,
                        vlmp_error *err)
{
    struct work works[VLMP_BLOCK_LINEARS] = {0};
    bool searched = vlmp_method_needs_calibration(group->targets[0].entry->method);
    assert(!searched || group->moments != NULL);
    *reverted = false;
    for (int t = 0; t < group->count; t++) {
        start_result(&results[t], &group->targets[t], group->scales != NULL);
        works[t] = (struct work){.job = job,
                                 .target = &group->targets[t],
                                 .moments = group->moments,
                                 .result = &results[t]};
    }
    int status = quantize_all(job, group, works, err);
    if (status == VLMP_OK && searched && group->moments->held_out)
        status = judge(job, group, works, reverted, err);
    for (int t = 0; t < group->count; t++) {
        results[t].unguarded =
            searched && !group->moments->held_out && results[t].method != VLMP_METHOD_RTN;
        if (status == VLMP_OK) status = vlmp_packed_arrays_fill(&packed[t], &works[t].q, err);
        vlmp_quantized_free(&works[t].q);
    }
    return status;
}
