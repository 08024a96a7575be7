/* Where keys and values lie, for the kernels of attention. */
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/platform.cuh"

/* A layer of a store. */
struct layer {
    __half *k, *v;
    int page_rows, kv_heads, head_dim;
};

/* Where row `row` of a sequence and head begins in a layer. */
static __device__ inline size_t slot_of(const layer &l, const vlmp_cuda_step &step,
                                        const vlmp_cuda_segment &segment, int row, int kv_head)
{
    int page = row / l.page_rows;
    if (segment.first_page >= 0) page = step.pages[segment.first_page + page];
    size_t head = (size_t)page * (size_t)l.kv_heads + (size_t)kv_head;
    return (head * (size_t)l.page_rows + (size_t)(row % l.page_rows)) * (size_t)l.head_dim;
}

/* What attention is asked for. */
struct asked {
    layer l;
    vlmp_attention a;
    vlmp_cuda_step step;
    const __half *q;
    __half *y;
};

/* Segments of several rows, of which the step has so many tiles, on tensor cores; false: heads of
 * another shape. */
extern "C" bool vlmp_cuda_attention_tiles(vlmp_cuda *cuda, const asked *what, int tiles);
