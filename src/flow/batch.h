/* Sequences grouped into batches for one pass over a block. The grouping depends on the lengths
 * alone, so results do not depend on threads or memory. */
#pragma once

#include "kernels/ops.h"

#define VLMP_BATCH_ROWS 512 /* a batch is closed when it has this many rows */
#define VLMP_PAGE_ROWS  64  /* rows of a key/value page */

typedef struct {
    size_t first_row; /* of the whole set */
    int first;        /* index of the first sequence */
    int rows;
    int segment_count;
    vlmp_segment *segments; /* first_row counts within the batch */
} vlmp_batch;

typedef struct {
    int count;
    vlmp_batch *batches;
    size_t total_rows;
    int max_rows;
    int max_pages; /* key/value pages of the largest batch */
    int max_segments;
    int break_batch; /* the first batch behind the break; count when there is none */
    vlmp_segment *segments;
    int32_t *pages;
} vlmp_batches;

/* lengths[count] > 0: rows of each sequence. Sequence break_at starts a new batch, so that no batch
 * mixes what lies before and behind it; count: no break. */
int vlmp_batches_create(vlmp_batches *batches, const int *lengths, int count, int break_at,
                        vlmp_error *err);
void vlmp_batches_free(vlmp_batches *batches);
