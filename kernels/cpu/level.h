/* Functions that are compiled once a level; level.c puts them into the table. */
#pragma once

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd.h"

/* Bits of the codes that the kernels of packed.c read; 0: w's are not among them. Kernels are built
 * for each number of bits. */
INLINE int code_bits(const vlmp_linear *w)
{
    return vlmp_codes_are_floats(w->scheme.codes) ? 0 : vlmp_code_types[w->scheme.codes].bits;
}

bool LEVEL_NAME(packed_supports)(const vlmp_linear *w);
size_t LEVEL_NAME(prepared_bytes)(const vlmp_linear *w);
void LEVEL_NAME(prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
void LEVEL_NAME(packed_rows)(float *y, const void *prepared, size_t stride, int rows,
                             const vlmp_linear *w, int n0, int n1);

bool LEVEL_NAME(tile_supports)(const vlmp_linear *w);
size_t LEVEL_NAME(tile_prepared_bytes)(const vlmp_linear *w);
void LEVEL_NAME(tile_prepare_row)(void *prepared, const float *x, const vlmp_linear *w);
void LEVEL_NAME(int8_tile)(float *y, const void *prepared, size_t stride, int rows,
                           const vlmp_linear *w, int n0, int n1, void *scratch);

void LEVEL_NAME(weights_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1);
void LEVEL_NAME(dense_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                            int n1);
/* What the two do with codes that stand for floats (float_codes.c). */
void LEVEL_NAME(float_codes_to_f32)(float *out, const vlmp_linear *w, int n, int k0, int k1);
void LEVEL_NAME(float_code_rows)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                                 int n1);
void LEVEL_NAME(float_tile)(float *y, const float *x, int rows, const vlmp_linear *w, int n0,
                            int n1, void *scratch);

void LEVEL_NAME(dots)(float *s, float factor, const float *q, const float *k, size_t stride,
                      int count, int dim);
void LEVEL_NAME(weighted_sum)(float *o, float factor, const float *p, const float *v, size_t stride,
                              int count, int dim);
float LEVEL_NAME(to_int16)(int16_t *y, const float *x, int count, int width);
void LEVEL_NAME(from_int16)(float *y, const int16_t *x, float scale, int count);
void LEVEL_NAME(keys_to_f32)(float *y, const int16_t *k, const float *scales, int dim);
void LEVEL_NAME(int16_scores)(float *s, size_t s_stride, float factor, const float *q, int heads,
                              const vlmp_int16_keys *keys, const vlmp_ahead *ahead);
void LEVEL_NAME(int16_sums)(float *o, float *p, size_t p_stride, int heads, const int16_t *v,
                            const float *scales, int count, int width, const vlmp_ahead *ahead);
void LEVEL_NAME(scale)(float *y, float factor, int count);
float LEVEL_NAME(exp_sum)(float *x, float largest, int count);
float LEVEL_NAME(largest)(const float *x, int count);
void LEVEL_NAME(rms_norm)(float *y, const float *x, int dim, const float *weight, float eps);
void LEVEL_NAME(layer_norm)(float *y, const float *x, int dim, const float *weight,
                            const float *bias, float eps);
void LEVEL_NAME(activate)(float *x, int count, vlmp_activation act);
void LEVEL_NAME(gated)(float *gate, const float *up, int count, vlmp_activation act);
void LEVEL_NAME(add)(float *y, const float *x, int count);
