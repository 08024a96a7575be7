/* AWQ's scales for one block: searched on the block's original weights, kept where they help on
 * held-out samples, folded into norms and into the linears before the site. The block computes the
 * same function afterwards. */
#pragma once

#include "src/quant/run/driver.h"

#define VLMP_BLOCK_LINEARS 7

/* A block's linears with their plan, in the order of vlmp_model_linears. */
typedef struct {
    const vlmp_linear_info *info;
    const vlmp_plan_entry *entry;
    vlmp_linear *linear; /* in the block */
    vlmp_linear source;  /* as it was loaded */
} vlmp_block_linear;

typedef struct {
    float *scales[VLMP_SITES];       /* [site dim] by which the site's inputs are divided; NULL */
    float *bias[VLMP_BLOCK_LINEARS]; /* F32 biases that changed; NULL */
    float *norm[2], *norm_bias[2];   /* norms that changed; NULL */
    const float *was_norm[2], *was_norm_bias[2]; /* what they were */
} vlmp_fold;

/* Changes norms and biases of block; weights that scales change are by vlmp_fold_weights. x: the
 * block's inputs, left as they are. */
int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err);

/* The vectors that AWQ folds the scales of a linear's site into, by name; the model may lack them.
 * They are stored as F32 whether scales were found or not, so that a plan knows its file's size.
 * Returns how many. */
#define VLMP_FOLD_VECTORS 2
int vlmp_fold_vectors(char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX], const vlmp_linear_info *info,
                      vlmp_method method);

/* The linear whose rows carry the inverse of a site's scales (v, or what it is a part of, for o, up
 * for down), by index; −1
 * for sites behind a norm. */
int vlmp_fold_before(const vlmp_block *block, const vlmp_block_linear *linears, int count,
                     vlmp_site site);

/* The channel of the site, among those that share its scale the first, that a row of that linear
 * produces; −1: none, a query or a key. */
int vlmp_fold_channel(const vlmp_block_shape *shape, vlmp_site site, int row);

/* out [n][k]: the weights of a linear with the scales that its rows carry, and with those of its
 * own site (scaled) or without. */
void vlmp_fold_weights(const vlmp_fold *fold, const vlmp_block_shape *shape,
                       const vlmp_block *block, const vlmp_block_linear *linears, int count,
                       int index, bool scaled, float *out);

/* Takes the scales of a site back, as if none had been found: the norm before it or the bias of the
 * linear before it is what it was. The linears of the site and the rows of the one before it are
 * the caller's to replace. */
void vlmp_fold_revert(vlmp_fold *fold, vlmp_block *block, const vlmp_block_linear *linears,
                      int count, vlmp_site site);
void vlmp_fold_free(vlmp_fold *fold);
