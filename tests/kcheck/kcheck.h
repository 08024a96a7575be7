/* kcheck compares every operation of every level with the reference (after dav1d's checkasm): on
 * guarded buffers, NaN-filled outputs and several kinds of input, within a bound per output that
 * each check derives; then again, and with other numbers of threads, for identical bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/ops.h"
#include "src/base/rng.h"

#define KC_UNIT 0x1p-24 /* half an ulp of 1: the largest relative error of one F32 rounding */

/* Of a product of two numbers rounded to the 8 significant bits of BF16, half an ulp of 1 being
 * 2⁻⁸: (1 + 2⁻⁸)² − 1. Where one of the two, the product or a sum is below 2⁻¹²⁶ it may become 0.
 */
#define KC_BF16      (0x1p-7 + 0x1p-16)
#define KC_BF16_TINY 0x1p-126

/* Half an ulp of 1 in F16, and half the least subnormal: what becomes an activation of a device
 * errs by the larger of the two, the first in proportion. */
#define KC_HALF      0x1p-11
#define KC_HALF_TINY 0x1p-25

enum { KC_THREAD_COUNTS = 3, KC_MAX_INPUTS = 64 };

typedef enum {
    KC_UNIFORM,
    KC_NORMAL,
    KC_OUTLIERS, /* some values ×100 */
    KC_ZEROS,
    KC_ONE_HOT,
    KC_TINY, /* subnormal */
    KC_KINDS,
} kc_kind;

typedef struct {
    unsigned char *memory; /* guard, data, guard */
    size_t bytes;
    uint64_t hash;
} kc_buffer;

typedef struct kc {
    uint64_t seed;
    const char *filter; /* NULL: all */
    bool bench;
    int every; /* beyond 1: one of so many is compared in long lists, and large ones are left out */
    int step;  /* that, in the list at hand */
    bool quiet; /* the self-test expects failures */
    vlmp_ctx *reference;
    vlmp_ctx *contexts[KC_THREAD_COUNTS]; /* of the level under test, 1, 2 and 3 threads */
    vlmp_ctx *processor; /* beside a device: what has the bits that some of its results must have */
    const char *level;
    int context_count;               /* of them */
    bool bf16;                       /* products of many rows, gram and cross round to BF16 */
    bool half;                       /* activations are F16, and so are all inputs */
    bool act;                        /* outputs at hand are activations */
    kc_buffer inputs[KC_MAX_INPUTS]; /* of the case at hand */
    int input_count;
    vlmp_rng rng;
    int cases;    /* seen */
    int checks;   /* compared */
    int failures; /* of them */
} kc;

/* One case. run computes `count` outputs. */
typedef struct {
    const char *name; /* formatted with sizes and kind; printed on failure */
    void (*run)(vlmp_ctx *ctx, float *out, const void *arg);
    const void *arg;
    size_t count;
    const float *initial;   /* what the output holds before; NULL: NaN */
    const double *expected; /* NaN expects NaN */
    const double *bound;    /* largest |difference|; NULL: 0 */
} kc_case;

/* Starts a case: frees the last one's inputs and seeds the generator by name. */
void kc_begin(kc *k, const char *name);

/* Inputs of a case, guarded; hashed by kc_check before and after. Exits when memory is out. */
void *kc_input(kc *k, size_t bytes);
float *kc_floats(kc *k, size_t count, kc_kind kind); /* filled; the last is never small */
uint8_t *kc_bytes(kc *k, size_t bytes);              /* random */

/* What an input of this value is: of F16, the nearest. */
float kc_value(const kc *k, double value);

void kc_fill(kc *k, float *values, size_t count, kc_kind kind);
const char *kc_kind_name(kc_kind kind);
double kc_normal(kc *k);

void *kc_need(size_t count, size_t size); /* zeroed, free() */

/* Compares; returns whether all was well. */
bool kc_check(kc *k, const kc_case *c);
bool kc_check_act(kc *k, const kc_case *c); /* outputs are activations, rounded as such */

/* A buffer of the host as the context's memory, which it is for implementations on the processor.
 */
static inline vlmp_f32 kc_f32(const float *values)
{
    return (vlmp_f32){(float *)(uintptr_t)values};
}

static inline vlmp_act kc_act(const float *values)
{
    return (vlmp_act){(void *)(uintptr_t)values};
}

/* A step of the context; exits when memory is out. Free with ctx->ops->step_free. */
vlmp_step *kc_step(vlmp_ctx *ctx, const vlmp_step_rows *rows);

/* A fault that a check finds itself. */
void kc_fail(kc *k, const char *name, const char *what);

/* A context on which checks can run that is `inner`, whose memory is not the host's: owned. */
vlmp_ctx *kc_device(vlmp_ctx *inner);

/* The checks; each runs its cases for k->level. */
void kc_check_dense(kc *k);
void kc_check_packed(kc *k);
void kc_check_floats(kc *k);
void kc_check_int8(kc *k);
void kc_check_wide(kc *k);
void kc_check_shared(kc *k);
void kc_check_added(kc *k);
void kc_check_neighbours(kc *k);
void kc_check_embed(kc *k);
void kc_check_norms(kc *k);
void kc_check_activations(kc *k);
void kc_check_elementwise(kc *k);
void kc_check_rope(kc *k);
void kc_check_kv_write(kc *k);
void kc_check_attention(kc *k);
void kc_check_moved(kc *k);
void kc_check_measures(kc *k);
void kc_check_gram(kc *k);
void kc_check_cross(kc *k);
void kc_check_gemm(kc *k);
void kc_check_quant(kc *k);
void kc_check_linalg(kc *k);
void kc_check_self(kc *k);

void kc_bench(kc *k);
