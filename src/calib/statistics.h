/* What activations look like at each site: per input channel mean, root mean square and largest
 * magnitude, apart for picture and text tokens. */
#pragma once

#include "src/flow/sweep.h"

typedef enum { VLMP_TOKEN_TEXT, VLMP_TOKEN_PICTURE, VLMP_TOKEN_KINDS } vlmp_token_kind;

typedef struct {
    char name[VLMP_NAME_MAX]; /* "text.layers.3.mlp_out" */
    int dim;
    int64_t count[VLMP_TOKEN_KINDS];
    float *mean_abs; /* [VLMP_TOKEN_KINDS][dim] */
    float *rms;      /* [VLMP_TOKEN_KINDS][dim] √(mean x²) */
    float *max_abs;  /* [VLMP_TOKEN_KINDS][dim] */
} vlmp_site_statistics;

typedef struct {
    int count;
    vlmp_site_statistics *sites; /* vision layers, then text layers, sites in order */
} vlmp_statistics;

const char *vlmp_site_name(vlmp_site site); /* "attn_in" … */

int vlmp_statistics_create(vlmp_statistics *statistics, const vlmp_model *model, vlmp_error *err);
void vlmp_statistics_free(vlmp_statistics *statistics);

/* Collects while a sweep runs, which does layer after layer: sums of the layer at work in the
 * context's memory, read when the next one begins and by finish. */
typedef struct {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    const vlmp_sequence *sequences;
    vlmp_statistics *statistics;
    vlmp_f64 sums[VLMP_SITES];    /* [VLMP_TOKEN_KINDS][site dim] of magnitudes */
    vlmp_f64 squares[VLMP_SITES]; /* the same, of squares */
    vlmp_f32 largest[VLMP_SITES]; /* the same */
    vlmp_i32 kinds;               /* [rows of a batch] */
    int32_t *host_kinds;
    int kinds_capacity;
    double *host_sums; /* [VLMP_TOKEN_KINDS][widest site] */
    size_t stride;     /* the widest site */
    size_t first;      /* site of the layer's sums in statistics */
    int status;        /* of what failed on the way; err has its message */
    vlmp_error *err;
} vlmp_collector;

/* err must outlive the collector: what fails while it collects is reported by finish. Finish it,
 * after a failure too. */
int vlmp_collector_create(vlmp_collector *collector, vlmp_ctx *ctx, const vlmp_model *model,
                          const vlmp_sequence *sequences, vlmp_statistics *statistics,
                          vlmp_error *err);
vlmp_sweep_tap_fn vlmp_collect;                       /* arg: the collector */
int vlmp_collector_finish(vlmp_collector *collector); /* the last means; frees */
