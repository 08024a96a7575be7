/* The passes before a stack's first block: from pixels to the tower's input, and from its features
 * to rows of the text model. */
#pragma once

#include "src/model/tiles.h"
#include "src/model/weights.h"

/* What a tower's input is made with, for a number of patches at a time. */
typedef struct {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    vlmp_f32 levels;           /* [3][256] normalized values of a byte */
    vlmp_u8 pixels;            /* of one tile */
    vlmp_act patches;          /* [patches][3·patch²] of the tiles added */
    vlmp_act projected;        /* [patches][hidden] */
    vlmp_i32 from, to;         /* [patches] rows of projected, and where they go in x */
    int32_t *order;            /* [patches] of one tile */
    int32_t *sources, *places; /* [patches] what from and to become */
    int count, rows;           /* patches, and rows in the tower, of the tiles added */
    vlmp_patch_grid *grids;    /* [tiles] of the tiles added, as many as patches at most */
    int tiles;
    float *row; /* [hidden] of the host */
} vlmp_tile_input;

/* levels[3][256]: of vlmp_preprocess_levels. patches: of the tiles between two embeds, at most;
 * bytes: of the largest one. Free it after a failure too. */
int vlmp_tile_input_create(vlmp_tile_input *input, vlmp_ctx *ctx, const vlmp_model *model,
                           const float *levels, int patches, size_t bytes, vlmp_error *err);
void vlmp_tile_input_free(vlmp_tile_input *input);

/* The tile's bytes [height][width][3] as the next one of the next embed. */
void vlmp_tile_input_add(vlmp_tile_input *input, vlmp_patch_grid grid, const uint8_t *pixels);

/* x[rows of the tiles added][hidden]. */
void vlmp_tile_input_embed(vlmp_tile_input *input, const vlmp_vision_input *weights, vlmp_f32 x);

/* features[rows][vlmp_feature_width] → out[rows][text hidden]; hidden: scratch [rows][inner]. */
void vlmp_project(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_projector *projector,
                  vlmp_act features, int rows, vlmp_act hidden, vlmp_act out);
