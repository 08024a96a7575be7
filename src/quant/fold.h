/* AWQ's scales for one block: searched on the block's original weights, kept where they help on
 * held-out samples, folded into norms and into the linears before the site. The block computes the
 * same function afterwards. */
#pragma once

#include "src/quant/driver.h"

#define VLMP_BLOCK_LINEARS 7

/* A block's linears with their plan, in the order of vlmp_model_linears. */
typedef struct {
    const vlmp_linear_info *info;
    const vlmp_plan_entry *entry;
    vlmp_linear *linear; /* in the block */
} vlmp_block_linear;

typedef struct {
    float *scales[VLMP_SITES]; /* [site dim] by which the site's inputs are divided; NULL */
    float
        *weights[VLMP_BLOCK_LINEARS]; /* F32 weights of linears that changed; NULL: the source's */
    float *bias[VLMP_BLOCK_LINEARS];  /* F32 biases that changed; NULL */
    float *norm[2], *norm_bias[2];    /* norms that changed; NULL */
} vlmp_fold;

/* Changes block. x: the block's inputs, left as they are. */
int vlmp_fold_block(vlmp_fold *fold, const vlmp_quantize_job *job, const vlmp_stack *stack,
                    vlmp_block *block, const vlmp_block_linear *linears, int count,
                    const vlmp_activations *x, const vlmp_batches *batches, vlmp_error *err);

/* The vectors that AWQ folds the scales of a linear's site into, by name; the model may lack them.
 * They are stored as F32 whether scales were found or not, so that a plan knows its file's size.
 * Returns how many. */
#define VLMP_FOLD_VECTORS 2
int vlmp_fold_vectors(char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX], const vlmp_linear_info *info,
                      vlmp_method method);

/* Takes the scales of a norm's site back: norm and weights are as they were, to rounding. */
void vlmp_fold_revert(vlmp_fold *fold, const vlmp_block_linear *linears, int count, vlmp_site site);
void vlmp_fold_free(vlmp_fold *fold);
