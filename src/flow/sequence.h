/* One sample as the model sees it: token ids with picture rows in place, and resized pixels. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/model/tiles.h"
#include "src/text/span.h"

typedef struct {
    int line;           /* in the data file, from 1, for messages; 0: not known */
    int length;         /* tokens, one row each */
    int32_t *ids;       /* [length]; rows of pictures hold the image token */
    int answer_count;   /* 0: a prompt to be continued */
    vlmp_span *answers; /* [answer_count] rising, end-of-sequence tokens included */
    bool border_moved;  /* a prompt and its answer shared a token, which counts as prompt */
    bool end_differs; /* text stands between the answer and its end token (vlmp_prompt); not stored
                       */
    int image_count;
    vlmp_image_plan *plans; /* [image_count] */
    int tiles;              /* of all pictures */
    uint8_t *pixels;        /* of each tile [height][width][3], resized, not normalized */
} vlmp_sequence;

int vlmp_sequence_answer_tokens(const vlmp_sequence *sequence);

/* Of all pictures: rows in the tower, rows that the projector makes of them, bytes of pixels. */
size_t vlmp_sequence_tower_rows(const vlmp_sequence *sequence, const vlmp_config *config);
size_t vlmp_sequence_picture_rows(const vlmp_sequence *sequence, const vlmp_config *config);
size_t vlmp_sequence_pixel_bytes(const vlmp_sequence *sequence, const vlmp_config *config);

/* The grid of tile number `tile` of all pictures. */
vlmp_patch_grid vlmp_sequence_grid(const vlmp_sequence *sequence, const vlmp_config *config,
                                   int tile);

/* positions[VLMP_POSITION_AXES][stride]: of each row by time, row and column. Tokens count up on
 * all three; a picture's rows share the time of its first, and count from there over the merged
 * grid; what follows counts on from the largest. Returns what lies between a later row's position
 * and its number. */
int vlmp_sequence_positions(const vlmp_sequence *sequence, const vlmp_config *config,
                            int32_t *positions, size_t stride);

void vlmp_sequence_free(vlmp_sequence *sequence);
