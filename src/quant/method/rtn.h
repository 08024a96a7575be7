/* Round to nearest with min-max scales: the baseline format of every scheme, and what the guard
 * compares with. int8 (symmetric per channel, s = amax/127.5, codes 1 … 255) is the case
 * of 8 bits.
 *
 *   symmetric:  z = 2^(bits−1), s = amax/(2^bits − 1)·2
 *   floats:     s = amax/448 (fp8), amax/6 (nvfp4), the power of two of amax/4 (mxfp4)
 *   asymmetric: over [min(0, w), max(0, w)], s = (max − min)/(2^bits − 1), z = round(−min/s)
 *
 * The scale is rounded to its stored type first, then u = clamp(round(w/s) + z) or the code of the
 * float nearest to w/s, all in F32 with ties to even. A group of zeros has s = 1 (under a global
 * scale the nearest to it) and u = z. Where blocks of outputs share scales, amax is over them. */
#pragma once

#include "src/base/error.h"
#include "src/base/parallel.h"
#include "src/quant/scheme/quantized.h"

/* w [q->n][q->k], finite. A scale beyond its stored type is VLMP_ERR_INPUT (row and group in the
 * message; name is the linear's). Runs over rows on the pool. */
int vlmp_rtn(vlmp_quantized *q, const float *w, vlmp_pool *pool, const char *name, vlmp_error *err);

/* Scales and zeros alone. */
int vlmp_rtn_scales(vlmp_quantized *q, const float *w, vlmp_pool *pool, const char *name,
                    vlmp_error *err);
