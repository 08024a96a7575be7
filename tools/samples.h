/* Samples of a data set, decoded. */
#pragma once

#include <stdint.h>

#include "src/base/sha256.h"
#include "src/flow/reader.h"
#include "src/store/sample.h"
#include "tools/pictures.h"

/* The pictures of one sample. */
typedef struct {
    int count;
    vlmp_image *images; /* [count] */
} vlmp_pictures;

int vlmp_pictures_load(vlmp_pictures *out, char *const *paths, int count,
                       vlmp_picture_reading *reading, vlmp_error *err);
void vlmp_pictures_free(vlmp_pictures *pictures);

typedef struct {
    char exact[VLMP_SHA256_HEX]; /* of pictures' bytes, turns and first answer */
    char loose[VLMP_SHA256_HEX]; /* the same, white space not counted */
} vlmp_sample_ids;

int vlmp_sample_identity(const vlmp_sample *sample, vlmp_sample_ids *ids, vlmp_error *err);

/* Template and tokens, with pictures that are loaded. answer NULL: the prompt alone. A fault of the
 * sample names its place. */
int vlmp_sample_read(const vlmp_reader *reader, const vlmp_sample *sample,
                     const vlmp_pictures *pictures, const char *answer, vlmp_sequence *out,
                     vlmp_error *err);

/* The same, pictures included. */
int vlmp_sample_sequence(const vlmp_reader *reader, const vlmp_sample *sample, const char *answer,
                         vlmp_picture_reading *reading, vlmp_sequence *out, vlmp_error *err);

/* How many broken samples there were, and how many may be. */
typedef struct {
    int64_t count, allowed;
} vlmp_broken;

/* VLMP_OK when a sample that failed with fault may be left out; else the failure is passed on, with
 * a hint when it is the sample's. */
int vlmp_let_through(vlmp_broken *broken, const vlmp_error *fault, vlmp_error *err);
