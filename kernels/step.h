/* Which rows a pass computes: the descriptor that attention, rotary positions and the embedding
 * read. It is uploaded once a pass, to an address that stays. */
#pragma once

#include "kernels/context.h"
#include "kernels/linear.h"
#include "src/base/dtype.h"

enum { VLMP_POSITION_AXES = 3 };

/* Consecutive rows that belong together (a sequence, a picture tile). */
typedef struct {
    int first_row;        /* in this call's matrices */
    int rows;             /* > 0 */
    int position;         /* rows of the same sequence already in the key/value store */
    const int32_t *pages; /* [page_count] numbers of the pages that cover position + rows rows;
                           * NULL: 0, 1, 2, … */
    int page_count;
} vlmp_segment;

/* What a step can hold. */
typedef struct {
    int rows, segments;
    int pages; /* of all segments */
} vlmp_step_size;

/* What a step holds; host memory that may change once it is set. */
typedef struct {
    int rows; /* of all segments, which cover them in order */
    int segment_count;
    const vlmp_segment *segments; /* [segment_count] */
    const int32_t *ids;           /* [rows] for embed; NULL: none */
    /* [rows] for rope, one array an axis (time, height, width); NULL: each row's number in its
     * sequence, on all axes. */
    const int32_t *positions[VLMP_POSITION_AXES];
} vlmp_step_rows;

typedef struct vlmp_step vlmp_step; /* a context's */

typedef struct vlmp_replay vlmp_replay; /* a context's: calls of steps that come again */

/* Keys and values of all layers of a stack: an implementation lays pages out as it likes. */
typedef struct vlmp_kv vlmp_kv;

typedef struct {
    int layers;
    int pages;     /* a layer's; page p of every layer belongs to the same rows */
    int page_rows; /* rows of a page */
    int kv_heads;
    int head_dim;
    /* 16-bit integers at one scale a row of a head instead of F32: a value errs by at
     * most 1.01·2⁻¹⁶ of the row's largest (or of 2⁻¹⁰⁰), whatever its size, a tenth of what F16
     * does to rows without outliers. A row that is not finite becomes NaN. */
    bool int16;
} vlmp_kv_shape;

/* Scores that a row of decoding has with one key/value head: stored rows × query heads of it. */
#define VLMP_MOST_SCORES (1 << 25)

typedef struct {
    int heads; /* query heads; head h reads key/value head h / (heads/kv_heads) */
    float scale;
    bool causal; /* row i of a sequence sees rows j ≤ i, and j > i − window when window > 0 */
    int window;
    /* Whose weights are read next, NULL: unknown. A hint: memory idles while attention computes. */
    const vlmp_linear *next;
} vlmp_attention;
