/* What operations run with, and the memory that they run on.
 *
 * A context is an implementation's: this header shows the part that callers may know. Values lie in
 * the context's memory, at addresses that host code passes on and does arithmetic with, and never
 * reads through: a processor's are ordinary pointers, a device's are not. What a call has been
 * asked for may happen later; vlmp_ctx_sync and vlmp_ctx_read wait for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/parallel.h"

struct vlmp_ops;

/* One context serves one caller at a time. */
typedef struct vlmp_ctx {
    const struct vlmp_ops *ops;
    vlmp_pool *pool;   /* of the host; not owned */
    size_t held, peak; /* bytes of a device's memory, now and at most; 0 on a processor */
} vlmp_ctx;

/* Addresses in a context's memory. */
typedef struct {
    float *at;
} vlmp_f32;

typedef struct {
    void *at; /* of ops->act_bytes each: F32 on a processor, half floats on a device */
} vlmp_act;

typedef struct {
    int32_t *at;
} vlmp_i32;

typedef struct {
    uint8_t *at;
} vlmp_u8;

typedef struct {
    double *at;
} vlmp_f64;

typedef enum {
    VLMP_BACKEND_REF, /* obvious C, double accumulation: the oracle */
    VLMP_BACKEND_CPU, /* the best this processor has */
} vlmp_backend;

/* level: NULL for the best that computes in F32, or "portable", "avx2", "avx512", "avx512vnni" to
 * pin one (VLMP_ERR_USAGE when the processor lacks it); "avx512bf16" rounds what products of many
 * rows, gram and cross multiply to BF16. Opens BLAS for the CPU backend. The pool is not owned. */
int vlmp_ctx_create(vlmp_ctx **ctx, vlmp_backend backend, const char *level, vlmp_pool *pool,
                    vlmp_error *err);

/* The same on CUDA device `device`, by libvlmpack-cuda.so. VLMP_ERR_SYSTEM, with what to do: the
 * library is missing (*installed: false) or of another version, no device, a driver that is too
 * old, an architecture without code, too little memory. */
int vlmp_ctx_create_cuda(vlmp_ctx **ctx, int device, vlmp_pool *pool, bool *installed,
                         vlmp_error *err);
void vlmp_ctx_free(vlmp_ctx *ctx);

/* Scratch for products of up to rows × k inputs; call before work with larger sizes. */
int vlmp_ctx_reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err);

/* What results depend on beside the input: "avx512vnni, OpenBLAS 0.3.21 Cooperlake". */
const char *vlmp_ctx_describe(const vlmp_ctx *ctx);

/* count × size bytes of the context's memory, zeroed, or VLMP_ERR_SYSTEM naming what it is for;
 * out: a vlmp_f32 * or its like. Free with vlmp_ctx_free_memory (NULL is allowed). */
int vlmp_ctx_alloc(vlmp_ctx *ctx, void *out, size_t count, size_t size, const char *what,
                   vlmp_error *err);
void vlmp_ctx_free_memory(vlmp_ctx *ctx, void *at);

/* The most bytes of a device's memory that were taken since the last reset; 0 on a processor. */
size_t vlmp_ctx_peak(const vlmp_ctx *ctx);
void vlmp_ctx_peak_reset(vlmp_ctx *ctx);

/* Copies of bytes between host and context; host memory may be changed when write returns, and is
 * filled when read does. What operations failed at, read reports, as sync does: a device's error is
 * VLMP_ERR_SYSTEM with what the device says. */
void vlmp_ctx_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes);
int vlmp_ctx_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err);
int vlmp_ctx_sync(vlmp_ctx *ctx, vlmp_error *err);
