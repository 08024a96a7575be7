/* What a .calib file holds: the chosen samples as the model sees them, activation statistics, the
 * audit. Written and read as named tensors and metadata; formats/ owns the file. */
#pragma once

#include "src/base/json.h"
#include "src/base/sha256.h"
#include "src/calib/sampling.h"
#include "src/calib/statistics.h"
#include "src/flow/identity.h"

/* Every HOLD_OUT-th chosen sample is kept from the quantization methods, which are judged on it:
 * src/quant/run/holdout.h. */
#define VLMP_HOLD_OUT 8

typedef struct {
    char id[VLMP_SHA256_HEX];       /* vlmp_sample_id */
    char loose_id[VLMP_SHA256_HEX]; /* the same, loose */
    int line;                       /* in the data file */
    vlmp_sequence sequence;
} vlmp_calib_sample;

/* Sizes of the model that samples and statistics depend on; a file of other sizes is refused. */
enum {
    VLMP_CALIB_IMAGE_SIZE, /* pixels a side of a tile; 0: any */
    VLMP_CALIB_VOCABULARY,
    VLMP_CALIB_VISION_LAYERS,
    VLMP_CALIB_VISION_WIDTH,
    VLMP_CALIB_VISION_INNER, /* width of the MLP's inside */
    VLMP_CALIB_TEXT_LAYERS,
    VLMP_CALIB_TEXT_WIDTH,
    VLMP_CALIB_TEXT_INNER,
    VLMP_CALIB_SIZES
};

typedef struct {
    vlmp_identity model;
    int sizes[VLMP_CALIB_SIZES];
    char alpha[8]; /* how transparent pictures were shown; "": none is transparent */
    size_t count;
    vlmp_calib_sample *samples;
    vlmp_statistics statistics;
    char *audit; /* a JSON document */
} vlmp_calibration;

/* What a draw needs to know of a sample. */
vlmp_draw_item vlmp_calib_draw_item(const vlmp_calib_sample *sample, const vlmp_model *model);

/* sizes of a calibration of this model. */
void vlmp_calibration_sizes(int sizes[VLMP_CALIB_SIZES], const vlmp_model *model);

void vlmp_calibration_free(vlmp_calibration *calibration);

typedef struct {
    const void *bytes;
    size_t length;
} vlmp_bytes;

/* Identity of a sample: SHA-256 of its pictures' files, in order, and of its texts, each with a NUL
 * behind it. loose: of the texts without white space (Unicode's), so that samples that differ in
 * nothing else are the same. id is empty when memory is short. */
void vlmp_sample_id(const vlmp_bytes *pictures, size_t picture_count, const char *const *texts,
                    size_t text_count, bool loose, char id[VLMP_SHA256_HEX]);

/* The tensors of the file, of which "samples.pixels" comes without data: the samples' tiles, one
 * after the other, are the writer's to give. Other data points into the calibration or into
 * memory of `arena`, names too.
 * *count of them in *out (from the arena). metadata: one JSON object as text, in the arena. */
int vlmp_calibration_export(const vlmp_calibration *calibration, const vlmp_config *config,
                            vlmp_arena *arena, vlmp_tensor **out, size_t *count,
                            const char **metadata, vlmp_error *err);

/* The inverse. find gives a tensor by name or NULL; everything is copied. The model decides which
 * sites and which sizes must be there; a file that was made with another one is VLMP_ERR_INPUT
 * naming what differs. identity: the model's; NULL: not compared. */
typedef const vlmp_tensor *vlmp_find_fn(void *arg, const char *name);
int vlmp_calibration_import(vlmp_calibration *out, const vlmp_model *model,
                            const vlmp_identity *identity, vlmp_find_fn *find, void *arg,
                            const char *metadata, const char *where, vlmp_error *err);
