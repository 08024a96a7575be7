/* One block's forward pass over all batches, cut at the sites: site by site, every batch advances
 * to the site's input, which is shown to a visitor; then the caller may replace the linears behind
 * the site, and the walk goes on with them. Each linear runs once. */
#pragma once

#include "src/flow/sweep.h"

typedef struct {
    const vlmp_sweep *sweep;
    const vlmp_stack *stack;
    int layer;
    const vlmp_batches *batches;
    const vlmp_block *block; /* as the host has it; its weights may change between steps */
    vlmp_block prepared;     /* what it was when the step at work began, in the context's memory */
    vlmp_activations *x;     /* the block's input, in the end its output */
    vlmp_activations a;      /* inputs of o */
    vlmp_activations m;      /* inputs of down */
    vlmp_pass pass;
} vlmp_walk;

int vlmp_walk_create(vlmp_walk *walk, const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                     const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                     vlmp_error *err);
void vlmp_walk_free(vlmp_walk *walk);

/* Batch `index` to its input of `site`. *input [rows][site dim] is valid until the next call. Sites
 * are reached in order, each batch once per site, the first one first; attn_out and mlp_out may be
 * reached again after the linears before them have changed. NaN or infinity there, or in the
 * output, is VLMP_ERR_INPUT. */
int vlmp_walk_to(vlmp_walk *walk, int index, vlmp_site site, vlmp_act *input, vlmp_error *err);

/* The input of a site that the batch has been brought to last, once more. */
int vlmp_walk_again(vlmp_walk *walk, int index, vlmp_site site, vlmp_act *input, vlmp_error *err);

/* Batch `index` through the last linear: x holds the block's output. */
int vlmp_walk_finish(vlmp_walk *walk, int index, vlmp_error *err);
