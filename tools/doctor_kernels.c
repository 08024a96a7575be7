/* Whether what commands compute with is there, right, and as fast as it should be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "src/base/clock.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "tools/doctor.h"

enum { SIDE = 384, ROUNDS = 5 };

/* A plain loop takes vectors of 4 values and waits for the cache; kernels for 8 are ten to twenty
 * times as fast, half of that where two threads share a core. */
#define SLOW 5

/* c = a·b by an implementation; returns the least seconds of some rounds. */
static double multiply(vlmp_ctx *ctx, int rounds, const float *a, const float *b, float *c)
{
    double least = INFINITY;
    for (int i = 0; i < rounds; i++) {
        double start = vlmp_seconds();
        ctx->ops->gemm(ctx, false, false, SIDE, SIDE, SIDE, 1.0f, a, SIDE, b, SIDE, 0.0f, c, SIDE);
        least = fmin(least, vlmp_seconds() - start);
    }
    return least;
}

/* The same in a loop as one would write it, on one thread. */
static double multiply_plainly(const float *restrict a, const float *restrict b, float *restrict c)
{
    double start = vlmp_seconds();
    memset(c, 0, sizeof *c * SIDE * SIDE);
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < SIDE; k++)
            for (int j = 0; j < SIDE; j++)
                c[i * SIDE + j] += a[i * SIDE + k] * b[k * SIDE + j];
    return vlmp_seconds() - start;
}

/* Sums of k F32 products in any order are off by (k+1)·2⁻²⁴ times the sum of their sizes, of which
 * side·1 is a bound for values within ±1. */
static bool right(const float *got, const float *expected)
{
    for (int i = 0; i < SIDE * SIDE; i++)
        if (!(fabsf(got[i] - expected[i]) <= (SIDE + 2) * 0x1p-24f * SIDE)) return false;
    return true;
}

static void check_products(vlmp_findings *findings, vlmp_ctx *ctx, int threads, float *work)
{
    vlmp_finding *f = vlmp_findings_add(findings, "products");
    const int size = SIDE * SIDE;
    float *a = work, *b = a + size, *fast = b + size, *slow = fast + size;
    vlmp_rng rng = {1};
    for (int i = 0; i < 2 * size; i++)
        a[i] = (float)(vlmp_rng_uniform(&rng) * 2 - 1);
    multiply(ctx, 1, a, b, fast);
    double least = multiply(ctx, ROUNDS, a, b, fast), loop = multiply_plainly(a, b, slow);
    double rate = 2.0 * SIDE * SIDE * SIDE / least / 1e9, ratio = loop / least / threads;
    vlmp_finding_value_of(f, "gflops", rate);
    vlmp_finding_value_of(f, "ratio", ratio);
    if (!right(fast, slow)) {
        vlmp_finding_say(f, "wrong");
        vlmp_finding_advise(f, VLMP_FINDING_BAD,
                            "OpenBLAS computes wrongly on this processor; set OPENBLAS_CORETYPE to "
                            "other kernels (Haswell), or install another OpenBLAS");
        return;
    }
    vlmp_finding_say(f, "right; %.0f Gflop/s, a thread %.1f times as fast as a plain loop", rate,
                     ratio);
    if (ratio < SLOW)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "that is slow: other programs take the processor, or OpenBLAS has none "
                            "of its fast kernels for it");
}

static void check_kernels(vlmp_findings *findings, vlmp_pool *pool, bool core_given)
{
    vlmp_finding *f = vlmp_findings_add(findings, "kernels");
    vlmp_error err = {0};
    vlmp_ctx *ctx = NULL;
    float *work = vlmp_alloc(4 * (size_t)SIDE * SIDE, sizeof *work);
    int status = vlmp_ctx_create(&ctx, VLMP_BACKEND_CPU, NULL, pool, &err);
    if (status == VLMP_OK && work == NULL) status = vlmp_fail_memory(&err, "a look at products");
    if (status != VLMP_OK) {
        vlmp_finding_say(f, "none");
        vlmp_finding_advise(f, VLMP_FINDING_BAD, "%s", err.message);
    } else {
        vlmp_finding_say(f, "%s", vlmp_ctx_describe(ctx));
        if (core_given)
            vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                                "OPENBLAS_CORETYPE is set and decides which kernels OpenBLAS "
                                "takes; without it the fastest for this processor are taken");
        check_products(findings, ctx, vlmp_pool_threads(pool), work);
    }
    free(work);
    vlmp_ctx_free(ctx);
}

static void check_cuda(vlmp_findings *findings, vlmp_pool *pool, int device, bool needed)
{
    vlmp_finding *f = vlmp_findings_add(findings, "cuda");
    vlmp_error err = {0};
    vlmp_ctx *ctx = NULL;
    bool installed = false;
    if (vlmp_ctx_create_cuda(&ctx, device, pool, &installed, &err) == VLMP_OK) {
        vlmp_finding_say(f, "%s", vlmp_ctx_describe(ctx));
    } else {
        vlmp_finding_say(f, "none; commands use the processor");
        vlmp_finding_advise(f, needed ? VLMP_FINDING_BAD : VLMP_FINDING_NOTE, "%s", err.message);
    }
    vlmp_ctx_free(ctx);
}

void vlmp_doctor_kernels(vlmp_findings *findings, vlmp_pool *pool, int device, bool needed)
{
    const char *core = getenv("OPENBLAS_CORETYPE"); /* before opening BLAS sets it */
    check_kernels(findings, pool, core != NULL && core[0] != '\0');
    check_cuda(findings, pool, device, needed);
}
