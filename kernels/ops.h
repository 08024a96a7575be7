/* The kernel interface: one table of operations, several implementations (ref, cpu, cuda).
 *
 * Rules for every operation:
 *  - Rows are tokens; there is no batch dimension. Sequences and picture tiles are segments of a
 *    step.
 *  - Activations (vlmp_act) are of the context's own type, the residual stream is F32, sums are F32
 *    or wider. All are row-major and contiguous. Outputs never alias inputs unless said.
 *  - Arguments that are addresses lie in the context's memory; structs are read before the call
 *    returns. Results may come later: vlmp_ctx_read and vlmp_ctx_sync wait.
 *  - Nothing allocates or logs but what returns a status, and replay. Preconditions are asserts.
 *  - The same input gives the same bits whatever the number of threads, and a row's result does not
 *    depend on the other rows.
 */
#pragma once

#include "kernels/context.h"
#include "kernels/linear.h"
#include "kernels/step.h"

typedef enum {
    VLMP_GELU,       /* 0.5·x·(1 + erf(x/√2)) */
    VLMP_GELU_TANH,  /* 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) */
    VLMP_QUICK_GELU, /* x·sigmoid(1.702·x) */
    VLMP_SILU,       /* x·sigmoid(x) */
    VLMP_RELU,
} vlmp_activation;

/* Rows of a product. decode: each is the next token of a sequence of its own, and few at a time:
 * weights are read where they lie. Else they are parts of prompts, and go through tiles. The two
 * differ within the bounds of kernels/README.md; how many rows there are changes nothing. */
typedef struct {
    int count;
    bool decode;
} vlmp_rows;

/* What a model's and its reference's logits say about a token. */
typedef struct {
    double nll;           /* −log q(target) */
    double reference_nll; /* −log p(target); 0 without a reference */
    double kl;            /* Σ p·log(p/q); 0 without a reference */
    int32_t best;         /* the largest logit, the first of equals */
    int32_t reference_best;
    float bad, reference_bad; /* a logit that is NaN or infinite; else 0 */
} vlmp_token_measure;

typedef struct {
    vlmp_token_measure *at;
} vlmp_measures;

struct vlmp_quant_ops;

typedef struct vlmp_ops {
    const char *name; /* "ref", "cpu" … */
    size_t act_bytes; /* of an activation */
    bool copies;      /* prepare copies a weight and its bias: what it was given may go */
    bool host;        /* the context's memory is the host's: either may stand for the other */

    /* The implementation of kernels/context.h. */
    void (*destroy)(vlmp_ctx *ctx);
    int (*reserve)(vlmp_ctx *ctx, int rows, int k, vlmp_error *err);
    const char *(*describe)(const vlmp_ctx *ctx);
    /* Zeroed; what: what it is for, which the error says. */
    int (*alloc)(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err);
    void (*free)(vlmp_ctx *ctx, void *at);
    void (*write)(vlmp_ctx *ctx, void *to, const void *from, size_t bytes);
    int (*read)(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err);
    int (*sync)(vlmp_ctx *ctx, vlmp_error *err);
    /* Names what is asked for until the same with NULL, for tools that watch a device; ranges nest.
     */
    void (*range)(vlmp_ctx *ctx, const char *name);
    /* Activations from and to F32 of the host. */
    void (*write_act)(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count);
    int (*read_act)(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err);

    /* What linear and embed need of a weight and its bias, into w->own; whoever prepares, releases.
     * The weight's memory must stay, unless the table says that it copies. */
    int (*prepare)(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err);
    void (*release)(vlmp_ctx *ctx, void *own);

    int (*step_create)(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                       vlmp_error *err);
    void (*step_set)(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows);
    void (*step_free)(vlmp_ctx *ctx, vlmp_step *step);

    /* Calls that come again, with the same arguments but for what step_set has put into the step:
     * they stand between replay, where it is false, and replay_end. true: they are done, as they
     * were asked for before, and no call follows. Between the two nothing is read, written,
     * allocated or freed; *replay, NULL before, serves these calls alone, and is freed before
     * what they name. */
    bool (*replay)(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step);
    void (*replay_end)(vlmp_ctx *ctx, vlmp_replay *replay);
    void (*replay_free)(vlmp_ctx *ctx, vlmp_replay *replay);

    int (*kv_create)(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err);
    void (*kv_free)(vlmp_ctx *ctx, vlmp_kv *kv);
    size_t (*kv_bytes)(const vlmp_kv_shape *shape);

    /* y[rows][k] = rows step ids of the table (dense or quantized, n = vocabulary, k = width). Ids
     * are in range. */
    void (*embed)(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table);

    /* y[rows][n] = x[rows][k]·Wᵀ + bias. */
    void (*linear)(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w);

    /* Several products of one input, y[i][rows][w[i]->n]. Same bits as one linear after another. */
    void (*linear_shared)(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                          const vlmp_linear *const *w, int count);

    /* The same with F32 results, which replace y or, with add, are added to it. */
    void (*linear_f32)(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w,
                       bool add);

    /* y[i] = x[i]/√(mean(x²) + eps)·weight[i], per row. */
    void (*rms_norm)(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                     float eps);

    /* y = (x − mean)/√(var + eps)·weight + bias (biased variance), per row. */
    void (*layer_norm)(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       vlmp_f32 bias, float eps);
    /* The same in place, for a norm that the residual stream goes through. */
    void (*layer_norm_f32)(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                           vlmp_f32 bias, float eps);

    /* x = act(x), in place. */
    void (*activate)(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act);

    /* gate = act(gate)·up, in place. */
    void (*gated)(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act);

    /* y = a/s − b, where a and b are [rows][dim] and s [dim]; s.at NULL: 1. */
    void (*subtract)(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                     vlmp_f32 s);

    /* Rotates x[rows][heads·head_dim] in place, half-split form: with a = position·inv_freq[j] and
     * j < head_dim/2, (x_j, x_{j+d/2}) becomes (x_j cos a − x_{j+d/2} sin a, x_{j+d/2} cos a +
     * x_j sin a). inv_freq [head_dim/2]; the angle is an F32 product as in the reference
     * implementation; cos and sin are multiplied by scaling (1 for most models). axes [head_dim/2]:
     * the axis whose position turns pair j; at NULL: the first. */
    void (*rope)(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                 vlmp_f32 inv_freq, vlmp_i32 axes, float scaling);

    /* Copies k, v [rows][kv_heads·head_dim] to the step's pages of a layer. */
    void (*kv_write)(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                     const vlmp_step *step);

    /* y[rows][heads·head_dim] = softmax(q·kᵀ·scale)·v over each segment's position + rows stored
     * rows (its own included: kv_write comes first). */
    void (*attention)(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                      const vlmp_attention *a, const vlmp_step *step);

    /* A picture [height][width][3] of bytes into rows [(height/patch)·(width/patch)][3·patch²],
     * channel by channel, each byte through levels [3][256]. */
    void (*patchify)(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                     vlmp_f32 levels);

    /* y[rows][dim] = the values of each row of x[rows][x_dim] from `column` on. */
    void (*columns)(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column,
                    int dim);

    /* y[i] = table[i mod period] for i < rows of dim values. */
    void (*repeat)(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim);

    /* y[i] = x[from[i]] for i < rows; rows of x have x_dim values, those of y y_dim, of which
     * x_dim at column are written. */
    void (*gather)(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                   vlmp_i32 from, int rows);
    /* y[to[i]] = w[i]·x[from[i]], or with add y[to[i]] += w[i]·x[from[i]], for i < rows of dim
     * values; w.at NULL: 1. No row of y occurs twice. */
    void (*scatter)(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from, vlmp_f32 w,
                    int rows, int dim, bool add);

    /* *at = the first of count values that is NaN or infinite; count when none is. */
    void (*first_not_finite)(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count);
    void (*first_not_finite_f32)(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count);

    /* For each row of x[rows][dim] and its kind c (0 ≤ kinds[i] < kind_count; negative: left out):
     * sum[c][dim] += |x|, squares[c][dim] += x², largest[c][dim] = max(largest, |x|); squares or
     * largest at NULL: not wanted. Rows are added in order. */
    void (*column_sizes)(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                         vlmp_act x, int rows, int dim, vlmp_i32 kinds);
    void (*column_sizes_f32)(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                             vlmp_f32 x, int rows, int dim, vlmp_i32 kinds);

    /* out[rows] from logits q[rows] q_stride apart, of which the first vocab count, and p of the
     * reference (at NULL: none); targets[rows]. Sums in double. */
    void (*measure)(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                    size_t p_stride, int vocab, vlmp_i32 targets, int rows);

    /* best[rows] = the largest of each row x[n], the first of equals. */
    void (*argmax)(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n);

    /* Lower triangle of gram[k][k] += xᵀ·x over the rows of x[rows][k]; what is above it stays.
     * Chunks of rows are added in order. */
    void (*gram)(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k);

    /* c[k][k] += aᵀ·b over the rows of a and b [rows][k]. */
    void (*cross)(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k);

    /* c[m][n] = alpha·a[m][k]·b[k][n] + beta·c, row-major with leading dimensions lda, ldb, ldc;
     * the transposed operand is given with its stored layout (trans_b: b[n][k]). With beta 0 what c
     * holds does not matter. */
    void (*gemm)(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

    const struct vlmp_quant_ops *quant; /* kernels/quant.h */
} vlmp_ops;

static inline vlmp_f32 vlmp_f32_at(vlmp_f32 x, size_t element)
{
    return (vlmp_f32){x.at + element};
}

static inline vlmp_act vlmp_act_at(const vlmp_ctx *ctx, vlmp_act x, size_t element)
{
    return (vlmp_act){(unsigned char *)x.at + element * ctx->ops->act_bytes};
}
