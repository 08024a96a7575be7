/* What the host has, in the context's memory, and the other way round: the same place where both
 * are one, else a copy. */
#pragma once

#include "kernels/quant.h"
#include "src/quant/scheme/quantized.h"

/* at: a float ** or its like, where operations find `bytes` of the host. A copy may go before the
 * host's memory does: vlmp_lend_end, harmless where at is NULL. */
int vlmp_lend(vlmp_ctx *ctx, void *at, const void *host, size_t bytes, const char *what,
              vlmp_error *err);
void vlmp_lend_end(vlmp_ctx *ctx, const void *at, const void *host);

/* host: a const float ** or its like, where the host reads `bytes` of the context. Free with
 * vlmp_fetch_end. */
int vlmp_fetch(vlmp_ctx *ctx, void *host, const void *at, size_t bytes, const char *what,
               vlmp_error *err);
void vlmp_fetch_end(vlmp_ctx *ctx, const void *host, const void *at);

/* Codes, scales and zeros of q, whose arrays are there. */
int vlmp_lend_coded(vlmp_ctx *ctx, vlmp_coded *coded, const vlmp_quantized *q, vlmp_error *err);
/* Ends that, also after a failure; q gets what was computed unless status is one. Returns status,
 * or what failed now. */
int vlmp_lend_coded_end(vlmp_ctx *ctx, vlmp_coded *coded, vlmp_quantized *q, int status,
                        vlmp_error *err);

/* *out = the operation of kernels/quant.h, for the host. */
int vlmp_weighted_error(vlmp_ctx *ctx, const float *e, int n, int k, const float *gram,
                        const float *cross, double *out, vlmp_error *err);

/* out [k] of the host = the diagonal of a [k][k]. */
int vlmp_read_diagonal(vlmp_ctx *ctx, float *out, const float *a, int k, vlmp_error *err);
