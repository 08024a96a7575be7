/* A quantized linear's bytes as the packed file stores them. */
#pragma once

#include "kernels/ops.h"
#include "src/quant/scheme/quantized.h"
#include "src/store/sink.h"

typedef struct {
    uint8_t *codes;
    uint8_t *high; /* NULL where codes have one plane */
    void *scales;
    uint8_t *zeros;      /* NULL without zeros */
    float *global_scale; /* NULL where the scheme stores none */
} vlmp_packed_arrays;

/* From what a method made; an empty *packed is filled. */
int vlmp_packed_arrays_fill(vlmp_packed_arrays *packed, const vlmp_quantized *q, vlmp_error *err);
void vlmp_packed_arrays_free(vlmp_packed_arrays *packed); /* leaves it empty */

/* Multiplies the weights of row r by factors[r]: its scales, rounded to their stored type, and no
 * code. Only where codes are integers. Beyond that type: VLMP_ERR_INPUT. */
int vlmp_packed_arrays_scale_rows(vlmp_packed_arrays *packed, int n, int k,
                                  const vlmp_scheme *scheme, const float *factors, const char *name,
                                  vlmp_error *err);

/* Points a linear at packed bytes: from now on it computes with them. */
void vlmp_linear_use_packed(vlmp_linear *linear, const vlmp_scheme *scheme,
                            const vlmp_packed_arrays *packed);

/* Puts name.codes, name.scales and so on. */
int vlmp_put_packed(vlmp_sink *sink, const char *name, int n, int k, const vlmp_scheme *scheme,
                    const vlmp_packed_arrays *packed, vlmp_error *err);

/* Reads them back; *packed is to be freed, also after a failure. */
int vlmp_get_packed(vlmp_sink *sink, const char *name, const vlmp_scheme *scheme,
                    vlmp_packed_arrays *packed, vlmp_error *err);
