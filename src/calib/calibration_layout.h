/* How a calibration lies in its tensors: what writing and reading share. */
#pragma once

#include "src/calib/calibration.h"

#define VLMP_CALIB_VERSION 2 /* of the metadata; 1 carried no hashes */

/* Integers of one sample, in "samples.table". */
enum {
    COLUMN_LINE,
    COLUMN_LENGTH,
    COLUMN_ANSWERS,
    COLUMN_BORDER,
    COLUMN_IMAGES,
    COLUMN_TILES,
    COLUMNS
};
/* Integers of one answer, in "samples.answers": a vlmp_span. */
enum { SPAN_COLUMNS = 2 };
/* Integers of one picture, in "samples.pictures": a vlmp_image_plan. */
enum { PLAN_COLUMNS = 8 };

extern const char *const vlmp_calib_size_names[VLMP_CALIB_SIZES];

/* Over the samples' identities, and over their tokens. */
void vlmp_calib_digests(const vlmp_calibration *c, char data[VLMP_SHA256_HEX],
                        char tokens[VLMP_SHA256_HEX]);
