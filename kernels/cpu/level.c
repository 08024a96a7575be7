/* The table of a level. */
#include "kernels/cpu/level.h"
#include "kernels/cpu/quant_tile.h"

extern const vlmp_cpu_kernels LEVEL_NAME(cpu);
extern const vlmp_tile_kernels LEVEL_NAME(quant_tile);

const vlmp_cpu_kernels LEVEL_NAME(cpu) = {
    .weights_to_f32 = LEVEL_NAME(weights_to_f32),
    .dense_rows = LEVEL_NAME(dense_rows),
    .packed_supports = LEVEL_NAME(packed_supports),
    .prepared_bytes = LEVEL_NAME(prepared_bytes),
    .prepare_row = LEVEL_NAME(prepare_row),
    .packed_rows = LEVEL_NAME(packed_rows),
    .tile_supports = LEVEL_NAME(tile_supports),
    .tile_prepared_bytes = LEVEL_NAME(tile_prepared_bytes),
    .tile_prepare_row = LEVEL_NAME(tile_prepare_row),
    .int8_tile = LEVEL_NAME(int8_tile),
    .float_tile = LEVEL_NAME(float_tile),
    .dots = LEVEL_NAME(dots),
    .weighted_sum = LEVEL_NAME(weighted_sum),
    .to_int16 = LEVEL_NAME(to_int16),
    .from_int16 = LEVEL_NAME(from_int16),
    .keys_to_f32 = LEVEL_NAME(keys_to_f32),
    .int16_scores = LEVEL_NAME(int16_scores),
    .int16_sums = LEVEL_NAME(int16_sums),
    .scale = LEVEL_NAME(scale),
    .exp_sum = LEVEL_NAME(exp_sum),
    .largest = LEVEL_NAME(largest),
    .rms_norm = LEVEL_NAME(rms_norm),
    .layer_norm = LEVEL_NAME(layer_norm),
    .activate = LEVEL_NAME(activate),
    .gated = LEVEL_NAME(gated),
    .add = LEVEL_NAME(add),
    .tiles = &LEVEL_NAME(quant_tile),
};
