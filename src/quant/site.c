#include "src/quant/site.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/memory.h"
#include "src/quant/linalg.h"
#include "src/quant/rtn.h"

int vlmp_moments_create(vlmp_moments *moments, int k, bool held, bool cross, vlmp_error *err)
{
    size_t values = (size_t)k * (size_t)k;
    *moments = (vlmp_moments){.k = k, .gram = vlmp_calloc(values, sizeof(float))};
    if (held) moments->held = vlmp_calloc(values, sizeof(float));
    if (cross) moments->cross = vlmp_calloc(values, sizeof(float));
    if (moments->gram != NULL && (!held || moments->held != NULL) &&
        (!cross || moments->cross != NULL))
        return VLMP_OK;
    vlmp_moments_free(moments);
    return vlmp_fail_memory(err, "second moments of a site's inputs");
}

void vlmp_moments_free(vlmp_moments *moments)
{
    free(moments->gram);
    free(moments->held);
    free(moments->cross);
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

/* tr(D·H·Dᵀ) with D = Q − W. */
static int output_error(vlmp_ctx *ctx, const vlmp_quantized *q, const float *w, const float *gram,
                        double *out, vlmp_error *err)
{
    size_t count = (size_t)q->n * (size_t)q->k;
    float *d = vlmp_alloc(count, sizeof *d);
    if (d == NULL) return vlmp_fail_memory(err, "difference of weights");
    vlmp_dequantize(q, 0, q->n, d);
    for (size_t i = 0; i < count; i++)
        d[i] -= w[i];
    int status = vlmp_weighted_error(ctx, d, q->n, q->k, gram, NULL, out, err);
    free(d);
    return status;
}

static int run_gptq(const vlmp_quantize_job *job, const vlmp_target *target,
                    const vlmp_moments *moments, vlmp_quantized *q, vlmp_linear_result *result,
                    vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    vlmp_hessian h;
    vlmp_gptq_report report = {0};
    int status =
        vlmp_hessian_create(&h, ctx, moments->gram, q->k, q->group, vlmp_gptq_damping(), err);
    if (status == VLMP_OK)
        status = vlmp_gptq(q, ctx, &h, moments->gram, target->w, &job->gptq, target->info->name,
                           &report, err);
    vlmp_hessian_free(&h);
    result->damping = report.damping;
    result->fallback = result->fallback || report.fallback;
    if (report.fallback) result->method = VLMP_METHOD_RTN;
    return status;
}

/* Never worse than round to nearest on samples that the method did not see. */
static int guard(const vlmp_quantize_job *job, const vlmp_target *target,
                 const vlmp_moments *moments, vlmp_quantized *q, vlmp_linear_result *result,
                 vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    double weight, error, rtn_error;
    vlmp_quantized rtn = {0};
    int status = vlmp_quantized_alloc(&rtn, q->n, q->k, &target->entry->scheme, err);
    if (status == VLMP_OK) status = vlmp_rtn(&rtn, target->w, ctx->pool, target->info->name, err);
    if (status == VLMP_OK)
        status = output_error(ctx, &rtn, target->w, moments->held, &rtn_error, err);
    if (status == VLMP_OK) status = output_error(ctx, q, target->w, moments->held, &error, err);
    if (status == VLMP_OK)
        status = vlmp_weighted_error(ctx, target->w, q->n, q->k, moments->held, NULL, &weight, err);
    if (status == VLMP_OK) {
        double unit = weight > 0 ? weight : 1;
        result->held_rtn_error = rtn_error / unit;
        if (rtn_error < error) {
            vlmp_quantized_copy(q, &rtn);
            result->method = VLMP_METHOD_RTN;
            result->kept_rtn = true;
            error = rtn_error;
        }
        result->held_error = error / unit;
    }
    vlmp_quantized_free(&rtn);
    return status;
}

static int quantize(const vlmp_quantize_job *job, const vlmp_target *target,
                    const vlmp_moments *moments, vlmp_quantized *q, vlmp_linear_result *result,
                    vlmp_error *err)
{
    vlmp_ctx *ctx = job->sweep.ctx;
    VLMP_TRY(
        vlmp_quantized_alloc(q, target->info->n, target->info->k, &target->entry->scheme, err));
    bool searched = moments != NULL && vlmp_method_needs_calibration(target->entry->method);
    if (searched)
        VLMP_TRY(run_gptq(job, target, moments, q, result, err));
    else
        VLMP_TRY(vlmp_rtn(q, target->w, ctx->pool, target->info->name, err));
    if (searched && moments->held != NULL) VLMP_TRY(guard(job, target, moments, q, result, err));
    if (moments == NULL) return VLMP_OK;
    double error, weight;
    VLMP_TRY(output_error(ctx, q, target->w, moments->gram, &error, err));
    VLMP_TRY(vlmp_weighted_error(ctx, target->w, q->n, q->k, moments->gram, NULL, &weight, err));
    result->error = error / (weight > 0 ? weight : 1);
    return VLMP_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int vlmp_quantize_linear(const vlmp_quantize_job *job, const vlmp_target *target,
                         const vlmp_moments *moments, vlmp_packed_arrays *packed,
                         vlmp_linear_result *result, vlmp_error *err)
{
    double start = now();
    *result = (vlmp_linear_result){.method = target->entry->method,
                                   .scheme = target->entry->scheme,
                                   .n = target->info->n,
                                   .k = target->info->k,
                                   .error = NAN,
                                   .held_error = NAN,
                                   .held_rtn_error = NAN,
                                   .fallback = target->entry->group_fallback};
    memcpy(result->name, target->info->name, sizeof result->name);
    vlmp_quantized q = {0};
    int status = quantize(job, target, moments, &q, result, err);
    if (status == VLMP_OK) status = pack(packed, &q, &target->entry->scheme, err);
    vlmp_quantized_free(&q);
    result->seconds = now() - start;
    return status;
}
