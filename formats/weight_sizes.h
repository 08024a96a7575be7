/* How many weights a model has, and in how many bytes. */
#pragma once

#include <stdint.h>

#include "formats/packed.h"
#include "src/base/error.h"
#include "src/model/linears.h"
#include "src/store/source.h"

/* Used tensors; bytes are those of codes, scales, zeros and kept weights. */
typedef struct {
    uint64_t weights;
    uint64_t bytes;
    uint64_t quantized_weights; /* of these, in quantized linears */
    uint64_t quantized_bytes;
} vlmp_weight_size;

typedef struct {
    vlmp_weight_size parts[VLMP_COMPONENTS];
    vlmp_weight_size total;
    uint64_t unused_bytes;
} vlmp_weight_sizes;

void vlmp_weight_sizes_of(const vlmp_source *source, vlmp_weight_sizes *out);

/* Of a packed file that will be written. */
void vlmp_weight_sizes_of_plan(const vlmp_packed_plan *plan, vlmp_weight_sizes *out);

/* 8 · bytes / weights; NAN without weights. */
double vlmp_bits_per_weight(uint64_t bytes, uint64_t weights);
