/* Time of choosing codes for one linear of a given shape with GPTQ: second moments of correlated
 * inputs, their factor, codes. Prints one JSON line with processor seconds of each part and the
 * output error relative to the output. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/ops.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/method/gptq.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/linalg.h"

enum { FACTORS = 32, BATCH = 512 };

struct options {
    int n, k, group, tokens, threads, bits;
    bool asymmetric;
};

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench-codes: %s\n", what);
    exit(1);
}

static float *need(size_t count)
{
    float *values = vlmp_calloc(count, sizeof *values);
    if (values == NULL) fail("out of memory");
    return values;
}

static float normal(vlmp_rng *rng)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)vlmp_rng_uniform(rng);
    return (sum - 2) * 1.7f;
}

/* Inputs share FACTORS factors, and their strengths spread over a decade. */
static void add_moments(vlmp_ctx *ctx, const struct options *o, float *gram, vlmp_rng *rng)
{
    size_t k = (size_t)o->k;
    float *mix = need(FACTORS * k), *factors = need(FACTORS * BATCH), *x = need(BATCH * k);
    float *strength = need(k);
    for (size_t i = 0; i < FACTORS * k; i++)
        mix[i] = 0.25f * normal(rng);
    for (size_t i = 0; i < k; i++)
        strength[i] = expf(0.6f * normal(rng));
    for (int done = 0; done < o->tokens; done += BATCH) {
        for (int i = 0; i < FACTORS * BATCH; i++)
            factors[i] = normal(rng);
        for (size_t i = 0; i < BATCH * k; i++)
            x[i] = normal(rng);
        ctx->ops->gemm(ctx, false, false, BATCH, o->k, FACTORS, 1, factors, FACTORS, mix, o->k, 1,
                       x, o->k);
        for (size_t i = 0; i < BATCH * k; i++)
            x[i] *= strength[i % k];
        ctx->ops->gram(ctx, (vlmp_f32){gram}, (vlmp_act){x}, BATCH, o->k);
    }
    free(mix);
    free(factors);
    free(x);
    free(strength);
}

static void parse(struct options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--n", &o->n},
                   {"--k", &o->k},
                   {"--group", &o->group},
                   {"--tokens", &o->tokens},
                   {"--threads", &o->threads},
                   {"--bits", &o->bits}};
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--asymmetric") == 0;
        if (known) o->asymmetric = true;
        for (size_t j = 0; !known && j < sizeof numbers / sizeof *numbers; j++)
            if (strcmp(argv[i], numbers[j].name) == 0 && i + 1 < argc) {
                *numbers[j].value = atoi(argv[++i]);
                known = true;
            }
        if (!known)
            fail("usage: bench-codes [--n N] [--k K] [--group G] [--bits B] [--tokens T] "
                 "[--threads N] [--asymmetric]; group 0: per channel");
    }
}

static void run(vlmp_ctx *ctx, const struct options *o)
{
    vlmp_error err = {0};
    vlmp_rng rng = {1};
    vlmp_hessian h;
    vlmp_quantized q;
    vlmp_gptq_report report;
    vlmp_gptq_options options = vlmp_gptq_defaults();
    vlmp_scheme scheme =
        vlmp_scheme_make(vlmp_code_type_of_bits(o->bits), o->group,
                         o->asymmetric ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE, false);
    size_t values = (size_t)o->n * (size_t)o->k;
    float *gram = need((size_t)o->k * (size_t)o->k), *w = need(values);
    double error = 0, energy = 1, start = processor_seconds();
    add_moments(ctx, o, gram, &rng);
    vlmp_mirror(ctx, gram, o->k);
    double summed = processor_seconds();
    for (size_t i = 0; i < values; i++)
        w[i] = 0.02f * normal(&rng);
    if (vlmp_quantized_alloc(&q, o->n, o->k, &scheme, &err) != 0) fail(err.message);
    double begun = processor_seconds();
    if (vlmp_hessian_create(&h, ctx, gram, o->k, q.group, vlmp_gptq_damping(), &err) != 0)
        fail(err.message);
    double factored = processor_seconds();
    if (vlmp_gptq(&q, ctx, &h, gram, w, &options, "linear", &report, &err) != 0) fail(err.message);
    double done = processor_seconds();
    vlmp_guard_linear judged = {.name = "linear", .w = w, .q = &q};
    vlmp_guard_tokens tokens = {.gram = gram};
    if (vlmp_guard_error(&error, ctx, &judged, &tokens, NULL, &err) != 0 ||
        vlmp_guard_energy(&energy, ctx, w, o->n, o->k, gram, &err) != 0)
        fail(err.message);
    printf("{\"kernels\": \"%s\", \"n\": %d, \"k\": %d, \"group\": %d, \"bits\": %d, "
           "\"symmetric\": %s, \"moments_s\": %.2f, \"factor_s\": %.2f, \"codes_s\": %.2f, "
           "\"sweeps\": %d, \"error\": %.6g}\n",
           vlmp_ctx_describe(ctx), o->n, o->k, q.group, o->bits, o->asymmetric ? "false" : "true",
           summed - start, factored - begun, done - factored, report.sweeps, error / energy);
    vlmp_hessian_free(&h);
    vlmp_quantized_free(&q);
    free(gram);
    free(w);
}

int main(int argc, char **argv)
{
    struct options o = {
        .n = 1024, .k = 1024, .group = 128, .tokens = 2048, .threads = 1, .bits = 4};
    parse(&o, argc, argv);
    vlmp_error err = {0};
    vlmp_pool *pool = NULL;
    vlmp_ctx *ctx = NULL;
    if (vlmp_pool_create(&pool, o.threads, &err) != 0 ||
        vlmp_ctx_create(&ctx, VLMP_BACKEND_CPU, NULL, pool, &err) != 0)
        fail(err.message);
    run(ctx, &o);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
    return 0;
}
