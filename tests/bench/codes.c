/* Time of choosing codes for one linear of a given shape: second moments of correlated inputs, then
 * with GPTQ their factor and codes, or with --method awq the search of channel scales and codes.
 * Prints one JSON line with seconds of each part, the processor's on the host and those that pass
 * with --device cuda, and the output error relative to the output.
 * --distinct N: inputs repeat after so many tokens. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/ops.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/quant/method/awq.h"
#include "src/quant/method/gptq.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/lend.h"

enum { FACTORS = 32, BATCH = 512 };

struct options {
    int n, k, group, tokens, distinct, threads, bits;
    bool asymmetric;
    const char *device, *method;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench-codes: %s\n", what);
    exit(1);
}

static void good(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail(err->message);
}

/* After what was asked for is done. */
static double seconds(vlmp_ctx *ctx)
{
    vlmp_error err = {0};
    struct timespec t;
    good(vlmp_ctx_sync(ctx, &err), &err);
    clock_gettime(ctx->ops->host ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

/* x [BATCH][k]: inputs share FACTORS factors mix [FACTORS][k]. */
static void fill_batch(float *x, const float *mix, const float *strength, size_t k, vlmp_rng *rng)
{
    for (size_t row = 0; row < BATCH; row++, x += k) {
        for (size_t i = 0; i < k; i++)
            x[i] = normal(rng);
        for (int f = 0; f < FACTORS; f++) {
            float by = normal(rng);
            for (size_t i = 0; i < k; i++)
                x[i] += by * mix[(size_t)f * k + i];
        }
        for (size_t i = 0; i < k; i++)
            x[i] *= strength[i];
    }
}

/* Adds the moments of the tokens to gram [k][k] of the context, and |x| to sizes [k]; returns the
 * seconds that gram took. Strengths of inputs spread over a decade. */
static double add_moments(vlmp_ctx *ctx, const struct options *o, float *gram, float *sizes,
                          vlmp_rng *rng)
{
    size_t k = (size_t)o->k;
    vlmp_error err = {0};
    vlmp_act act;
    float *mix = need(FACTORS * k), *x = need(BATCH * k), *strength = need(k);
    double spent = 0;
    good(vlmp_ctx_alloc(ctx, &act, BATCH * k, ctx->ops->act_bytes, "inputs", &err), &err);
    for (size_t i = 0; i < FACTORS * k; i++)
        mix[i] = 0.25f * normal(rng);
    for (size_t i = 0; i < k; i++)
        strength[i] = expf(0.6f * normal(rng));
    for (int done = 0; done < o->tokens; done += BATCH) {
        if (done < o->distinct) {
            fill_batch(x, mix, strength, k, rng);
            ctx->ops->write_act(ctx, act, x, BATCH * k);
        }
        for (size_t i = 0; i < BATCH * k; i++)
            sizes[i % k] += fabsf(x[i]) / (float)o->tokens;
        double start = seconds(ctx);
        ctx->ops->gram(ctx, (vlmp_f32){gram}, act, BATCH, o->k);
        spent += seconds(ctx) - start;
    }
    vlmp_ctx_free_memory(ctx, act.at);
    free(mix);
    free(x);
    free(strength);
    return spent;
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
                   {"--bits", &o->bits},
                   {"--distinct", &o->distinct}};
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--asymmetric") == 0;
        if (known) o->asymmetric = true;
        for (size_t j = 0; !known && j < sizeof numbers / sizeof *numbers; j++)
            if (strcmp(argv[i], numbers[j].name) == 0 && i + 1 < argc) {
                *numbers[j].value = atoi(argv[++i]);
                known = true;
            }
        const char **word = strcmp(argv[i], "--device") == 0   ? &o->device
                            : strcmp(argv[i], "--method") == 0 ? &o->method
                                                               : NULL;
        if (!known && word != NULL && i + 1 < argc) {
            *word = argv[++i];
            known = true;
        }
        if (!known)
            fail("usage: bench-codes [--n N] [--k K] [--group G] [--bits B] [--tokens T] "
                 "[--distinct T] [--threads N] [--asymmetric] [--method gptq|awq] "
                 "[--device cpu|cuda]; group 0: per channel");
    }
    if (strcmp(o->method, "gptq") != 0 && strcmp(o->method, "awq") != 0)
        fail("--method is gptq or awq");
    if (strcmp(o->device, "cpu") != 0 && strcmp(o->device, "cuda") != 0)
        fail("--device is cpu or cuda");
}

/* What a linear goes through; seconds of the factor, or of the search, and of codes. */
struct work {
    vlmp_ctx *ctx;
    const struct options *o;
    float *gram, *w, *sizes; /* [k][k] of the context; [n][k], [k] mean |x| of the host */
    vlmp_quantized q;
    double first, codes;
    int sweeps;
};

static void run_gptq(struct work *work)
{
    vlmp_ctx *ctx = work->ctx;
    vlmp_error err = {0};
    vlmp_hessian h;
    vlmp_gptq_report report;
    vlmp_gptq_options options = vlmp_gptq_defaults();
    size_t bytes = (size_t)work->q.n * (size_t)work->q.k * sizeof(float);
    const float *target;
    double start = seconds(ctx);
    good(vlmp_hessian_create(&h, ctx, work->gram, work->q.k, work->q.group, vlmp_gptq_damping(),
                             &err),
         &err);
    double factored = seconds(ctx);
    good(vlmp_lend(ctx, &target, work->w, bytes, "weights", &err), &err);
    good(vlmp_gptq(&work->q, ctx, &h, work->gram, target, &options, "linear", &report, &err), &err);
    vlmp_lend_end(ctx, target, work->w);
    work->first = factored - start;
    work->codes = seconds(ctx) - factored;
    work->sweeps = report.sweeps;
    vlmp_hessian_free(&h);
}

/* Codes of the weights as they are: scaled ones take as long. */
static void run_awq(struct work *work)
{
    vlmp_ctx *ctx = work->ctx;
    vlmp_error err = {0};
    vlmp_awq_options options = vlmp_awq_defaults();
    vlmp_awq_report report;
    const vlmp_awq_linear linear = {work->w, work->q.n};
    const vlmp_awq_site site = {.k = work->q.k,
                                .gram = work->gram,
                                .mean_abs = work->sizes,
                                .linears = &linear,
                                .count = 1};
    float *scales = need((size_t)work->q.k);
    double start = seconds(ctx);
    good(vlmp_awq_search(scales, ctx, &site, &work->q.scheme, &options, &report, &err), &err);
    double searched = seconds(ctx);
    good(vlmp_awq_quantize(&work->q, ctx, work->gram, work->w, &options, "linear", &err), &err);
    work->first = searched - start;
    work->codes = seconds(ctx) - searched;
    free(scales);
}

static void run(vlmp_ctx *ctx, const struct options *o)
{
    vlmp_error err = {0};
    vlmp_rng rng = {1};
    vlmp_scheme scheme =
        vlmp_scheme_make(vlmp_code_type_of_bits(o->bits), o->group,
                         o->asymmetric ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE, false);
    size_t values = (size_t)o->n * (size_t)o->k, k = (size_t)o->k;
    struct work work = {.ctx = ctx, .o = o, .w = need(values), .sizes = need(k)};
    bool gptq = strcmp(o->method, "gptq") == 0;
    double error = 0, energy = 1;
    good(vlmp_ctx_alloc(ctx, &work.gram, k, k * sizeof(float), "moments", &err), &err);
    double moments = add_moments(ctx, o, work.gram, work.sizes, &rng);
    ctx->ops->quant->mirror(ctx, work.gram, o->k);
    for (size_t i = 0; i < values; i++)
        work.w[i] = 0.02f * normal(&rng);
    good(vlmp_quantized_alloc(&work.q, o->n, o->k, &scheme, &err), &err);
    (gptq ? run_gptq : run_awq)(&work);
    vlmp_guard_linear judged = {.name = "linear", .w = work.w, .q = &work.q};
    vlmp_guard_tokens tokens = {.gram = work.gram};
    good(vlmp_guard_error(&error, ctx, &judged, &tokens, NULL, &err), &err);
    good(vlmp_guard_energy(&energy, ctx, work.w, o->n, o->k, work.gram, &err), &err);
    printf("{\"kernels\": \"%s\", \"method\": \"%s\", \"n\": %d, \"k\": %d, \"group\": %d, "
           "\"bits\": %d, \"symmetric\": %s, \"tokens\": %d, \"moments_s\": %.4f, \"%s_s\": %.4f, "
           "\"codes_s\": %.4f, \"sweeps\": %d, \"error\": %.6g}\n",
           vlmp_ctx_describe(ctx), o->method, o->n, o->k, work.q.group, o->bits,
           o->asymmetric ? "false" : "true", o->tokens, moments, gptq ? "factor" : "search",
           work.first, work.codes, work.sweeps, error / energy);
    vlmp_quantized_free(&work.q);
    vlmp_ctx_free_memory(ctx, work.gram);
    free(work.w);
    free(work.sizes);
}

int main(int argc, char **argv)
{
    struct options o = {.n = 1024,
                        .k = 1024,
                        .group = 128,
                        .tokens = 2048,
                        .distinct = INT_MAX,
                        .threads = 1,
                        .bits = 4,
                        .device = "cpu",
                        .method = "gptq"};
    parse(&o, argc, argv);
    vlmp_error err = {0};
    vlmp_pool *pool = NULL;
    vlmp_ctx *ctx = NULL;
    bool installed;
    good(vlmp_pool_create(&pool, o.threads, &err), &err);
    if (strcmp(o.device, "cuda") == 0)
        good(vlmp_ctx_create_cuda(&ctx, 0, pool, &installed, &err), &err);
    else
        good(vlmp_ctx_create(&ctx, VLMP_BACKEND_CPU, NULL, pool, &err), &err);
    run(ctx, &o);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
    return 0;
}
