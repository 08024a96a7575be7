/* The passes before a stack's first block: from pixels to the tower's input, and from its features
 * to rows of the text model. */
#pragma once

#include "src/model/weights.h"

/* What a tower's input is made with, for up to `tiles` tiles at a time. */
typedef struct {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    vlmp_f32 levels;    /* [3][256] normalized values of a byte */
    vlmp_u8 pixels;     /* [tiles][image_size][image_size][3] */
    vlmp_act patches;   /* [tiles·patches][3·patch²] */
    vlmp_act projected; /* [tiles·patches][hidden] */
    vlmp_i32 from, to;  /* [tiles·patches] rows of projected, and where they go in x */
} vlmp_tile_input;

/* levels[3][256]: of vlmp_preprocess_levels. */
int vlmp_tile_input_create(vlmp_tile_input *input, vlmp_ctx *ctx, const vlmp_model *model,
                           const float *levels, int tiles, vlmp_error *err);
void vlmp_tile_input_free(vlmp_tile_input *input);

/* The tile's bytes [image_size][image_size][3] as tile number `tile` of the next embed. */
void vlmp_tile_input_set(vlmp_tile_input *input, int tile, const uint8_t *pixels);

/* x[tiles·tile_rows][hidden]. */
void vlmp_tile_input_embed(vlmp_tile_input *input, const vlmp_vision_input *weights, int tiles,
                           vlmp_f32 x);

/* features[rows][vlmp_feature_width] → out[rows][text hidden]; hidden: scratch as out. */
void vlmp_project(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_projector *projector,
                  vlmp_act features, int rows, vlmp_act hidden, vlmp_act out);
