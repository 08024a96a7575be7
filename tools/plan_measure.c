/* What this machine's processor reaches, measured for a tenth of a second. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tools/engine.h"
#include "tools/plan.h"

/* Reads memory, in parts on all threads. */
struct reading {
    const uint64_t *words;
    size_t count; /* of a part */
    uint64_t sums[64];
};

static void read_part(void *arg, int part, int worker)
{
    struct reading *r = arg;
    const uint64_t *words = r->words + (size_t)part * r->count;
    uint64_t sum = 0;
    (void)worker;
    for (size_t i = 0; i < r->count; i++)
        sum += words[i];
    r->sums[part] = sum;
}

static double measure_reads(vlmp_pool *pool, const uint64_t *words, size_t count)
{
    struct reading r = {.words = words, .count = count / 64};
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double start = vlmp_seconds();
        vlmp_parallel_for(pool, 64, read_part, &r);
        double rate = (double)(count * sizeof *words) / (vlmp_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

enum { N = 512 }; /* of square matrices */

static double measure_products(vlmp_ctx *ctx, float *values)
{
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double start = vlmp_seconds();
        ctx->ops->gemm(ctx, false, false, N, N, N, 1.0f, values, N, values + N * N, N, 0.0f,
                       values + 2 * N * N, N);
        double rate = 2.0 * N * N * N / (vlmp_seconds() - start);
        if (rate > best) best = rate;
    }
    return best;
}

/* Inputs and weights as integers of 8 bits: a matrix of codes that say nothing. values: inputs and
 * room for products. */
static int measure_int8(vlmp_plan_device *device, vlmp_ctx *ctx, float *values, vlmp_error *err)
{
    uint8_t *codes = vlmp_alloc(N, N);
    float *scales = vlmp_alloc(N, sizeof *scales);
    vlmp_linear w = {.n = N,
                     .k = N,
                     .scheme =
                         vlmp_scheme_make(VLMP_CODES_U8, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE, true),
                     .codes = codes,
                     .scales = scales};
    int status = codes != NULL && scales != NULL ? VLMP_OK : vlmp_fail_memory(err, "a measurement");
    if (status == VLMP_OK) {
        memset(codes, 130, N * N);
        for (int i = 0; i < N; i++)
            scales[i] = 1;
        status = vlmp_ctx_reserve(ctx, N, N, err);
    }
    if (status == VLMP_OK) status = ctx->ops->prepare(ctx, &w, err);
    for (int i = 0; i < 4 && status == VLMP_OK; i++) {
        double start = vlmp_seconds();
        ctx->ops->linear(ctx, (vlmp_act){values + N * N}, (vlmp_act){values},
                         (vlmp_rows){.count = N}, &w);
        double rate = 2.0 * N * N * N / (vlmp_seconds() - start);
        if (rate > device->rates.int8) device->rates.int8 = rate;
    }
    ctx->ops->release(ctx, w.own);
    free(codes);
    free(scales);
    return status;
}

/* More is read than most caches hold. */
static int measure_memory(vlmp_plan_device *device, const vlmp_engine *engine, vlmp_error *err)
{
    const size_t bytes = (size_t)128 << 20;
    uint64_t *words = vlmp_alloc(bytes, 1);
    if (words == NULL) return vlmp_fail_memory(err, "a measurement");
    memset(words, 0, bytes);
    device->rates.bandwidth = measure_reads(engine->pool, words, bytes / sizeof *words);
    device->memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    free(words);
    return VLMP_OK;
}

int vlmp_plan_measure(vlmp_plan_document *d, const vlmp_cli_args *args, vlmp_error *err)
{
    vlmp_cli_args quiet = *args;
    quiet.device = VLMP_DEVICE_CPU;
    quiet.quiet = true;
    vlmp_engine engine = {0};
    bool asked = d->options->device != NULL && strcmp(d->options->device, "cpu") == 0;
    float *values = vlmp_calloc(3 * N * N, sizeof *values);
    int status = values != NULL ? vlmp_engine_start(&engine, &quiet, err)
                                : vlmp_fail_memory(err, "a measurement");
    if (status == VLMP_OK) d->products = measure_products(engine.ctx, values);
    if (status == VLMP_OK && asked) {
        d->device =
            (vlmp_plan_device){.count = 1, .name = "this machine", .rates.flops = d->products};
        status = measure_int8(&d->device, engine.ctx, values, err);
    }
    if (status == VLMP_OK && asked) status = measure_memory(&d->device, &engine, err);
    free(values);
    vlmp_engine_free(&engine);
    return status;
}
