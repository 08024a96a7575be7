/* The processor's store of keys and values: that of the host, or 16-bit
 * integers at one scale a row.
 *
 * Pages of integers are [layer][page][kv head][row][width]: a page's rows of a head, which all
 * query heads of its group read, are consecutive. */
#pragma once

#include "kernels/cpu/cpu.h"

typedef struct {
    int16_t *rows; /* x/scale */
    float *scales; /* one a row */
} vlmp_int16_rows;

typedef struct {
    vlmp_kv host; /* the first member, so that a vlmp_kv pointer is one of these; of 16-bit
                   * integers the shape only */
    vlmp_int16_rows k, v;
    int width; /* head_dim, with zeros up to whole vectors */
} vlmp_cpu_kv;

static inline const vlmp_cpu_kv *vlmp_cpu_kv_of(const vlmp_kv *kv)
{
    return (const vlmp_cpu_kv *)(const void *)kv;
}

/* Which row of the store holds row `row` of a sequence and head. */
static inline size_t vlmp_int16_slot(const vlmp_kv_shape *shape, int layer,
                                     const vlmp_segment *segment, int kv_head, int row)
{
    int page = row / shape->page_rows;
    size_t number = (size_t)(segment->pages != NULL ? segment->pages[page] : page);
    size_t at = ((size_t)layer * (size_t)shape->pages + number) * (size_t)shape->kv_heads;
    return (at + (size_t)kv_head) * (size_t)shape->page_rows + (size_t)(row % shape->page_rows);
}

/* Attention of the segments of one row over 16-bit integers. */
void vlmp_cpu_attend_rows(vlmp_ctx *ctx, float *y, const float *q, const vlmp_kv *kv, int layer,
                          const vlmp_attention *a, const vlmp_step *step);
