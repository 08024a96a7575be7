/* What the files of the CUDA implementation share. Host code (.c) keeps memory, weights, steps and
 * the table; device code (.cu) has the kernels and, with C linkage, the entries that launch them.
 *
 * Activations are F16, the residual stream and all sums F32 or wider. Everything happens on one
 * stream, in the order of the calls. The first failure is kept; later calls do nothing useful, and
 * read and sync report it. */
#pragma once

#include <cuda_runtime.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/quant.h"

enum { VLMP_CUDA_STAGES = 2 };

/* The least stored rows of a chunk of attention, and the most chunks of a row. */
enum { VLMP_CUDA_CHUNK_ROWS = 64, VLMP_CUDA_MOST_CHUNKS = 64 };

/* Rows of a segment of several that a block of attention takes. */
enum { VLMP_CUDA_QUERIES = 64 };

#define VLMP_CUDA_STAGE_BYTES ((size_t)4 << 20)
#ifndef VLMP_CUDA_SCRATCH_BYTES                        /* tests have less, and so several passes */
#    define VLMP_CUDA_SCRATCH_BYTES ((size_t)16 << 20) /* without a reserve */
#endif

/* Pinned memory that copies to the device pass through. */
typedef struct {
    unsigned char *at;
    cudaEvent_t copied; /* what was last put there has left */
} vlmp_cuda_stage;

/* Rows [rows][k] that an operation leaves to the next one, which is the `turn`-th that is asked
 * for: what comes between may have changed them. */
typedef struct {
    const void *at;
    int rows, k;
    uint64_t turn;
} vlmp_cuda_left;

/* Inputs of products with int8 activations, of how many widths it is known that there are some. */
enum { VLMP_CUDA_WIDTHS = 8 };

/* Memory of the device that was taken. */
typedef struct {
    void *at;
    size_t bytes;
} vlmp_cuda_piece;

typedef struct {
    vlmp_ctx ctx; /* the first member, so that a vlmp_ctx pointer is one of these */
    int device;
    char name[256]; /* the device's */
    char describe[320];
    cudaStream_t stream;
    vlmp_cuda_stage stages[VLMP_CUDA_STAGES];
    int stage;                  /* the one that is being filled */
    size_t staged;              /* bytes of it */
    unsigned char *from_device; /* pinned, for reads */
    unsigned char *scratch;     /* of the device: rows quantized to int8 */
    size_t scratch_bytes;
    uint64_t turn;        /* counts what is asked for, and what else changes memory */
    vlmp_cuda_left made;  /* activations of a product */
    vlmp_cuda_left coded; /* activations whose int8 codes, and then scales, are in the scratch */
    int int8_widths[VLMP_CUDA_WIDTHS]; /* of inputs, up to the first 0 */
    vlmp_cuda_piece *pieces;           /* [piece_room], of which piece_count are there */
    size_t piece_count, piece_room;
    cudaError_t failure; /* the first */
    const char *failed;  /* what was being done */
} vlmp_cuda;

/* A weight as it lies on the device; w->own of the host's vlmp_linear. */
typedef struct {
    int n, k;
    const void *weight; /* dense: [n][k] of dtype */
    int dtype;          /* a vlmp_dtype */

    /* quantized */
    const uint8_t *codes; /* rows of code_bytes, a multiple of 16 */
    const uint8_t *zeros; /* rows of zero_bytes, or NULL */
    const void *scales;   /* as stored */
    size_t code_bytes, zero_bytes;
    int bits; /* 0: dense */
    int group, groups;
    int middle;         /* z without zeros */
    int mantissa, bias; /* of codes that stand for floats; 0: of integers */
    int scale_type;     /* a vlmp_dtype */
    int scale_outputs;  /* that share a row of scales */
    float global_scale;
    bool int8; /* activations */

    const float *bias_at;  /* [n] or NULL */
    unsigned char *memory; /* all of the above */
} vlmp_cuda_weight;

typedef struct {
    int32_t first_row, rows, position;
    int32_t first_page; /* in the step's pages; −1: pages 0, 1, 2 … */
} vlmp_cuda_segment;

/* A step as kernels see it: addresses on the device that stay. */
typedef struct {
    const vlmp_cuda_segment *segments;
    const int32_t *segment_of; /* [rows] */
    const int32_t *pages;
    const int32_t *tiles; /* pairs: a segment of several rows, the first of VLMP_CUDA_QUERIES */
    const int32_t *ids;   /* [rows] */
    const int32_t *positions[VLMP_POSITION_AXES];
} vlmp_cuda_step;

struct vlmp_step {
    vlmp_step_size size;
    int rows;    /* as set */
    int singles; /* segments of one row */
    int chunks;  /* that one of them may have (attention.cu) */
    int tiles;   /* of the others */
    vlmp_cuda_step device;
    int32_t *memory; /* of the device: all that it points to */
    int32_t *image;  /* of the host */
};

/* Keys and values in F16, which holds activations exactly: a store that may round (int16) gains
 * nothing. Row r of page p, layer l and head h starts at (((l·pages + p)·kv_heads + h)·page_rows +
 * r)·head_dim. */
struct vlmp_kv {
    vlmp_kv_shape shape;
    uint16_t *k, *v;
};

static inline vlmp_cuda *vlmp_cuda_of(vlmp_ctx *ctx)
{
    return (vlmp_cuda *)(void *)ctx;
}

static inline const vlmp_cuda_weight *vlmp_cuda_weight_of(const vlmp_linear *w)
{
    return (const vlmp_cuda_weight *)w->own;
}

extern const vlmp_ops vlmp_cuda_ops;

/* Keeps the first failure; what: the operation. true: all is well. */
bool vlmp_cuda_ok(vlmp_cuda *cuda, cudaError_t status, const char *what);

/* After a launch. */
static inline void vlmp_cuda_launched(vlmp_ctx *ctx, const char *what)
{
    vlmp_cuda_of(ctx)->turn++;
    vlmp_cuda_ok(vlmp_cuda_of(ctx), cudaGetLastError(), what);
}

/* VLMP_ERR_SYSTEM with what the device says, once something has failed. */
int vlmp_cuda_status(const vlmp_cuda *cuda, vlmp_error *err);

/* Memory of the device, not initialised, or VLMP_ERR_SYSTEM with what is there and what is needed.
 */
int vlmp_cuda_take(vlmp_cuda *cuda, void *out, size_t bytes, const char *what, vlmp_error *err);

/* Rows of width bytes, one after another on the host, to rows pitch apart; through the stages. */
void vlmp_cuda_put(vlmp_cuda *cuda, void *to, size_t pitch, const void *from, size_t width,
                   size_t rows);

/* Launches nothing that matters: whether this build has code for the device. */
cudaError_t vlmp_cuda_probe(cudaStream_t stream);

/* The operations of kernels/quant.h. */
extern const struct vlmp_quant_ops vlmp_cuda_quant_ops;

/* Entries of vlmp_ops: in the host's code … */
void vlmp_cuda_range(vlmp_ctx *ctx, const char *name);
int vlmp_cuda_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err);
void vlmp_cuda_release(vlmp_ctx *ctx, void *own);
int vlmp_cuda_step_create(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                          vlmp_error *err);
void vlmp_cuda_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows);
void vlmp_cuda_step_free(vlmp_ctx *ctx, vlmp_step *step);
bool vlmp_cuda_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step);
void vlmp_cuda_replay_end(vlmp_ctx *ctx, vlmp_replay *replay);
void vlmp_cuda_replay_free(vlmp_ctx *ctx, vlmp_replay *replay);
int vlmp_cuda_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err);
void vlmp_cuda_kv_free(vlmp_ctx *ctx, vlmp_kv *kv);
size_t vlmp_cuda_kv_bytes(const vlmp_kv_shape *shape);

/* … products.cu … */
void vlmp_cuda_embed(vlmp_ctx *ctx, vlmp_f32 y, const vlmp_step *step, const vlmp_linear *table);
void vlmp_cuda_linear(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, vlmp_rows rows, const vlmp_linear *w);
void vlmp_cuda_linear_shared(vlmp_ctx *ctx, const vlmp_act *y, vlmp_act x, vlmp_rows rows,
                             const vlmp_linear *const *w, int count);
void vlmp_cuda_linear_f32(vlmp_ctx *ctx, vlmp_f32 y, vlmp_act x, vlmp_rows rows,
                          const vlmp_linear *w, bool add);

/* … rows.cu … */
void vlmp_cuda_rms_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                        float eps);
void vlmp_cuda_layer_norm(vlmp_ctx *ctx, vlmp_act y, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                          vlmp_f32 bias, float eps);
void vlmp_cuda_layer_norm_f32(vlmp_ctx *ctx, vlmp_f32 x, int rows, int dim, vlmp_f32 weight,
                              vlmp_f32 bias, float eps);
void vlmp_cuda_activate(vlmp_ctx *ctx, vlmp_act x, size_t count, vlmp_activation act);
void vlmp_cuda_gated(vlmp_ctx *ctx, vlmp_act gate, vlmp_act up, size_t count, vlmp_activation act);
void vlmp_cuda_subtract(vlmp_ctx *ctx, vlmp_act y, vlmp_act a, vlmp_act b, int rows, int dim,
                        vlmp_f32 s);
void vlmp_cuda_rope(vlmp_ctx *ctx, vlmp_act x, const vlmp_step *step, int heads, int head_dim,
                    vlmp_f32 inv_freq, vlmp_i32 axes, float scaling);

/* … attention.cu … */
void vlmp_cuda_kv_write(vlmp_ctx *ctx, vlmp_kv *kv, int layer, vlmp_act k, vlmp_act v,
                        const vlmp_step *step);
void vlmp_cuda_attention(vlmp_ctx *ctx, vlmp_act y, vlmp_act q, const vlmp_kv *kv, int layer,
                         const vlmp_attention *a, const vlmp_step *step);

/* … moved.cu … */
void vlmp_cuda_patchify(vlmp_ctx *ctx, vlmp_act y, vlmp_u8 pixels, int height, int width, int patch,
                        vlmp_f32 levels);
void vlmp_cuda_columns(vlmp_ctx *ctx, vlmp_act y, vlmp_act x, int rows, int x_dim, int column,
                       int dim);
void vlmp_cuda_repeat(vlmp_ctx *ctx, vlmp_f32 y, vlmp_f32 table, int rows, int period, int dim);
void vlmp_cuda_gather(vlmp_ctx *ctx, vlmp_act y, int y_dim, int column, vlmp_f32 x, int x_dim,
                      vlmp_i32 from, int rows);
void vlmp_cuda_scatter(vlmp_ctx *ctx, vlmp_f32 y, vlmp_i32 to, vlmp_act x, vlmp_i32 from,
                       vlmp_f32 w, int rows, int dim, bool add);

/* … measure.cu, moments.cu … */
void vlmp_cuda_first_not_finite(vlmp_ctx *ctx, vlmp_i32 at, vlmp_act x, size_t count);
void vlmp_cuda_first_not_finite_f32(vlmp_ctx *ctx, vlmp_i32 at, vlmp_f32 x, size_t count);
void vlmp_cuda_column_sizes(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                            vlmp_act x, int rows, int dim, vlmp_i32 kinds);
void vlmp_cuda_column_sizes_f32(vlmp_ctx *ctx, vlmp_f64 sum, vlmp_f64 squares, vlmp_f32 largest,
                                vlmp_f32 x, int rows, int dim, vlmp_i32 kinds);
void vlmp_cuda_measure(vlmp_ctx *ctx, vlmp_measures out, vlmp_f32 q, size_t q_stride, vlmp_f32 p,
                       size_t p_stride, int vocab, vlmp_i32 targets, int rows);
void vlmp_cuda_argmax(vlmp_ctx *ctx, vlmp_i32 best, vlmp_f32 x, int rows, int n);
void vlmp_cuda_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k);
void vlmp_cuda_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k);

/* … linalg.cu, and with its help factor.cu … */
void vlmp_cuda_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                    const float *a, int lda, const float *b, int ldb, float beta, float *c,
                    int ldc);
void vlmp_cuda_mirror(vlmp_ctx *ctx, float *a, int k);
void vlmp_cuda_scale_both(vlmp_ctx *ctx, float *a, int k, const float *s, bool divide);
void vlmp_cuda_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k);
void vlmp_cuda_arrange(vlmp_ctx *ctx, float *out, const float *a, int k, const int *order,
                       float ridge);
void vlmp_cuda_factor(vlmp_ctx *ctx, float *a, int k, float *pivot, float least, float *room,
                      int32_t *failed);
void vlmp_cuda_solve(vlmp_ctx *ctx, const float *m, const float *pivot, int k, float *x, int n);
void vlmp_cuda_permute(vlmp_ctx *ctx, float *out, const float *x, int n, int k, const int *order,
                       bool back);
void vlmp_cuda_sample_rows(vlmp_ctx *ctx, float *out, int taken, const float *x, int n, int k);
void vlmp_cuda_add_multiple(vlmp_ctx *ctx, float *y, float by, const float *x, size_t count);
void vlmp_cuda_dot(vlmp_ctx *ctx, double *out, const float *a, const float *b, int n, int k,
                   void *room);
void vlmp_cuda_weighted_error(vlmp_ctx *ctx, double *out, const float *e, int n, int k,
                              const float *gram, const float *cross, void *room);

/* … codes.cu, descend.cu. */
void vlmp_cuda_quant_error(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const float *target, const float *factor, float *error);
void vlmp_cuda_quant_levels(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            float *levels);
void vlmp_cuda_quant_search(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                            const vlmp_search_job *job);
void vlmp_cuda_quant_round(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                           const float *w, const float *factor);
void vlmp_cuda_quant_propagate(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                               const vlmp_propagate_job *job);
void vlmp_cuda_quant_descend(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                             const vlmp_descend_job *job);
void vlmp_cuda_quant_channel_sums(vlmp_ctx *ctx, const vlmp_coded *q,
                                  const vlmp_channel_sums_job *job);
void vlmp_cuda_quant_channel_move(vlmp_ctx *ctx, const vlmp_coded *q, const vlmp_grid *grid,
                                  const float *levels, const double *linear, const double *square,
                                  float *error, double *gain);

/* After vlmp_cuda_launched, by the operation that leaves them. */
static inline vlmp_cuda_left vlmp_cuda_leave(const vlmp_cuda *cuda, const void *at, int rows, int k)
{
    vlmp_cuda_left left = {at, rows, k, cuda->turn};
    return left;
}

static inline bool vlmp_cuda_is_left(const vlmp_cuda *cuda, const vlmp_cuda_left *left,
                                     const void *at)
{
    return left->at == at && at != NULL && left->turn == cuda->turn;
}

/* Room for so many rows of k inputs as int8, with a scale each. */
static inline size_t vlmp_cuda_scratch_bytes(size_t rows, size_t k)
{
    return rows * ((k + 15) / 16 * 16 + sizeof(float));
}

#ifdef __cplusplus
}
#endif
