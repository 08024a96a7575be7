/* One sample as the model sees it: token ids with picture rows in place, and resized pixels. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/model/family.h"

typedef struct {
    int line;        /* in the data file, from 1, for messages; 0: not known */
    int length;      /* tokens, one row each */
    int32_t *ids;    /* [length]; rows of pictures hold the image token */
    int answer_from; /* the answer is ids[answer_from … length − 1], end-of-sequence included; */
                     /* length when there is none */
    bool border_moved; /* prompt and answer shared a token: the common prefix counts as prompt */
    int image_count;
    vlmp_image_plan *plans; /* [image_count] */
    int tiles;              /* of all pictures */
    uint8_t *pixels;        /* [tiles][image_size][image_size][3], resized, not normalized */
} vlmp_sequence;

void vlmp_sequence_free(vlmp_sequence *sequence);
