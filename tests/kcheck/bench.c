/* Speed of products at a model's shape: one row (bandwidth) and many (arithmetic). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clock.h"
#include "tests/kcheck/kcheck.h"

enum { N = 4096, K = 4096, RUNS = 9 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_linear(const kc *k, const char *what, vlmp_linear w, const float *x, float *y)
{
    static const int rows[] = {1, 4, 256};
    vlmp_packed_shape shape;
    double bytes = vlmp_packed_shape_of(&shape, N, K, &w.scheme)
                       ? (double)shape.bytes
                       : (double)N * K * (double)vlmp_dtype_size(w.dtype);
    for (int i = 0; i < 3; i++) {
        double times[RUNS];
        for (int run = -1; run < RUNS; run++) {
            double start = vlmp_seconds();
            k->contexts[1]->ops->linear(k->contexts[1], kc_act(y), kc_act(x),
                                        (vlmp_rows){rows[i], rows[i] <= 8}, &w);
            times[run < 0 ? 0 : run] = vlmp_seconds() - start;
        }
        qsort(times, RUNS, sizeof *times, by_value);
        double time = times[RUNS / 2];
        printf("bench %-10s %-12s rows %3d  %9.1f us  %6.2f GB/s  %7.1f GOP/s\n", k->level, what,
               rows[i], time * 1e6, bytes / time / 1e9, 2.0 * rows[i] * N * K / time / 1e9);
    }
}

/* Of as many rows as calibration has at once. */
static void bench_moments(const kc *k, const char *what, int width, const float *x, float *sums)
{
    enum { ROWS = 2048 };
    vlmp_ctx *ctx = k->contexts[1];
    bool lower = strcmp(what, "gram") == 0;
    double times[RUNS], products = (double)ROWS * width * (lower ? width + 1.0 : 2.0 * width);
    for (int run = -1; run < RUNS; run++) {
        double start = vlmp_seconds();
        if (lower)
            ctx->ops->gram(ctx, kc_f32(sums), kc_act(x), ROWS, width);
        else
            ctx->ops->cross(ctx, kc_f32(sums), kc_act(x), kc_act(x + width), ROWS, width);
        times[run < 0 ? 0 : run] = vlmp_seconds() - start;
    }
    qsort(times, RUNS, sizeof *times, by_value);
    double time = times[RUNS / 2];
    printf("bench %-10s %-12s k %6d  %9.1f us  %7.1f GOP/s\n", k->level, what, width, time * 1e6,
           products / time / 1e9);
}

void kc_bench(kc *k)
{
    kc_begin(k, "bench");
    float *x = kc_floats(k, (size_t)256 * K, KC_NORMAL);
    float *y = kc_input(k, (size_t)256 * N * sizeof *y);
    unsigned char *weights = kc_input(k, (size_t)N * K * 4);
    unsigned char *scales = kc_input(k, (size_t)N * K / 16 * 2);
    memset(weights, 0x2c, (size_t)N * K * 4); /* small numbers in every type */
    memset(scales, 0x2c, (size_t)N * K / 16 * 2);
    vlmp_linear dense = {.n = N, .k = K, .weight = weights};
    vlmp_linear packed = {.n = N, .k = K, .codes = weights, .high = weights, .scales = scales};
    static const struct {
        const char *name;
        vlmp_code_type codes;
        int group;
        bool int8;
        vlmp_dtype dtype;
    } cases[] = {{"f32", VLMP_CODES_NONE, 0, false, VLMP_F32},
                 {"f16", VLMP_CODES_NONE, 0, false, VLMP_F16},
                 {"bf16", VLMP_CODES_NONE, 0, false, VLMP_BF16},
                 {"w3g32", VLMP_CODES_U3, 32, false, VLMP_F32},
                 {"w3g128", VLMP_CODES_U3, 128, false, VLMP_F32},
                 {"w3g32 int8", VLMP_CODES_U3, 32, true, VLMP_F32},
                 {"w4g32", VLMP_CODES_U4, 32, false, VLMP_F32},
                 {"w4g128", VLMP_CODES_U4, 128, false, VLMP_F32},
                 {"w8", VLMP_CODES_U8, 0, false, VLMP_F32},
                 {"fp8", VLMP_CODES_FP8, 0, false, VLMP_F32},
                 {"fp8 block", VLMP_CODES_FP8, VLMP_BLOCK_OUTPUTS, false, VLMP_F32},
                 {"mxfp4", VLMP_CODES_MXFP4, 32, false, VLMP_F32},
                 {"nvfp4", VLMP_CODES_NVFP4, 16, false, VLMP_F32},
                 {"w4g32 int8", VLMP_CODES_U4, 32, true, VLMP_F32},
                 {"w8 int8", VLMP_CODES_U8, 0, true, VLMP_F32}};
    vlmp_error err = {0};
    if (vlmp_ctx_reserve(k->contexts[1], 256, K, &err) != 0) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_linear w = cases[i].codes != VLMP_CODES_NONE ? packed : dense;
        if (cases[i].codes != VLMP_CODES_NONE)
            w.scheme =
                vlmp_scheme_make(cases[i].codes, cases[i].group, VLMP_ZEROS_NONE, cases[i].int8);
        w.dtype = cases[i].dtype;
        bench_linear(k, cases[i].name, w, x, y);
    }
    float *sums = kc_input(k, (size_t)1536 * 1536 * sizeof *sums);
    float *inputs = kc_floats(k, (size_t)2049 * 1536, KC_NORMAL);
    memset(sums, 0, (size_t)1536 * 1536 * sizeof *sums);
    for (int width = 576; width <= 1536; width += 960) {
        bench_moments(k, "gram", width, inputs, sums);
        bench_moments(k, "cross", width, inputs, sums);
    }
}
