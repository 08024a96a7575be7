#include "src/quant/site.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/memory.h"
#include "src/quant/awq.h"
#include "src/quant/fold.h"
#include "src/quant/guard.h"
#include "src/quant/linalg.h"
#include "src/quant/rtn.h"

int vlmp_moments_create(vlmp_moments *moments, int k, bool held, bool cross, vlmp_error *err)
{
    size_t values = (size_t)k * (size_t)k;
    *moments = (vlmp_moments){.k = k, .gram = vlmp_calloc(values, sizeof(float))};
    if (held) moments->held = vlmp_calloc(values, sizeof(float));
    if (cross) moments->cross = vlmp_calloc(values, sizeof(float));
    if (cross && held) moments->held_cross = vlmp_calloc(values, sizeof(float));
    if (moments->gram != NULL && (!held || moments->held != NULL) &&
        (!cross || (moments->cross != NULL && (!held || moments->held_cross != NULL))))
        return VLMP_OK;
    vlmp_moments_free(moments);
    return vlmp_fail_memory(err, "second moments of a site's inputs");
}

void vlmp_moments_free(vlmp_moments *moments)
{
    free(moments->gram);
    free(moments->held);
    free(moments->cross);
    free(moments->held_cross);
    *moments = (vlmp_moments){0};
}

void vlmp_packed_arrays_free(vlmp_packed_arrays *packed)
{
    free(packed->codes);
    free(packed->scales);
    free(packed->zeros);
    *packed = (vlmp_packed_arrays){0};
}

void vlmp_linear_use_packed(vlmp_linear *linear, const vlmp_scheme *scheme,
                            const vlmp_packed_arrays *packed)
{
    linear->weight = NULL;
    linear->bits = scheme->bits;
    linear->group = scheme->group == 0 ? linear->k : scheme->group;
    linear->codes = packed->codes;
    linear->scales = packed->scales;
    linear->zeros = packed->zeros;
    linear->int8_activations = scheme->int8_activations;
}

int vlmp_put_packed(vlmp_sink *sink, const char *name, int n, int k, const vlmp_scheme *scheme,
                    const vlmp_packed_arrays *packed, vlmp_error *err)
{
    int groups = scheme->group == 0 ? 1 : k / scheme->group;
    const struct {
        const char *part;
        vlmp_dtype dtype;
        int64_t columns;
        const void *data;
    } parts[] = {
        {"codes", VLMP_U8, (int64_t)vlmp_codes_row_bytes(k, scheme->bits), packed->codes},
        {"scales", scheme->group == 0 ? VLMP_F32 : VLMP_F16, groups, packed->scales},
        {"zeros", VLMP_U8, (int64_t)vlmp_codes_row_bytes(groups, scheme->bits), packed->zeros},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].data == NULL) continue;
        char full[VLMP_NAME_MAX + 16];
        snprintf(full, sizeof full, "%s.%s", name, parts[i].part);
        vlmp_tensor tensor = {.name = full,
                              .dtype = parts[i].dtype,
                              .rank = 2,
                              .shape = {n, parts[i].columns},
                              .data = parts[i].data,
                              .bytes = (size_t)n * (size_t)parts[i].columns *
                                       vlmp_dtype_size(parts[i].dtype)};
        VLMP_TRY(sink->put(sink, &tensor, err));
    }
    return VLMP_OK;
}

static int pack(vlmp_packed_arrays *packed, const vlmp_quantized *q, const vlmp_scheme *scheme,
                vlmp_error *err)
{
    size_t codes, scales, zeros;
    if (!vlmp_packed_bytes(q->n, q->k, scheme, &codes, &scales, &zeros))
        return vlmp_fail_memory(err, "packed codes");
    packed->codes = vlmp_alloc(codes, 1);
    packed->scales = vlmp_alloc(scales, 1);
    packed->zeros = zeros > 0 ? vlmp_alloc(zeros, 1) : NULL;
    if (packed->codes == NULL || packed->scales == NULL || (zeros > 0 && packed->zeros == NULL))
        return vlmp_fail_memory(err, "packed codes");
    vlmp_pack(q, packed->codes, packed->scales, packed->zeros);
    return VLMP_OK;
}

/* What one linear of a group goes through. */
struct work {
    const vlmp_quantize_job *job;
    const vlmp_target *target;
    const vlmp_moments *moments;
    const vlmp_hessian *hessian; /* of the group's moments; NULL when no method needs it */
    vlmp_linear_result *result;
    vlmp_quantized q;
};

/* cross [n][k] = W·C: how much of the wanted output the site's inputs miss. NULL: out of memory. */
static float *output_cross(vlmp_ctx *ctx, const float *w, int n, int k, const float *cross)
{
    float *out = vlmp_alloc((size_t)n * (size_t)k, sizeof *out);
    if (out != NULL) ctx->ops->gemm(ctx, false, false, n, k, k, 1.0f, w, k, cross, k, 0.0f, out, k);
    return out;
}

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

/* GPTQ aimed at the original model's outputs as far as that helps on held-out samples, instead of
 * at the original weights: what the quantized layers before have lost is made up for here. */
static int run_gptq_to_outputs(struct work *work, vlmp_error *err)
{
    const vlmp_target *target = work->target;
    const vlmp_moments *moments = work->moments;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    int n = target->info->n, k = target->info->k;
    size_t values = (size_t)n * (size_t)k;
    float *cross = output_cross(ctx, target->w, n, k, moments->cross);
    float *held_cross = output_cross(ctx, target->w, n, k, moments->held_cross);
    float *moved = vlmp_alloc(values, sizeof *moved);
    int status = cross != NULL && held_cross != NULL && moved != NULL
                     ? VLMP_OK
                     : vlmp_fail_memory(err, target->info->name);
    if (status == VLMP_OK) {
        vlmp_held_back held = {.gram = moments->held, .cross = held_cross};
        memcpy(moved, target->w, values * sizeof *moved);
        status = vlmp_hessian_correct(work->hessian, ctx, cross, &held, 1.0, moved, n,
                                      &work->result->correction, err);
    }
    if (status == VLMP_OK) status = run_gptq(work, moved, err);
    free(cross);
    free(held_cross);
    free(moved);
    return status;
}

static int run_method(struct work *work, vlmp_error *err)
{
    const vlmp_target *target = work->target;
    vlmp_ctx *ctx = work->job->sweep.ctx;
    VLMP_TRY(vlmp_quantized_alloc(&work->q, target->info->n, target->info->k,
                                  &target->entry->scheme, err));
    vlmp_awq_options awq = vlmp_awq_defaults();
    switch (target->entry->method) {
    case VLMP_METHOD_AWQ:
        return vlmp_awq_quantize(&work->q, ctx, work->moments->gram, target->w, &awq,
                                 target->info->name, err);
    case VLMP_METHOD_GPTQ:
    case VLMP_METHOD_AWQ_GPTQ:
        if (work->moments->held_cross != NULL) return run_gptq_to_outputs(work, err);
        return run_gptq(work, target->w, err);
    default:
        return vlmp_rtn(&work->q, target->w, ctx->pool, target->info->name, err);
    }
}

/* Round to nearest of the unscaled weights (scales NULL: of the weights as they are). */
static int plain_rounding(struct work *work, const float *scales, vlmp_error *err)
{
    const vlmp_target *target = work->target;
    size_t k = (size_t)target->info->k, values = (size_t)target->info->n * k;
    float *w = vlmp_alloc(values, sizeof *w);
    if (w == NULL) return vlmp_fail_memory(err, target->info->name);
    for (size_t i = 0; i < values; i++)
        w[i] = scales != NULL ? target->w[i] / scales[i % k] : target->w[i];
    int status = vlmp_rtn(&work->q, w, work->job->sweep.ctx->pool, target->info->name, err);
    free(w);
    work->result->method = VLMP_METHOD_RTN;
    work->result->kept_rtn = true;
    return status;
}

/* w/scales of every linear of the group, and the held-out moments of the unscaled inputs. */
struct judgement {
    float *weights[VLMP_BLOCK_LINEARS];
    float *gram;
    vlmp_guard_linear linears[VLMP_BLOCK_LINEARS];
};

static void free_judgement(struct judgement *j, int count)
{
    for (int i = 0; i < count; i++)
        free(j->weights[i]);
    free(j->gram);
}

static int prepare_judgement(struct judgement *j, const vlmp_target_group *group,
                             const struct work *works, vlmp_error *err)
{
    size_t k = (size_t)group->moments->k;
    j->gram = vlmp_alloc(k * k, sizeof *j->gram);
    if (j->gram == NULL) return vlmp_fail_memory(err, "held-out moments");
    for (size_t i = 0; i < k * k; i++)
        j->gram[i] = group->moments->held[i] *
                     (group->scales != NULL ? group->scales[i / k] * group->scales[i % k] : 1);
    for (int t = 0; t < group->count; t++) {
        const vlmp_target *target = &group->targets[t];
        size_t values = (size_t)target->info->n * k;
        j->weights[t] = vlmp_alloc(values, sizeof(float));
        if (j->weights[t] == NULL) return vlmp_fail_memory(err, target->info->name);
        for (size_t i = 0; i < values; i++)
            j->weights[t][i] =
                group->scales != NULL ? target->w[i] / group->scales[i % k] : target->w[i];
        j->linears[t] =
            (vlmp_guard_linear){.name = target->info->name, .w = j->weights[t], .q = &works[t].q};
    }
    return VLMP_OK;
}

/* Never worse than round to nearest on samples that the method did not see. */
static int judge(const vlmp_quantize_job *job, const vlmp_target_group *group, struct work *works,
                 bool *reverted, vlmp_error *err)
{
    struct judgement j = {0};
    vlmp_guard_result verdict = {0};
    double weight = 0;
    int status = prepare_judgement(&j, group, works, err);
    if (status == VLMP_OK)
        status = vlmp_guard(&verdict, job->sweep.ctx, j.linears, group->count, j.gram,
                            group->scales, err);
    for (int t = 0; t < group->count && status == VLMP_OK; t++) {
        double one;
        status = vlmp_guard_energy(&one, job->sweep.ctx, j.weights[t], group->targets[t].info->n,
                                   group->moments->k, j.gram, err);
        weight += one;
    }
    bool keep = verdict.keep_rtn && (group->scales == NULL || group->can_revert);
    for (int t = 0; t < group->count && status == VLMP_OK; t++) {
        works[t].result->held_error =
            (keep ? verdict.rtn_error : verdict.method_error) / (weight > 0 ? weight : 1);
        works[t].result->held_rtn_error = verdict.rtn_error / (weight > 0 ? weight : 1);
        if (keep) status = plain_rounding(&works[t], group->scales, err);
    }
    *reverted = keep && group->scales != NULL;
    free_judgement(&j, group->count);
    return status;
}

/* tr(D·H·Dᵀ)/tr(W·H·Wᵀ) on the samples seen. */
static int seen_error(struct work *work, vlmp_error *err)
{
    vlmp_ctx *ctx = work->job->sweep.ctx;
    const vlmp_target *target = work->target;
    double error, weight;
    vlmp_guard_linear judged = {.name = target->info->name, .w = target->w, .q = &work->q};
    VLMP_TRY(vlmp_guard_error(&error, ctx, &judged, work->moments->gram, NULL, err));
    VLMP_TRY(vlmp_guard_energy(&weight, ctx, target->w, target->info->n, target->info->k,
                               work->moments->gram, err));
    work->result->error = error / (weight > 0 ? weight : 1);
    return VLMP_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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
                        struct work *works, bool *reverted, vlmp_error *err)
{
    const vlmp_target *first = &group->targets[0];
    bool searched = group->moments != NULL && vlmp_method_needs_calibration(first->entry->method);
    vlmp_hessian hessian = {0};
    int status = VLMP_OK;
    if (searched && first->entry->method != VLMP_METHOD_AWQ)
        status = vlmp_hessian_create(&hessian, job->sweep.ctx, group->moments->gram, first->info->k,
                                     first->entry->scheme.group == 0 ? first->info->k
                                                                     : first->entry->scheme.group,
                                     vlmp_gptq_damping(), err);
    for (int t = 0; t < group->count && status == VLMP_OK; t++) {
        double start = now();
        works[t].hessian = &hessian;
        status = run_method(&works[t], err);
        if (status == VLMP_OK && group->moments != NULL) status = seen_error(&works[t], err);
        works[t].result->seconds = now() - start;
    }
    vlmp_hessian_free(&hessian);
    if (status == VLMP_OK && searched && group->moments->held != NULL)
        status = judge(job, group, works, reverted, err);
    return status;
}

int vlmp_quantize_group(const vlmp_quantize_job *job, const vlmp_target_group *group,
                        vlmp_packed_arrays *packed, vlmp_linear_result *results, bool *reverted,
                        vlmp_error *err)
{
    struct work works[VLMP_BLOCK_LINEARS] = {0};
    *reverted = false;
    for (int t = 0; t < group->count; t++) {
        start_result(&results[t], &group->targets[t], group->scales != NULL);
        works[t] = (struct work){.job = job,
                                 .target = &group->targets[t],
                                 .moments = group->moments,
                                 .result = &results[t]};
    }
    int status = quantize_all(job, group, works, reverted, err);
    for (int t = 0; t < group->count; t++) {
        if (*reverted) results[t].folded = false;
        if (status == VLMP_OK)
            status = pack(&packed[t], &works[t].q, &group->targets[t].entry->scheme, err);
        vlmp_quantized_free(&works[t].q);
    }
    return status;
}
