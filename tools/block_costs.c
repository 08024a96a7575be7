#include "tools/block_costs.h"

void vlmp_block_rows_add(vlmp_block_rows *rows, const vlmp_sequence *sequence,
                         const vlmp_config *config)
{
    rows->tower += (double)vlmp_sequence_tower_rows(sequence, config);
    rows->text += sequence->length;
}

static double weights(const vlmp_block_shape *s)
{
    double heads = 2.0 * s->heads + 2.0 * s->kv_heads; /* q and o, k and v */
    return s->dim * (heads * s->head_dim + (s->gated ? 3.0 : 2.0) * s->intermediate);
}

void vlmp_block_costs(vlmp_progress *progress, const vlmp_model *model, const vlmp_block_rows *rows)
{
    double tower = weights(&model->vision.shape) * rows->tower;
    double text = weights(&model->text.shape) * rows->text;
    if (rows->tower_passes > 0) tower *= rows->tower_passes;
    if (rows->text_passes > 0) text *= rows->text_passes;
    if (text > 0) vlmp_progress_weigh(progress, model->vision.layers, tower / text);
}
