/* Sequences grouped into batches for one pass over a block. The grouping depends on the lengths
 * alone, so results do not depend on threads or memory. */
#pragma once

#include "src/flow/activations.h"

#define VLMP_BATCH_ROWS 512 /* a batch is closed when it has this many rows */
#define VLMP_PAGE_ROWS  64  /* rows of a key/value page */

typedef struct {
    size_t first_row; /* of the whole set */
    int first;        /* index of the first sequence */
    int rows;
    int segment_count;
    vlmp_segment *segments; /* first_row counts within the batch */
    int window_count;       /* 0: not cut into windows */
    vlmp_segment *windows;  /* the same rows in smaller segments */
    /* [rows] an axis, of the set's; NULL: each row's number in its segment. */
    const int32_t *positions[VLMP_POSITION_AXES];
} vlmp_batch;

/* Rows that are added to pictures' rows behind the first layers of the text model. */
typedef struct {
    vlmp_activations rows; /* [taps·count][text hidden], tap by tap */
    int32_t *places;       /* [count] rows of the set, rising */
    size_t count;
    int taps; /* 0: nothing is added */
} vlmp_added_rows;

/* Those in [first, end): *from: of the first. Returns how many. */
size_t vlmp_added_rows_in(const vlmp_added_rows *added, size_t first, size_t end, size_t *from);
void vlmp_added_rows_free(vlmp_added_rows *added);

typedef struct {
    int count;
    vlmp_batch *batches;
    size_t total_rows;
    int max_rows;
    int max_pages; /* key/value pages of the largest batch */
    int max_segments;
    int break_batch; /* the first batch behind the break; count when there is none */
    vlmp_segment *segments, *windows;
    int32_t *pages, *window_pages;
    int32_t *positions; /* [VLMP_POSITION_AXES][total_rows], or NULL */
    vlmp_added_rows added;
} vlmp_batches;

/* lengths[count] > 0: rows of each sequence. Sequence break_at starts a new batch, so that no batch
 * mixes what lies before and behind it; count: no break. */
int vlmp_batches_create(vlmp_batches *batches, const int *lengths, int count, int break_at,
                        vlmp_error *err);
/* Cuts every batch into windows: rows[count] > 0, of all batches in order, each a part of a
 * segment.
 */
int vlmp_batches_cut(vlmp_batches *batches, const int *rows, int count, vlmp_error *err);

/* Room for the rows' positions, which the batches then have: *positions [VLMP_POSITION_AXES]
 * [total_rows] are the caller's to fill, and stay the batches'. */
int vlmp_batches_place(vlmp_batches *batches, int32_t **positions, vlmp_error *err);

void vlmp_batches_free(vlmp_batches *batches);
