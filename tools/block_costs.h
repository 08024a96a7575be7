/* What blocks of the two stacks cost, for telling how long the rest takes: tower blocks are small
 * and see many rows, or none. */
#pragma once

#include "src/flow/sequence.h"
#include "src/model/model.h"
#include "tools/progress.h"

/* Rows that each stack computes with; how often it does so for each of them. */
typedef struct {
    double tower, text;
    double tower_passes, text_passes; /* 0 counts as one */
} vlmp_block_rows;

void vlmp_block_rows_add(vlmp_block_rows *rows, const vlmp_sequence *sequence,
                         const vlmp_config *config);

/* progress counts the blocks of the tower, then those of the text model. */
void vlmp_block_costs(vlmp_progress *progress, const vlmp_model *model,
                      const vlmp_block_rows *rows);
