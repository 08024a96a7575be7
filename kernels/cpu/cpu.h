/* The CPU implementation. Drivers (threads, tiles, BLAS; plain C) call kernels of the processor's
 * level through a table. A kernel's result depends on its arguments only, and drivers split work
 * into blocks whose borders do not depend on the number of threads. */
#pragma once

#include "kernels/host.h"

/* Products of at most this many rows read packed weights directly; more rows go through tiles. */
#define VLMP_FEW_ROWS 8

#define VLMP_TILE_COLUMNS 64

/* Values of a row of 16-bit integers come in multiples of this: whole vectors of any level. */
#define VLMP_INT16_UNIT 16

/* Keys skip … skip+count-1 of blocks (store.h). */
typedef struct {
    const int16_t *rows; /* [block][width][VLMP_INT16_UNIT] */
    const float *scales; /* from the first block's first key on */
    int skip, count, dim, width;
} vlmp_int16_keys;

/* Where as many bytes as a call reads will be read later; NULL: unknown. */
typedef struct {
    const void *rows;    /* of the store, by the next call */
    const void *weights; /* by a product */
} vlmp_ahead;

typedef struct vlmp_cpu_kernels {
    /* Weights k0 … k1-1 of output n to F32. k0 is even. */
    void (*weights_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1);

    /* y[row][n] for n0 ≤ n < n1 without bias, of dense weights and of codes that stand for floats
     * (with float activations); y has stride w->n. Any number of rows, meant for few. */
    void (*dense_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1);

    /* The same with integer codes, from rows that prepare_row has turned into prepared_bytes (a
     * multiple of 64) each, for all w of one k, code type and kind of activations. Where
     * packed_supports is false (a code type without a kernel, a group that does not fit the
     * vectors) the portable kernels serve. */
    bool (*packed_supports)(const vlmp_linear *w);
    size_t (*prepared_bytes)(const vlmp_linear *w);
    void (*prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
    void (*packed_rows)(float *y, const void *prepared, size_t stride, int rows,
                        const vlmp_linear *w, int n0, int n1);

    /* Many rows with int8 activations: at most VLMP_TILE_COLUMNS outputs, unpacked into scratch
     * (VLMP_THREAD_SCRATCH bytes) first. tile_supports may be NULL: never. */
    bool (*tile_supports)(const vlmp_linear *w);
    size_t (*tile_prepared_bytes)(const vlmp_linear *w);
    void (*tile_prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
    void (*int8_tile)(float *y, const void *prepared, size_t stride, int rows, const vlmp_linear *w,
                      int n0, int n1, void *scratch);

    /* Many rows in F32, at most VLMP_TILE_COLUMNS outputs. */
    void (*float_tile)(float *y, const float *x, int rows, const vlmp_linear *w, int n0, int n1,
                       void *scratch);

    /* s[j] = factor·q·k_j for count rows k_j of dim, stride apart. */
    void (*dots)(float *s, float factor, const float *q, const float *k, size_t stride, int count,
                 int dim);
    /* o = factor·o + Σ p_j·v_j. */
    void (*weighted_sum)(float *o, float factor, const float *p, const float *v, size_t stride,
                         int count, int dim);
    void (*scale)(float *y, float factor, int count);

    /* Rows of 16-bit integers (kernels/cpu/store.h). to_int16: y[width] = x[count]/scale and zeros;
     * returns the scale. width is a multiple of VLMP_INT16_UNIT. */
    float (*to_int16)(int16_t *y, const float *x, int count, int width);
    void (*from_int16)(float *y, const int16_t *x, float scale, int count);
    /* y[VLMP_INT16_UNIT][dim] of a block of keys. */
    void (*keys_to_f32)(float *y, const int16_t *k, const float *scales, int dim);
    /* s[h][j] = factor·scale·q_h·k of the j-th of the keys, for heads q_h of dim values; s_stride
     * between heads. */
    void (*int16_scores)(float *s, size_t s_stride, float factor, const float *q, int heads,
                         const vlmp_int16_keys *keys, const vlmp_ahead *ahead);
    /* o_h += Σ p[h][j]·scales[j]·v_j for rows of width; p becomes p·scales. */
    void (*int16_sums)(float *o, float *p, size_t p_stride, int heads, const int16_t *v,
                       const float *scales, int count, int width, const vlmp_ahead *ahead);

    /* x = exp(x − largest), returns the sum. */
    float (*exp_sum)(float *x, float largest, int count);
    float (*largest)(const float *x, int count);

    void (*rms_norm)(float *y, const float *x, int dim, const float *weight, float eps);
    void (*layer_norm)(float *y, const float *x, int dim, const float *weight, const float *bias,
                       float eps);
    void (*activate)(float *x, int count, vlmp_activation act);
    void (*gated)(float *gate, const float *up, int count, vlmp_activation act);
    void (*add)(float *y, const float *x, int count);

    const struct vlmp_tile_kernels *tiles; /* of the quantizers, kernels/cpu/quant_tile.h */
} vlmp_cpu_kernels;

struct vlmp_blas;
struct vlmp_bf16_kernels;

/* What a processor may have, by name. */
typedef struct {
    const char *name;
    const vlmp_cpu_kernels *kernels;
    const struct vlmp_bf16_kernels *bf16; /* kernels/cpu/bf16.h; NULL: all products in F32 */
    bool (*supported)(void);
} vlmp_cpu_level;

/* The context: scratch is shared by the threads of one operation. */
typedef struct {
    vlmp_ctx ctx; /* the first member, so that a vlmp_ctx pointer is one of these */
    struct vlmp_blas *blas;
    const vlmp_cpu_kernels *kernels; /* of the level */
    const struct vlmp_bf16_kernels *bf16;
    unsigned char *scratch;
    size_t scratch_bytes;
    unsigned char *thread_scratch; /* threads × (VLMP_THREAD_SCRATCH + VLMP_THREAD_TILE) bytes */
    char describe[160];
} vlmp_cpu_ctx;

#define VLMP_TILE_ROWS 512

/* Bytes: what one tile may use, and the tile of outputs itself. */
#define VLMP_THREAD_SCRATCH ((size_t)4 << 20)
#define VLMP_THREAD_TILE    (sizeof(float) * VLMP_TILE_ROWS * VLMP_TILE_COLUMNS)

static inline vlmp_cpu_ctx *vlmp_cpu_of(vlmp_ctx *ctx)
{
    return (vlmp_cpu_ctx *)(void *)ctx;
}

static inline void *vlmp_cpu_scratch_of(const vlmp_cpu_ctx *cpu, int thread)
{
    return cpu->thread_scratch + (size_t)thread * (VLMP_THREAD_SCRATCH + VLMP_THREAD_TILE);
}

/* Behind it, where a thread keeps a tile of outputs. */
static inline float *vlmp_cpu_tile_of(const vlmp_cpu_ctx *cpu, int thread)
{
    return (float *)(void *)((unsigned char *)vlmp_cpu_scratch_of(cpu, thread) +
                             VLMP_THREAD_SCRATCH);
}

static inline int vlmp_ceil_div(int a, int b)
{
    return a / b + (a % b != 0);
}

static inline int vlmp_smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Elements of a task of row by row work: large against handing it out (about a microsecond). */
#define VLMP_BLOCK_ELEMENTS 8192

static inline int vlmp_block_rows(int dim)
{
    return dim >= VLMP_BLOCK_ELEMENTS ? 1 : VLMP_BLOCK_ELEMENTS / (dim > 0 ? dim : 1);
}

extern const vlmp_ops vlmp_ops_cpu;
extern const struct vlmp_quant_ops vlmp_quant_ops_cpu;
extern const vlmp_cpu_kernels vlmp_cpu_portable;

int vlmp_cpu_ctx_create(vlmp_ctx **ctx, const char *level, vlmp_pool *pool, vlmp_error *err);

/* A level by name, NULL: the best that computes in F32. NULL when there is none of the name, or it
 * is not supported here. */
const vlmp_cpu_level *vlmp_cpu_find_level(const char *name);

/* Shared scratch that products of rows × k inputs use. */
size_t vlmp_cpu_scratch_bytes(int rows, int k);

/* Entries of vlmp_ops. */
void vlmp_cpu_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w);
void vlmp_cpu_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                            const vlmp_linear *const *w, int count);
void vlmp_cpu_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                         const vlmp_linear *w, bool add);
void vlmp_cpu_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table);
void vlmp_cpu_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                       float eps);
void vlmp_cpu_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                         vlmp_f32 bias, float eps);
void vlmp_cpu_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                             vlmp_f32 bias, float eps);
void vlmp_cpu_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act);
void vlmp_cpu_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act);
void vlmp_cpu_rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                   vlmp_f32 inv_freq, vlmp_i32 axes, float scaling);
int vlmp_cpu_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err);
void vlmp_cpu_kv_free(vlmp_ctx *ctx, vlmp_kv *kv);
size_t vlmp_cpu_kv_bytes(const vlmp_kv_shape *shape);
void vlmp_cpu_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                       const vlmp_step *step);
void vlmp_cpu_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                        const vlmp_attention *a, const vlmp_step *step);
void vlmp_cpu_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count);
void vlmp_cpu_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count);
void vlmp_cpu_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                      size_t p_stride, int vocab, vlmp_i32 targets, int rows);
void vlmp_cpu_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k);
void vlmp_cpu_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k);
void vlmp_cpu_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
