/* Samples of a data set, decoded. */
#pragma once

#include "src/base/sha256.h"
#include "src/model/reader.h"
#include "src/model/sample.h"
#include "tools/pictures.h"

/* The pictures of one sample. */
typedef struct {
    int count;
    vlmp_image *images; /* [count] */
} vlmp_pictures;

int vlmp_pictures_load(vlmp_pictures *out, char *const *paths, int count,
                       vlmp_picture_reading *reading, vlmp_error *err);
void vlmp_pictures_free(vlmp_pictures *pictures);

/* SHA-256 of picture bytes, prompt and first answer: the sample's identity. */
int vlmp_sample_identity(const vlmp_sample *sample, char id[VLMP_SHA256_HEX], vlmp_error *err);

/* Pictures, template, tokens. answer NULL: the prompt alone. */
int vlmp_sample_sequence(const vlmp_reader *reader, const vlmp_sample *sample, const char *answer,
                         vlmp_picture_reading *reading, vlmp_sequence *out, vlmp_error *err);
