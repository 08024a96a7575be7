/* What the files of the context behind the host's share: device.c, and device_quant.c for what
 * quantizers compute. */
#pragma once

#include "kernels/quant.h"
#include "tests/kcheck/kcheck.h"

enum { KC_MOST_HELD = 24 };

/* A buffer of the running operation on the device. */
struct held {
    void *at;
    void *host;
    size_t count; /* bytes, or activations */
    bool act, out;
};

struct device {
    vlmp_ctx base;
    vlmp_ctx *inner; /* owned */
    struct held held[KC_MOST_HELD];
    int held_count;
};

static inline struct device *kc_device_of(vlmp_ctx *ctx)
{
    return (struct device *)(void *)ctx;
}

/* The device's place of `bytes` of the host, which are written back where they come out; NULL of
 * NULL. */
void *kc_device_place(struct device *d, const void *host, size_t bytes, bool out);

/* Brings results to the host, and frees the places. */
void kc_device_finish(struct device *d);

extern const vlmp_quant_ops kc_device_quant_ops;
void kc_device_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                    const float *a, int lda, const float *b, int ldb, float beta, float *c,
                    int ldc);
