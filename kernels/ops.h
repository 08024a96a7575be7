/* The kernel interface: one table of operations, several implementations (ref, cpu, later cuda).
 *
 * Rules for every operation:
 *  - Rows are tokens; there is no batch dimension. Sequences and picture tiles are segments.
 *  - Activations are F32, row-major, contiguous. Outputs never alias inputs unless said.
 *  - Nothing allocates or logs. Preconditions are asserts. What can fail, fails in vlmp_ctx_*.
 *  - The same input gives the same bits whatever the number of threads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/packed_parts.h"
#include "src/base/parallel.h"

/* y = x·Wᵀ + bias. Either dense (weight, dtype) or quantized (scheme, codes, scales, zeros). */
typedef struct {
    int n; /* outputs */
    int k; /* inputs */

    /* dense */
    const void *weight; /* [n][k] of dtype, any alignment */
    vlmp_dtype dtype;   /* VLMP_F32, VLMP_F16 or VLMP_BF16 */

    /* quantized: w = (u − z)·s, the parts as in src/base/packed_parts.h. With int8 activations x is
     * quantized per row to int8 (s = amax/127.5, codes ±127) first; a row with an input that is not
     * finite gives NaN. */
    vlmp_scheme scheme; /* codes VLMP_CODES_NONE: dense */
    const uint8_t *codes;
    const void *scales;
    const uint8_t *zeros; /* NULL without zeros */

    const float *bias; /* [n] or NULL */
    void *backend;     /* a device's own copy; NULL on the CPU */
} vlmp_linear;

static inline bool vlmp_linear_quantized(const vlmp_linear *w)
{
    return w->scheme.codes != VLMP_CODES_NONE;
}

/* Whether inputs become int8 first. */
static inline bool vlmp_linear_int8(const vlmp_linear *w)
{
    return vlmp_linear_quantized(w) && w->scheme.int8_activations;
}

/* The rest is for quantized linears. Bits of a code, inputs of a group, groups of a row. */
static inline int vlmp_linear_bits(const vlmp_linear *w)
{
    return vlmp_code_types[w->scheme.codes].bits;
}

static inline int vlmp_linear_group(const vlmp_linear *w)
{
    return vlmp_scheme_group(&w->scheme, w->k);
}

static inline int vlmp_linear_groups(const vlmp_linear *w)
{
    return w->k / vlmp_linear_group(w);
}

/* The codes of output n. */
static inline const uint8_t *vlmp_linear_codes(const vlmp_linear *w, int n)
{
    return w->codes + (size_t)n * vlmp_codes_row_bytes(w->k, vlmp_linear_bits(w));
}

/* Scale and zero of one group of output n. */
static inline float vlmp_linear_scale(const vlmp_linear *w, int n, int group)
{
    size_t index = (size_t)n * (size_t)vlmp_linear_groups(w) + (size_t)group;
    return vlmp_scale_at(w->scales, index, w->scheme.scales) * w->scheme.global_scale;
}

static inline int vlmp_linear_zero(const vlmp_linear *w, int n, int group)
{
    const vlmp_code_info *info = &vlmp_code_types[w->scheme.codes];
    if (w->zeros == NULL) return info->middle;
    size_t row_bytes = vlmp_codes_row_bytes(vlmp_linear_groups(w), info->bits);
    return vlmp_code_at(w->zeros + (size_t)n * row_bytes, group, info->bits);
}

/* Consecutive rows that belong together (a sequence, a picture tile). */
typedef struct {
    int first_row;        /* in this call's matrices */
    int rows;             /* > 0 */
    int position;         /* rows of the same sequence already in the KV store */
    const int32_t *pages; /* page numbers covering position + rows rows; NULL: 0, 1, 2, … */
} vlmp_segment;

/* One layer's key and value store: page p, row r starts at (p·page_rows + r)·kv_heads·head_dim. */
typedef struct {
    float *k;
    float *v;
    int page_rows;
    int kv_heads;
    int head_dim;
} vlmp_kv;

typedef struct {
    int heads; /* query heads; head h reads key/value head h / (heads/kv_heads) */
    float scale;
    bool causal; /* row i of a sequence sees rows j ≤ i, and j > i − window when window > 0 */
    int window;
} vlmp_attention;

typedef enum {
    VLMP_GELU,       /* 0.5·x·(1 + erf(x/√2)) */
    VLMP_GELU_TANH,  /* 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) */
    VLMP_QUICK_GELU, /* x·sigmoid(1.702·x) */
    VLMP_SILU,       /* x·sigmoid(x) */
    VLMP_RELU,
} vlmp_activation;

struct vlmp_ops;
struct vlmp_blas;
struct vlmp_cpu_kernels;

/* What operations run with. One context serves one caller at a time. */
typedef struct vlmp_ctx {
    const struct vlmp_ops *ops;
    vlmp_pool *pool;                        /* not owned */
    const struct vlmp_blas *blas;           /* NULL: the reference, which needs none */
    const struct vlmp_cpu_kernels *kernels; /* of the processor's level; NULL: the reference */
    unsigned char *scratch;                 /* shared by the threads of one operation */
    size_t scratch_bytes;
    unsigned char *thread_scratch; /* threads × VLMP_THREAD_SCRATCH bytes */
} vlmp_ctx;

#define VLMP_THREAD_SCRATCH ((size_t)4 << 20) /* bytes; bounds what one tile may use */

typedef struct vlmp_ops {
    const char *name; /* "ref", "avx2", "avx512" … */

    /* y[rows][n] = x[rows][k]·Wᵀ + bias. rows ≥ 0. */
    void (*linear)(vlmp_ctx *ctx, float *y, const float *x, int rows, const vlmp_linear *w);

    /* Several products of one input, y[i][rows][w[i]->n]; NULL means one linear after another. Same
     * bits as that. */
    void (*linear_shared)(vlmp_ctx *ctx, float *const *y, const float *x, int rows,
                          const vlmp_linear *const *w, int count);

    /* y[i] = x[i]/√(mean(x²) + eps)·weight[i], per row. y may be x. */
    void (*rms_norm)(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                     const float *weight, float eps);

    /* y = (x − mean)/√(var + eps)·weight + bias (biased variance), per row. y may be x. */
    void (*layer_norm)(vlmp_ctx *ctx, float *y, const float *x, int rows, int dim,
                       const float *weight, const float *bias, float eps);

    /* x = act(x), in place. */
    void (*activate)(vlmp_ctx *ctx, float *x, size_t count, vlmp_activation act);

    /* gate = act(gate)·up, in place. */
    void (*gated)(vlmp_ctx *ctx, float *gate, const float *up, size_t count, vlmp_activation act);

    /* y += x. */
    void (*add)(vlmp_ctx *ctx, float *y, const float *x, size_t count);

    /* Rotates x[rows][heads·head_dim] in place, half-split form: with a = position·inv_freq[j] and
     * j < head_dim/2, (x_j, x_{j+d/2}) becomes (x_j cos a − x_{j+d/2} sin a, x_{j+d/2} cos a +
     * x_j sin a). inv_freq [head_dim/2]; the angle is an F32 product as in the reference
     * implementation; cos and sin are multiplied by scaling (1 for most models). */
    void (*rope)(vlmp_ctx *ctx, float *x, int rows, int heads, int head_dim,
                 const int32_t *positions, const float *inv_freq, float scaling);

    /* Copies k, v [rows][kv_heads·head_dim] to the pages of the segments. */
    void (*kv_write)(vlmp_ctx *ctx, const vlmp_kv *kv, const float *k, const float *v,
                     const vlmp_segment *segments, int count);

    /* y[rows][heads·head_dim] = softmax(q·kᵀ·scale)·v over the segment's position + rows stored
     * rows (its own included: kv_write comes first). */
    void (*attention)(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv,
                      const vlmp_attention *a, const vlmp_segment *segments, int count);

    /* y[rows][k] = rows ids[i] of the table (dense or quantized, n = vocabulary, k = width). Ids
     * are in range. */
    void (*embed)(vlmp_ctx *ctx, float *y, const int32_t *ids, int rows, const vlmp_linear *table);

    /* gram[k][k] += xᵀ·x over the rows of x[rows][k]; both triangles are written. Chunks of rows
     * are added in order. */
    void (*gram)(vlmp_ctx *ctx, float *gram, const float *x, int rows, int k);

    /* c[m][n] = alpha·a[m][k]·b[k][n] + beta·c, row-major with leading dimensions lda, ldb, ldc;
     * the transposed operand is given with its stored layout (trans_b: b[n][k]). For quantizers. */
    void (*gemm)(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
} vlmp_ops;

typedef enum {
    VLMP_BACKEND_REF, /* obvious C, double accumulation: the oracle */
    VLMP_BACKEND_CPU, /* the best this processor has */
} vlmp_backend;

/* level: NULL for the best, or "portable", "avx2", "avx512", "avx512vnni" to pin one
 * (VLMP_ERR_USAGE when the processor lacks it). Opens BLAS for the CPU backend. The pool is not
 * owned. */
int vlmp_ctx_create(vlmp_ctx **ctx, vlmp_backend backend, const char *level, vlmp_pool *pool,
                    vlmp_error *err);
void vlmp_ctx_free(vlmp_ctx *ctx);

/* Scratch for products of up to rows × k inputs; call before work with larger sizes. */
int vlmp_ctx_reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err);

/* What results depend on beside the input: "avx512vnni, OpenBLAS 0.3.21 Cooperlake". */
const char *vlmp_ctx_describe(const vlmp_ctx *ctx);
