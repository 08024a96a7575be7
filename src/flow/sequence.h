/* One sample as the model sees it: token ids with picture rows in place, and resized pixels. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/model/family.h"
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
    uint8_t *pixels;        /* [tiles][image_size][image_size][3], resized, not normalized */
} vlmp_sequence;

int vlmp_sequence_answer_tokens(const vlmp_sequence *sequence);

void vlmp_sequence_free(vlmp_sequence *sequence);
