/* The processor's store of keys and values: that of the host, or 16-bit
 * integers at one scale a row.
 *
 * Pages of integers are [layer][page][kv head][row][width]: a page's rows of a head, which all
 * query heads of its group read, are consecutive. Of keys, VLMP_INT16_UNIT rows lie together as
 * [width][VLMP_INT16_UNIT], so that a vector holds one value of each and their scores need no sums
 * across lanes; pages are filled up to such blocks. */
#pragma once

#include "kernels/cpu/cpu.h"

typedef struct {
    int16_t *rows; /* x/scale; of keys, blocks of rows */
    float *scales; /* one a row */
} vlmp_int16_rows;

typedef struct {
    vlmp_kv host; /* the first member, so that a vlmp_kv pointer is one of these; of 16-bit
                   * integers the shape only */
    vlmp_int16_rows k, v;
    int width; /* head_dim, up to whole vectors; of values the rest are zeros */
} vlmp_cpu_kv;

static inline const vlmp_cpu_kv *vlmp_cpu_kv_of(const vlmp_kv *kv)
{
    return (const vlmp_cpu_kv *)(const void *)kv;
}

/* Rows that a page takes. */
static inline size_t vlmp_int16_page(const vlmp_kv_shape *shape)
{
    return (size_t)vlmp_ceil_div(shape->page_rows, VLMP_INT16_UNIT) * VLMP_INT16_UNIT;
}

/* Which row of the store holds row `row` of a sequence and head. */
static inline size_t vlmp_int16_slot(const vlmp_kv_shape *shape, int layer,
                                     const vlmp_segment *segment, int kv_head, int row)
{
    int page = row / shape->page_rows;
    size_t number = (size_t)(segment->pages != NULL ? segment->pages[page] : page);
    size_t at = ((size_t)layer * (size_t)shape->pages + number) * (size_t)shape->kv_heads;
    return (at + (size_t)kv_head) * vlmp_int16_page(shape) + (size_t)(row % shape->page_rows);
}

/* The first value of key `slot`, the others VLMP_INT16_UNIT apart. */
static inline int16_t *vlmp_int16_key(const vlmp_cpu_kv *kv, size_t slot)
{
    size_t lane = slot % VLMP_INT16_UNIT;
    return kv->k.rows + (slot - lane) * (size_t)kv->width + lane;
}

/* Attention of the segments of one row over 16-bit integers. */
void vlmp_cpu_attend_rows(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv, int layer,
                          const vlmp_attention *a, const vlmp_step *step);
