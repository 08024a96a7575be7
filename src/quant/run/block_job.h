/* A block on its way through vlmp_quantize_block; shared by the files that do its parts. */
#pragma once

#include "src/quant/run/block.h"
#include "src/quant/run/fold.h"

typedef struct {
    const vlmp_quantize_job *job;
    const vlmp_stack *stack;
    int layer;
    vlmp_block block;    /* linears become packed one after another */
    vlmp_block original; /* as loaded */
    vlmp_fold fold;
    int count;
    vlmp_block_linear linears[VLMP_BLOCK_LINEARS];
    double missed[VLMP_BLOCK_LINEARS][2]; /* of sites with the original model's inputs */
    vlmp_packed_arrays packed[VLMP_BLOCK_LINEARS];
    vlmp_linear_result results[VLMP_BLOCK_LINEARS];
    int result_count;
} vlmp_block_job;

/* Quantizes the linears behind a site; AWQ's scales that lose are taken back. *again: the linear
 * before the site has changed by that, and so have the site's inputs. moments, used up, may be
 * NULL.
 */
int vlmp_block_quantize_site(vlmp_block_job *b, vlmp_site site, vlmp_moments *moments, bool *again,
                             vlmp_error *err);

/* Those of a site that are quantized. Returns how many. */
int vlmp_block_list_site(const vlmp_block_job *b, vlmp_site site, int indices[VLMP_BLOCK_LINEARS]);

/* The weights of one, as they will be quantized. */
int vlmp_block_add_missed(const vlmp_block_job *b, int index, vlmp_missed *missed, vlmp_error *err);

/* Site by site on inputs that the quantized linears before it produce. */
int vlmp_block_run_sequential(vlmp_block_job *b, const vlmp_block_flow *flow, vlmp_error *err);

/* All sites on the original model's inputs. */
int vlmp_block_run_original(vlmp_block_job *b, const vlmp_block_flow *flow, vlmp_error *err);

/* A block that the sink has already: flow advances as it did when the block was quantized, bit for
 * bit. record: what the step left. */
int vlmp_block_run_finished(vlmp_block_job *b, const char *record, const vlmp_block_flow *flow,
                            vlmp_error *err);
