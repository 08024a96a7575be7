/* How many weights a model has, and in how many bytes. */
#pragma once

#include <stdint.h>

#include "formats/packed.h"
#include "src/base/error.h"
#include "src/store/source.h"

typedef enum {
    VLMP_PART_VISION,
    VLMP_PART_PROJECTOR, /* with the newline row */
    VLMP_PART_EMBED,
    VLMP_PART_TEXT,
    VLMP_PART_HEAD,
    VLMP_PARTS,
} vlmp_part;

const char *vlmp_part_name(vlmp_part part);

/* Of a tensor, a linear or a norm, by its name. */
vlmp_part vlmp_part_of(const char *name);

/* Used tensors; bytes are those of codes, scales, zeros and kept weights. */
typedef struct {
    uint64_t weights;
    uint64_t bytes;
    uint64_t quantized_weights; /* of these, in quantized linears */
    uint64_t quantized_bytes;
} vlmp_weight_size;

typedef struct {
    vlmp_weight_size parts[VLMP_PARTS];
    vlmp_weight_size total;
    uint64_t unused_bytes;
} vlmp_weight_sizes;

void vlmp_weight_sizes_of(const vlmp_source *source, vlmp_weight_sizes *out);

/* Of a packed file that will be written. */
void vlmp_weight_sizes_of_plan(const vlmp_packed_plan *plan, vlmp_weight_sizes *out);

/* 8 · bytes / weights; NAN without weights. */
double vlmp_bits_per_weight(uint64_t bytes, uint64_t weights);
